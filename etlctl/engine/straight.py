"""Run records that are still text straight through: read, worked on by the steps, encoded and forgotten by the slice.

A slice never leaves the processor's cache that way, and no record has to be kept as it was: its text is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from etlctl.batch import Batch, Record
from etlctl.deferred import Deferred
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
    with told(steps, chunk):
        if not _run(steps, contexts, deferred, applied, _Sink(encoder), spans, stopped):
            return None
    explain(steps, applied.tallies, as_frame=False)
    return applied


class _Sink:
    """Where the records of a slice go."""

    def __init__(self, encoder: Encoder | None) -> None:
        self._encoder = encoder
        self._count = 0
        self._records: list[Record] = []
        self._encoded: list[EncodedSlice] = []

    def take(self, records: list[Record]) -> None:
        if self._encoder is None:
            self._records += records
        elif records:
            self._encoded.append(EncodedSlice(self._count, self._encoder(records)))
            self._count += len(records)

    def give(self, applied: Applied) -> None:
        if self._encoder is None:
            applied.records = self._records
        else:
            applied.encoded = self._encoded


def _run(
    steps: Sequence[StepLike],
    contexts: Sequence[StepContext],
    deferred: Deferred[Batch],
    applied: Applied,
    sink: _Sink,
    spans: Iterable[tuple[int, int]],
    stopped: Callable[[], bool],
) -> bool:
    ordinals: list[int] = []
    for start, end in spans:
        if stopped():
            raise AbandonedError
        records = deferred.read(start, end)
        if records is None:
            return False
        part = RowSlice(records, list(range(start, end)))
        del records
        applied.refused += run_row_steps(zip(steps, contexts, applied.tallies, strict=True), part)
        ordinals += part.indexes
        sink.take(part.records)
    if any(tally.filtered or tally.added or tally.rejected for tally in applied.tallies):
        applied.ordinals = ordinals
    sink.give(applied)
    return True
