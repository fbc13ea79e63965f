"""Apply the steps of a contract to one chunk: frame groups as one lazy plan each, row steps in slices.

A chunk that comes as a frame stays one as long as the steps have a frame form. Neighbouring frame steps share one
lazy plan; rows it suspects go from their source through the rows form of the same steps and return to their place.
From the first step without a frame form on, the chunk travels as rows, in slices small enough to stay in the cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from etlctl.batch import Batch, Record, frame_to_rows, rows_to_frame
from etlctl.engine.attribution import attributed
from etlctl.engine.channel import AbandonedError
from etlctl.errors import ConversionError, FatalError
from etlctl.sdk.context import StepContext
from etlctl.sdk.operation import Operation, Scope
from etlctl.sdk.rows import RowRejection, RowSlice
from etlctl.sdk.screening import Screening

if TYPE_CHECKING:
    import polars as pl

SLICE = 1000


class StepLike(Protocol):
    """What the engine needs of a step: its name and its operation."""

    @property
    def name(self) -> str:
        """Where in the contract."""

    @property
    def operation(self) -> Operation:
        """What it does."""


@dataclass(slots=True)
class Tally:
    """What one step did to a chunk, by 0-based ordinals of the readable source records, in order."""

    filtered: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    seconds: float = 0.0
    form: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that a step refused; ``rejection.index`` is its ordinal among the readable records of the chunk."""

    step: str
    rejection: RowRejection


@dataclass(slots=True)
class Applied:
    """A chunk after all steps. ``ordinals`` tells for each record which readable source record it came from.

    ``ordinals`` is None when record i still is source record i; they ascend unless ``reordered``.
    """

    records: list[Record] | None
    frame: pl.DataFrame | None
    ordinals: list[int] | pl.Series | None
    source: int
    refused: list[Refused]
    tallies: list[Tally]
    reordered: bool = False

    def __len__(self) -> int:
        return self.frame.height if self.frame is not None else len(self.records or ())


def _never() -> bool:
    return False


def apply_steps(
    steps: Sequence[StepLike],
    chunk: Batch,
    contexts: Sequence[StepContext],
    *,
    stopped: Callable[[], bool] = _never,
) -> Applied:
    """Run a chunk through all steps.

    Args:
        steps: The steps, in order.
        chunk: Records as the extractor gave them.
        contexts: One context per step.
        stopped: Asked before each slice whether the run is over and the rest not wanted.

    Raises:
        ComponentError: A step cannot go on; the step's name is attached.
        AbandonedError: The run is over.
    """
    applied = Applied(chunk.records, chunk.frame, None, len(chunk), [], [Tally() for _ in steps])
    position = 0
    while position < len(steps):
        end = _group_end(steps, position, as_frame=applied.frame is not None)
        group = _Group(steps[position:end], contexts[position:end], applied.tallies[position:end], stopped)
        if applied.frame is None:
            _apply_rows(group, applied)
        elif group.screening is not None:
            _screen_frame(group, group.screening, applied)
        elif not (group.has_frame and _apply_frame(group, applied)):
            applied.records, applied.frame = frame_to_rows(applied.frame), None
            _apply_rows(group, applied)
        position = end
    return applied


@dataclass(slots=True)
class _Group:
    """Neighbouring steps that run together."""

    steps: Sequence[StepLike]
    contexts: Sequence[StepContext]
    tallies: Sequence[Tally]
    stopped: Callable[[], bool] = _never

    @property
    def has_frame(self) -> bool:
        return all(step.operation.has_frame for step in self.steps)

    @property
    def screening(self) -> Screening | None:
        operation = self.steps[0].operation
        return operation if isinstance(operation, Screening) else None

    @property
    def whole(self) -> bool:
        """A batch-scoped step must see everything at once."""
        return self.steps[0].operation.scope is Scope.batch

    def members(self) -> Iterator[tuple[StepLike, StepContext, Tally]]:
        return zip(self.steps, self.contexts, self.tallies, strict=True)


def _group_end(steps: Sequence[StepLike], start: int, *, as_frame: bool) -> int:
    """Return where the group that begins at ``start`` ends."""
    first = steps[start].operation
    if first.scope is Scope.batch or (as_frame and isinstance(first, Screening)):
        return start + 1
    counting = first.changes_count
    end = start + 1
    while end < len(steps):
        operation = steps[end].operation
        if operation.scope is Scope.batch:
            break
        if as_frame:
            if operation.has_frame is not first.has_frame or isinstance(operation, Screening):
                break
            if operation.has_frame and operation.changes_count:
                if counting:
                    break
                counting = True
        end += 1
    return end


def _source_ordinals(applied: Applied) -> Sequence[int]:
    ordinals = applied.ordinals
    if ordinals is None:
        return range(len(applied))
    return ordinals if isinstance(ordinals, list) else ordinals.to_list()


def _gathered(before: list[int] | pl.Series, local: pl.Series) -> list[int] | pl.Series:
    """Return the source ordinals of records that are numbered by their place in the group's input."""
    return [before[index] for index in local] if isinstance(before, list) else before.gather(local)


# --- rows ------------------------------------------------------------------------------------------------------------


def _apply_rows(group: _Group, applied: Applied) -> None:
    records = applied.records or []
    ordinals = _source_ordinals(applied)
    size = max(len(records), 1) if group.whole else SLICE
    out_records: list[Record] = []
    out_ordinals: list[int] = []
    for start in range(0, len(records), size) or ([0] if group.whole else []):
        if group.stopped():
            raise AbandonedError
        # Steps change the top level in place; the source stays as it was, for the dead letters.
        part = RowSlice(
            [record.copy() for record in records[start : start + size]], list(ordinals[start : start + size])
        )
        applied.refused.extend(_run_row_steps(group, part))
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


def _run_row_steps(group: _Group, part: RowSlice) -> list[Refused]:
    """Run a slice through the steps of a group, noting in their tallies what each one did."""
    refused: list[Refused] = []
    for step, ctx, tally in group.members():
        began = time.perf_counter()
        with attributed(step.name):
            step.operation.rows(part, ctx)
        part.settle()
        tally.seconds += time.perf_counter() - began
        tally.form = "rows" if tally.form in {"", "rows"} else "mixed"
        tally.filtered += part.filtered
        tally.added += part.added
        tally.rejected += [rejection.index for rejection in part.rejections]
        refused += [Refused(step.name, rejection) for rejection in part.rejections]
        part.filtered, part.added, part.rejections = [], [], []
    return refused


# --- frames ----------------------------------------------------------------------------------------------------------


def _apply_frame(group: _Group, applied: Applied) -> bool:
    """Run a frame group; False when this chunk needs the rows form instead."""
    import polars as pl  # noqa: PLC0415

    from etlctl.sdk.frames import ORDINAL, SUSPECT, FramePlan, FrameUnsupported  # noqa: PLC0415

    frame = applied.frame
    if frame is None:
        return False
    began = time.perf_counter()
    try:
        plan = FramePlan(frame)
        for step, ctx, _ in group.members():
            step.operation.frame(plan, ctx)
        out = plan.lazy.collect()
    except FrameUnsupported:
        return False
    except pl.exceptions.PolarsError:
        # The rows form is the authority on what is an error and which record it is about.
        return False
    visible = list(plan.schema)
    suspects: list[int] = []
    if plan.guarded and out.get_column(SUSPECT).any():
        doubtful = out.filter(pl.col(SUSPECT)).get_column(ORDINAL).unique().sort()
        suspects = doubtful.to_list()
        out = out.filter(~pl.col(SUSPECT))
    good = out.get_column(ORDINAL)
    certain = _frame_tallies(group, good, frame.height, suspects)
    if suspects:
        settled = _settle_suspects(group, frame, suspects, out.select([*visible, ORDINAL]), plan.schema)
        if settled is None:
            return False
        out, outcome = settled
    else:
        outcome = _SuspectOutcome([], [Tally() for _ in group.steps])
    _note(group, applied, certain, outcome, time.perf_counter() - began)
    ordinals = out.get_column(ORDINAL)
    if ordinals.len() != frame.height or outcome.moved or certain is not None:
        before = applied.ordinals
        applied.ordinals = ordinals if before is None else _gathered(before, ordinals)
    applied.frame = out.select(visible)
    return True


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
    schema: dict[str, pl.DataType],
) -> tuple[pl.DataFrame, _SuspectOutcome] | None:
    """Send suspected rows through the rows form and put them back in order; None when they do not fit the columns."""
    import polars as pl  # noqa: PLC0415

    from etlctl.sdk.frames import ORDINAL  # noqa: PLC0415

    part = RowSlice(frame_to_rows(frame[suspects]), list(suspects))
    scratch = [Tally() for _ in group.steps]
    refused = _run_row_steps(_Group(group.steps, group.contexts, scratch), part)
    if part.records:
        try:
            fixed = rows_to_frame(part.records, schema)
        except ConversionError:
            return None
        if fixed.columns != list(schema):
            return None
        fixed = fixed.with_columns(pl.Series(ORDINAL, part.indexes, dtype=pl.UInt32))
        certain = pl.concat([certain, fixed], how="vertical").sort(ORDINAL, maintain_order=True)
    return certain, _SuspectOutcome(refused, scratch)


def _frame_tallies(group: _Group, good: pl.Series, height: int, suspects: list[int]) -> tuple[int, Tally] | None:
    """Return which step of the group changed the number of certain rows, and how; None when none did."""
    import polars as pl  # noqa: PLC0415

    changing = next((i for i, step in enumerate(group.steps) if step.operation.changes_count), None)
    if changing is None:
        if good.len() + len(suspects) != height:
            raise FatalError(
                f"{height - len(suspects) - good.len()} records vanished in a plan without a step that drops records"
            ).at(step=group.steps[0].name)
        return None
    present = pl.repeat(value=False, n=height, eager=True)
    if good.len():
        present = present.scatter(good, values=True)
    if suspects:
        present = present.scatter(suspects, values=True)
    tally = Tally(filtered=(~present).arg_true().to_list())
    if good.len() + len(suspects) + len(tally.filtered) > height:
        runs = good.rle().struct.unnest().filter(pl.col("len") > 1)
        for length, ordinal in zip(runs["len"].to_list(), runs["value"].to_list(), strict=True):
            tally.added.extend([ordinal] * (length - 1))
    return (changing, tally) if tally.filtered or tally.added else None


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
        tally.form = "frame" if not suspected.form else "mixed"
    group.tallies[0].seconds += seconds
    for refused in outcome.refused:
        rejection = refused.rejection
        index = rejection.index if before is None else before[rejection.index]
        moved = RowRejection(index, rejection.rule, rejection.message, rejection.field)
        applied.refused.append(Refused(refused.step, moved))


def _mapped(local: list[int], before: list[int] | pl.Series | None) -> list[int]:
    return local if before is None else [before[index] for index in local]


def _screen_frame(group: _Group, screening: Screening, applied: Applied) -> None:
    """Let a screening operation look at its columns, and take out what does not pass."""
    import polars as pl  # noqa: PLC0415

    frame = applied.frame
    if frame is None:
        return
    began = time.perf_counter()
    columns: dict[str, Sequence[Any]] = {
        name: frame.get_column(name).to_list() if name in frame.columns else [None] * frame.height
        for name in screening.needs()
    }
    verdicts = screening.screen(columns)
    (tally,) = group.tallies
    tally.form = "frame"
    ordinals = _source_ordinals(applied)
    for verdict in verdicts:
        index = ordinals[verdict.position]
        if verdict.rule is None:
            tally.filtered.append(index)
        else:
            tally.rejected.append(index)
            refusal = RowRejection(index, verdict.rule, verdict.message, verdict.field)
            applied.refused.append(Refused(group.steps[0].name, refusal))
    if verdicts:
        out = {verdict.position for verdict in verdicts}
        keep = [position for position in range(frame.height) if position not in out]
        applied.ordinals = [ordinals[position] for position in keep]
        applied.frame = frame[pl.Series(keep, dtype=pl.UInt32)] if keep else frame.clear()
    tally.seconds += time.perf_counter() - began
