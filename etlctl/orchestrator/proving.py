"""Proves a contract: kills it at every named place and at random instants, resumes it, and compares what it left.

Nothing of the real world is touched but the source: the destination is a copy in a folder, the ledger is beside it. All
attempts are runs of the same instant, so that what a clock gives is the same in each.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from etlctl.faults import POINTS
from etlctl.frozen import frozen
from etlctl.orchestrator.proof import NotProvable, Proof, ProofSettings, Trial
from etlctl.orchestrator.proving_child import COUNT_ONLY
from etlctl.orchestrator.proving_evidence import Evidence, compare, hidden_names, varying_fields
from etlctl.orchestrator.proving_process import Children, Ended
from etlctl.orchestrator.proving_source import is_remote, once_only
from etlctl.orchestrator.proving_stage import Scene, Stage
from etlctl.run import ProcessingMode
from etlctl.sdk.loader import Delivery

FEWEST, MOST, WANTED = 6, 50, 12
"""Batches: fewer or more than these, and the batch size is chosen so that there are about so many as wanted."""
_EXAMPLES, _LONGEST = 3, 300
_MANY = 100_000
_NOT_NEEDED = ("etlctl.cli", "etlctl.orchestrator.proving")


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
        stage = Stage(contract, Path(contract_dir).absolute(), settings, now, folder)
        there = stage.prepare()
        if there >= _MANY:
            warn(f"{there:,} records are in the destination already, and each trial begins with a copy of them")
        remote = is_remote(contract)
        expected = 3 + 2 * len(POINTS) + 3 * settings.seeds
        about = f"this reads the source about {expected:,} times, {stage.limit:,} records at most each time"
        (warn if remote else told)(about)
        workers = 1 if remote else min(2, os.cpu_count() or 1)
        stage.children = [ending.enter_context(Children(_modules())) for _ in range(workers)]
        return _Proving(stage, told).proof()


def _modules() -> list[str]:
    """Return the parts of etlctl that are in use by now: each attempt needs them, too."""
    return [name for name in sys.modules if name.startswith("etlctl.") and not name.startswith(_NOT_NEEDED)]


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


@frozen(kw_only=True)
class _Plan:
    """How a run is to be disturbed: by a fault (the second, should the first not be reached), or at instants.

    Attributes:
        name: Of the trial.
        meaning: In words.
        faults: In the form of ``etlctl.faults``, for the first attempt.
        instants: Seconds from the start, one for each of the first attempts.
        interval: Batches between two commits; None: when it pays.
    """

    name: str
    meaning: str
    faults: tuple[str, ...] = ()
    instants: tuple[float, ...] = ()
    interval: int | None = 1


@frozen(kw_only=True)
class _Reference:
    """An undisturbed run."""

    evidence: Evidence
    batches: int
    batch_size: int
    seconds: float
    reached: Mapping[str, int]


class _Proving:
    """One proof."""

    def __init__(self, stage: Stage, told: Callable[[str], None]) -> None:
        self._stage = stage
        self._told = told
        self._free: SimpleQueue[Children] = SimpleQueue()
        for children in stage.children:
            self._free.put(children)
        self._patience = 600.0
        self._reads = count()

    def proof(self) -> Proof:
        """Run undisturbed, twice, then every trial."""
        stage, settings = self._stage, self._stage.settings
        reference = self._several_batches()
        blanked = self._blanked(reference)
        self._patience = 60 + 20 * reference.seconds
        seed = settings.seed if settings.seed is not None else random.SystemRandom().randrange(1_000_000)
        plans = [*self._places(reference), *self._instants(reference, seed)]
        places = sum(bool(plan.faults) for plan in plans)
        self._told(
            f"undisturbed: {reference.evidence.counts['extracted']:,} records in {reference.batches:,} batches, "
            f"{reference.seconds:.1f} s; now killed at {places} places and {settings.seeds} times at random "
            f"(--seed {seed})"
        )
        trials = self._all(plans, lambda plan: self._trial(plan, reference, blanked))
        return Proof(
            contract=stage.contract.name,
            mode=str(stage.contract.envelope.processing_mode),
            records=reference.evidence.counts["extracted"],
            batches=reference.batches,
            batch_size=reference.batch_size,
            seed=seed,
            reads=next(self._reads),
            trials=trials,
            blanked=tuple(sorted(blanked)),
            notes=tuple(_notes(stage, reference, blanked)),
            kept=str(stage.folder) if settings.keep is not None else None,
        )

    def _all(self, plans: Sequence[_Plan], trial: Callable[[_Plan], Trial]) -> tuple[Trial, ...]:
        threads = ThreadPoolExecutor(len(self._stage.children))
        try:
            return tuple(threads.map(trial, plans))
        except BaseException:
            for children in self._stage.children:  # whoever waits for one of them is not to wait any longer
                children.close()
            raise
        finally:
            threads.shutdown(cancel_futures=True)

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
        scene = self._stage.scene(name, batch_size, 1)
        ended = self._attempt(scene, fault=COUNT_ONLY)
        report = ended.report
        if report is None or not report["success"]:
            problem = _problem(scene, ended)
            error = NotProvable(
                f"the contract does not come to its end undisturbed: {problem}",
                help=(report or {}).get("error_help") or "see: etlctl run, or etlctl preview",
            )
            code = (report or {}).get("exit_code") or 1
            error.exit_code = code if code > 1 else error.exit_code  # 1 says that records were lost or doubled
            raise error
        evidence = self._stage.evidence(scene, report["counts"])
        return _Reference(
            evidence=evidence,
            batches=report["batches"],
            batch_size=batch_size,
            seconds=ended.seconds,
            reached=report["reached"],
        )

    # Disturbed runs

    @staticmethod
    def _places(reference: _Reference) -> Iterator[_Plan]:
        for point, meaning in POINTS.items():
            times = reference.reached.get(point, 0)
            faults = tuple(f"{point}:{number}=kill" for number in dict.fromkeys(((times + 1) // 2, 1)) if times)
            yield _Plan(name=point, meaning=meaning, faults=faults)

    def _instants(self, reference: _Reference, seed: int) -> Iterator[_Plan]:
        for number in range(self._stage.settings.seeds):
            dice = random.Random(f"{seed} {number}")  # noqa: S311
            instants = tuple(dice.uniform(0, reference.seconds) for _ in range(dice.randint(1, 3)))
            meaning = "after " + ", ".join(f"{instant:.3f}" for instant in instants) + " s"
            interval = dice.choice([1, 2, self._stage.contract.envelope.checkpoint.interval])
            yield _Plan(name=f"random {number + 1}", meaning=meaning, instants=instants, interval=interval)

    def _trial(self, plan: _Plan, reference: _Reference, blanked: frozenset[str]) -> Trial:
        """Make one trial; when a place was not reached this time as it was before, try its first occurrence."""
        trial = Trial(fault=plan.name, meaning=plan.meaning)
        for number, fault in enumerate(plan.faults or ([""] if plan.instants else [])):
            scene = self._stage.scene(f"{plan.name} {number}", reference.batch_size, plan.interval)
            ended, kills, attempts = self._disturbed(scene, fault, plan.instants, reference.batches)
            trial = replace(
                self._judged(scene, ended, reference.evidence, blanked),
                fault=plan.name, meaning=plan.meaning, kills=kills, attempts=attempts,
            )  # fmt: skip
            if self._stage.settings.keep is None:
                shutil.rmtree(scene.folder, ignore_errors=True)
            if kills or not trial.proven:
                break
        return trial

    def _disturbed(
        self, scene: Scene, fault: str, instants: Sequence[float], batches: int
    ) -> tuple[Ended, tuple[str, ...], int]:
        """Run, killed as planned, and resume until it is done; return its end, where it was killed, and the tries."""
        kills: list[str] = []
        for number in count():
            instant = instants[number] if number < len(instants) else None
            meant = instant is not None or (bool(fault) and not number)
            ended = self._attempt(scene, fault=fault if not number else "", kill_after=instant, resume=number > 0)
            if not (ended.killed and meant) or ended.late:
                break
            kills.append(_how_far(scene.batches_done(), batches))
        return ended, tuple(kills), number + 1

    def _judged(self, scene: Scene, ended: Ended, expected: Evidence, blanked: frozenset[str]) -> Trial:
        """Hold what a run left against the reference."""
        done = ended.report is not None and ended.report["success"]
        counts = ended.report["counts"] if ended.report is not None and done else {}
        found = self._stage.evidence(scene, counts)
        difference = compare(expected.without(blanked), found.without(blanked))
        if done and difference.left:
            difference = replace(difference, left=self._unswept(scene, difference.left))
        if not done:  # what is missing was not lost: it may come yet
            difference = replace(difference, lost=Counter(), account="", left=())
        problem = None if done else f"did not come to its end: {_problem(scene, ended)}"
        problem = problem or (f"the account differs: {difference.account}" if difference.account else None)
        problem = problem or (f"left behind: {', '.join(difference.left)}" if difference.left else None)
        return Trial(
            fault="",
            meaning="",
            lost=difference.lost.total(),
            doubled=difference.doubled.total(),
            problem=problem,
            examples=tuple(_examples(difference.lost, difference.doubled)),
        )

    def _unswept(self, scene: Scene, left: Sequence[str]) -> tuple[str, ...]:
        """Return what is still there after the next run: killed when it was over, a run leaves its sweeping to that."""
        self._attempt(scene, again=True)
        there = hidden_names(scene.folder)
        return tuple(name for name in left if name in there)

    def _attempt(
        self,
        scene: Scene,
        *,
        fault: str = "",
        kill_after: float | None = None,
        resume: bool = False,
        again: bool = False,
    ) -> Ended:
        children = self._free.get()
        try:
            order = {**scene.order, "resume": resume, "again": again}
            return children.run(order, fault=fault, patience=self._patience, kill_after=kill_after)
        finally:
            next(self._reads)
            self._free.put(children)


def _notes(stage: Stage, reference: _Reference, blanked: frozenset[str]) -> Iterator[str]:
    """Yield what a proof does not prove."""
    records = reference.evidence.counts["extracted"]
    if records >= stage.limit:
        yield f"only the first {records:,} source records were used (--max-records)"
    if blanked:
        names = ", ".join(sorted(blanked))
        yield f"not compared, because the values differ between undisturbed runs, too: {names}"
    if stage.contract.loader.delivery() is Delivery.at_least_once:
        yield f"{stage.contract.load_type} promises only at_least_once: luck is no guarantee"
    if not stage.contract.envelope.checkpoint.enabled:
        yield "checkpoint.enabled is false: a run that was killed is not resumed but begun anew"
    yield "a source that changes between a kill and the resumed run was not tried"


def _how_far(done: int | None, batches: int) -> str:
    if done is None:
        return "start"
    return "end" if done >= batches else f"{done + 1} of {batches}"


def _problem(scene: Scene, ended: Ended) -> str:
    """Return why an attempt did not come to its end."""
    if ended.report is not None:
        return str(ended.report["error"])
    if ended.late:
        return "it hung, and was killed"
    why = f"the process ended with {ended.code}" + (" (out of memory?)" if ended.killed else "")
    last = scene.output().strip().rpartition("\n")[2]
    return f"{why}: {last}" if last else why


def _examples(lost: Counter[str], doubled: Counter[str], one: str = "lost", other: str = "doubled") -> Iterator[str]:
    for name, records in ((one, lost), (other, doubled)):
        for record, times in list(records.items())[:_EXAMPLES]:
            yield f"{name} {times:,} ×: {record if len(record) <= _LONGEST else record[:_LONGEST] + '…'}"
