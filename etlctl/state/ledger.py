"""The ledger: what ran, how it went, and every record that was rejected.

All methods block; the engine calls them from a thread. Every change is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, func, insert, or_, select, update

from etlctl.clock import Clock, SystemClock
from etlctl.errors import NotInLedgerError, StateError
from etlctl.redact import Redactor
from etlctl.run import Counts, DeadLetter, RunResult, RunStatus, StepCounts
from etlctl.state import rows, schema
from etlctl.state.records import CRASHED, RuleSummary, RunRecord, RunStart
from etlctl.state.store import Store, connect, database_file, state_url
from etlctl.state.upgrade import ensure_head

_CHUNK = 5_000
_PROGRESS_SECONDS = 1.0
_LETTER_KEY = ("run_id", "seq", "index", "part")
_LETTER_KEPT = frozenset({*_LETTER_KEY, "id", "status", "created_at"})
"""What a repeat leaves alone: its identity, and what a person decided about it."""


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
        self._rows = rows.RowMaker(redactor or Redactor())
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
        again = {**{name: value for name, value in row.items() if name not in {"id", "started_at"}}, "ended_at": None}
        again |= {"error": None, "error_type": None, "exit_code": None}
        with self.store.write() as connection:
            known = connection.execute(select(schema.runs.c.id).where(schema.runs.c.id == start.run_id)).first()
            if known is None:
                connection.execute(insert(schema.runs), row)
            else:
                connection.execute(update(schema.runs).where(schema.runs.c.id == start.run_id).values(again))

    def recorder(self, start: RunStart) -> RunRecorder:
        """Return the ledger as one run sees it."""
        return RunRecorder(self, start)

    def progress(self, run_id: str, counts: Counts, batches: int) -> None:
        """Record how far a run is. Cheap to call for every batch: at most one write a second."""
        now = self._clock.monotonic()
        if now - self._reported.get(run_id, float("-inf")) < _PROGRESS_SECONDS:
            return
        self._reported[run_id] = now
        values = {**counts.to_dict(), "batches": batches, "updated_at": self._clock.now()}
        with self.store.write() as connection:
            connection.execute(update(schema.runs).where(schema.runs.c.id == run_id).values(values))

    def finish_run(self, result: RunResult) -> None:
        """Record how a run ended, with its steps.

        Raises:
            StateError: The ledger does not know the run.
        """
        self._reported.pop(result.run_id, None)
        values = self._rows.finished(result, self._clock.now())
        steps = [self._rows.step(result, position, step) for position, step in enumerate(result.steps)]
        with self.store.write() as connection:
            changed = connection.execute(update(schema.runs).where(schema.runs.c.id == result.run_id).values(values))
            if changed.rowcount != 1:
                raise StateError(
                    f"the run {result.run_id} ended, but the ledger {self.store.where} does not know that it began",
                    help="the ledger was replaced while the run was going on; the run's own result is not affected",
                )
            connection.execute(delete(schema.steps).where(schema.steps.c.run_id == result.run_id))
            if steps:
                connection.execute(insert(schema.steps), steps)

    def note_report(self, run_id: str, path: str) -> None:
        """Record where the report of a run is."""
        with self.store.write() as connection:
            connection.execute(update(schema.runs).where(schema.runs.c.id == run_id).values(report=path))

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep rejected records, all of them or none. One that is there already is overwritten, its status kept."""
        if not letters:
            return
        statement = _upsert(schema.dead_letters, _LETTER_KEY, _LETTER_KEPT, sqlite=self.store.is_sqlite)
        now = self._clock.now()
        with self.store.write() as connection:
            for start in range(0, len(letters), _CHUNK):
                chunk = letters[start : start + _CHUNK]
                connection.execute(statement, [self._rows.letter(letter, now) for letter in chunk])

    # Reading

    def runs(self, limit: int = 20, contract: str | None = None, status: str | None = None) -> list[RunRecord]:
        """Return runs, the newest first.

        Args:
            limit: At most so many.
            contract: Only those of this contract.
            status: Only those shown with this status; ``crashed`` is one.
        """
        table = schema.runs
        query = select(table).order_by(table.c.started_at.desc(), table.c.id.desc())
        if contract is not None:
            query = query.where(table.c.contract == contract)
        if status in {CRASHED, RunStatus.running}:
            # Which of them crashed only the processes tell.
            query = query.where(table.c.status == str(RunStatus.running))
        else:
            query = query.limit(limit)
            query = query.where(table.c.status == str(status)) if status is not None else query
        found = [rows.run_record(row) for row in self._fetch(query)]
        return [run for run in found if status is None or run.shown_status == status][:limit]

    def run(self, run_id: str) -> RunRecord:
        """Return a run by its id or the beginning of it; ``run_`` may be left out.

        Raises:
            NotInLedgerError: There is none, or more than one.
        """
        return rows.run_record(self._one(schema.runs, run_id, "run", "etlctl runs list"))

    def steps(self, run_id: str) -> list[StepCounts]:
        """Return the steps of a run in order, those of its last attempt."""
        table = schema.steps
        last = select(func.max(table.c.attempt)).where(table.c.run_id == run_id).scalar_subquery()
        query = select(table).where(table.c.run_id == run_id, table.c.attempt == last).order_by(table.c.position)
        return [rows.step_counts(row) for row in self._fetch(query)]

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
        table = schema.dead_letters
        query = select(table).where(*_letter_filter(contract, run_id, rule, status))
        order = (table.c.run_id.desc(), table.c.seq, table.c.index, table.c.part)
        return [rows.dead_letter(row) for row in self._fetch(query.order_by(*order).limit(limit).offset(offset))]

    def dead_letter(self, letter_id: str) -> DeadLetter:
        """Return a rejected record by its id or the beginning of it; ``dl_`` may be left out.

        Raises:
            NotInLedgerError: There is none, or more than one.
        """
        return rows.dead_letter(self._one(schema.dead_letters, letter_id, "dead letter", "etlctl dead-letters list"))

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
        table = schema.dead_letters
        wanted = _letter_filter(contract, run_id, rule, status)
        number = func.count().label("number")
        counted = select(table.c.rule, table.c.stage, number).where(*wanted).group_by(table.c.rule, table.c.stage)
        found = list(self._fetch(counted.order_by(number.desc(), table.c.rule, table.c.stage)))
        first: dict[tuple[str, str], list[DeadLetter]] = {}
        if examples and found:
            for row in self._fetch(_first_of_each_rule(wanted, examples)):
                first.setdefault((row["rule"], row["stage"]), []).append(rows.dead_letter(row))
        return [
            RuleSummary(row["rule"], row["stage"], row["number"], tuple(first.get((row["rule"], row["stage"]), ())))
            for row in found
        ]

    def _fetch(self, query: Select[Any]) -> Iterator[Mapping[str, Any]]:
        with self.store.read() as connection:
            found = connection.execute(query).mappings().all()
        for row in found:
            yield dict(row)

    def _one(self, table: Table, wanted: str, kind: str, listing: str) -> Mapping[str, Any]:
        """Return the row with an id, or the only one whose id begins so."""
        prefix = "run_" if table is schema.runs else "dl_"
        full = wanted if wanted.startswith(prefix) else prefix + wanted
        with self.store.read() as connection:
            exact = (
                connection.execute(select(table).where(or_(table.c.id == wanted, table.c.id == full))).mappings().all()
            )
            if len(exact) == 1:
                return dict(exact[0])
            begin = select(table).where(table.c.id.startswith(full, autoescape=True)).order_by(table.c.id).limit(4)
            found = connection.execute(begin).mappings().all()
            if len(found) == 1:
                return dict(found[0])
            if found:
                ids = ", ".join(row["id"] for row in found[:3]) + (", …" if len(found) > 3 else "")
                raise NotInLedgerError(
                    f"{wanted!r} begins the id of more than one {kind}: {ids}", help="give more of it"
                )
            raise NotInLedgerError(
                f"there is no {kind} {wanted!r} in {self.store.where}",
                help=_suggestion(connection, table, full, listing),
            )


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


def _upsert(table: Table, key: Sequence[str], kept: frozenset[str], *, sqlite: bool) -> Any:
    """Return an insert that overwrites the row with the same key, except for the columns to keep."""
    if sqlite:
        from sqlalchemy.dialects.sqlite import insert as dialect_insert  # noqa: PLC0415
    else:
        from sqlalchemy.dialects.postgresql import insert as dialect_insert  # type: ignore[assignment]  # noqa: PLC0415
    statement = dialect_insert(table)
    changes = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in kept}
    return statement.on_conflict_do_update(index_elements=list(key), set_=changes)


def _letter_filter(
    contract: str | None, run_id: str | None, rule: str | None, status: str | None
) -> list[ColumnElement[bool]]:
    table = schema.dead_letters.c
    equal = {"contract": contract, "run_id": run_id, "status": status}
    wanted: list[ColumnElement[bool]] = [table[name] == value for name, value in equal.items() if value is not None]
    if rule is not None:
        wanted.append(or_(table.rule == rule, table.rule.startswith(rule + ".", autoescape=True)))
    return wanted


def _first_of_each_rule(wanted: list[ColumnElement[bool]], examples: int) -> Select[Any]:
    table = schema.dead_letters
    order = (table.c.run_id.desc(), table.c.seq, table.c.index, table.c.part)
    place = func.row_number().over(partition_by=(table.c.rule, table.c.stage), order_by=order).label("place")
    numbered = select(table.c.id, place).where(*wanted).subquery()
    return (
        select(table).join(numbered, numbered.c.id == table.c.id).where(numbered.c.place <= examples).order_by(*order)
    )


def _suggestion(connection: Connection, table: Table, wanted: str, listing: str) -> str:
    import difflib  # noqa: PLC0415

    recent = connection.execute(select(table.c.id).order_by(table.c.id.desc()).limit(200)).scalars().all()
    close = difflib.get_close_matches(wanted, recent, n=1)
    return (f"did you mean {close[0]}? " if close else "") + f"see them with: {listing}"
