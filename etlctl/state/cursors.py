"""The cursors of the ledger: how far the incremental fields of each stream are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field as dataclass_field
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from etlctl.cursor import CursorMove, Recent, ValueType
from etlctl.errors import RunBusyError
from etlctl.frozen import frozen
from etlctl.state import cursor_moves, statements
from etlctl.state.column_values import instant
from etlctl.state.connection import PlainConnection
from etlctl.state.cursor_moves import CursorHistory
from etlctl.state.lease import busy
from etlctl.state.ledger_part import LedgerPart


@frozen(kw_only=True)
class StoredCursor:
    """How far an incremental field of a stream is.

    Attributes:
        stream: Contract and parameter set.
        field: The field.
        value: Its high-water mark in the source's own text, never rounded.
        value_type: How to compare it, such as ``datetime`` or ``integer``.
        run_id: The run that moved it last; None when a person set it.
        updated_at: When, UTC; the ledger fills it in.
        recent: Records that were loaded at it, or within the lag below it.
    """

    stream: str
    field: str
    value: str
    value_type: str
    run_id: str | None = None
    updated_at: datetime | None = None
    recent: Recent = dataclass_field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values, without the records that are remembered."""
        return {
            "stream": self.stream,
            "field": self.field,
            "value": self.value,
            "value_type": self.value_type,
            "run_id": self.run_id,
            "updated_at": self.updated_at.isoformat() if self.updated_at else None,
            "remembered": sum(map(len, self.recent.values())),
        }


class Cursors(LedgerPart):
    """Cursors."""

    def set_cursor(
        self, cursor: StoredCursor, *, fence: int | None = None, how: str = cursor_moves.SET, idle: bool = False
    ) -> None:
        """Put a cursor where it is to stand, wherever it stood.

        Args:
            cursor: Where it is to stand.
            fence: The fence of the run that moves it.
            how: How it is moved, for the history.
            idle: Only while no run holds the stream, which would move it on from where it began.

        Raises:
            FencedError: Another process has taken that run over.
            RunBusyError: A run holds the stream.
            StateError: The value has a character that cannot be stored: it would not come back as it is.
        """
        moved = CursorMove(
            stream=cursor.stream,
            field=cursor.field,
            value=cursor.value,
            value_type=cast("ValueType", cursor.value_type),
            recent=cursor.recent,
        )
        row = cursor_moves.stored_row(self._rows, moved, cursor.run_id, cursor.recent)
        with self.store.transaction() as connection:
            if cursor.run_id is not None:
                self._check_fence(connection, cursor.run_id, fence)
            if idle:
                self._refuse_held(connection, row["stream"])
            now, before = self._clock.now(), self._stored(connection, row["stream"], cursor.field)
            cursor_moves.write(connection, self._rows, row, now)
            old = None if before is None else before.value
            made = replace(cursor_moves.by_run(moved, old, cursor.run_id, now), how=how)
            cursor_moves.note(connection, self._rows, made)

    def move_cursor(self, moved: CursorMove, run_id: str, *, fence: int | None = None) -> None:
        """Move a cursor to where a run has come; it never goes back.

        Raises:
            FencedError: Another process has taken the run over.
        """
        with self.store.transaction() as connection:
            self._check_fence(connection, run_id, fence)
            cursor_moves.move(connection, self._rows, moved, run_id, self._clock.now())

    def cursor(self, stream: str, field: str) -> StoredCursor | None:
        """Return a cursor, None when the field was never read."""
        with self.store.transaction(writing=False) as connection:
            return self._stored(connection, self._rows.text(stream), field)

    def cursors(self, stream: str | None = None) -> list[StoredCursor]:
        """Return all cursors, or those of a stream, by stream and field."""
        wanted = None if stream is None else self._rows.text(stream)
        with self.store.transaction(writing=False) as connection:
            found = [_cursor(row) for row in connection.fetch(statements.ALL_CURSORS)]
        return [cursor for cursor in found if wanted in {None, cursor.stream}]

    def delete_cursor(self, stream: str, field: str, *, idle: bool = False) -> bool:
        """Forget a cursor, so that the next run reads from the initial value; tells whether there was one.

        Args:
            stream: Contract and parameter set.
            field: The field.
            idle: Only while no run holds the stream.

        Raises:
            RunBusyError: A run holds the stream.
        """
        with self.store.transaction() as connection:
            values = {"stream": self._rows.text(stream), "field": field}
            if idle:
                self._refuse_held(connection, values["stream"])
            before = self._stored(connection, values["stream"], field)
            if before is None:
                return False
            connection.run(statements.DELETE_CURSOR, values)
            gone = CursorMove(
                stream=stream,
                field=field,
                value=before.value,
                value_type=cast("ValueType", before.value_type),
                recent={},
            )
            now = self._clock.now()
            made = cursor_moves.by_run(gone, before.value, None, now)
            cursor_moves.note(connection, self._rows, replace(made, how=cursor_moves.RESET, after=None))
            return True

    def cursor_history(
        self, stream: str | None = None, field: str | None = None, limit: int = 50
    ) -> list[CursorHistory]:
        """Return the moves of all cursors, of those of a stream or of one, the newest first."""
        wanted = None if stream is None else self._rows.text(stream)
        with self.store.transaction(writing=False) as connection:
            found = [CursorHistory.of(row) for row in connection.fetch(statements.CURSOR_MOVES)]
        return [one for one in found if wanted in {None, one.stream} and field in {None, one.field}][:limit]

    def _stored(self, connection: PlainConnection, stream: str, field: str) -> StoredCursor | None:
        found = connection.fetch(statements.CURSOR, {"stream": stream, "field": field})
        return _cursor(found[0]) if found else None

    def _refuse_held(self, connection: PlainConnection, stream: str) -> None:
        lease = self._lease(connection, stream)
        if lease is not None and lease.is_held(self._clock.now()):
            raise _held(busy(lease))


def _held(error: RunBusyError) -> RunBusyError:
    error.help = "wait until the run has ended: it moves the cursor on from where it began"
    return error


def _cursor(row: Mapping[str, Any]) -> StoredCursor:
    return StoredCursor(
        stream=row["stream"],
        field=row["field"],
        value=row["value"],
        value_type=row["value_type"],
        run_id=row["run_id"],
        updated_at=instant(row["updated_at"]),
        recent=json.loads(row["recent"] or "{}"),
    )
