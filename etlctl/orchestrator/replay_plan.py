"""Plans replays: which source records of which run, through which contract, and what cannot be replayed.

All functions block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.errors import NotInLedgerError, StateError
from etlctl.frozen import frozen
from etlctl.orchestrator import replay_book as book
from etlctl.orchestrator.replay_book import Letters, Settled, Wanted
from etlctl.orchestrator.replay_fitness import (
    Unfit,
    additive_loader,
    check_params,
    is_keyed,
    multiplied_before,
    target_of,
    unfit_letter,
    unfit_run,
)
from etlctl.orchestrator.replay_masked import after_masks, masked_fields, unfit_mask
from etlctl.orchestrator.replay_text import REPLAY, Place, Selection
from etlctl.run import DeadLetter, RunResult, StepCounts

if TYPE_CHECKING:
    from etlctl.contract.model import Contract
    from etlctl.state.ledger import Ledger
    from etlctl.state.run_record import RunRecord


@frozen(kw_only=True)
class Replayed:
    """How the replay of one run's dead letters went.

    Attributes:
        contract: The contract.
        of_run: The run whose letters they are.
        letters: Ids of the letters.
        records: Source records they stand for.
        result: How the replay ended; None when it did not begin, or was only planned.
        settled: What became of the letters.
        error: Why it failed, when it did.
        error_help: What to do about it.
        exit_code: What the command line exits with for the error.
        finished_earlier: It is a replay that was begun by an earlier command and had not come to its end.
    """

    contract: str
    of_run: str
    letters: tuple[str, ...]
    records: int
    result: RunResult | None = None
    settled: Settled = field(default_factory=Settled)
    error: str | None = None
    error_help: str | None = None
    exit_code: int = 0
    finished_earlier: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        return {
            "contract": self.contract,
            "of_run": self.of_run,
            "letters": list(self.letters),
            "records": self.records,
            "run_id": self.result.run_id if self.result else None,
            "loaded": self.result.records if self.result else 0,
            "replayed_letters": self.settled.replayed,
            "rejected_again": list(self.settled.again),
            "error": self.error,
            "error_help": self.error_help,
            "exit_code": self.exit_code,
            "finished_earlier": self.finished_earlier,
        }


@frozen
class Outcome:
    """What a replay did, run by run, and the letters that cannot be replayed."""

    replays: list[Replayed] = field(default_factory=list)
    unfit: list[Unfit] = field(default_factory=list)


@frozen(kw_only=True)
class Job:
    """The replay of some source records of one run.

    Attributes:
        letters: The dead letters of the run.
        selection: Which of its source records.
        resumes: An earlier replay of them that did not finish.
    """

    letters: Letters
    selection: Selection
    resumes: RunRecord | None = None

    @property
    def groups(self) -> list[list[DeadLetter]]:
        """The letters of each source record."""
        return self.letters.of(self.selection)

    @property
    def target(self) -> frozenset[str]:
        """The destinations the records are missing in; empty: all."""
        targets = {target_of(group) for group in self.groups}
        return next(iter(targets)) if len(targets) == 1 else frozenset()

    def outcome(self, **more: Any) -> Replayed:
        """Return how the replay went; ``more`` are further attributes."""
        run, groups = self.letters.run, self.groups
        ids = tuple(letter.id for group in groups for letter in group)
        earlier = self.resumes is not None
        return Replayed(
            contract=run.contract,
            of_run=run.run_id,
            letters=ids,
            records=len(groups),
            finished_earlier=earlier,
            **more,
        )


class Planner:
    """Plans replays of the dead letters of a ledger.

    Args:
        state_dir: Folder of the ledger.
        state_url: Where the ledger is, when it is not in ``state_dir``.
        environ: Environment variables for contracts; None is the process's own.
        params: Parameters that were secrets and are given again.
        contract_path: Where the contract is now, if it was moved.
        root: Folder that relative paths of contracts start at: the workspace.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        root: Path,
        state_url: str | None = None,
        environ: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        contract_path: Path | None = None,
    ) -> None:
        self.state_dir = state_dir
        self.state_url = state_url
        self.environ = environ
        self._params = dict(params or {})
        self._contract_path = contract_path
        self._root = root

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Open the ledger."""
        from etlctl.state.ledger import open_ledger  # noqa: PLC0415

        with open_ledger(self.state_url, self.state_dir, create=False) as ledger:
            yield ledger

    def jobs(self, wanted: Wanted, *, strict: bool = True) -> tuple[list[Job], list[Unfit]]:
        """Group the letters that are meant by their runs, without those that cannot be replayed anyway.

        Args:
            wanted: Which letters.
            strict: Naming one that is settled already is an error.

        Raises:
            NotInLedgerError: An id is not known.
            StateError: A letter that was named is settled already.
        """
        jobs: list[Job] = []
        unfit: list[Unfit] = []
        with self.ledger() as ledger:
            chosen: dict[str, list[DeadLetter]] = {}
            for letter in book.open_letters(ledger, wanted, strict=strict):
                chosen.setdefault(letter.run_id, []).append(letter)
            for run_id, letters in sorted(chosen.items()):
                try:
                    run = ledger.run(run_id)
                    why = unfit_run(run)
                except NotInLedgerError:
                    why = (f"run {run_id} is not in the ledger any more", "discard it")
                if why is not None:
                    unfit += [Unfit(letter, *why) for letter in letters]
                    continue
                jobs += _by_target(book.letters_of(ledger, run), ((letter.seq, letter.index) for letter in letters))
        return jobs, unfit

    def prepared(self, job: Job) -> tuple[Contract, Job, list[Unfit]]:
        """Compile the contract for a job; leave out records that cannot be replayed.

        Raises:
            EtlctlError: Nothing of the run can be replayed.
        """
        run = job.letters.run
        with self.ledger() as ledger:
            began = book.origin(ledger, run).started_at
            steps = ledger.steps(run.run_id)
            later = book.later_runs(ledger, run)
        contract = self._contract(run, began)
        loader = additive_loader(contract, run, later, job.target)
        unfit: list[Unfit] = []
        fit = []
        masked = masked_fields(job.groups[0][0].raw) if job.groups else ()
        for place, group in zip(job.selection.places, job.groups, strict=True):
            why = (unfit_mask(letter, masked, contract.steps) or unfit_letter(letter) for letter in group)
            found = [one for one in why if one is not None]
            if not found and not is_keyed(loader):
                found = _partly_loaded(group, steps)
            if found and job.resumes is None:
                unfit += [replace(found[0], letter=letter) for letter in group]
            else:
                fit.append(place)
        selection = Selection.of(run.run_id, fit)
        changed = replace(
            contract,
            steps=after_masks(contract.steps, masked),
            loader=loader,
            stream=book.base_stream(run) + REPLAY,
            params={**contract.params, REPLAY: str(selection)},
            increment=None,  # what was rejected lies behind the cursor
            load_envelope=contract.load_envelope.model_copy(update={"dead_letters": None}),
        )
        return changed, replace(job, selection=selection), unfit

    def _contract(self, run: RunRecord, began: datetime) -> Contract:
        from etlctl.contract.compile import load_contract  # noqa: PLC0415
        from etlctl.orchestrator.incremental import finder  # noqa: PLC0415
        from etlctl.state.ledger import open_ledger  # noqa: PLC0415

        check_params(run, self._params)
        params = {name: value for name, value in run.params.items() if name != REPLAY}
        # ``${run_date}`` is the date of the run: what it leads to is where the record belongs.
        return load_contract(
            self._place(run),
            params={**params, **self._params},
            environ=self.environ,
            now=began,
            increment_of=finder(lambda: open_ledger(self.state_url, self.state_dir, create=False)),
        )

    def _place(self, run: RunRecord) -> Path:
        if self._contract_path is not None:
            return self._contract_path
        for folder in (Path.cwd(), self._root):
            found = folder / run.contract_path
            if run.contract_path and found.exists():
                return found
        raise StateError(
            f"the contract of run {run.run_id} is not at {run.contract_path or 'any known place'} any more",
            help="say where it is now: etlctl dead-letters replay … --contract-path contracts/…",
        )


def _by_target(letters: Letters, places: Iterable[Place]) -> list[Job]:
    """Return one job for the records that are missing in the same destinations."""
    chosen: dict[frozenset[str], list[Place]] = {}
    for place in dict.fromkeys(places):
        chosen.setdefault(target_of(letters.by_place[place]), []).append(place)
    run_id = letters.run.run_id
    ordered = sorted(chosen.items(), key=lambda one: sorted(one[0]))
    return [Job(letters=letters, selection=Selection.of(run_id, mine)) for _, mine in ordered]


def _partly_loaded(group: Sequence[DeadLetter], steps: Sequence[StepCounts]) -> list[Unfit]:
    for letter in group:
        step = multiplied_before(letter, steps)
        if step is not None:
            return [
                Unfit(
                    letter,
                    f"step {step} makes several records of one, and others of this one may be loaded: a replay would "
                    "load those twice",
                    "load by key (write_method: upsert), or correct it at the destination by hand and discard it",
                )
            ]
    return []
