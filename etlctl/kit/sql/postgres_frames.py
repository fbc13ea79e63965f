"""Columns of a frame as PostgreSQL takes them in CSV: Polars makes the text, nothing is touched one by one in Python.

What cannot be decided for a whole column at once is left to ``postgres_values``, value by value.
"""

from __future__ import annotations

import polars as pl

from etlctl.kit.codecs.frame_text import (
    has_patterns,
    inner_types,
    is_nested,
    json_text,
    refuse_not_finite,
    text_columns,
)
from etlctl.kit.sql.postgres_table import Column
from etlctl.kit.sql.postgres_types import INT_RANGES
from etlctl.kit.sql.postgres_values import Refused, column_texts, mismatch, out_of_range, too_long

_EXACT_FLOAT = 2**53
_YEARS = ((1, 1, 1), (9999, 12, 31))
_ZONE = r"[T ]\d\d?:\d\d.*[+-]\d\d(:?\d\d)?\s*$"


def column_series(name: str, series: pl.Series, column: Column) -> tuple[pl.Series, Refused]:
    """Return a column ready to be written as CSV, and the values that do not fit; those are null then.

    Args:
        name: The field, for messages.
        series: Its values.
        column: Where they go.
    """
    if series.null_count() == series.len():
        return pl.Series(column.name, [None] * series.len(), dtype=pl.String), {}
    made = _whole(name, series, column)
    if made is None:
        texts, refused = column_texts(name, series.to_list(), column)
        return pl.Series(column.name, texts, dtype=pl.String), refused
    ready, refused = made
    return ready.alias(column.name), refused


def _whole(  # noqa: PLR0911 - a table of kinds
    name: str, series: pl.Series, column: Column
) -> tuple[pl.Series, Refused] | None:
    """Convert a column at once; None when values must be looked at one by one."""
    dtype = series.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        series, dtype = series.cast(pl.String), pl.String()
    if isinstance(dtype, pl.String):
        return _texts(name, series, column)
    if dtype.is_integer():
        return _integers(name, series, column)
    if dtype.is_float():
        return _floats(name, series, column)
    if isinstance(dtype, pl.Boolean):
        return _booleans(series, column)
    if isinstance(dtype, pl.Decimal):
        return _decimals(series, column)
    if isinstance(dtype, pl.Date | pl.Datetime | pl.Time):
        return _times(series, column)
    if isinstance(dtype, pl.Binary) and column.family == "bytes":
        return "\\x" + series.bin.encode("hex"), {}
    if is_nested(dtype) and column.family in {"json", "text"} and column.length is None:
        return _nested(series)
    return None


def _texts(name: str, series: pl.Series, column: Column) -> tuple[pl.Series, Refused] | None:
    if column.length is not None:
        long = (series.str.len_chars() > column.length).fill_null(value=False)
        if long.any():
            places = [at for at in long.arg_true() if series[at][column.length :].strip(" ")]
            return _without(series, {at: too_long(name, series[at], column) for at in places})
    if column.family == "numeric" and column.scale is not None:
        exact = series.str.contains(rf"^\s*[+-]?\d*(\.\d{{0,{max(column.scale, 0)}}})?\s*$").fill_null(value=True).all()
        return (series, {}) if exact and column.scale >= 0 else None
    if column.family == "timestamp":
        zoned = series.str.contains(_ZONE).fill_null(value=False).any()
        return None if zoned else (series, {})
    return series, {}


def _integers(name: str, series: pl.Series, column: Column) -> tuple[pl.Series, Refused] | None:
    family = column.family
    if family == "integer":
        return _within(name, series, *INT_RANGES[column.type_name], column)
    if family == "numeric":
        return (series, {}) if column.scale is None or column.scale >= 0 else None
    if family == "float" and column.type_name == "float8":
        low, high = series.min(), series.max()
        fits = isinstance(low, int) and isinstance(high, int) and low >= -_EXACT_FLOAT and high <= _EXACT_FLOAT
        return (series, {}) if fits else None
    if family == "text" and column.length is None:
        return series.cast(pl.String), {}
    return (series, {}) if family in {"json", "other"} else None


def _within(name: str, series: pl.Series, low: int, high: int, column: Column) -> tuple[pl.Series, Refused]:
    least, most = series.min(), series.max()
    if isinstance(least, int) and isinstance(most, int) and low <= least and most <= high:
        return series, {}
    beyond = ((series < low) | (series > high)).fill_null(value=False).arg_true()
    return _without(series, {at: out_of_range(name, series[at], column) for at in beyond})


def _floats(name: str, series: pl.Series, column: Column) -> tuple[pl.Series, Refused] | None:
    family = column.family
    if family == "float":
        if column.type_name == "float8" or series.dtype == pl.Float32:
            return series, {}
        kept = series.cast(pl.Float32).cast(pl.String) == series.cast(pl.Float64).cast(pl.String)
        return (series, {}) if kept.fill_null(value=True).all() else None
    if family == "integer":
        odd = (series.is_nan() | series.is_infinite() | (series != series.floor())).fill_null(value=False)
        low, high = INT_RANGES[column.type_name]
        far = ((series < low) | (series >= high + 1)).fill_null(value=False) & ~odd
        refused = {at: mismatch(name, series[at], column) for at in odd.arg_true()}
        refused |= {at: out_of_range(name, series[at], column) for at in far.arg_true()}
        whole, _ = _without(series, refused)
        return whole.cast(pl.Int64), refused
    if family == "numeric":
        exact = column.scale is None or (
            column.scale >= 0 and bool((series.round(column.scale) == series).fill_null(value=True).all())
        )
        return (series, {}) if exact else None
    return None


def _booleans(series: pl.Series, column: Column) -> tuple[pl.Series, Refused] | None:
    if column.family in {"integer", "float", "numeric"}:
        return series.cast(pl.Int8), {}
    return (series, {}) if column.family in {"boolean", "json"} else None


def _decimals(series: pl.Series, column: Column) -> tuple[pl.Series, Refused] | None:
    if column.family != "numeric" or not isinstance(series.dtype, pl.Decimal):
        return None
    if column.scale is None or column.scale >= (series.dtype.scale or 0):
        return series, {}
    if column.scale < 0 or not (series.round(column.scale) == series).fill_null(value=True).all():
        return None
    return series, {}


def _times(series: pl.Series, column: Column) -> tuple[pl.Series, Refused] | None:  # noqa: PLR0911
    dtype = series.dtype
    if isinstance(dtype, pl.Date):
        if column.family not in {"date", "timestamp", "timestamptz", "text"} or column.length is not None:
            return None
        return (series, {}) if _years_are_plain(series) else (series.dt.strftime("%Y-%m-%d"), {})
    if column.family == "text" and column.length is None:
        return _worded(series), {}
    if isinstance(dtype, pl.Time):
        return (_worded(series), {}) if column.family == "time" and _is_exact(series, column) else None
    if column.family not in {"timestamp", "timestamptz"} or not _is_exact(series, column):
        return None
    if not _years_are_plain(series):
        return None
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        series = series.dt.convert_time_zone("UTC")
        if column.family == "timestamp":
            series = series.dt.replace_time_zone(None)
    return _worded(series), {}


def _is_exact(series: pl.Series, column: Column) -> bool:
    dtype = series.dtype
    unit = dtype.time_unit if isinstance(dtype, pl.Datetime) else "ns"
    digits = {"ms": 3, "us": 6, "ns": 9}[unit]
    scale = 6 if column.scale is None else column.scale
    return digits <= scale or not (series.to_physical() % 10 ** (digits - scale) != 0).any()


def _years_are_plain(series: pl.Series) -> bool:
    first, last = series.dt.year().min(), series.dt.year().max()
    return isinstance(first, int) and isinstance(last, int) and first >= _YEARS[0][0] and last <= _YEARS[1][0]


def _worded(series: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"": series})
    return frame.with_columns(text_columns(frame)).to_series()


def _nested(series: pl.Series) -> tuple[pl.Series, Refused] | None:
    dtype = series.dtype
    # Polars writes nested decimals in quotes, and cannot reach fields with names that look like patterns.
    if has_patterns(dtype) or any(isinstance(one, pl.Decimal | pl.Object) for one in inner_types(dtype)):
        return None
    frame = pl.DataFrame({"v": series})
    _, refusals = refuse_not_finite(frame, nested_only=True)
    refused = dict(refusals)
    frame = frame.with_columns(text_columns(frame))
    return _without(frame.select(json_text(0, "v")).to_series(), refused)


def _without(series: pl.Series, refused: Refused) -> tuple[pl.Series, Refused]:
    """Return a column with null in place of what is refused."""
    if not refused:
        return series, {}
    gone = pl.Series([at in refused for at in range(series.len())], dtype=pl.Boolean)
    return series.zip_with(
        ~gone, pl.Series([None], dtype=series.dtype).extend_constant(None, series.len() - 1)
    ), refused
