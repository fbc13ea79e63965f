"""Columns of a frame as SQLite takes them: Polars makes the text, so that no value is touched one by one in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from etlctl.kit.codecs.frame_text import (
    has_patterns,
    inner_types,
    is_nested,
    json_text,
    refuse_not_finite,
    text_columns,
)
from etlctl.kit.sql.blocks import Block, Refusals
from etlctl.kit.sql.frame_kinds import kinds_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def frame_block(frame: pl.DataFrame) -> tuple[Block, Refusals] | None:
    """Return a frame as a block of ready values and the rows that no JSON text can be made of.

    Returns:
        None when Polars' text of a column would not be ours: such frames are loaded as records.
    """
    if not all(map(_is_columnar, frame.dtypes)):
        return None
    places: Sequence[int] = range(frame.height)
    whole, refusals = refuse_not_finite(frame, nested_only=True)
    if refusals:
        gone = {place for place, _ in refusals}
        places = [place for place in places if place not in gone]
    columns = {name: series.to_list() for name, series in zip(whole.columns, _ready(whole).get_columns(), strict=True)}
    kinds = {name: kinds_of(dtype) for name, dtype in whole.schema.items()}
    return Block(columns, places, kinds, ready=True), refusals


def _is_columnar(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Object) or has_patterns(dtype):
        return False
    # Polars writes nested decimals in quotes.
    return not (is_nested(dtype) and any(isinstance(one, pl.Decimal) for one in inner_types(dtype)))


def _ready(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn the columns that the driver does not take as they are into text and integers."""
    worded = {series.name: series for series in frame.get_columns() if _is_worded(series.dtype)}
    if worded:
        text = pl.DataFrame(worded)
        nested = [place for place, dtype in enumerate(text.dtypes) if is_nested(dtype)]
        text = text.with_columns(text_columns(text))
        text = text.with_columns([json_text(place, text.columns[place]) for place in nested])
        frame = frame.with_columns(text.get_columns())
    changed = [
        value.alias(name)
        for place, (name, dtype) in enumerate(frame.schema.items())
        if (value := _cast(pl.nth(place), dtype)) is not None
    ]
    return frame.with_columns(changed) if changed else frame


def _is_worded(dtype: pl.DataType) -> bool:
    return is_nested(dtype) or isinstance(dtype, pl.Datetime | pl.Time | pl.Duration)


def _cast(value: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if isinstance(dtype, pl.Boolean):
        return value.cast(pl.Int8)
    if isinstance(dtype, pl.Decimal | pl.Date | pl.Categorical | pl.Enum):
        return value.cast(pl.String)
    return None
