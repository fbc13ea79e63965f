"""The read stage: chunks from the extractor, with where each one began, cut off at ``max_records``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from etlctl.batch import Batch, Position
from etlctl.engine.attribution import attributed
from etlctl.sdk.context import ReadContext
from etlctl.sdk.extractor import Extractor


async def read_chunks(
    extractor: Extractor, ctx: ReadContext, position: Position | None, max_records: int | None
) -> AsyncIterator[tuple[Position | None, Batch]]:
    """Yield chunks with the position each one began at.

    Args:
        extractor: The source.
        ctx: Its context; ``position`` in it is replaced.
        position: ``{"at": extractor position, "skip": source records}`` or None for the beginning.
        max_records: Source records to read at most.

    Raises:
        ComponentError: The source failed; the step's name is attached.
    """
    start: Position | None = position["at"] if position else None
    skip: int = position["skip"] if position else 0
    left = max_records
    if left == 0:
        return
    chunks = extractor.read(replace(ctx, position=start))
    try:
        with attributed(ctx.step):
            async for chunk in chunks:
                size = len(chunk) + len(chunk.rejected)
                if skip and skip >= size:
                    skip -= size
                    start = chunk.position
                    continue
                last = left is not None and size - skip >= left
                yield start, _part(chunk, skip, skip + left if left is not None and last else size)
                if last:
                    return
                left = left - (size - skip) if left is not None else None
                start, skip = chunk.position, 0
    finally:
        closing = getattr(chunks, "aclose", None)
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
