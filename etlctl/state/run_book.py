"""The runs of the ledger: how each began, how far it is, every try of its steps, how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from etlctl.clock import Clock
from etlctl.cursor import CursorMove
from etlctl.errors import StateError
from etlctl.quality import PastRun
from etlctl.redact import Redactor
from etlctl.run import Counts, RunResult, RunStatus, StepAttempt, StepCounts
from etlctl.state import cursor_moves, statements
from etlctl.state.connection import PlainConnection
from etlctl.state.ledger_part import LedgerPart
from etlctl.state.payload import storable
from etlctl.state.records import RunStart
from etlctl.state.run_record import CRASHED, RunRecord, past_run, run_record
from etlctl.state.store import Store

if TYPE_CHECKING:
    from etlctl.state.step_record import StepRecord

_PROGRESS_SECONDS = 1.0
_UNFINISHED = {str(RunStatus.failed), str(RunStatus.canceled), CRASHED}


class RunBook(LedgerPart):
    """Runs and their steps.

    Where a fence is asked for, a process whose run was taken over by another one changes nothing and is told so.
    """

    def __init__(self, store: Store, *, redactor: Redactor | None = None, clock: Clock | None = None) -> None:
        super().__init__(store, redactor=redactor, clock=clock)
        self._reported: dict[str, float] = {}

    # Writing

    def start_run(self, start: RunStart) -> None:
        """Record that a run begins that claims nothing, as a dry run. A repeat keeps the row and its counts."""
        row = self._rows.started(start, self._clock.now())
        with self.store.transaction() as connection:
            connection.run(statements.START_RUN, row)

    def progress(self, run_id: str, counts: Counts, batches: int, *, fence: int | None = None) -> None:
        """Record how far a run is. Cheap to call for every batch: at most one write a second.

        Args:
            run_id: The run.
            counts: Records so far.
            batches: Batches so far.
            fence: The caller's; a run that has a newer one is left alone.
        """
        now = self._clock.monotonic()
        if now - self._reported.get(run_id, float("-inf")) < _PROGRESS_SECONDS:
            return
        self._reported[run_id] = now
        row = self._rows.progress(run_id, counts, batches, self._clock.now())
        with self.store.transaction() as connection:
            if fence is None:
                connection.run(statements.PROGRESS, row)
            else:
                connection.run(statements.PROGRESS_FENCED, {**row, "fence": fence})

    def add_attempts(self, run_id: str, attempts: Sequence[StepAttempt], *, fence: int | None = None) -> None:
        """Keep tries of steps that did not work out, whatever comes after.

        Raises:
            FencedError: Another process has taken the run over.
        """
        if not attempts:
            return
        made = [self._rows.attempt(run_id, attempt) for attempt in attempts]
        with self.store.transaction() as connection:
            self._check_fence(connection, run_id, fence)
            connection.run_many(statements.ADD_STEP, _numbered(connection, run_id, made))

    def finish_run(self, result: RunResult, *, fence: int | None = None, moved: CursorMove | None = None) -> None:
        """Record how a run ended, with the last try of each step, and give its lease back.

        Args:
            result: How it ended.
            fence: The fence it ran with; None for a run that claimed nothing.
            moved: Where it moves the cursor of its stream.

        Raises:
            FencedError: Another process has taken the run over; nothing is recorded.
            StateError: The ledger does not know the run.
        """
        self._reported.pop(result.run_id, None)
        now = self._clock.now()
        row = self._rows.finished(result, now)
        made = [self._rows.step(result, position, step) for position, step in enumerate(result.steps)]
        with self.store.transaction() as connection:
            finish = statements.FINISH_RUN if fence is None else statements.FINISH_RUN_FENCED
            if connection.run(finish, row if fence is None else {**row, "fence": fence}) != 1:
                self._check_fence(connection, result.run_id, fence)
                raise StateError(
                    f"the run {result.run_id} ended, but the ledger {self.store.where} does not know that it began",
                    help="the ledger was replaced while the run was going on; the run's own result is not affected",
                )
            if moved is not None:
                cursor_moves.move(connection, self._rows, moved, result.run_id, now)
            if result.checkpoint_id is None and not result.success:
                connection.run(statements.FORGET_CHECKPOINT, {"id": result.run_id})
            if fence is not None:
                self._give_back(connection, result.run_id, fence, made)
            connection.run_many(statements.ADD_STEP, _numbered(connection, result.run_id, made))

    def _give_back(self, connection: PlainConnection, run_id: str, fence: int, steps: list[dict[str, Any]]) -> None:
        """Give the lease back; the steps' last try began with it, not with the first attempt of the run."""
        (run,) = connection.fetch(statements.RUN_FENCE, {"id": run_id})
        lease = self._lease(connection, run["stream"])
        if lease is None or lease.fence != fence:
            return
        for step in steps:
            step["started_at"] = self._rows.instant(lease.acquired_at)
        now = self._rows.instant(self._clock.now())
        connection.run(statements.RELEASE_LEASE, {"stream": run["stream"], "fence": fence, "expires_at": now})

    def check_run(self, run_id: str, fence: int) -> None:
        """Make sure that nobody has taken a run over.

        Raises:
            FencedError: Somebody has.
        """
        with self.store.transaction(writing=False) as connection:
            self._check_fence(connection, run_id, fence)

    def note_report(self, run_id: str, path: str) -> None:
        """Record where the report of a run is."""
        with self.store.transaction() as connection:
            connection.run(statements.NOTE_REPORT, {"id": run_id, "report": storable(path)})

    # Reading

    def find_unfinished(self, stream: str) -> RunRecord | None:
        """Return the latest run of a stream that failed, was stopped or crashed and can be resumed.

        None when a later run has finished: what is left of an older one is history then.
        """
        values = {"stream": self._rows.text(stream), "dry_run": False}
        with self.store.transaction(writing=False) as connection:
            found = connection.fetch(statements.LATEST_OF_STREAM, values)
        for row in found:
            run = run_record(row)
            if run.status in {RunStatus.succeeded, RunStatus.partial}:
                return None
            if run.shown_status in _UNFINISHED and run.checkpoint_id is not None:
                return run
        return None

    def history(self, stream: str, limit: int) -> list[PastRun]:
        """Return the runs of a stream that finished, dry runs left out, the newest first.

        Args:
            stream: Contract and parameter set.
            limit: At most so many.
        """
        values = {"stream": self._rows.text(stream), "dry_run": False, "limit": limit}
        with self.store.transaction(writing=False) as connection:
            found = connection.fetch(statements.FINISHED_OF_STREAM, values)
        return [past_run(row) for row in found]

    def run_of_checkpoint(self, checkpoint_id: str) -> RunRecord | None:
        """Return the latest run that a checkpoint was or is of, also when the run is done and the checkpoint gone."""
        values = {"checkpoint_id": self._rows.text(checkpoint_id)}
        with self.store.transaction(writing=False) as connection:
            found = connection.fetch(statements.RUN_OF_CHECKPOINT, values)
        return run_record(found[0]) if found else None

    def run_of_key(self, contract: str, run_key: str) -> RunRecord | None:
        """Return the run of a contract with a run key, None when there is none."""
        values = {"contract": self._rows.text(contract), "run_key": self._rows.text(run_key)}
        with self.store.transaction(writing=False) as connection:
            found = connection.fetch(statements.RUN_BY_KEY, values)
        return run_record(found[0]) if found else None

    def runs(self, limit: int = 20, contract: str | None = None, status: str | None = None) -> list[RunRecord]:
        """Return runs, the newest first.

        Args:
            limit: At most so many.
            contract: Only those of this contract.
            status: Only those shown with this status; ``crashed`` is one.
        """
        return self._reader.runs(limit, contract, status)

    def run(self, run_id: str) -> RunRecord:
        """Return a run by its id or the beginning of it; ``run_`` may be left out.

        Raises:
            NotInLedgerError: There is none, or more than one.
        """
        return self._reader.run(run_id)

    def steps(self, run_id: str) -> list[StepCounts]:
        """Return the steps of a run in order, each as its last try left it."""
        return self._reader.steps(run_id)

    def attempts(self, run_id: str) -> list[StepRecord]:
        """Return every try of every step of a run, step by step, the first try first."""
        return self._reader.attempts(run_id)


def _numbered(connection: PlainConnection, run_id: str, made: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Number rows of steps after those that are there."""
    last = {row["position"]: row["attempt"] for row in connection.fetch(statements.LAST_ATTEMPTS, {"run_id": run_id})}
    numbered = []
    for row in made:
        attempt = last[row["position"]] = last.get(row["position"], 0) + 1
        numbered.append({**row, "attempt": attempt})
    return numbered
