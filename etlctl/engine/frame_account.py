"""Which step of a frame plan dropped or multiplied which records, told by the ordinals that came out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from etlctl.engine.applied import Tally
from etlctl.errors import FatalError

if TYPE_CHECKING:
    import polars as pl

    from etlctl.engine.apply import StepLike


def certain_tally(
    steps: Sequence[StepLike], good: pl.Series, height: int, suspects: list[int]
) -> tuple[int, Tally] | None:
    """Return which step of a plan changed the number of certain rows, and how; None when none did.

    Args:
        steps: The steps of the plan.
        good: Ordinals of the rows that came out and are certain, ascending.
        height: Rows that went in.
        suspects: Ordinals of the rows that the rows form decides.

    Raises:
        FatalError: Rows are gone, and no step drops any.
    """
    import polars as pl  # noqa: PLC0415

    changing = next((i for i, step in enumerate(steps) if step.operation.changes_count), None)
    if changing is None:
        if good.len() + len(suspects) != height:
            raise FatalError(
                f"{height - len(suspects) - good.len()} records vanished in a plan without a step that drops records"
            ).at(step=steps[0].name)
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
