"""Moving a cursor: never back by a run, with a row of history, in whatever transaction it belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from etlctl.cursor import CursorMove, Recent, comparable, merged
from etlctl.errors import StateError
from etlctl.frozen import frozen
from etlctl.ids import new_id
from etlctl.state import statements
from etlctl.state.column_values import aware
from etlctl.state.connection import PlainConnection
from etlctl.state.payload import storable
from etlctl.state.rows import RowMaker
from etlctl.temporal import Unparsable

RUN, SET, RESET, ADVANCE = "run", "set", "reset", "advance"
"""How a cursor was moved."""


@frozen(kw_only=True)
class CursorHistory:
    """One move of a cursor.

    Attributes:
        stream: Contract and parameter set.
        field: The field.
        before: Where it stood, in the source's own text; None: nowhere yet.
        after: Where it stands since; None: it was reset.
        value_type: How to compare it.
        how: ``run``, ``set``, ``reset`` or ``advance`` (by a program).
        run_id: The run that moved it.
        moved_at: When, UTC; of a run that moved it several times the last time.
    """

    stream: str
    field: str
    before: str | None
    after: str | None
    value_type: str
    how: str
    run_id: str | None
    moved_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"moved_at": self.moved_at.isoformat()}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> CursorHistory:
        """Return the move of a row."""
        names = ("stream", "field", "before", "after", "value_type", "how", "run_id")
        return cls(**{name: row[name] for name in names}, moved_at=aware(row["moved_at"]))


def checked(stream: str, field: str, value: str) -> str:
    """Return a cursor value that can be stored as it is.

    Raises:
        StateError: It has a character that cannot be stored: it would not come back as it is.
    """
    if storable(value) != value:
        raise StateError(
            f"the cursor {field} of {stream} cannot be kept: {value!r} has a character that no database takes",
            help="choose another cursor field, or clean the field before it becomes the cursor",
        )
    return value


def move(connection: PlainConnection, rows: RowMaker, moved: CursorMove, run_id: str | None, now: datetime) -> None:
    """Move a cursor to where a run has come; it never goes back, and what was loaded at it is remembered.

    Args:
        connection: In a transaction.
        rows: Makes rows.
        moved: Where to.
        run_id: The run.
        now: UTC.
    """
    stream = rows.text(moved.stream)
    found = connection.fetch(statements.CURSOR, {"stream": stream, "field": moved.field})
    before = found[0] if found else None
    recent: Recent = moved.recent
    if before is not None and before["value_type"] == moved.value_type:
        try:
            old, new = (comparable(text, moved.value_type) for text in (before["value"], moved.value))
        except Unparsable:
            old = new = None  # what stands there is no such value: nothing to hold on to
        if old is not None and new < old:
            return
        if old == new and old is not None:
            recent = merged(json.loads(before["recent"] or "{}"), recent)
            moved_on = before["value"] != moved.value
            write(connection, rows, stored_row(rows, moved, run_id, recent), now)
            if moved_on:
                note(connection, rows, by_run(moved, before["value"], run_id, now))
            return
    write(connection, rows, stored_row(rows, moved, run_id, recent), now)
    note(connection, rows, by_run(moved, None if before is None else before["value"], run_id, now))


def stored_row(
    rows: RowMaker, moved: CursorMove, run_id: str | None, recent: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the row of a cursor, without the instant."""
    return {
        "stream": rows.text(moved.stream),
        "field": moved.field,
        "value": checked(moved.stream, moved.field, moved.value),
        "value_type": moved.value_type,
        "run_id": run_id,
        "recent": json.dumps(recent, separators=(",", ":")) if recent else None,
    }


def write(connection: PlainConnection, rows: RowMaker, row: dict[str, Any], now: datetime) -> None:
    """Make a cursor, or move it."""
    connection.run(statements.SET_CURSOR, {**row, "updated_at": rows.instant(now)})


def note(connection: PlainConnection, rows: RowMaker, made: CursorHistory) -> None:
    """Add a move to the history; those of one run are one row."""
    row = {
        "stream": rows.text(made.stream),
        "field": made.field,
        "id": made.run_id or new_id("mv"),
        "before": made.before,
        "after": made.after,
        "value_type": made.value_type,
        "how": made.how,
        "run_id": made.run_id,
        "moved_at": rows.instant(made.moved_at),
    }
    connection.run(statements.ADD_CURSOR_MOVE, row)


def by_run(moved: CursorMove, before: str | None, run_id: str | None, now: datetime) -> CursorHistory:
    """Return the move of a run."""
    return CursorHistory(
        stream=moved.stream,
        field=moved.field,
        before=before,
        after=moved.value,
        value_type=moved.value_type,
        how=RUN,
        run_id=run_id,
        moved_at=now,
    )
