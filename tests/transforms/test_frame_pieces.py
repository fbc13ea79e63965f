"""A frame in pieces, as CSV readers and joins give it, is told apart row by row like one in a single piece."""

from __future__ import annotations

import polars as pl
import pytest
from etlctl.transforms.convert import Convert
from etlctl.transforms.filter import Filter
from operations_driver import run_frame

from etlctl.sdk.frames import ORDINAL, SUSPECT, FramePlan

RECORDS = [{"n": str(number) if number % 5 else "x", "s": "a" * number} for number in range(23)]


def in_pieces(*cuts: int) -> pl.DataFrame:
    whole = pl.DataFrame(RECORDS)
    ends = [*cuts, len(RECORDS)]
    return pl.concat([whole[start:end] for start, end in zip([0, *cuts], ends, strict=True)], rechunk=False)


@pytest.mark.parametrize("cuts", [(), (7,), (1, 2, 22), (0, 5, 5)])
def test_pieces_make_no_difference(cuts: tuple[int, ...]) -> None:
    steps = [
        Convert.model_validate({"fields": {"n": "integer"}}),
        Filter.model_validate({"field": "n", "operator": "gte", "value": 4}),
    ]
    whole, pieces = run_frame(steps, in_pieces()), run_frame(steps, in_pieces(*cuts))
    assert (pieces.records, pieces.ordinals, pieces.refused) == (whole.records, whole.ordinals, whole.refused)
    assert len(whole.refused) == 5


def test_the_hidden_columns_number_the_rows_in_the_pieces_of_the_frame() -> None:
    frame = in_pieces(7, 9)
    made = FramePlan(frame).lazy.collect(engine="in-memory")
    assert made[ORDINAL].to_list() == list(range(len(RECORDS)))
    assert made[ORDINAL].chunk_lengths() == made[SUSPECT].chunk_lengths() == frame["n"].chunk_lengths() == [7, 2, 14]


def test_columns_in_different_pieces_are_numbered_too() -> None:
    halves = pl.concat([pl.Series([1]), pl.Series([2, 3])], rechunk=False)
    made = FramePlan(pl.DataFrame({"a": halves, "b": ["x", "y", "z"]})).lazy.collect()
    assert made.rows() == [(1, "x", 0, False), (2, "y", 1, False), (3, "z", 2, False)]
