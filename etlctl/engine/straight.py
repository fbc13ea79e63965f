"""Run records that are still text straight through: read, worked on by the steps, encoded and forgotten by the slice.

A slice never leaves the processor's cache that way, and no record has to be kept as it was: its text is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from etlctl.batch import Batch, Record
from etlctl.engine.applied import Applied, EncodedSlice, Tally
from etlctl.engine.apply import StepLike, explain, told
from etlctl.engine.channel import AbandonedError
from etlctl.engine.row_steps import run_row_steps
from etlctl.sdk.context import StepContext
from etlctl.sdk.loader import Encoder
from etlctl.sdk.rows import RowSlice


def apply_straight(
    steps: Sequence[StepLike],
    chunk: Batch,
    contexts: Sequence[StepContext],
    spans: Iterable[tuple[int, int]],
    *,
    encoder: Encoder | None,
    stopped: Callable[[], bool],
) -> Applied | None:
    """Run a deferred chunk through all steps; None when a record needs a closer look, and nothing came of it then.

    Args:
        steps: The steps, in order; each sees one record at a time and remembers none.
        chunk: Deferred records.
        contexts: One context per step.
        spans: Where to cut them into slices: from, up to.
        encoder: Turns rows into what the writer takes; None: they stay rows.
        stopped: Asked before each slice whether the run is over and the rest not wanted.

    Raises:
        ComponentError: A step cannot go on; the step's name is attached.
        AbandonedError: The run is over.
    """
    deferred = chunk.deferred
    if deferred is None:
        return None
    applied = Applied(None, None, None, deferred.count, [], [Tally() for _ in steps])
    sink = _Sink(encoder)
    with told(steps, chunk):
        for start, end in spans:
            if stopped():
                raise AbandonedError
            records = deferred.read(start, end)
            if records is None:
                return None
            part = RowSlice(records, list(range(start, end)))
            del records  # or it would keep what the steps replace
            applied.refused += run_row_steps(zip(steps, contexts, applied.tallies, strict=True), part)
            sink.take(part)
    sink.give(applied)
    explain(steps, applied.tallies, as_frame=False)
    return applied


@dataclass(slots=True)
class _Sink:
    """Where the records of a slice go; ``encoder`` is None when they stay rows."""

    encoder: Encoder | None
    ordinals: list[int] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    slices: list[EncodedSlice] = field(default_factory=list)

    def take(self, part: RowSlice) -> None:
        if self.encoder is None:
            self.records += part.records
        elif part.records:
            self.slices.append(EncodedSlice(len(self.ordinals), self.encoder(part.records)))
        self.ordinals += part.indexes

    def give(self, applied: Applied) -> None:
        if self.encoder is None:
            applied.records = self.records
        else:
            applied.encoded = self.slices
        if any(tally.filtered or tally.added or tally.rejected for tally in applied.tallies):
            applied.ordinals = self.ordinals
