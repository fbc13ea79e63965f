"""A chunk before and after the steps, and the questions the cutter asks about any range of its source records."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from etlctl.batch import Batch, Position, Record, Rejection, frame_to_rows
from etlctl.engine.applied import Applied, EncodedSlice, Tally
from etlctl.engine.incremental import Advance, advance
from etlctl.quality import Violation
from etlctl.run import StepCounts
from etlctl.sdk.marks import Marks

if TYPE_CHECKING:
    import polars as pl


@dataclass(slots=True)
class AppliedChunk:
    """A chunk before and after the steps, and the position it begins at: ``{"at": …, "skip": source records}``."""

    source: Batch
    applied: Applied
    start: Position
    marks: Marks | None = None

    @property
    def size(self) -> int:
        """Source records, unreadable ones included."""
        return len(self.source) + len(self.source.rejected)


class ChunkView:
    """Answers questions about a range of a chunk's source records.

    Three numberings meet here: *source ordinals* count all source records of the chunk, *readable* ones leave out
    those that could not be read, *outputs* are the records after the steps.
    """

    def __init__(self, chunk: AppliedChunk) -> None:
        self._chunk = chunk
        ordinals = chunk.applied.ordinals
        # A step that sees a whole batch may change its order; where to cut is then told by the ordinals in order.
        self._cuts = sorted(ordinals) if ordinals is not None and self._reordered else ordinals
        self._bad = [rejection.index for rejection in chunk.source.rejected]
        self._before_bad = [bad - place for place, bad in enumerate(self._bad)]
        self._refused = sorted(chunk.applied.refused, key=lambda refused: refused.rejection.index)
        self._refused_at = [refused.rejection.index for refused in self._refused]
        for tally in chunk.applied.tallies:
            for found in (tally.filtered, tally.added, tally.rejected):
                found.sort()
            tally.warned.sort(key=lambda warned: warned.index)

    @property
    def _reordered(self) -> bool:
        return self._chunk.applied.reordered

    @property
    def can_locate(self) -> bool:
        """Tell whether the source can say where a record came from."""
        return self._chunk.source.locate is not None

    def readable(self, ordinal: int) -> int:
        """Return how many readable records stand before a source ordinal."""
        return ordinal - bisect_left(self._bad, ordinal)

    def output_range(self, low: int, high: int) -> tuple[int, int]:
        """Return the range of outputs that came from readable records ``low`` up to ``high``."""
        if self._cuts is None:
            return low, high
        return bisect_left(self._cuts, low), bisect_left(self._cuts, high)

    def output(self, first: int, last: int) -> tuple[list[Record] | None, pl.DataFrame | None]:
        """Return outputs ``first`` up to ``last`` as rows or as a frame."""
        applied = self._chunk.applied
        whole = first == 0 and last == len(applied)
        if applied.frame is not None:
            return None, applied.frame if whole else applied.frame.slice(first, last - first)
        records = applied.records or []
        return records if whole else records[first:last], None

    def encoded(self, first: int, last: int) -> Iterator[EncodedSlice] | None:
        """Return outputs ``first`` up to ``last`` as slices, when they were encoded already."""
        slices = self._chunk.applied.encoded
        return None if slices is None else (one for one in slices if first <= one.first < last)

    def source_of(self, output: int) -> tuple[int, Any, str | None]:
        """Return the source ordinal, the source record and the location of an output."""
        ordinals = self._chunk.applied.ordinals
        readable = output if ordinals is None else ordinals[output]
        locate = self._chunk.source.locate
        (raw,) = self._raw([readable])
        return self._source_ordinal(readable), raw, locate(readable) if locate else None

    def rejections(self, start: int, end: int, offset: int) -> Iterator[Rejection]:
        """Yield rejections of source records ``start`` up to ``end``; ``offset`` turns ordinals into the batch's."""
        for rejection in self._chunk.source.rejected[bisect_left(self._bad, start) : bisect_left(self._bad, end)]:
            yield replace(rejection, index=rejection.index + offset)
        low, high = self.readable(start), self.readable(end)
        mine = self._refused[bisect_left(self._refused_at, low) : bisect_left(self._refused_at, high)]
        raws = self._raw([refused.rejection.index for refused in mine])
        locate = self._chunk.source.locate
        for refused, raw in zip(mine, raws, strict=True):
            refusal = refused.rejection
            yield Rejection(
                index=self._source_ordinal(refusal.index) + offset,
                stage="check" if refused.step.partition(".")[0] == "check" else "transform",
                step=refused.step,
                rule=refusal.rule,
                message=refusal.message,
                raw=raw,
                field=refusal.field,
                location=locate(refusal.index) if locate else None,
            )

    def count_steps(self, steps: Sequence[StepCounts], low: int, high: int) -> None:
        """Add the account of readable records ``low`` up to ``high`` to each step's counts."""
        going_in = high - low
        for step, tally in zip(steps, self._chunk.applied.tallies, strict=True):
            filtered, added, rejected = _within(tally, low, high)
            step.records_in += going_in
            step.filtered += filtered
            step.added += added
            step.rejected += rejected
            going_in += added - filtered - rejected
            step.records_out += going_in
            step.form = tally.form if step.form in {"", tally.form} else "mixed"
            step.why = step.why or tally.why
            if low == 0:
                step.seconds += tally.seconds

    def violations(self, low: int, high: int) -> Iterator[Violation]:
        """Yield the rules that readable records ``low`` up to ``high`` broke without being refused."""
        locate = self._chunk.source.locate
        for tally in self._chunk.applied.tallies:
            start, end = (bisect_left(tally.warned, place, key=lambda warned: warned.index) for place in (low, high))
            for (rule, field), number in Counter((one.rule, one.field) for one in tally.warned[start:end]).items():
                first = next(one for one in tally.warned[start:end] if (one.rule, one.field) == (rule, field))
                location = _storable(locate(first.index)) if locate else None
                yield Violation(rule, field, number, _storable(first.message), location)

    def advance(self, low: int, high: int) -> list[Advance]:
        """Return how far readable records ``low`` up to ``high`` bring the cursor of an incremental run."""
        marks = self._chunk.marks
        return [] if marks is None else [advance(marks, low, high, self._raw)]

    def _source_ordinal(self, readable: int) -> int:
        return readable + bisect_right(self._before_bad, readable)

    def _raw(self, readable: list[int]) -> list[Any]:
        """Return source records as they were read."""
        if not readable:
            return []
        source = self._chunk.source
        if source.frame is not None:
            once = list(dict.fromkeys(readable))  # many parts of a record may be refused
            rows = dict(zip(once, frame_to_rows(source.frame[once]), strict=True))
            return [rows[index] for index in readable]
        if source.deferred is not None:
            return [source.deferred.one(index) for index in readable]
        records = source.records or []
        return [records[index] for index in readable]


def _storable(text: str) -> str:
    # It goes into commit tokens, and a database takes no lone surrogate.
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _within(tally: Tally, low: int, high: int) -> tuple[int, int, int]:
    """Count the filtered, added and rejected records among readable records ``low`` up to ``high``."""
    filtered, added, rejected = (
        bisect_left(found, high) - bisect_left(found, low) for found in (tally.filtered, tally.added, tally.rejected)
    )
    return filtered, added, rejected
