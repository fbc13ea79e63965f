"""Filter conditions as Polars expressions, where a column is of one kind with the value it is compared with."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from typing import Any

import polars as pl

from etlctl.kit.comparison import MEMBERS, NULLS, ORDERS, PASS_NULL, TEXTS, Unlike, alike

_EXACT_FLOAT = 2**53
_INT64 = 2**63


def condition(column: pl.Expr, dtype: pl.DataType, name: str, wanted: Any) -> tuple[pl.Expr, list[pl.Expr]] | None:
    """Return when a column passes an operator, and when that is in doubt; None when only the rows form can tell."""
    if name in NULLS or dtype == pl.Null:
        return column.is_null() if name in PASS_NULL else column.is_not_null(), []
    made = _decided(column, dtype, name, wanted)
    if made is None:
        return None
    passes, doubts = made
    return passes.fill_null(value=name in PASS_NULL), doubts


def _decided(column: pl.Expr, dtype: pl.DataType, name: str, wanted: Any) -> tuple[pl.Expr, list[pl.Expr]] | None:
    if name in TEXTS:
        return _text(column, dtype, name, wanted)
    if name in MEMBERS:
        return _member(column, dtype, name, list(wanted))
    doubts = [column.is_nan()] if dtype.is_float() else []
    if dtype.is_integer() and type(wanted) is float:
        return _integer_with_fraction(column, name, wanted)
    constant = _constant(dtype, wanted)
    return None if constant is None else (ORDERS[name](column, constant), doubts)


def _integer_with_fraction(column: pl.Expr, name: str, wanted: float) -> tuple[pl.Expr, list[pl.Expr]] | None:
    """Compare integers with a float through the whole number below it, so that nothing is rounded."""
    if not math.isfinite(wanted) or abs(wanted) >= _EXACT_FLOAT:
        return None
    below = math.floor(wanted)
    if below == wanted or name in {"gt", "lte"}:
        return ORDERS[name](column, pl.lit(below)), []
    if name in {"gte", "lt"}:
        return ORDERS[{"gte": "gt", "lt": "lte"}[name]](column, pl.lit(below)), []
    return pl.when(column.is_not_null()).then(pl.lit(name == "ne")), []


def _constant(dtype: pl.DataType, wanted: Any) -> pl.Expr | None:
    """Return the value as a literal that compares exactly with a column of this type, None when there is none."""
    made: pl.Expr | None = None
    if dtype == pl.String:
        made = pl.lit(wanted) if isinstance(wanted, str) else None
    elif isinstance(wanted, int | float):
        made = _number(dtype, wanted)
    elif isinstance(wanted, str):
        made = _moment(dtype, wanted)
    return made


def _number(dtype: pl.DataType, wanted: float) -> pl.Expr | None:
    small = math.isfinite(wanted) and abs(wanted) <= _EXACT_FLOAT
    if dtype == pl.Float64:
        return pl.lit(float(wanted)) if small or isinstance(wanted, float) else None
    signed = dtype in {pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32}
    if signed and isinstance(wanted, int) and -_INT64 <= wanted < _INT64:
        return pl.lit(int(wanted), dtype=pl.Int64)
    return None


def _moment(dtype: pl.DataType, wanted: str) -> pl.Expr | None:
    samples: dict[Any, Any] = {pl.Date: date(2000, 1, 1), pl.Time: time()}
    sample = samples.get(dtype.base_type())
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "us" and dtype.time_zone in {None, "UTC"}:
        sample = datetime(2000, 1, 1, tzinfo=UTC if dtype.time_zone else None)
    if sample is None:
        return None
    try:
        _, moment = alike(sample, wanted)
    except Unlike:
        return None
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        return pl.lit(moment, dtype=pl.Datetime("us", "UTC"))
    return pl.lit(moment)


def _text(column: pl.Expr, dtype: pl.DataType, name: str, wanted: Any) -> tuple[pl.Expr, list[pl.Expr]] | None:
    if dtype != pl.String or not isinstance(wanted, str):
        return None
    if name == "starts_with":
        return column.str.starts_with(wanted), []
    if name == "ends_with":
        return column.str.ends_with(wanted), []
    found = column.str.contains(wanted, literal=True)
    return (found if name == "contains" else ~found), []


def _member(column: pl.Expr, dtype: pl.DataType, name: str, items: list[Any]) -> tuple[pl.Expr, list[pl.Expr]] | None:
    kinds: tuple[type, ...] = (str,) if dtype == pl.String else (int,)
    plain = dtype in {pl.String, pl.Int64, pl.Int32, pl.Int16, pl.Int8}
    if not plain or not items or any(type(item) not in kinds for item in items):
        return None
    if kinds == (int,) and any(not -_INT64 <= item < _INT64 for item in items):
        return None
    values = pl.Series(items, dtype=pl.String if dtype == pl.String else pl.Int64)
    held = (column if dtype == pl.String else column.cast(pl.Int64)).is_in(values.implode())
    return (held if name == "in" else ~held), []
