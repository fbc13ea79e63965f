"""What all parts of the ledger work with: the store, the clock, and the masking of secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etlctl.clock import Clock, SystemClock
from etlctl.redact import Redactor
from etlctl.state import statements
from etlctl.state.connection import PlainConnection
from etlctl.state.lease import Lease, fenced, lease_of
from etlctl.state.rows import RowMaker
from etlctl.state.store import Store

if TYPE_CHECKING:
    from etlctl.state.reading import Reader


class LedgerPart:
    """A part of the ledger; ``Ledger`` is all of them.

    Args:
        store: The open state store.
        redactor: Masks secrets in everything that is stored.
        clock: Tells the time.
    """

    def __init__(self, store: Store, *, redactor: Redactor | None = None, clock: Clock | None = None) -> None:
        self.store = store
        self._redactor = redactor or Redactor()
        self._rows = RowMaker(self._redactor, is_sqlite=store.is_sqlite)
        self._clock = clock or SystemClock()

    def _check_fence(self, connection: PlainConnection, run_id: str, fence: int | None) -> None:
        """Refuse what a process wants to record for a run that another process has taken over.

        Raises:
            FencedError: The run has a newer fence.
        """
        if fence is None:
            return
        found = connection.fetch(statements.RUN_FENCE, {"id": run_id})
        if found and found[0]["fence"] > fence:
            raise fenced(found[0]["stream"], fence, self._lease(connection, found[0]["stream"]))

    def _lease(self, connection: PlainConnection, stream: str) -> Lease | None:
        found = connection.fetch(statements.LEASE, {"stream": stream})
        return lease_of(found[0]) if found else None

    @property
    def _reader(self) -> Reader:
        from etlctl.state.reading import Reader  # noqa: PLC0415 - loads SQLAlchemy, which a run does without

        return Reader(self.store)
