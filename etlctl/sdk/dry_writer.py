"""The writer of a run that must not write anything."""

from __future__ import annotations

from etlctl.batch import Batch
from etlctl.sdk.loader import Published, Receipt, Writer


class DryWriter(Writer):
    """Counts, and writes nothing."""

    def __init__(self) -> None:
        self._records = 0

    async def write(self, batch: Batch) -> Receipt:
        """Count the records."""
        self._records += len(batch)
        return Receipt(len(batch))

    async def finish(self) -> Published:
        """Return the count; there is no place."""
        return Published((), self._records)

    async def abort(self) -> None:
        """Nothing is held."""
