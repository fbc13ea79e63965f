"""Physical line numbers of the good records of a CSV block, kept in a few numbers instead of the block itself."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from etlctl.frozen import frozen

if TYPE_CHECKING:
    import polars as pl


@frozen
class LineNumbers:
    """Tells the line of the n-th good record.

    Attributes:
        runs: (ordinal of the first record, its line) for every run of records that follow each other directly.
        tall: Ordinals of the records that span more than one line, ascending.
        extra: Lines beyond the first of the tall records, summed up to and including each.
    """

    runs: Sequence[tuple[int, int]]
    tall: Sequence[int] = ()
    extra: Sequence[int] = ()

    def __call__(self, record: int) -> int:
        """Return the 1-based line that a good record (0-based) starts in."""
        first, line = self.runs[bisect_right(self.runs, record, key=lambda run: run[0]) - 1]
        return line + record - first + self._extra_before(record) - self._extra_before(first)

    def _extra_before(self, record: int) -> int:
        known = bisect_right(self.tall, record - 1)
        return self.extra[known - 1] if known else 0


def line_numbers(runs: Sequence[tuple[int, int]], line_ends: pl.Series | None) -> LineNumbers:
    """Build the numbers from the runs and the number of line ends inside each record (None: there are none)."""
    if line_ends is None:
        return LineNumbers(tuple(runs))
    tall = line_ends.gt(0).arg_true()
    return LineNumbers(tuple(runs), tall.to_list(), list(accumulate(line_ends.gather(tall).to_list())))


def line_ends_inside(frame: pl.DataFrame) -> pl.Series:
    """Return the number of line feeds in the values of each record."""
    import polars as pl  # noqa: PLC0415

    counts = pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True).fill_null(0))
    return frame.select(counts.alias("lines")).to_series()
