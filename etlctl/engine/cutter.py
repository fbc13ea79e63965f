"""Cut and join applied chunks into batches of an exact number of source records.

Extractors yield chunks of whatever size suits the source; ``batch_size`` is the unit of commit. A position inside a
chunk is the chunk's own start plus the number of source records to skip, so that no extractor has to know about it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from etlctl.batch import Batch, Position, Record, Rejection, frame_to_rows
from etlctl.engine.apply import Applied, Tally
from etlctl.run import Counts, StepCounts

if TYPE_CHECKING:
    import polars as pl


@dataclass(slots=True)
class Cut:
    """A batch ready to be loaded, with the account of the source records it stands for.

    Attributes:
        batch: The records, with ``{"at": chunk position, "skip": source records}`` as position.
        counts: Source records and what became of them so far; ``loaded`` is still 0.
        steps: The account of each step.
        rejections: Records refused while reading or by a step, raw record included.
    """

    batch: Batch
    counts: Counts
    steps: list[StepCounts]
    rejections: list[Rejection]


@dataclass(slots=True)
class AppliedChunk:
    """A chunk before and after the steps, and where reading it began."""

    source: Batch
    applied: Applied
    start: Position | None

    @property
    def size(self) -> int:
        """Source records, unreadable ones included."""
        return len(self.source) + len(self.source.rejected)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run of records of the batch came from: from ``first`` on, as the chunk's records ``low`` and so on."""

    first: int
    low: int
    locate: Callable[[int], str]


@dataclass(slots=True)
class _Pending:
    """The batch being put together."""

    parts: list[tuple[list[Record] | None, pl.DataFrame | None]] = field(default_factory=list)
    places: list[_Place] = field(default_factory=list)
    records: int = 0
    extracted: int = 0
    seen: bool = False
    steps: list[StepCounts] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    position: Position = field(default_factory=dict)


class Cutter:
    """Takes applied chunks in order and gives batches of ``batch_size`` source records, the last one shorter.

    Args:
        step_names: Names of the steps, in order.
        batch_size: Source records per batch.
    """

    def __init__(self, step_names: Sequence[str], batch_size: int) -> None:
        self._names = list(step_names)
        self._size = batch_size
        self._seq = 0
        self._pending = self._empty()

    def _empty(self) -> _Pending:
        return _Pending(steps=[StepCounts(name) for name in self._names])

    def feed(self, chunk: AppliedChunk) -> Iterator[Cut]:
        """Add a chunk; yield the batches that are full now."""
        taken = 0
        view = _ChunkView(chunk)
        while True:
            room = self._size - self._pending.extracted
            end = min(taken + room, chunk.size)
            self._take(view, taken, end)
            done = end == chunk.size
            self._pending.position = (
                {"at": chunk.source.position, "skip": 0} if done else {"at": chunk.start, "skip": end}
            )
            taken = end
            if self._pending.extracted >= self._size:
                yield self._emit()
            if done:
                return

    def flush(self) -> Iterator[Cut]:
        """Yield the last, shorter batch, if there is one."""
        if self._pending.seen and (self._pending.extracted or not self._seq):
            yield self._emit()

    def _take(self, view: _ChunkView, start: int, end: int) -> None:
        pending = self._pending
        low, high = view.readable(start), view.readable(end)
        pending.seen = True
        first, last = view.output_range(low, high)
        if last > first or not pending.parts:
            pending.places += view.place(pending.records, low)
            pending.parts.append(view.output(first, last))
            pending.records += last - first
        offset = pending.extracted - start
        pending.rejections += view.rejections(start, end, offset)
        view.count_steps(pending.steps, low, high)
        pending.extracted += end - start

    def _emit(self) -> Cut:
        pending, self._pending = self._pending, self._empty()
        self._seq += 1
        records, frame = _joined(pending.parts)
        counts = Counts(
            extracted=pending.extracted,
            added=sum(step.added for step in pending.steps),
            filtered=sum(step.filtered for step in pending.steps),
            rejected=len(pending.rejections),
        )
        batch = Batch(records, frame, pending.position, seq=self._seq, locate=_locator(pending.places))
        return Cut(batch, counts, pending.steps, pending.rejections)


def _locator(places: list[_Place]) -> Callable[[int], str] | None:
    """Return what tells where the n-th record of a batch came from, if that is known for all of them."""
    if not places:
        return None
    firsts = [place.first for place in places]

    def locate(index: int) -> str:
        place = places[bisect_right(firsts, index) - 1]
        return place.locate(place.low + index - place.first)

    return locate


def _joined(
    parts: list[tuple[list[Record] | None, pl.DataFrame | None]],
) -> tuple[list[Record] | None, pl.DataFrame | None]:
    """Join parts; frames of equal columns stay a frame, anything else becomes rows, which keep every value."""
    frames = [frame for _, frame in parts if frame is not None]
    if len(frames) == len(parts) and frames:
        if len(frames) == 1:
            return None, frames[0]
        if all(frame.schema == frames[0].schema for frame in frames):
            import polars as pl  # noqa: PLC0415

            return None, pl.concat(frames, how="vertical", rechunk=False)
    records: list[Record] = []
    for rows, frame in parts:
        records += frame_to_rows(frame) if frame is not None else rows or []
    return records, None


class _ChunkView:
    """Answers questions about a range of a chunk's source records."""

    def __init__(self, chunk: AppliedChunk) -> None:
        self._chunk = chunk
        self._bad = [rejection.index for rejection in chunk.source.rejected]
        self._refused = sorted(chunk.applied.refused, key=lambda refused: refused.rejection.index)
        self._refused_at = [refused.rejection.index for refused in self._refused]

    def readable(self, ordinal: int) -> int:
        """Return how many readable records stand before a source ordinal."""
        return ordinal - bisect_left(self._bad, ordinal)

    def output_range(self, low: int, high: int) -> tuple[int, int]:
        """Return the range of output records that came from readable records ``low`` up to ``high``."""
        ordinals = self._chunk.applied.ordinals
        if ordinals is None:
            return low, high
        return bisect_left(ordinals, low), bisect_left(ordinals, high)

    def output(self, first: int, last: int) -> tuple[list[Record] | None, pl.DataFrame | None]:
        """Return output records."""
        applied = self._chunk.applied
        whole = first == 0 and last == len(applied)
        if applied.frame is not None:
            return None, applied.frame if whole else applied.frame.slice(first, last - first)
        records = applied.records or []
        return records if whole else records[first:last], None

    def place(self, first: int, low: int) -> Iterator[_Place]:
        """Yield where records from ``first`` of the batch on come from; nothing once steps have moved records."""
        if self._chunk.source.locate is not None and self._chunk.applied.ordinals is None:
            yield _Place(first, low, self._chunk.source.locate)

    def rejections(self, start: int, end: int, offset: int) -> Iterator[Rejection]:
        """Yield rejections of source records ``start`` up to ``end``, numbered within the batch."""
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
                stage="check" if refused.step == "check" else "transform",
                step=refused.step,
                rule=refusal.rule,
                message=refusal.message,
                raw=raw,
                field=refusal.field,
                location=locate(refusal.index) if locate else None,
            )

    def _source_ordinal(self, readable: int) -> int:
        ordinal = readable
        for bad in self._bad:
            if bad > ordinal:
                break
            ordinal += 1
        return ordinal

    def _raw(self, indexes: list[int]) -> list[Any]:
        """Return source records as they were read."""
        if not indexes:
            return []
        source = self._chunk.source
        if source.frame is not None:
            return frame_to_rows(source.frame[indexes])
        records = source.records or []
        return [records[index] for index in indexes]

    def count_steps(self, steps: Sequence[StepCounts], low: int, high: int) -> None:
        """Add the account of readable records ``low`` up to ``high`` to each step's counts."""
        going_in = high - low
        for step, tally in zip(steps, self._chunk.applied.tallies, strict=True):
            filtered, added, rejected = (_within(found, low, high) for found in _sorted(tally))
            step.records_in += going_in
            step.filtered += filtered
            step.added += added
            step.rejected += rejected
            going_in += added - filtered - rejected
            step.records_out += going_in
            step.form = tally.form if step.form in {"", tally.form} else "mixed"
            if low == 0:
                step.seconds += tally.seconds


def _sorted(tally: Tally) -> Iterator[list[int]]:
    for found in (tally.filtered, tally.added, tally.rejected):
        found.sort()
        yield found


def _within(found: list[int], low: int, high: int) -> int:
    return bisect_left(found, high) - bisect_left(found, low)
