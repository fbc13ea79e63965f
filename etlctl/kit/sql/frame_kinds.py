"""Which kinds of Python values a column of a frame stands for."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal

import polars as pl


def kinds_of(dtype: pl.DataType) -> frozenset[type]:
    """Return the Python types of the values; none for a column of nulls."""
    if isinstance(dtype, pl.Null):
        return frozenset()
    if dtype.is_integer():
        return frozenset({int})
    if dtype.is_float():
        return frozenset({float})
    for of, kind in _KINDS:
        if isinstance(dtype, of):
            return frozenset({kind})
    return frozenset({str})


_KINDS: tuple[tuple[type[pl.DataType], type], ...] = (
    (pl.Boolean, bool),
    (pl.Decimal, Decimal),
    (pl.Datetime, datetime),
    (pl.Date, date),
    (pl.Time, time),
    (pl.Duration, timedelta),
    (pl.Binary, bytes),
    (pl.List, list),
    (pl.Array, list),
    (pl.Struct, dict),
)
