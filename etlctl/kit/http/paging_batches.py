"""Pages become batches: small ones are put together, large ones stay apart, and each batch knows where to go on."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any

from etlctl.batch import Batch, Position, Rejection
from etlctl.deferred import Deferred
from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.codecs.reading import Chunk
from etlctl.kit.http.page import Page

_ENOUGH = 1_000  # records; more are always worth a batch of their own
_LONG = 1.0  # seconds to wait for more of them


class Gathering:
    """Collects the records of pages until they are worth a batch.

    Args:
        step: Name of the place in the contract, for rejections.
        enough: Records that are worth a batch of their own.
        fail: What is no proper record ends the run.
        conceals: Messages must not quote records.
        defers: Batches may be deferred.
    """

    def __init__(
        self, step: str, enough: int = _ENOUGH, *, fail: bool = False, conceals: bool = False, defers: bool = False
    ) -> None:
        self._step = step
        self._most = min(enough, _ENOUGH)
        self._enough = 1  # the first page goes on at once: a preview may want no more than that
        self._fail = fail
        self._conceals = conceals
        self._defers = defers
        self._clear()

    def _clear(self) -> None:
        self._records: list[dict[str, Any]] = []
        self._rejected: list[Rejection] = []
        self._starts: list[int] = []
        self._names: list[str] = []
        self._bad: list[list[int]] = []
        self._texts: list[_Text] | None = [] if self._defers else None
        self._position: Position | None = None
        self._since = time.monotonic()

    def add(self, page: Page, position: Position, between: Callable[[int], Position]) -> Iterator[Batch]:
        """Add a page; yield the batches that are complete with it.

        Args:
            page: The page.
            position: Where to go on after it.
            between: Where to go on after so many of its source records.
        """
        done = 0
        last = len(page.chunks) - 1
        if not page.chunks:
            self._position = position
        for number, chunk in enumerate(page.chunks):
            done += len(chunk) + len(chunk.unreadable)
            after = position if number == last else between(done)
            if chunk.frame is None:
                self._take(chunk, page.name)
                self._keep(page)
                self._position = after
                if self._complete:
                    yield from self.rest()
            else:
                yield from self.rest()
                rejected = self._rejections(chunk, page.name, 0)
                name = page.name
                yield Batch.of_frame(chunk.frame, after, rejected=rejected, locate=_lines(name, chunk))

    def rest(self) -> Iterator[Batch]:
        """Yield what was collected so far."""
        if self._position is None:
            return
        if self._records or self._rejected:
            starts, names = self._starts, self._names
            locate = _locator(starts, names, self._bad)
            batch = Batch.of_rows(self._records, self._position, rejected=self._rejected, locate=locate)
            if self._texts is not None:
                batch = deferred(batch, self._texts)
        else:
            batch = Batch.of_position(self._position)
        self._enough = min(self._most, 4 * max(self._enough, len(batch)))
        self._clear()
        yield batch

    @property
    def _complete(self) -> bool:
        count = len(self._records) + len(self._rejected)
        return count >= self._enough or time.monotonic() - self._since >= _LONG

    def _take(self, chunk: Chunk, name: str) -> None:
        before = len(self._records) + len(self._rejected)
        self._starts.append(len(self._records))
        self._names.append(name)
        self._bad.append([one.index for one in chunk.unreadable])
        self._rejected += self._rejections(chunk, name, before)
        records = chunk.records or []
        if self._records:
            self._records += records
        else:
            self._records = records

    def _keep(self, page: Page) -> None:
        """Remember where records come from, so that they can be read once more and need not be kept."""
        if self._texts is not None and page.plain and page.again is not None:
            self._texts.append(_Text(page.count, page.size, page.again))
        else:
            self._texts = None

    def _rejections(self, chunk: Chunk, name: str, before: int) -> list[Rejection]:
        found = [
            Rejection(
                index=before + one.index,
                stage="extract",
                step=self._step,
                rule=one.rule,
                message=one.message,
                raw=one.raw,
                location=f"{name}, record {one.index + 1}" if one.line is None else f"{name}:{one.line}",
            )
            for one in chunk.unreadable
        ]
        if found and self._fail:
            first = found[0]
            said = first.rule if self._conceals else f"{first.message} ({first.rule}): {str(first.raw)[:200]!r}"
            raise FatalError(
                f"{first.location}: {said}",
                help="have the source mended, or send such records to the dead letters with on_bad_record: reject",
            )
        return found


@frozen
class _Text:
    """The text of some records: how many, how many bytes, and what reads them."""

    count: int
    size: int
    again: Callable[[], list[Any]]


def deferred(batch: Batch, texts: list[_Text]) -> Batch:
    """Return a batch whose records are given out once, and read from their text again when they are asked for after.

    What goes through the steps slice by slice is gone after each slice then, instead of being kept for dead letters.
    """
    fresh: list[Any] = batch.records or []
    starts = list(accumulate((text.count for text in texts), initial=0))

    def read(start: int, end: int) -> list[dict[str, Any]]:
        given = fresh[start:end]
        fresh[start:end] = [None] * len(given)
        if None not in given:
            return given
        again: list[dict[str, Any]] = []
        for first, text in zip(starts, texts, strict=False):
            if first < end and start < first + text.count:
                again += text.again()[max(0, start - first) : end - first]
        return again

    def whole() -> Batch:
        return Batch.of_rows(read(0, len(fresh)), batch.position, locate=batch.locate)

    size = sum(text.size for text in texts)
    return Batch(None, None, batch.position, locate=batch.locate, deferred=Deferred(len(fresh), size, read, whole))


def _locator(starts: list[int], names: list[str], bad: list[list[int]]) -> Callable[[int], str]:
    """Return what tells where a readable record came from: the page, and its number there, unreadable ones counted."""

    def locate(index: int) -> str:
        place = bisect_right(starts, index) - 1
        number = index - starts[place]
        for unreadable in bad[place]:
            number += unreadable <= number
        return f"{names[place]}, record {number + 1}"

    return locate


def _lines(name: str, chunk: Chunk) -> Callable[[int], str]:
    line_of = chunk.line_of
    return lambda index: name if line_of is None else f"{name}:{line_of(index)}"


def without_first(page: Page, count: int) -> Page:
    """Return a page without its first source records: what was committed of it before."""
    chunks: list[Chunk] = []
    for chunk in page.chunks:
        size = len(chunk) + len(chunk.unreadable)
        gone = min(count, size)
        count -= gone
        if gone < size:
            chunks.append(_last(chunk, gone) if gone else chunk)
    return replace(page, chunks=chunks, plain=False)


def _last(chunk: Chunk, gone: int) -> Chunk:
    kept = [replace(one, index=one.index - gone) for one in chunk.unreadable if one.index >= gone]
    good = gone - (len(chunk.unreadable) - len(kept))
    records = chunk.records[good:] if chunk.records is not None else None
    frame = chunk.frame.slice(good) if chunk.frame is not None else None
    line_of = chunk.line_of
    return Chunk(records, frame, chunk.next, kept, None if line_of is None else lambda index: line_of(index + good))


def with_fields(page: Page, fields: Mapping[str, Any]) -> Page:
    """Add fields to every record that has none of that name, in place where the records are dicts."""
    if not fields:
        return page
    page.plain = False
    for chunk in page.chunks:
        for record in chunk.records or ():
            for name, value in fields.items():
                record.setdefault(name, value)
        if chunk.frame is not None:
            import polars as pl  # noqa: PLC0415

            missing = {name: value for name, value in fields.items() if name not in chunk.frame.columns}
            chunk.frame = chunk.frame.with_columns(pl.lit(value).alias(name) for name, value in missing.items())
    return page
