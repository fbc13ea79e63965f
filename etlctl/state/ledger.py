"""The ledger: what ran, how it went, and every record that was rejected.

All methods block; the engine calls them from a thread. Every change is one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Self

from etlctl.clock import Clock, SystemClock
from etlctl.errors import StateError
from etlctl.redact import Redactor
from etlctl.run import Counts, DeadLetter, RunResult, StepCounts
from etlctl.state import rows, statements
from etlctl.state.location import database_file, state_url
from etlctl.state.payload import storable
from etlctl.state.records import RuleSummary, RunStart
from etlctl.state.store import Store, connect
from etlctl.state.upgrade import ensure_head

if TYPE_CHECKING:
    from etlctl.state.reading import Reader
    from etlctl.state.run_record import RunRecord

_PROGRESS_SECONDS = 1.0


def open_ledger(
    url: str | None = None,
    state_dir: Path | None = None,
    *,
    redactor: Redactor | None = None,
    create: bool = True,
    clock: Clock | None = None,
) -> Ledger:
    """Open the ledger, upgrading a SQLite one that is behind.

    Args:
        url: Database URL; by default ``ETLCTL_STATE_URL``, else SQLite at ``state_dir/state.db``.
        state_dir: Folder of the state, by default ``.etlctl`` in the current one.
        redactor: Masks secrets in everything that is stored. Secrets it learns later count too.
        create: Make a SQLite file that is missing; otherwise the ledger is an empty one in memory. For reading.
        clock: Tells the time.

    Raises:
        StateError: The state store is out of reach, read-only, damaged, behind or too new.
        MissingExtraError: PostgreSQL is asked for and its driver is not installed.
    """
    where = state_url(url, state_dir)
    file = database_file(where)
    if not create and file is not None and not file.exists():
        where = state_url("sqlite://")
    store = connect(where)
    try:
        ensure_head(store)
    except BaseException:
        store.close()
        raise
    return Ledger(store, redactor=redactor, clock=clock)


class Ledger:
    """Runs, steps and dead letters in the state store. Close it, or use it as a context manager.

    Args:
        store: The open state store.
        redactor: Masks secrets in everything that is stored.
        clock: Tells the time.
    """

    def __init__(self, store: Store, *, redactor: Redactor | None = None, clock: Clock | None = None) -> None:
        self.store = store
        self._rows = rows.RowMaker(redactor or Redactor(), is_sqlite=store.is_sqlite)
        self._clock = clock or SystemClock()
        self._reported: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.store.close()

    @property
    def description(self) -> str:
        """Which database this is, for people."""
        return f"{'SQLite' if self.store.is_sqlite else 'PostgreSQL'} at {self.store.where}"

    # Writing

    def start_run(self, start: RunStart) -> None:
        """Record that a run begins. A run that is resumed keeps its row and its counts."""
        row = self._rows.started(start, self._clock.now())
        with self.store.transaction() as connection:
            connection.run(statements.START_RUN, row)

    def recorder(self, start: RunStart) -> RunRecorder:
        """Return the ledger as one run sees it."""
        return RunRecorder(self, start)

    def progress(self, run_id: str, counts: Counts, batches: int) -> None:
        """Record how far a run is. Cheap to call for every batch: at most one write a second."""
        now = self._clock.monotonic()
        if now - self._reported.get(run_id, float("-inf")) < _PROGRESS_SECONDS:
            return
        self._reported[run_id] = now
        row = self._rows.progress(run_id, counts, batches, self._clock.now())
        with self.store.transaction() as connection:
            connection.run(statements.PROGRESS, row)

    def finish_run(self, result: RunResult) -> None:
        """Record how a run ended, with its steps.

        Raises:
            StateError: The ledger does not know the run.
        """
        self._reported.pop(result.run_id, None)
        row = self._rows.finished(result, self._clock.now())
        steps = [self._rows.step(result, position, step) for position, step in enumerate(result.steps)]
        with self.store.transaction() as connection:
            if connection.run(statements.FINISH_RUN, row) != 1:
                raise StateError(
                    f"the run {result.run_id} ended, but the ledger {self.store.where} does not know that it began",
                    help="the ledger was replaced while the run was going on; the run's own result is not affected",
                )
            connection.run(statements.DELETE_STEPS, {"run_id": result.run_id})
            connection.run_many(statements.ADD_STEP, steps)

    def note_report(self, run_id: str, path: str) -> None:
        """Record where the report of a run is."""
        with self.store.transaction() as connection:
            connection.run(statements.NOTE_REPORT, {"id": run_id, "report": storable(path)})

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep rejected records, all of them or none. One that is there already is overwritten, its status kept."""
        if not letters:
            return
        now = self._clock.now()
        columns = statements.LETTER_COLUMNS
        values = itemgetter(*columns)
        # Before the lock is taken, so that other runs write meanwhile; as tuples, which are small.
        encoded = [values(self._rows.letter(letter, now)) for letter in letters]
        with self.store.transaction() as connection:
            connection.run_many(statements.ADD_DEAD_LETTER, (dict(zip(columns, row, strict=True)) for row in encoded))

    # Reading

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
        """Return the steps of a run in order, those of its last attempt."""
        return self._reader.steps(run_id)

    def dead_letters(
        self,
        contract: str | None = None,
        run_id: str | None = None,
        rule: str | None = None,
        status: str | None = "open",
        *,
        limit: int = 50,
        offset: int = 0,
    ) -> list[DeadLetter]:
        """Return rejected records: the newest run first, within a run in the order of the source.

        Args:
            contract: Only those of this contract.
            run_id: Only those of this run.
            rule: Only those that broke this rule; ``convert`` means all of ``convert.…``.
            status: Only those with this status; None for all.
            limit: At most so many.
            offset: Leave out so many first.
        """
        return self._reader.dead_letters(contract, run_id, rule, status, limit=limit, offset=offset)

    def dead_letter(self, letter_id: str) -> DeadLetter:
        """Return a rejected record by its id or the beginning of it; ``dl_`` may be left out.

        Raises:
            NotInLedgerError: There is none, or more than one.
        """
        return self._reader.dead_letter(letter_id)

    def count_dead_letters(
        self,
        contract: str | None = None,
        run_id: str | None = None,
        rule: str | None = None,
        status: str | None = "open",
        *,
        examples: int = 0,
    ) -> list[RuleSummary]:
        """Return how many records broke each rule, the most frequent first.

        Args:
            contract: Only those of this contract.
            run_id: Only those of this run.
            rule: Only this rule, or all that begin with it and a dot.
            status: Only those with this status; None for all.
            examples: How many records to give along for each rule.
        """
        where, values = statements.letters_where(contract, run_id, rule, status)
        first: dict[tuple[str, str], list[DeadLetter]] = {}
        with self.store.transaction(writing=False) as connection:
            found = connection.fetch(statements.count_letters(where), values)
            if examples and found:
                for row in connection.fetch(statements.first_letters(where), {**values, "examples": examples}):
                    first.setdefault((row["rule"], row["stage"]), []).append(rows.dead_letter(row))
        return [
            RuleSummary(row["rule"], row["stage"], row["number"], tuple(first.get((row["rule"], row["stage"]), ())))
            for row in found
        ]

    @property
    def _reader(self) -> Reader:
        from etlctl.state.reading import Reader  # noqa: PLC0415

        return Reader(self.store)


class RunRecorder:
    """The ledger as the engine sees it during one run.

    Args:
        ledger: Where everything goes.
        start: What is known of the run; id and time are the engine's.
    """

    def __init__(self, ledger: Ledger, start: RunStart) -> None:
        self._ledger = ledger
        self._start = start

    def start_run(self, run_id: str, started_at: datetime) -> None:
        """Record that the run began."""
        self._ledger.start_run(replace(self._start, run_id=run_id, started_at=started_at))

    def progress(self, run_id: str, counts: Counts, batches: int) -> None:
        """Record how far the run is."""
        self._ledger.progress(run_id, counts, batches)

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep rejected records; a repeat overwrites."""
        self._ledger.add_dead_letters(letters)

    def finish_run(self, result: RunResult) -> None:
        """Record how the run ended."""
        self._ledger.finish_run(result)
