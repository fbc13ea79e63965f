"""Cursors for programs: ``DeltaTracker`` keeps how far one is in the ledger of the workspace."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from etlctl.errors import StateError
from etlctl.temporal import Unparsable, to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etlctl.state.ledger import Ledger

BEGINNING = "1970-01-01"
"""What is said when nothing was ever recorded."""


class DeltaTracker:
    """Remembers how far a program has read a source.

    It is a cursor of the ledger, with the source as its stream and the checkpoint id as its field: ``etlctl cursor
    list`` shows it. ``DeltaTracker("orders", "updated_at")`` is the cursor of the incremental contract ``orders`` that
    reads by ``updated_at``.

    Args:
        source_name: Name of the source.
        checkpoint_id: Which of the source's cursors; several programs can keep one each.
        initial_timestamp: What ``last_timestamp`` says before the first ``advance``; None or empty: ``1970-01-01``.
        state_url: Where the ledger is; None: ``ETLCTL_STATE_URL``, else ``.etlctl/state.db`` of the workspace.

    Raises:
        ValueError: A name is empty, or ``initial_timestamp`` is no ISO 8601 date or datetime.
    """

    def __init__(
        self,
        source_name: str,
        checkpoint_id: str,
        *,
        initial_timestamp: str | None = None,
        state_url: str | None = None,
    ) -> None:
        for what, name in (("source_name", source_name), ("checkpoint_id", checkpoint_id)):
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"{what} must be a name, not {name!r}")
        self.source_name = source_name
        self.checkpoint_id = checkpoint_id
        self._initial = checked_timestamp(initial_timestamp) if initial_timestamp else BEGINNING
        self._state_url = state_url

    def last_timestamp(self) -> str:
        """Return the timestamp recorded last, as it was given; the initial one when there is none. Creates nothing."""
        with self._ledger(create=False) as ledger:
            found = ledger.cursor(self.source_name, self.checkpoint_id)
        return self._initial if found is None else found.value

    def advance(self, timestamp: str) -> str:
        """Record how far the source was read; a timestamp that lies before the one recorded changes nothing.

        Args:
            timestamp: ISO 8601 date or datetime; without a zone it counts as UTC.

        Returns:
            What is recorded now.

        Raises:
            ValueError: It is no such timestamp.
            RunBusyError: A run of a contract holds this cursor now.
            StateError: The ledger is out of reach.
        """
        from etlctl.cursor import comparable  # noqa: PLC0415
        from etlctl.state.cursor_moves import ADVANCE  # noqa: PLC0415
        from etlctl.state.cursors import StoredCursor  # noqa: PLC0415

        new = StoredCursor(
            stream=self.source_name,
            field=self.checkpoint_id,
            value=checked_timestamp(timestamp),
            value_type="datetime",
        )
        with self._ledger(create=True) as ledger:
            found = ledger.cursor(self.source_name, self.checkpoint_id)
            if found is not None:
                try:
                    ahead = comparable(found.value, "datetime") >= comparable(timestamp, "datetime")
                except Unparsable as why:
                    raise StateError(
                        f"the cursor {self.checkpoint_id} of {self.source_name} stands at {found.value!r}, which {why}",
                        help=f"forget it: etlctl cursor reset {self.source_name} {self.checkpoint_id}",
                    ) from None
                if ahead:
                    return found.value
            ledger.set_cursor(new, how=ADVANCE, idle=True)
        return new.value

    @contextmanager
    def _ledger(self, *, create: bool) -> Iterator[Ledger]:
        from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415
        from etlctl.state.ledger import open_ledger  # noqa: PLC0415

        with open_ledger(self._state_url, find_workspace(Path.cwd()).state_dir, create=create) as ledger:
            yield ledger


def checked_timestamp(timestamp: str) -> str:
    """Return an ISO 8601 date or datetime as it is.

    Raises:
        ValueError: It is none.
    """
    try:
        if not isinstance(timestamp, str):
            raise Unparsable("is not text")
        to_datetime(timestamp)
    except Unparsable as why:
        raise ValueError(
            f"bad date: {timestamp!r} {why}; a timestamp looks like 2024-01-31 or 2024-01-31T06:00:00Z"
        ) from None
    return timestamp
