"""The read stage: chunks from the extractor, with where each one began, cut off at ``max_records``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

from etlctl.batch import Batch, Position
from etlctl.engine.attribution import attributed
from etlctl.engine.retrying import Retrying
from etlctl.errors import ResumeRefused
from etlctl.sdk.context import ReadContext
from etlctl.sdk.extractor import Extractor


async def read_chunks(
    extractor: Extractor,
    ctx: ReadContext,
    position: Position | None,
    max_records: int | None,
    *,
    retrying: Retrying | None = None,
) -> AsyncGenerator[tuple[Position, Batch], None]:
    """Yield chunks with the position each one begins at; after a failure that may pass, go on where it was.

    Args:
        extractor: The source.
        ctx: Its context; ``position`` in it is replaced.
        position: ``{"at": extractor position, "skip": source records}`` or None for the beginning.
        max_records: Source records to read at most.
        retrying: Tries again; None: the first failure is final.

    Raises:
        ComponentError: The source failed; the step's name is attached.
    """
    start: Position | None = position["at"] if position else None
    skip: int = position["skip"] if position else 0
    left = max_records
    if left == 0:
        return
    chunks = _Source(extractor, ctx, start, retrying)
    try:
        with attributed(ctx.step):
            async for chunk in chunks:
                if chunk.is_position:
                    start = chunk.position
                    continue
                if skip or left is not None:
                    chunk = await ctx.run_cpu(chunk.settled)  # noqa: PLW2901 - only then is it known how many there are
                size = len(chunk) + len(chunk.rejected)
                if skip and skip >= size:
                    skip -= size
                    start = chunk.position
                    continue
                last = left is not None and size - skip >= left
                begun = {"at": start, "skip": skip}
                yield begun, _part(chunk, skip, skip + left if left is not None and last else size)
                if last:
                    return
                left = left - (size - skip) if left is not None else None
                start, skip = chunk.position, 0
        if skip:
            raise ResumeRefused(
                "the source was changed since the run stopped: it ends before the place where the run would go on",
                help="bring the source back, or begin anew with: etlctl run … --restart",
            )
    finally:
        await chunks.close()


async def probe(extractor: Extractor, ctx: ReadContext, position: Position) -> None:
    """Make sure that the source can still be read on at a position, without reading on.

    Raises:
        ComponentError: It cannot: it is gone, or another one.
    """
    source = _Source(extractor, ctx, position["at"], None)
    try:
        with attributed(ctx.step):
            async for _ in source:
                return
    finally:
        await source.close()


class _Source:
    """The chunks of an extractor; reading is begun again at the last position when it fails and that may help.

    Args:
        extractor: The source.
        ctx: Its context.
        position: Where to begin.
        retrying: Tries again.
    """

    def __init__(
        self, extractor: Extractor, ctx: ReadContext, position: Position | None, retrying: Retrying | None
    ) -> None:
        self._extractor = extractor
        self._ctx = ctx
        self._position = position
        self._retrying = retrying
        self._open: AsyncIterator[Batch] | None = None

    async def __aiter__(self) -> AsyncIterator[Batch]:
        while True:
            if self._retrying is None:
                chunk = await self._next()
            else:
                chunk = await self._retrying.call(self._next, step=self._ctx.step)
            if chunk is None:
                return
            self._position = chunk.position
            yield chunk

    async def _next(self) -> Batch | None:
        if self._open is None:
            self._open = self._extractor.read(replace(self._ctx, position=self._position))
        try:
            with attributed(self._ctx.step):
                return await anext(self._open, None)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close what is open."""
        source, self._open = self._open, None
        closing = getattr(source, "aclose", None)
        if closing is not None:
            await closing()


def _part(chunk: Batch, first: int, last: int) -> Batch:
    """Return source records ``first`` up to ``last`` of a chunk, unreadable ones counted."""
    size = len(chunk) + len(chunk.rejected)
    if first == 0 and last >= size:
        return chunk
    bad = [rejection.index for rejection in chunk.rejected]
    low = first - sum(1 for index in bad if index < first)
    high = last - sum(1 for index in bad if index < last)
    locate = chunk.locate
    return Batch(
        chunk.records[low:high] if chunk.records is not None else None,
        chunk.frame.slice(low, high - low) if chunk.frame is not None else None,
        chunk.position,
        rejected=[replace(one, index=one.index - first) for one in chunk.rejected if first <= one.index < last],
        locate=(lambda index: locate(index + low)) if locate is not None else None,
    )
