"""Proves a contract: kills it at every named place and at random instants, resumes it, and compares what it left.

Nothing of the real world is touched but the source: the destination is a copy in a folder, the ledger is beside it. All
attempts are runs of the same instant, so that what a clock gives is the same in each.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from etlctl.errors import EtlctlError, FatalError
from etlctl.faults import POINTS
from etlctl.orchestrator.proof import Proof, Trial
from etlctl.orchestrator.proving_child import COUNT_ONLY, OUTPUT, PROGRESS
from etlctl.orchestrator.proving_evidence import Evidence, compare, gather, varying_fields
from etlctl.orchestrator.proving_process import Children, Ended
from etlctl.orchestrator.proving_source import is_remote, once_only
from etlctl.run import Counts, ProcessingMode
from etlctl.sdk.context import WriteContext
from etlctl.sdk.loader import Delivery

if TYPE_CHECKING:
    from etlctl.contract.model import Contract
    from etlctl.sdk.loader import Loader

FEWEST, MOST, WANTED = 6, 50, 12
"""Batches: fewer or more than these, and the batch size is chosen so that there are about so many as wanted."""
MOST_ATTEMPTS = 20
_EXAMPLES = 3


class NotProvable(EtlctlError):  # noqa: N818
    """Nothing can be proved, or disproved, of this contract; the message says why."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSettings:
    """How to prove.

    Attributes:
        seeds: Random trials.
        seed: What their instants are made from; None: any.
        max_records: Source records to read at most.
        mode: Processing mode; None: the contract's.
        keep: Folder to keep everything in, which must be empty or missing; None: nothing is kept.
        params: Parameters of the contract.
    """

    seeds: int = 10
    seed: int | None = None
    max_records: int = 1000
    mode: ProcessingMode | str | None = None
    keep: Path | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


def prove(
    contract_dir: str | Path,
    settings: ProofSettings,
    *,
    warn: Callable[[str], None] = lambda _message: None,
    told: Callable[[str], None] = lambda _message: None,
) -> Proof:
    """Prove a contract. Blocks, for seconds to minutes.

    Args:
        contract_dir: The contract: its folder, or a ``pipeline.yaml``.
        settings: How.
        warn: Reports something the user should know.
        told: Told what is about to be done.

    Raises:
        ContractError: The contract does not hold.
        NotProvable: It cannot be proved: no scratch destination, a source that can be read only once, runs that
            differ without being disturbed, or that do not come to their end.
    """
    from etlctl.contract.compile import load_contract  # noqa: PLC0415

    if not hasattr(os, "fork"):
        raise NotProvable("a proof kills processes with SIGKILL, which this system does not have", help="use Linux")
    now = datetime.now(UTC)
    mode = {"processing_mode": ProcessingMode(settings.mode)} if settings.mode is not None else {}
    contract = load_contract(contract_dir, params=settings.params, overrides=mode, now=now)
    problem = once_only(contract)
    if problem is not None:
        raise NotProvable(problem, help="read from a file to prove the contract; the rest of it may stay as it is")
    with _folder(settings.keep) as folder, ExitStack() as ending:
        stage = _Stage(contract, Path(contract_dir).absolute(), settings, now, folder)
        stage.prepare()
        remote = is_remote(contract)
        expected = 3 + 2 * len(POINTS) + 3 * settings.seeds
        about = f"this reads the source about {expected:,} times, {stage.limit:,} records at most each time"
        (warn if remote else told)(about)
        workers = 1 if remote else min(2, os.cpu_count() or 1)
        stage.children = [ending.enter_context(Children()) for _ in range(workers)]
        return _Proving(stage, warn, told).proof()


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="etlctl-proof-", ignore_cleanup_errors=True) as made:
            yield Path(made).resolve()
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise NotProvable(f"{keep} is not empty, and a proof overwrites nothing", help="give --keep a new folder")
    if "?" in str(keep.absolute()):
        raise NotProvable(f"{keep}: a folder with ? in its name cannot hold a ledger", help="give --keep another name")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()


@dataclass
class _Stage:
    """Where the runs of a proof take place."""

    contract: Contract
    path: Path
    settings: ProofSettings
    now: datetime
    folder: Path
    children: list[Children] = field(default_factory=list)

    def prepare(self) -> None:
        """Copy the destination, once, and see that it can be read back."""
        try:
            self._origin: Loader = self.contract.loader.scratch(self.folder / "origin", self._ctx())
            self.contents_before = gather(self._origin, self._ctx(), self.folder / "origin", {})
        except FatalError as error:
            raise NotProvable(
                f"the destination ({self.contract.load_type}) cannot be imitated in a folder: {error}",
                help=error.help or "a loader can be proved when it has the methods scratch and contents; to try this "
                "contract, load into a file or into SQLite",
            ) from error

    @property
    def limit(self) -> int:
        """Source records to read at most."""
        own = self.contract.envelope.max_records
        return self.settings.max_records if own is None else min(own, self.settings.max_records)

    def _ctx(self) -> WriteContext:
        contract = self.contract
        return WriteContext(
            base_dir=contract.base_dir,
            now=self.now,
            params=contract.params,
            stream=contract.stream,
            fields=contract.fields,
            guard=contract.guard,
        )

    def scene(self, name: str, batch_size: int, interval: int | None) -> _Scene:
        """Return a fresh copy of the destination, with the order that runs the contract into it."""
        folder = self.folder / name.replace(" ", "-")
        folder.mkdir()
        loader = self._origin.scratch(folder / "destination", self._ctx())
        order = {
            "contract": str(self.path),
            "params": dict(self.settings.params),
            "mode": self.settings.mode,
            "batch_size": batch_size,
            "max_records": self.limit,
            "interval": interval,
            "loader": loader.model_dump_json(),
            "folder": str(folder),
            "now": self.now.isoformat(),
        }
        return _Scene(folder, loader, order)

    def evidence(self, scene: _Scene, counts: Mapping[str, int]) -> Evidence:
        """Read back what the run of a scene left."""
        return gather(scene.loader, self._ctx(), scene.folder, counts)


@dataclass(frozen=True)
class _Scene:
    """A copy of the destination in a folder, and the order that runs the contract into it."""

    folder: Path
    loader: Loader
    order: Mapping[str, Any]

    def batches_done(self) -> int | None:
        """Return how many batches were done when the process ended; None before the first."""
        try:
            text = (self.folder / PROGRESS).read_bytes()
        except FileNotFoundError:
            return None
        return int(text) if text.strip() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """How a run is to be disturbed: a fault, or an instant for each of the first attempts."""

    name: str
    meaning: str
    fault: str = ""
    instants: tuple[float, ...] = ()
    interval: int | None = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    """An undisturbed run."""

    evidence: Evidence
    batches: int
    batch_size: int
    seconds: float
    reached: Mapping[str, int]


class _Proving:
    """One proof."""

    def __init__(self, stage: _Stage, warn: Callable[[str], None], told: Callable[[str], None]) -> None:
        self._stage = stage
        self._warn = warn
        self._told = told
        self._free: SimpleQueue[Children] = SimpleQueue()
        for children in stage.children:
            self._free.put(children)
        self._patience = 600.0
        self._reads = 0
        self._own_interval = stage.contract.envelope.checkpoint.interval

    def proof(self) -> Proof:
        """Run undisturbed, twice, then every trial."""
        stage, settings = self._stage, self._stage.settings
        reference = self._several_batches()
        blanked = self._blanked(reference)
        self._patience = 60 + 20 * reference.seconds
        seed = settings.seed if settings.seed is not None else random.SystemRandom().randrange(1_000_000)
        plans = [*self._places(reference), *self._instants(reference, seed)]
        self._told(
            f"undisturbed: {reference.evidence.counts['extracted']:,} records in {reference.batches:,} batches, "
            f"{reference.seconds:.1f} s; now {sum(bool(one.fault) for one in plans)} places and {settings.seeds} "
            f"random runs (--seed {seed})"
        )
        with ThreadPoolExecutor(len(stage.children)) as threads:
            trials = tuple(threads.map(lambda plan: self._trial(plan, reference, blanked), plans))
        return Proof(
            contract=stage.contract.name,
            mode=str(stage.contract.envelope.processing_mode),
            records=reference.evidence.counts["extracted"],
            batches=reference.batches,
            batch_size=reference.batch_size,
            seed=seed,
            reads=self._reads,
            trials=trials,
            blanked=tuple(sorted(blanked)),
            notes=tuple(self._notes(reference, blanked)),
            kept=str(stage.folder) if settings.keep is not None else None,
        )

    # Undisturbed runs

    def _several_batches(self) -> _Reference:
        """Run undisturbed with a batch size that makes several batches."""
        own = self._stage.contract.envelope.batch_size
        found = self._undisturbed("undisturbed", own)
        records = found.evidence.counts["extracted"]
        if not records:
            raise NotProvable("the source gave no records: there is nothing to lose", help="prove it when there are")
        if FEWEST <= found.batches <= MOST or (own == 1 and found.batches < FEWEST):
            return found
        return self._undisturbed("undisturbed with smaller batches", max(-(-records // WANTED), 1))

    def _blanked(self, reference: _Reference) -> frozenset[str]:
        """Run undisturbed once more; return the fields whose values differ then."""
        again = self._undisturbed("undisturbed again", reference.batch_size)
        blanked = varying_fields(reference.evidence, again.evidence)
        if blanked is not None:
            return blanked
        difference = compare(reference.evidence, again.evidence)
        examples = _examples(difference.lost, difference.doubled, "only the first time", "only the second time")
        raise NotProvable(
            "two undisturbed runs gave different results, so a killed one cannot be held against them: "
            f"{'; '.join([*filter(None, [difference.account]), *examples])}",
            help="does the source change meanwhile? does a step decide by chance or by a clock which records it keeps?",
        )

    def _undisturbed(self, name: str, batch_size: int) -> _Reference:
        scene = self._stage.scene(name, batch_size, self._interval(1))
        ended = self._attempt(scene, fault=COUNT_ONLY)
        report = ended.report
        if report is None or not report["success"]:
            problem = _problem(scene, ended)
            error = NotProvable(
                f"the contract does not come to its end undisturbed: {problem}",
                help=(report or {}).get("error_help") or "see: etlctl run, or etlctl preview",
            )
            error.exit_code = (report or {}).get("exit_code") or 1
            raise error
        evidence = self._stage.evidence(scene, report["counts"])
        return _Reference(
            evidence=evidence,
            batches=report["batches"],
            batch_size=batch_size,
            seconds=ended.seconds,
            reached=report["reached"],
        )

    def _interval(self, wanted: int | None) -> int | None:
        """Return the batches between two commits: what the contract says counts as what it would do by itself."""
        return self._own_interval if wanted is None else wanted

    # Disturbed runs

    @staticmethod
    def _places(reference: _Reference) -> Iterator[_Plan]:
        for point, meaning in POINTS.items():
            times = reference.reached.get(point, 0)
            yield _Plan(name=point, meaning=meaning, fault=f"{point}:{times // 2 + 1}=kill" if times else "")

    def _instants(self, reference: _Reference, seed: int) -> Iterator[_Plan]:
        for number in range(self._stage.settings.seeds):
            dice = random.Random(f"{seed} {number}")  # noqa: S311
            instants = tuple(dice.uniform(0, reference.seconds) for _ in range(dice.randint(1, 3)))
            meaning = "at " + ", ".join(f"{instant:.2f}" for instant in instants) + " s of an attempt"
            interval = self._interval(dice.choice([1, 2, None]))
            yield _Plan(name=f"random {number + 1}", meaning=meaning, instants=instants, interval=interval)

    def _trial(self, plan: _Plan, reference: _Reference, blanked: frozenset[str]) -> Trial:
        if not plan.fault and not plan.instants:
            return Trial(fault=plan.name, meaning=plan.meaning)
        scene = self._stage.scene(plan.name, reference.batch_size, plan.interval)
        kills: list[str] = []
        ended, attempts = None, 0
        for attempts in range(1, MOST_ATTEMPTS + 1):
            instant = plan.instants[attempts - 1] if attempts <= len(plan.instants) else None
            fault = plan.fault if attempts == 1 else ""
            ended = self._attempt(scene, fault=fault, kill_after=instant, resume=attempts > 1)
            if not ended.killed or ended.late or not (fault or instant is not None):
                break
            kills.append(_how_far(scene.batches_done(), reference.batches))
        trial = self._judged(plan, scene, ended, reference.evidence, blanked)
        if trial.proven and self._stage.settings.keep is None:
            shutil.rmtree(scene.folder, ignore_errors=True)
        return Trial(**{**trial, "kills": tuple(kills), "attempts": attempts})
