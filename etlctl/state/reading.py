"""What is asked of the ledger when no run is waiting: lists, pages, one record by the beginning of its id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Select, Table, func, or_, select, text

from etlctl.errors import NotInLedgerError
from etlctl.run import DeadLetter, RunStatus, StepCounts
from etlctl.state import rows, schema
from etlctl.state.run_record import CRASHED, RunRecord, run_record
from etlctl.state.shared_raw import dead_letters
from etlctl.state.statements import LETTER_ORDER, letters_where
from etlctl.state.step_record import StepRecord, step_record
from etlctl.state.store import Store


class Reader:
    """Reads runs, steps and dead letters; ``Ledger`` documents each question.

    Args:
        store: The open state store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def runs(self, limit: int, contract: str | None, status: str | None) -> list[RunRecord]:
        """Return runs, the newest first."""
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
        found = [run_record(row) for row in self._fetch(query)]
        return [run for run in found if status is None or run.shown_status == status][:limit]

    def run(self, run_id: str) -> RunRecord:
        """Return a run by its id or the beginning of it."""
        return run_record(self._one(schema.runs, run_id, "run", "etlctl runs list"))

    def steps(self, run_id: str) -> list[StepCounts]:
        """Return the steps of a run in order, each as its last try left it."""
        table = schema.steps
        last = (
            select(table.c.position, func.max(table.c.attempt).label("attempt"))
            .where(table.c.run_id == run_id)
            .group_by(table.c.position)
            .subquery()
        )
        is_last = (last.c.position == table.c.position) & (last.c.attempt == table.c.attempt)
        query = select(table).join(last, is_last).where(table.c.run_id == run_id).order_by(table.c.position)
        return [rows.step_counts(row) for row in self._fetch(query)]

    def attempts(self, run_id: str) -> list[StepRecord]:
        """Return every try of every step of a run, step by step."""
        table = schema.steps
        query = select(table).where(table.c.run_id == run_id).order_by(table.c.position, table.c.attempt)
        return [step_record(row) for row in self._fetch(query)]

    def dead_letters(
        self,
        contract: str | None,
        run_id: str | None,
        rule: str | None,
        status: str | None,
        *,
        limit: int,
        offset: int,
    ) -> list[DeadLetter]:
        """Return a page of rejected records."""
        where, values = letters_where(contract, run_id, rule, status)
        query = select(schema.dead_letters).where(text(where).bindparams(**values)).order_by(text(LETTER_ORDER))
        return self._letters(self._fetch(query.limit(limit).offset(offset)))

    def dead_letter(self, letter_id: str) -> DeadLetter:
        """Return a rejected record by its id or the beginning of it."""
        row = self._one(schema.dead_letters, letter_id, "dead letter", "etlctl dead-letters list")
        (letter,) = self._letters([row])
        return letter

    def _letters(self, found: Iterable[Mapping[str, Any]]) -> list[DeadLetter]:
        letters = list(found)
        if not letters:
            return []
        with self._store.transaction(writing=False) as connection:
            return list(dead_letters(letters, connection))

    def _fetch(self, query: Select[Any]) -> Iterator[Mapping[str, Any]]:
        with self._store.read() as connection:
            found = connection.execute(query).mappings().all()
        for row in found:
            yield dict(row)

    def _one(self, table: Table, wanted: str, kind: str, listing: str) -> Mapping[str, Any]:
        """Return the row with an id, or the only one whose id begins so."""
        prefix = "run_" if table is schema.runs else "dl_"
        full = wanted if wanted.startswith(prefix) else prefix + wanted
        with self._store.read() as connection:
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
                f"there is no {kind} {wanted!r} in {self._store.where}",
                help=_suggestion(connection, table, full, listing),
            )


def _suggestion(connection: Connection, table: Table, wanted: str, listing: str) -> str:
    import difflib  # noqa: PLC0415

    recent = connection.execute(select(table.c.id).order_by(table.c.id.desc()).limit(200)).scalars().all()
    close = difflib.get_close_matches(wanted, recent, n=1)
    return (f"did you mean {close[0]}? " if close else "") + f"see them with: {listing}"
