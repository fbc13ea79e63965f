"""Lets a screening operation look at the columns of a frame, and takes out what does not pass."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from etlctl.engine.applied import Applied, Refused, Tally
from etlctl.engine.attribution import attributed
from etlctl.errors import RecordFailed
from etlctl.sdk.context import StepContext
from etlctl.sdk.rows import RowRejection
from etlctl.sdk.screening import Screening, Verdict

if TYPE_CHECKING:
    import polars as pl

    from etlctl.engine.apply import StepLike


def screen_frame(step: StepLike, screening: Screening, ctx: StepContext, tally: Tally, applied: Applied) -> None:
    """Show a chunk that is a frame to a screening operation.

    Args:
        step: The step it is.
        screening: Its operation.
        ctx: What the operation gets to know.
        tally: What it did to the chunk; added to.
        applied: The chunk; changed.

    Raises:
        RecordFailed: A record does not pass, and that is to end the run.
    """
    frame = applied.frame
    if frame is None:
        return
    began = time.perf_counter()
    with attributed(step.name):
        kept = screening.sift(frame)
        verdicts = screening.screen_frame(frame, ctx) if kept is None else []
    tally.form = "frame"
    if kept is not None and not kept.all():
        ordinals = applied.source_ordinals()
        tally.filtered += [ordinals[position] for position in (~kept).arg_true().to_list()]
        _keep(kept, applied)
    if verdicts:
        _note(step.name, verdicts, tally, applied)
        _take_out([verdict.position for verdict in verdicts if verdict.leaves], applied)
    tally.seconds += time.perf_counter() - began


def _note(name: str, verdicts: Sequence[Verdict], tally: Tally, applied: Applied) -> None:
    ordinals = applied.source_ordinals()
    for verdict in verdicts:
        index = ordinals[verdict.position]
        if verdict.rule is None:
            tally.filtered.append(index)
            continue
        refusal = RowRejection(index, verdict.rule, verdict.message, verdict.field)
        if verdict.action == "fail":
            with attributed(name):
                raise RecordFailed(index, verdict.rule, verdict.message)
        if verdict.action == "warn":
            tally.warned.append(refusal)
        elif verdict.action == "drop":
            tally.filtered.append(index)
        else:
            tally.rejected.append(index)
            applied.refused.append(Refused(name, refusal))


def _take_out(positions: Sequence[int], applied: Applied) -> None:
    import polars as pl  # noqa: PLC0415

    frame = applied.frame
    if frame is None or not positions:
        return
    _keep(pl.repeat(value=True, n=frame.height, eager=True).scatter(list(positions), values=False), applied)


def _keep(kept: pl.Series, applied: Applied) -> None:
    import polars as pl  # noqa: PLC0415

    frame = applied.frame
    if frame is None:
        return
    before = applied.ordinals
    if before is None:
        applied.ordinals = kept.arg_true().cast(pl.UInt32)
    elif isinstance(before, list):
        applied.ordinals = [before[position] for position in kept.arg_true()]
    else:
        applied.ordinals = before.filter(kept)
    applied.frame = frame.filter(kept)
