"""The leases of the ledger while a run goes on: renewed, given back, raised above what a destination has seen."""

from __future__ import annotations

from datetime import timedelta

from etlctl.state import statements
from etlctl.state.lease import LEASE_SECONDS, Lease, fenced, lease_of
from etlctl.state.ledger_part import LedgerPart


class Leases(LedgerPart):
    """Leases of streams. Every change is a compare-and-set on the fence."""

    def renew(self, stream: str, fence: int, ttl: float = LEASE_SECONDS) -> None:
        """Keep a lease for another while; one that has expired and that nobody took can still be renewed.

        Args:
            stream: Contract and parameter set.
            fence: The fence it was got with.
            ttl: Seconds from now.

        Raises:
            FencedError: Another process has it, or it was given back.
        """
        stream = self._rows.text(stream)
        with self.store.transaction() as connection:
            # Asked only now: this may have waited for other writers.
            until = self._rows.instant(self._clock.now() + timedelta(seconds=ttl))
            values = {"stream": stream, "fence": fence, "expires_at": until}
            if connection.run(statements.RENEW_LEASE, values) != 1:
                raise fenced(stream, fence, self._lease(connection, stream))

    def release(self, stream: str, fence: int) -> bool:
        """Give a lease back if it is still the caller's; tells whether it was. Its fence stays."""
        values = {"stream": self._rows.text(stream), "fence": fence}
        with self.store.transaction() as connection:
            values["expires_at"] = self._rows.instant(self._clock.now())
            return connection.run(statements.RELEASE_LEASE, values) == 1

    def raise_fence(self, stream: str, fence: int, at_least: int) -> int:
        """Raise the fence of a lease that is the caller's, for a destination that has seen a newer one.

        That happens when the ledger was lost or put back from a backup, and counts again from where it was.

        Args:
            stream: Contract and parameter set.
            fence: The fence the caller has.
            at_least: What it must become unless it is higher.

        Returns:
            The fence the caller has now.

        Raises:
            FencedError: Another process has the lease, or it was given back.
        """
        stream, raised = self._rows.text(stream), max(fence, at_least)
        with self.store.transaction() as connection:
            lease = self._lease(connection, stream)
            values = {"stream": stream, "fence": fence, "raised": raised}
            if connection.run(statements.RAISE_FENCE, values) != 1 or lease is None:
                raise fenced(stream, fence, lease)
            connection.run(statements.RAISE_FENCE_OF_RUN, {"id": lease.holder_run, "raised": raised})
        return raised

    def check_lease(self, stream: str, fence: int) -> None:
        """Make sure that nobody has taken a stream over.

        Raises:
            FencedError: Somebody has.
        """
        lease = self.lease(stream)
        if lease is None or lease.fence != fence:
            raise fenced(stream, fence, lease)

    def lease(self, stream: str) -> Lease | None:
        """Return the lease of a stream, held or not; None when it never ran."""
        with self.store.transaction(writing=False) as connection:
            return self._lease(connection, self._rows.text(stream))

    def holder(self, stream: str) -> Lease | None:
        """Return the lease of a stream if a run has it now that may be alive."""
        lease = self.lease(stream)
        return lease if lease is not None and lease.is_held(self._clock.now()) else None

    def leases(self) -> list[Lease]:
        """Return the lease of every stream that ever ran, by name."""
        with self.store.transaction(writing=False) as connection:
            return [lease_of(row) for row in connection.fetch(statements.ALL_LEASES)]
