"""Run a slice of records through neighbouring row steps; and how a slice that was run elsewhere comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from etlctl.batch import Record
from etlctl.engine.applied import Refused, Tally
from etlctl.engine.attribution import attributed
from etlctl.frozen import frozen
from etlctl.sdk.context import StepContext
from etlctl.sdk.rows import RowSlice

if TYPE_CHECKING:
    from etlctl.engine.apply import StepLike


@frozen
class RanSlice:
    """A slice after its steps.

    Attributes:
        records: The records that are left.
        indexes: For each the ordinal of its source record.
        refused: Those that were refused.
        tallies: What each step did.
    """

    records: list[Record]
    indexes: list[int]
    refused: list[Refused]
    tallies: list[Tally]


class Elsewhere(Protocol):
    """Runs row steps of this contract, but not here."""

    def run(
        self, steps: range, records: Sequence[Record], ordinals: Sequence[int], stopped: Callable[[], bool]
    ) -> Iterator[RanSlice]:
        """Run records through steps, slice by slice; yield the slices in order.

        Args:
            steps: Numbers of the steps, from 0: neighbours that see one record at a time and remember none.
            records: The records; they stay as they are.
            ordinals: For each the ordinal of its source record.
            stopped: Tells whether the run is over and the rest not wanted.

        Raises:
            ComponentError: A step cannot go on; the step's name is attached.
            AbandonedError: The run is over.
        """


def run_row_steps(members: Iterable[tuple[StepLike, StepContext, Tally]], part: RowSlice) -> list[Refused]:
    """Run a slice through steps, noting in their tallies what each one did; return what they refused."""
    refused: list[Refused] = []
    for step, ctx, tally in members:
        began = time.perf_counter()
        with attributed(step.name):
            step.operation.rows(part, ctx)
        part.settle()
        tally.seconds += time.perf_counter() - began
        tally.form = "rows" if tally.form in {"", "rows"} else "mixed"
        tally.filtered += part.filtered
        tally.added += part.added
        tally.rejected += [rejection.index for rejection in part.rejections]
        tally.warned += part.warned
        refused += [Refused(step.name, rejection) for rejection in part.rejections]
        part.filtered, part.added, part.rejections, part.warned = [], [], [], []
    return refused


def add_up(tally: Tally, more: Tally) -> None:
    """Add what a step did to a slice to what it did to the chunk."""
    tally.filtered += more.filtered
    tally.added += more.added
    tally.rejected += more.rejected
    tally.warned += more.warned
    tally.seconds += more.seconds
    tally.form = more.form if tally.form in {"", more.form} else "mixed"
