"""Columns of a frame as text, by expressions that say exactly what ``value_text`` says of single values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import orjson
import polars as pl

from etlctl.errors import RecordRejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polars.datatypes import DataTypeClass

    from etlctl.kit.codecs.writing import Refusals

_PER_SECOND = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_ZONED_UTC = "UTC"


_REPEATED = 4
"""A column whose values come at least so often on average is worth looking up."""


def inner_types(dtype: pl.DataType) -> Iterator[pl.DataType]:
    """Yield a type and every type nested in it."""
    yield dtype
    if isinstance(dtype, pl.List | pl.Array):
        yield from inner_types(as_type(dtype.inner))
    elif isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            yield from inner_types(as_type(field.dtype))


def as_type(dtype: DataTypeClass | pl.DataType) -> pl.DataType:
    """Return a type as an instance."""
    return dtype() if isinstance(dtype, type) else dtype


def is_nested(dtype: pl.DataType) -> bool:
    """Tell whether a type holds other types."""
    return isinstance(dtype, pl.List | pl.Array | pl.Struct)


def needs_text(dtype: pl.DataType) -> bool:
    """Tell whether Polars' own text of this type, or of something in it, is not ours."""
    return any(isinstance(one, pl.Datetime | pl.Time | pl.Duration | pl.Binary) for one in inner_types(dtype))


def has_patterns(dtype: pl.DataType) -> bool:
    """Tell whether a nested field has a name that Polars' expressions take for a pattern: ``*`` or ``^…$``.

    Columns with such a name are reached by their place; nested fields cannot be, so these must take another way.
    """
    return any(
        field.name == "*" or (field.name.startswith("^") and field.name.endswith("$"))
        for one in inner_types(dtype)
        if isinstance(one, pl.Struct)
        for field in one.fields
    )


def text_columns(frame: pl.DataFrame) -> list[pl.Expr | pl.Series]:
    """Return columns or expressions for those whose values Polars would print otherwise than we do."""
    return [_text_column(place, column) for place, column in enumerate(frame.get_columns()) if needs_text(column.dtype)]


def _text_column(place: int, column: pl.Series) -> pl.Expr | pl.Series:
    """Put a column into words; times that come again and again are put into words once, which costs far more."""
    if isinstance(column.dtype, pl.Datetime):
        distinct = column.unique()
        if _REPEATED * distinct.len() <= column.len():
            text = as_text(pl.nth(0), column.dtype, fractions=_has_fractions(distinct))
            return column.replace_strict(distinct, distinct.to_frame().select(text).to_series(), return_dtype=pl.String)
    return as_text(pl.nth(place), column.dtype, fractions=_has_fractions(column)).alias(column.name)


def _has_fractions(column: pl.Series) -> bool:
    """Tell whether any time of a column has a part of a second; nested ones are taken to."""
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        return bool((column.to_physical() % _PER_SECOND[dtype.time_unit] != 0).any())
    if isinstance(dtype, pl.Time):
        return bool((column.to_physical() % _PER_SECOND["ns"] != 0).any())
    return True


def as_text(value: pl.Expr, dtype: pl.DataType, *, fractions: bool = True) -> pl.Expr:
    """Return the text of a value; in nested types the text of what needs one.

    Args:
        value: The column.
        dtype: Its type.
        fractions: Some times have a part of a second; saying no when none has is faster.
    """
    if isinstance(dtype, pl.Array):
        return as_text(value.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.List) and needs_text(dtype):
        return value.list.eval(as_text(pl.element(), as_type(dtype.inner)))
    if isinstance(dtype, pl.Struct) and needs_text(dtype):
        fields = [as_text(value.struct.field(one.name), as_type(one.dtype)).alias(one.name) for one in dtype.fields]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    return _plain_text(value, dtype, fractions=fractions)


def _plain_text(value: pl.Expr, dtype: pl.DataType, *, fractions: bool) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        return _datetime(value, dtype, fractions=fractions)
    if isinstance(dtype, pl.Time):
        if not fractions:
            return value.dt.to_string("%H:%M:%S")
        return _with_fraction(value, "%H:%M:%S", value.to_physical(), "ns")
    if isinstance(dtype, pl.Duration):
        return _duration(value, dtype.time_unit)
    if isinstance(dtype, pl.Binary):
        return value.bin.encode("base64")
    return value


def _datetime(value: pl.Expr, dtype: pl.Datetime, *, fractions: bool) -> pl.Expr:
    layout = "%Y-%m-%dT%H:%M:%S"
    physical = value.to_physical()
    zone = {None: "", _ZONED_UTC: "Z"}.get(dtype.time_zone, "%:z")
    if fractions:
        text = _with_fraction(value, layout, physical, dtype.time_unit, zone)
    else:
        text = value.dt.to_string(layout + zone)
    if zone != "%:z":
        return text
    return pl.when(text.str.ends_with("+00:00")).then(text.str.head(-6) + "Z").otherwise(text)


def _with_fraction(value: pl.Expr, layout: str, physical: pl.Expr, unit: str, zone: str = "") -> pl.Expr:
    """Microseconds when there are some, nanoseconds when there are some."""
    whole = value.dt.to_string(layout + zone)
    micros = value.dt.to_string(f"{layout}%.6f{zone}")
    text = pl.when(physical % _PER_SECOND[unit] == 0).then(whole)
    if unit == "ns":
        nanos = value.dt.to_string(f"{layout}%.9f{zone}")
        return text.when(physical % 1_000 == 0).then(micros).otherwise(nanos)
    return text.otherwise(micros)


def _duration(value: pl.Expr, unit: str) -> pl.Expr:
    per_second = _PER_SECOND[unit]
    count = value.to_physical()
    size = count.abs()
    rest = size % per_second
    nanos = rest * (1_000_000_000 // per_second)
    micros = (nanos // 1_000).cast(pl.String).str.zfill(6)
    fraction = (
        pl.when(rest == 0)
        .then(pl.lit(""))
        .when(nanos % 1_000 == 0)
        .then(pl.lit(".") + micros)
        .otherwise(pl.lit(".") + nanos.cast(pl.String).str.zfill(9))
    )
    sign = pl.when(count < 0).then(pl.lit("-PT")).otherwise(pl.lit("PT"))
    return pl.concat_str([sign, (size // per_second).cast(pl.String), fraction, pl.lit("S")])


def json_text(place: int, name: str) -> pl.Expr:
    """Return the column at a place as JSON text, null where it is null; its values must print right already."""
    key = orjson.dumps(name).decode()
    encoded = pl.struct(pl.nth(place)).struct.json_encode()
    return (
        pl.when(pl.nth(place).is_not_null())
        .then(encoded.str.strip_prefix(f"{{{key}:").str.strip_suffix("}"))
        .alias(name)
    )


def refuse_not_finite(frame: pl.DataFrame, *, nested_only: bool = False) -> tuple[pl.DataFrame, Refusals]:
    """Take out the rows with a NaN or an infinity, which JSON cannot say.

    Args:
        frame: Rows × fields.
        nested_only: Look only at lists and objects.
    """
    bad: dict[int, str] = {}
    for name, dtype in frame.schema.items():
        if (nested_only and not is_nested(dtype)) or not any(one.is_float() for one in inner_types(dtype)):
            continue
        column = frame.get_column(name)
        if _all_finite(column):
            continue
        for place in _not_finite_places(column):
            bad.setdefault(place, name)
    if not bad:
        return frame, []
    keep = pl.Series([place not in bad for place in range(frame.height)], dtype=pl.Boolean)
    refusals = [(place, _not_finite(frame, place, name)) for place, name in sorted(bad.items())]
    return frame.filter(keep), refusals


def _not_finite(frame: pl.DataFrame, place: int, name: str) -> RecordRejected:
    value = frame.get_column(name)[place]
    shown = str(value) if isinstance(value, float) else "or holds NaN or an infinity"
    return RecordRejected("load.not_finite", f"field {name!r} is {shown}, and JSON has no such number", field=name)


def _all_finite(column: pl.Series) -> bool:
    dtype = column.dtype
    if dtype.is_float():
        # NaN and infinity pass into the sum, and a sum is much cheaper than asking every value in small frames.
        return math.isfinite(column.sum()) or bool(column.is_finite().all())
    if isinstance(dtype, pl.List):
        return _all_finite(column.list.explode())
    if isinstance(dtype, pl.Array):
        return _all_finite(column.arr.explode())
    if isinstance(dtype, pl.Struct):
        return all(map(_all_finite, column.struct.unnest().get_columns()))
    return True


def _not_finite_places(column: pl.Series) -> list[int]:
    if column.dtype.is_float():
        return column.is_finite().not_().fill_null(value=False).arg_true().to_list()
    return [place for place in range(len(column)) if not _all_finite(column.slice(place, 1))]
