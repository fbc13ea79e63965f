"""Apply the steps of a contract to one chunk: frame groups as one lazy plan each, row steps in slices.

A chunk that comes as a frame stays one as long as the steps have a frame form. Neighbouring frame steps share one
lazy plan; rows it suspects go from their source through the rows form of the same steps and return to their place.
From the first step without a frame form on, the chunk travels as rows, in slices small enough to stay in the cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from etlctl.batch import Batch, Record, frame_to_rows, rows_to_frame
from etlctl.engine.applied import ROWS_FROM_SOURCE, Applied, Refused, Tally
from etlctl.engine.channel import AbandonedError
from etlctl.engine.concealing import record_concealment, unquoted
from etlctl.engine.exactness import keeps, set_apart
from etlctl.engine.frame_account import certain_tally
from etlctl.engine.row_steps import Elsewhere, RanSlice, add_up, run_row_steps
from etlctl.engine.screened import screen_frame
from etlctl.engine.violations import named, renumbered
from etlctl.engine.whole_frames import exchange_frame
from etlctl.errors import ComponentError, ConversionError, RecordFailed
from etlctl.sdk.context import StepContext
from etlctl.sdk.operation import Operation, Scope
from etlctl.sdk.rows import RowRejection, RowSlice
from etlctl.sdk.screening import Screening
from etlctl.sdk.whole_frame import WholeFrame

if TYPE_CHECKING:
    import polars as pl

    from etlctl.sdk.frames import FramePlan

SLICE = 250
"""Records that go through row steps and the encoder together: few enough to stay in the processor's cache."""


class StepLike(Protocol):
    """What the engine needs of a step: its name and its operation."""

    @property
    def name(self) -> str:
        """Where in the contract."""

    @property
    def operation(self) -> Operation:
        """What it does."""


def _never() -> bool:
    return False


def apply_steps(
    steps: Sequence[StepLike],
    chunk: Batch,
    contexts: Sequence[StepContext],
    *,
    stopped: Callable[[], bool] = _never,
    elsewhere: Elsewhere | None = None,
) -> Applied:
    """Run a chunk through all steps.

    Args:
        steps: The steps, in order.
        chunk: Records as the extractor gave them.
        contexts: One context per step.
        stopped: Asked before each slice whether the run is over and the rest not wanted.
        elsewhere: Runs row steps in other processes, those that see one record at a time and remember none.

    Raises:
        ComponentError: A step cannot go on; the step's name is attached.
        AbandonedError: The run is over.
    """
    applied = Applied(chunk.records, chunk.frame, None, len(chunk), [], [Tally() for _ in steps])
    with told(steps, chunk):
        _run_groups(steps, contexts, applied, stopped, elsewhere)
    explain(steps, applied.tallies, as_frame=chunk.frame is not None)
    return applied


@contextmanager
def told(steps: Sequence[StepLike], chunk: Batch) -> Iterator[None]:
    """Tell a failure of the steps in words for people, without what the contract masks."""
    try:
        yield
    except RecordFailed as failure:
        raise unquoted(named(failure, chunk, record_concealment(steps)), steps) from None
    except ComponentError as error:
        unquoted(error, steps)
        raise


def _run_groups(
    steps: Sequence[StepLike],
    contexts: Sequence[StepContext],
    applied: Applied,
    stopped: Callable[[], bool],
    elsewhere: Elsewhere | None,
) -> None:
    position = 0
    while position < len(steps):
        end = _group_end(steps, position, as_frame=applied.frame is not None, apart=elsewhere is not None)
        group = _Group(
            steps[position:end],
            contexts[position:end],
            applied.tallies[position:end],
            stopped,
            position,
            elsewhere,
        )
        operation = steps[position].operation
        if isinstance(operation, WholeFrame) and operation.takes_frames:
            exchange_frame(steps[position].name, operation, contexts[position], applied.tallies[position], applied)
        elif applied.frame is None:
            _apply_rows(group, applied)
        elif group.screening is not None:
            screen_frame(steps[position], group.screening, contexts[position], applied.tallies[position], applied)
        elif group.has_frame and (done := _apply_frame(group, applied)):
            end = position + done
        else:
            applied.records, applied.frame = frame_to_rows(applied.frame), None
            _apply_rows(group, applied)
        position = end


@dataclass(slots=True)
class _Group:
    """Neighbouring steps that run together."""

    steps: Sequence[StepLike]
    contexts: Sequence[StepContext]
    tallies: Sequence[Tally]
    stopped: Callable[[], bool] = _never
    start: int = 0
    elsewhere: Elsewhere | None = None

    @property
    def has_frame(self) -> bool:
        return self.steps[0].operation.frame_reason() is None

    @property
    def screening(self) -> Screening | None:
        operation = self.steps[0].operation
        return operation if isinstance(operation, Screening) else None

    @property
    def whole(self) -> bool:
        """A batch-scoped step must see everything at once."""
        return self.steps[0].operation.scope is Scope.batch

    @property
    def can_travel(self) -> bool:
        """Other processes may run these steps: each record by itself."""
        if self.elsewhere is None or self.whole:
            return False
        return not any(step.operation.remembers or step.operation.stays for step in self.steps)

    def first(self, count: int) -> _Group:
        """The first steps of the group."""
        return _Group(self.steps[:count], self.contexts[:count], self.tallies[:count], self.stopped)

    def note(self, why: str) -> None:
        """Say why the steps do not run on the frame, unless that was said before."""
        for tally in self.tallies:
            tally.note(why)

    def members(self) -> Iterator[tuple[StepLike, StepContext, Tally]]:
        return zip(self.steps, self.contexts, self.tallies, strict=True)


def explain(steps: Sequence[StepLike], tallies: Sequence[Tally], *, as_frame: bool) -> None:
    """Say of each step that ran on rows why it did."""
    cause = "" if as_frame else ROWS_FROM_SOURCE
    for step, tally in zip(steps, tallies, strict=True):
        if tally.form != "rows":
            continue
        tally.note(cause or step.operation.frame_reason() or "the records come as rows")
        cause = cause or f"{step.name} gives rows"


def _group_end(steps: Sequence[StepLike], start: int, *, as_frame: bool, apart: bool) -> int:
    """Return where the group that begins at ``start`` ends; ``apart``: row steps that remember go by themselves."""
    first = steps[start].operation
    if first.scope is Scope.batch or (as_frame and isinstance(first, Screening)):
        return start + 1
    counting = first.changes_count
    has_frame = first.frame_reason() is None
    end = start + 1
    while end < len(steps):
        operation = steps[end].operation
        if operation.scope is Scope.batch:
            break
        if apart and not as_frame and (operation.remembers, operation.stays) != (first.remembers, first.stays):
            break
        if as_frame:
            if (operation.frame_reason() is None) is not has_frame or isinstance(operation, Screening):
                break
            if has_frame and operation.changes_count:
                if counting:
                    break
                counting = True
        end += 1
    return end


def _gathered(before: list[int] | pl.Series, local: pl.Series) -> list[int] | pl.Series:
    """Return the source ordinals of records that are numbered by their place in the group's input."""
    return [before[index] for index in local] if isinstance(before, list) else before.gather(local)


# --- rows ------------------------------------------------------------------------------------------------------------


def _apply_rows(group: _Group, applied: Applied) -> None:
    out_records: list[Record] = []
    out_ordinals: list[int] = []
    for part in _ran_elsewhere(group, applied) if group.can_travel else _ran_here(group, applied):
        out_records += part.records
        out_ordinals += part.indexes
    unchanged = (
        applied.ordinals is None
        and len(out_ordinals) == applied.source
        and not any(tally.filtered or tally.added or tally.rejected for tally in group.tallies)
    )
    applied.records, applied.frame = out_records, None
    if group.whole:
        unchanged = False
        applied.reordered = applied.reordered or any(a > b for a, b in pairwise(out_ordinals))
    applied.ordinals = None if unchanged else out_ordinals


def _ran_here(group: _Group, applied: Applied) -> Iterator[RowSlice]:
    records = applied.records or []
    ordinals = applied.source_ordinals()
    size = max(len(records), 1) if group.whole else SLICE
    for start in range(0, len(records), size) or ([0] if group.whole else []):
        if group.stopped():
            raise AbandonedError
        # Steps change the top level in place; the source stays as it was, for the dead letters.
        part = RowSlice(
            [record.copy() for record in records[start : start + size]], list(ordinals[start : start + size])
        )
        applied.refused.extend(run_row_steps(group.members(), part))
        yield part


def _ran_elsewhere(group: _Group, applied: Applied) -> Iterator[RanSlice]:
    if group.elsewhere is None:
        return
    numbers = range(group.start, group.start + len(group.steps))
    for ran in group.elsewhere.run(numbers, applied.records or [], applied.source_ordinals(), group.stopped):
        applied.refused.extend(ran.refused)
        for tally, more in zip(group.tallies, ran.tallies, strict=True):
            add_up(tally, more)
        yield ran


# --- frames ----------------------------------------------------------------------------------------------------------


def _apply_frame(group: _Group, applied: Applied) -> int:
    """Run a frame group, as far as it can; return how many steps were done, 0 when this chunk needs the rows form."""
    import polars as pl  # noqa: PLC0415

    from etlctl.sdk.frames import ORDINAL, FramePlan, FrameUnsupported  # noqa: PLC0415

    frame = applied.frame
    if frame is None:
        return 0
    began = time.perf_counter()
    planned = 0
    try:
        plan = FramePlan(frame)
        for step, ctx, _ in group.members():
            step.operation.frame(plan, ctx)
            planned += 1
            if plan.mixed:  # what follows must see integers where they are
                group = group.first(planned)
                break
        out = plan.lazy.collect()
    except FrameUnsupported as reason:
        group.tallies[planned].note(str(reason))
        # What comes before the step that needs rows keeps its plan.
        return _apply_frame(group.first(planned), applied) if planned else 0
    except pl.exceptions.PolarsError as error:
        # The rows form is the authority on what is an error and which record it is about.
        group.note("Polars cannot say which record is wrong: " + str(error).split("\n", 1)[0])
        return 0
    visible = list(plan.schema)
    out, suspects = _parted(plan, out)
    certain = certain_tally(group.steps, out.get_column(ORDINAL), frame.height, suspects)
    if suspects:
        with renumbered(applied.ordinals):
            settled = _settle_suspects(group, frame, suspects, out.select([*visible, ORDINAL]), plan)
        if settled is None:
            group.note("some records left to the rows form come out in a shape that the columns cannot hold")
            return 0
        out, outcome = settled
    else:
        outcome = _SuspectOutcome([], [Tally() for _ in group.steps])
    _note(group, applied, certain, outcome, time.perf_counter() - began)
    ordinals = out.get_column(ORDINAL)
    if ordinals.len() != frame.height or outcome.moved or certain is not None:
        before = applied.ordinals
        applied.ordinals = ordinals if before is None else _gathered(before, ordinals)
    applied.frame = out.select(visible)
    if plan.mixed:
        set_apart(applied, plan.mixed, group.tallies[-1])
    return len(group.steps)


def _parted(plan: FramePlan, out: pl.DataFrame) -> tuple[pl.DataFrame, list[int]]:
    """Return the rows that are certain, and the ordinals of those that the rows form must decide."""
    import polars as pl  # noqa: PLC0415

    from etlctl.sdk.frames import ORDINAL, SUSPECT  # noqa: PLC0415

    if not plan.guarded or not out.get_column(SUSPECT).any():
        return out, []
    doubtful = out.filter(pl.col(SUSPECT)).get_column(ORDINAL).unique().sort()
    return out.filter(~pl.col(SUSPECT)), doubtful.to_list()


@dataclass(slots=True)
class _SuspectOutcome:
    """What the rows form made of suspected rows, by ordinals within the group's input."""

    refused: list[Refused]
    tallies: list[Tally]

    @property
    def moved(self) -> bool:
        return any(tally.filtered or tally.added or tally.rejected for tally in self.tallies)


def _settle_suspects(
    group: _Group,
    frame: pl.DataFrame,
    suspects: list[int],
    certain: pl.DataFrame,
    plan: FramePlan,
) -> tuple[pl.DataFrame, _SuspectOutcome] | None:
    """Send suspected rows through the rows form and put them back in order; None when they do not fit the columns."""
    import polars as pl  # noqa: PLC0415

    from etlctl.sdk.frames import ORDINAL  # noqa: PLC0415

    part = RowSlice(frame_to_rows(frame[suspects]), list(suspects))
    scratch = [Tally() for _ in group.steps]
    refused = run_row_steps(zip(group.steps, group.contexts, scratch, strict=True), part)
    if part.records:
        if plan.exact and not keeps(part.records, plan.schema, plan.mixed):
            return None
        try:
            fixed = rows_to_frame(part.records, plan.schema)
        except ConversionError:
            return None
        if fixed.columns != list(plan.schema):
            return None
        fixed = fixed.with_columns(pl.Series(ORDINAL, part.indexes, dtype=pl.UInt32))
        certain = pl.concat([certain, fixed], how="vertical").sort(ORDINAL, maintain_order=True)
    return certain, _SuspectOutcome(refused, scratch)


def _note(
    group: _Group, applied: Applied, certain: tuple[int, Tally] | None, outcome: _SuspectOutcome, seconds: float
) -> None:
    """Add what a frame group did to the tallies, in ordinals of the chunk's source records."""
    before = applied.ordinals
    for number, (tally, suspected) in enumerate(zip(group.tallies, outcome.tallies, strict=True)):
        counted = certain[1] if certain is not None and certain[0] == number else Tally()
        tally.filtered += _mapped(sorted(counted.filtered + suspected.filtered), before)
        tally.added += _mapped(sorted(counted.added + suspected.added), before)
        tally.rejected += _mapped(suspected.rejected, before)
        tally.warned += [_moved(warned, before) for warned in suspected.warned]
        tally.form = "frame" if not suspected.form else "mixed"
        tally.why = "some records were left to the rows form" if suspected.form else ""
    group.tallies[0].seconds += seconds
    for refused in outcome.refused:
        applied.refused.append(Refused(refused.step, _moved(refused.rejection, before)))


def _moved(local: RowRejection, before: list[int] | pl.Series | None) -> RowRejection:
    return local if before is None else replace(local, index=before[local.index])


def _mapped(local: list[int], before: list[int] | pl.Series | None) -> list[int]:
    return local if before is None else [before[index] for index in local]
