"""The source of a replay: raw records of dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import ClassVar, Self

from pydantic import PrivateAttr

from etlctl.batch import Batch, Record
from etlctl.sdk.context import ReadContext
from etlctl.sdk.extractor import Extractor

_CHUNK = 1000


class LetterSource(Extractor):
    """Raw records of dead letters. It is no component of contracts: the engine gets it in place of the contract's."""

    tabular: ClassVar[bool | None] = False

    _records: Sequence[Record] = PrivateAttr(default=())
    _letters: Sequence[str] = PrivateAttr(default=())
    _check: Callable[[], None] | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, records: Sequence[Record], letters: Sequence[str], check: Callable[[], None]) -> Self:
        """Return the source of some records.

        Args:
            records: The records.
            letters: Ids of their dead letters, as where they come from.
            check: Called on a thread before the first record is read; what it raises ends the run.
        """
        made = cls()
        made._records, made._letters, made._check = records, letters, check
        return made

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        """Yield the records from the position on; the position is the number of records before it."""
        done = int(ctx.position["done"]) if ctx.position else 0
        if not done and self._check is not None:
            await asyncio.to_thread(self._check)
        for first in range(done, len(self._records), _CHUNK):
            last = min(first + _CHUNK, len(self._records))
            records = list(self._records[first:last])
            letters = self._letters[first:last]
            yield Batch.of_rows(records, {"done": last}, locate=letters.__getitem__)
