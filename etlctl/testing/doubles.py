"""An extractor and a loader in memory, for tests of steps and of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

from pydantic import Field

from etlctl.batch import Batch, Record
from etlctl.sdk.component import Example
from etlctl.sdk.context import ReadContext, WriteContext
from etlctl.sdk.extractor import Extractor
from etlctl.sdk.loader import Loader, Published, Receipt, Writer


class MemoryExtractor(Extractor):
    """Yields the records written in its options."""

    examples: ClassVar[tuple[Example, ...]] = (
        Example("Two records", "records: [{a: 1}, {a: 2}]", expect=[{"a": 1}, {"a": 2}]),
    )
    tabular: ClassVar[bool | None] = False

    records: list[dict[str, Any]] = Field(default_factory=list)
    """The records."""
    chunk: int = Field(default=2, ge=1)
    """Records per batch."""

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        """Yield the records from the position on."""
        start = int(ctx.position["next"]) if ctx.position else 0
        for first in range(start, len(self.records), self.chunk):
            end = min(first + self.chunk, len(self.records))
            yield Batch.of_rows([dict(record) for record in self.records[first:end]], {"next": end})


class MemoryLoader(Loader):
    """Keeps the records in the list ``MemoryLoader.published``, by name."""

    examples: ClassVar[tuple[Example, ...]] = (Example("By name", "name: example", given=[{"a": 1}]),)
    published: ClassVar[dict[str, list[Record]]] = {}
    """What was published, by name."""

    name: str = "memory"
    """Name to find the records by."""

    async def open(self, ctx: WriteContext) -> Writer:  # noqa: ARG002
        """Start with an empty list."""
        return _MemoryWriter(self.name)


class _MemoryWriter(Writer):
    def __init__(self, name: str) -> None:
        self._name = name
        self._records: list[Record] = []

    async def write(self, batch: Batch) -> Receipt:
        self._records += batch.to_rows()
        return Receipt(len(batch))

    async def finish(self) -> Published:
        MemoryLoader.published[self._name] = self._records
        return Published((f"memory:{self._name}",), len(self._records))

    async def abort(self) -> None:
        self._records = []
