"""The cursors of the ledger: how far the incremental fields of each stream are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from etlctl.errors import StateError
from etlctl.frozen import frozen
from etlctl.state import statements
from etlctl.state.column_values import instant
from etlctl.state.ledger_part import LedgerPart
from etlctl.state.payload import storable


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
    """

    stream: str
    field: str
    value: str
    value_type: str
    run_id: str | None = None
    updated_at: datetime | None = None


class Cursors(LedgerPart):
    """Cursors."""

    def set_cursor(self, cursor: StoredCursor, *, fence: int | None = None) -> None:
        """Move a cursor, or make it.

        Args:
            cursor: Where it is to stand.
            fence: The fence of the run that moves it.

        Raises:
            FencedError: Another process has taken that run over.
            StateError: The value has a character that cannot be stored: it would not come back as it is.
        """
        if storable(cursor.value) != cursor.value:
            raise StateError(
                f"the cursor {cursor.field} of {cursor.stream} cannot be kept: {cursor.value!r} has a character that "
                "no database takes",
                help="choose another cursor field, or clean the field before it becomes the cursor",
            )
        row: dict[str, Any] = {
            "stream": self._rows.text(cursor.stream),
            "field": cursor.field,
            "value": cursor.value,
            "value_type": cursor.value_type,
            "run_id": cursor.run_id,
        }
        with self.store.transaction() as connection:
            if cursor.run_id is not None:
                self._check_fence(connection, cursor.run_id, fence)
            row["updated_at"] = self._rows.instant(self._clock.now())
            connection.run(statements.SET_CURSOR, row)

    def cursor(self, stream: str, field: str) -> StoredCursor | None:
        """Return a cursor, None when the field was never read."""
        with self.store.transaction(writing=False) as connection:
            found = connection.fetch(statements.CURSOR, {"stream": self._rows.text(stream), "field": field})
        return _cursor(found[0]) if found else None

    def cursors(self, stream: str | None = None) -> list[StoredCursor]:
        """Return all cursors, or those of a stream, by stream and field."""
        wanted = None if stream is None else self._rows.text(stream)
        with self.store.transaction(writing=False) as connection:
            found = [_cursor(row) for row in connection.fetch(statements.ALL_CURSORS)]
        return [cursor for cursor in found if wanted in {None, cursor.stream}]

    def delete_cursor(self, stream: str, field: str) -> bool:
        """Forget a cursor, so that the next run reads from the initial value; tells whether there was one."""
        with self.store.transaction() as connection:
            values = {"stream": self._rows.text(stream), "field": field}
            return connection.run(statements.DELETE_CURSOR, values) == 1


def _cursor(row: Mapping[str, Any]) -> StoredCursor:
    return StoredCursor(
        stream=row["stream"],
        field=row["field"],
        value=row["value"],
        value_type=row["value_type"],
        run_id=row["run_id"],
        updated_at=instant(row["updated_at"]),
    )
