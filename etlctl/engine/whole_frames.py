"""Run a step that exchanges a whole frame for another one: what it did is told by the number of rows."""

from __future__ import annotations

import time

from etlctl.engine.applied import Applied, Tally
from etlctl.engine.attribution import attributed
from etlctl.sdk.context import StepContext
from etlctl.sdk.whole_frame import WholeFrame


def exchange_frame(name: str, operation: WholeFrame, ctx: StepContext, tally: Tally, applied: Applied) -> None:
    """Run the step on a chunk in either form; the chunk is a frame afterwards.

    Nobody can tell which row came from which: row i is taken for what became of row i, as when rows are exchanged.

    Raises:
        ComponentError: The step cannot go on; its name is attached.
    """
    began = time.perf_counter()
    with attributed(name):
        frame = applied.frame if applied.frame is not None else operation.as_frame(applied.records or [])
        changed = operation.change(frame, ctx)
    before, now = len(applied), changed.height
    if now != before:
        ordinals = list(applied.source_ordinals())
        surplus = [ordinals[-1] if ordinals else 0] * (now - before)
        tally.filtered += sorted(ordinals[now:])
        tally.added += surplus
        applied.ordinals = [*ordinals[:now], *surplus]
    tally.form = "frame"
    tally.seconds += time.perf_counter() - began
    applied.records, applied.frame = None, changed
