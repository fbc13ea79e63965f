"""Cut and join applied chunks into batches of an exact number of source records.

Extractors yield chunks of whatever size suits the source; ``batch_size`` is the unit of commit. A position inside a
chunk is the chunk's own start plus the number of source records to skip, so that no extractor has to know about it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from etlctl.batch import Batch, Encoded, Position, Record, Rejection, frame_to_rows
from etlctl.engine.applied import EncodedSlice
from etlctl.engine.apply import SLICE
from etlctl.engine.chunks import AppliedChunk, ChunkView
from etlctl.engine.incremental import Advance
from etlctl.engine.memory import size_of
from etlctl.engine.violations import Violations
from etlctl.frozen import frozen
from etlctl.run import Counts, StepCounts
from etlctl.sdk.loader import Encoder

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
        refused: Records the writer's encoder refused, raw record included.
        origins: Where the records came from, for those that the destination may yet refuse.
        violations: Rules that records broke without being refused.
        advances: How far its records bring the cursor of an incremental run.
    """

    batch: Batch
    counts: Counts
    steps: list[StepCounts]
    rejections: list[Rejection]
    refused: list[Rejection]
    origins: list[Origin]
    violations: Violations = field(default_factory=Violations)
    advances: list[Advance] = field(default_factory=list)

    def from_source(self, rejection: Rejection) -> Rejection:
        """Return a rejection of a batch's record with its source record, ordinal and location."""
        if not self.origins:
            return rejection
        at = bisect_right(self.origins, rejection.index, key=lambda origin: origin.first) - 1
        return self.origins[at].resolve(rejection, rejection.index)


@frozen
class Origin:
    """A run of records of a batch, from ``first`` on, that came from one chunk's outputs from ``output`` on."""

    first: int
    output: int
    offset: int
    view: ChunkView

    def resolve(self, rejection: Rejection, index: int) -> Rejection:
        """Return a rejection of record ``index`` of the batch, told in terms of its source record."""
        ordinal, raw, location = self.view.source_of(self.output + index - self.first)
        return replace(rejection, index=ordinal + self.offset, raw=raw, location=location)


@dataclass(slots=True)
class _Part:
    """Records of a batch that came from one chunk, in one of three forms."""

    rows: list[Record] | None = None
    frame: pl.DataFrame | None = None
    encoded: list[Encoded] | None = None


@dataclass(slots=True)
class _Pending:
    """The batch being put together."""

    parts: list[_Part] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    records: int = 0
    extracted: int = 0
    seen: bool = False
    steps: list[StepCounts] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    refused: list[Rejection] = field(default_factory=list)
    position: Position = field(default_factory=dict)
    violations: Violations = field(default_factory=Violations)
    advances: list[Advance] = field(default_factory=list)


class Cutter:
    """Takes applied chunks in order and gives batches of ``batch_size`` source records, the last one shorter.

    Args:
        step_names: Names of the steps, in order.
        batch_size: Source records per batch.
        encoder: Turns rows into what the writer takes as soon as they are there; frames stay frames.
        done: Batches of the run that were done before.
        replay: Source records that come first and are loaded already: a batch ends behind them, and theirs are
            numbered 0.
        redo: Source records of the batches that come next, which some of several destinations hold already.
    """

    def __init__(
        self,
        step_names: Sequence[str],
        batch_size: int,
        encoder: Encoder | None = None,
        *,
        done: int = 0,
        replay: int = 0,
        redo: Sequence[int] = (),
    ) -> None:
        self._names = list(step_names)
        self._size = batch_size
        self._encoder = encoder
        self._seq = done
        self._replay = replay
        self._redo = list(redo)
        self._pending = self._empty()

    def _empty(self) -> _Pending:
        return _Pending(steps=[StepCounts(name) for name in self._names])

    def feed(self, chunk: AppliedChunk) -> Iterator[Cut]:
        """Add a chunk; yield the batches that are full now."""
        taken = 0
        view = ChunkView(chunk)
        while True:
            room = self._limit - self._pending.extracted
            end = min(taken + room, chunk.size)
            self._take(view, taken, end)
            done = end == chunk.size
            self._pending.position = (
                {"at": chunk.source.position, "skip": 0}
                if done
                else {"at": chunk.start["at"], "skip": chunk.start["skip"] + end}
            )
            taken = end
            if self._pending.extracted >= self._limit:
                yield self._emit()
            if done:
                return

    def size(self) -> int:
        """Return about how many bytes the batch that is being put together holds."""
        parts = list(self._pending.parts)
        return sum(size_of(Batch(part.rows, part.frame, {}, encoded=part.encoded)) for part in parts)

    def flush(self) -> Iterator[Cut]:
        """Yield the last, shorter batch, if there is one."""
        if self._pending.seen and (self._pending.extracted or not self._seq):
            yield self._emit()

    @property
    def encoder(self) -> Encoder | None:
        """Turns rows into what the writer takes."""
        return self._encoder

    def spans(self, count: int) -> Iterator[tuple[int, int]] | None:
        """Yield slices of the next source records, none across the end of a batch; None while batches are repeated.

        Args:
            count: Source records that will be fed next, all readable.
        """
        return None if self._replay or self._redo else _spans(count, self._size - self._pending.extracted, self._size)

    @property
    def _limit(self) -> int:
        if self._replay:
            return min(self._size, self._replay)
        return self._redo[0] if self._redo else self._size

    def _take(self, view: ChunkView, start: int, end: int) -> None:
        pending = self._pending
        pending.seen = True
        low, high = view.readable(start), view.readable(end)
        first, last = view.output_range(low, high)
        offset = pending.extracted - start
        if last > first or not pending.parts:
            origin = Origin(pending.records, first, offset, view)
            pending.parts.append(self._part(view, origin, first, last))
            pending.records += last - first
        pending.rejections += view.rejections(start, end, offset)
        view.count_steps(pending.steps, low, high)
        pending.violations.update(view.violations(low, high))
        pending.advances += view.advance(low, high)
        pending.extracted += end - start

    def _part(self, view: ChunkView, origin: Origin, first: int, last: int) -> _Part:
        encoded = view.encoded(first, last)
        if encoded is not None:
            return _Part(encoded=[self._told(one, origin, first) for one in encoded])
        rows, frame = view.output(first, last)
        if frame is not None or rows is None or self._encoder is None:
            self._pending.origins.append(origin)
            return _Part(rows, frame)
        return _Part(encoded=_encode(self._encoder, rows, origin, self._pending.refused))

    def _told(self, one: EncodedSlice, origin: Origin, first: int) -> Encoded:
        place = origin.first + one.first - first
        self._pending.refused += [origin.resolve(refusal, place + refusal.index) for refusal in one.part.rejected]
        return one.part

    def _emit(self) -> Cut:
        pending, self._pending = self._pending, self._empty()
        seq = 0
        if self._replay:
            self._replay -= pending.extracted
        else:
            seq = self._seq = self._seq + 1
            self._redo = self._redo[1:]
        counts = Counts(
            extracted=pending.extracted,
            added=sum(step.added for step in pending.steps),
            filtered=sum(step.filtered for step in pending.steps),
            rejected=len(pending.rejections),
        )
        batch = self._joined(pending)
        batch.position, batch.seq, batch.locate = pending.position, seq, _locator(pending.origins)
        return Cut(
            batch,
            counts,
            pending.steps,
            pending.rejections,
            pending.refused,
            pending.origins,
            pending.violations,
            pending.advances,
        )

    def _joined(self, pending: _Pending) -> Batch:
        """Join parts; frames of equal columns stay a frame, anything else becomes rows, which keep every value."""
        frames = [part.frame for part in pending.parts if part.frame is not None]
        if len(frames) == len(pending.parts) and frames:
            if len(frames) == 1:
                return Batch(None, frames[0], {})
            if all(frame.schema == frames[0].schema for frame in frames):
                import polars as pl  # noqa: PLC0415

                return Batch(None, pl.concat(frames, how="vertical", rechunk=False), {})
        if self._encoder is not None:
            return Batch(None, None, {}, encoded=_all_encoded(self._encoder, pending))
        records: list[Record] = []
        for part in pending.parts:
            records += frame_to_rows(part.frame) if part.frame is not None else part.rows or []
        return Batch(records, None, {})


def _spans(count: int, room: int, size: int) -> Iterator[tuple[int, int]]:
    start = 0
    while start < count:
        end = min(start + SLICE, start + room, count)
        yield start, end
        room = room - (end - start) or size
        start = end


def _encode(encoder: Encoder, rows: list[Record], origin: Origin, refused: list[Rejection]) -> list[Encoded]:
    """Encode rows slice by slice; what the encoder refuses is told in terms of its source record right away."""
    made = []
    for start in range(0, len(rows), SLICE):
        part = encoder(rows[start : start + SLICE])
        place = origin.first + start
        refused += [origin.resolve(rejection, place + rejection.index) for rejection in part.rejected]
        made.append(part)
    return made


def _all_encoded(encoder: Encoder, pending: _Pending) -> list[Encoded]:
    """Encode the frames that stand between encoded parts, which is rare: columns that changed on the way."""
    made: list[Encoded] = []
    origins = iter(pending.origins)
    for part in pending.parts:
        if part.encoded is not None:
            made += part.encoded
        else:
            rows = frame_to_rows(part.frame) if part.frame is not None else part.rows or []
            made += _encode(encoder, rows, next(origins), pending.refused)
    return made


def _locator(origins: list[Origin]) -> Callable[[int], str] | None:
    """Return what tells where the n-th record of a batch came from, if its source can tell."""
    if not origins or not all(origin.view.can_locate for origin in origins):
        return None

    def locate(index: int) -> str:
        origin = origins[bisect_right(origins, index, key=lambda one: one.first) - 1]
        return origin.view.source_of(origin.output + index - origin.first)[2] or ""

    return locate
