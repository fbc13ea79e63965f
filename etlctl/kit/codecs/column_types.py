"""Types that hold the values of two columns exactly, and moving columns to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import polars as pl

from etlctl.errors import ConversionError
from etlctl.kit.codecs.frame_text import as_type, has_patterns, inner_types, is_nested

Schema = dict[str, pl.DataType]
TimeUnit = Literal["ns", "us", "ms"]

_SIGNED: tuple[pl.DataType, ...] = (pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64())
_UNSIGNED: tuple[pl.DataType, ...] = (pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64())
_UNITS: tuple[TimeUnit, ...] = ("ms", "us", "ns")
_WHOLE = pl.Decimal(38, 0)
_DECLARED: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "decimal": pl.Decimal(38, 0),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "datetime": pl.Datetime("us"),
    "time": pl.Time(),
}
"""What columns of declared fields are made of."""


def storable(dtype: pl.DataType) -> pl.DataType:
    """Return the type in which every Parquet reader finds the same values: 128-bit integers become decimals."""
    if dtype in {pl.Int128(), pl.UInt128()}:
        return _WHOLE
    if isinstance(dtype, pl.List):
        return pl.List(storable(as_type(dtype.inner)))
    if isinstance(dtype, pl.Array):
        return pl.List(storable(as_type(dtype.inner))) if is_nested(as_type(dtype.inner)) else dtype
    if isinstance(dtype, pl.Struct):
        return pl.Struct({one.name: storable(as_type(one.dtype)) for one in dtype.fields})
    return dtype


def joined(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:  # noqa: PLR0911 - one answer per kind of type
    """Return the type that holds values of both exactly, or None; numbers are checked when they are moved."""
    if one == other:
        return one
    if isinstance(one, pl.Null) or isinstance(other, pl.Null):
        return other if isinstance(one, pl.Null) else one
    if one.is_numeric() and other.is_numeric():
        return _number(one, other)
    if isinstance(one, pl.Datetime) and isinstance(other, pl.Datetime):
        return _datetime(one, other)
    if isinstance(one, pl.Duration) and isinstance(other, pl.Duration):
        return pl.Duration(_finer(one.time_unit, other.time_unit))
    if _is_text(one) and _is_text(other):
        return pl.String()
    if isinstance(one, pl.List | pl.Array) and isinstance(other, pl.List | pl.Array):
        inner = joined(as_type(one.inner), as_type(other.inner))
        return pl.List(inner) if inner is not None else None
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        return _struct(one, other)
    return None


def _is_text(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum)


def _finer(one: TimeUnit, other: TimeUnit) -> TimeUnit:
    return max(one, other, key=_UNITS.index)


def _datetime(one: pl.Datetime, other: pl.Datetime) -> pl.DataType | None:
    if (one.time_zone is None) is not (other.time_zone is None):
        return None
    zone = one.time_zone if one.time_zone == other.time_zone else "UTC"
    return pl.Datetime(_finer(one.time_unit, other.time_unit), zone)


def _number(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    decimals = [dtype for dtype in (one, other) if isinstance(dtype, pl.Decimal)]
    if decimals:
        if one.is_float() or other.is_float():
            return None
        return pl.Decimal(38, max(dtype.scale for dtype in decimals))
    if one.is_float() or other.is_float():
        return pl.Float64()
    for family in (_SIGNED, _UNSIGNED):
        if one in family and other in family:
            return max(one, other, key=family.index)
    signed, unsigned = (one, other) if one in _SIGNED else (other, one)
    if signed not in _SIGNED or unsigned not in _UNSIGNED or unsigned == pl.UInt64():
        return _WHOLE
    return max(signed, _SIGNED[_UNSIGNED.index(unsigned) + 1], key=_SIGNED.index)


def _struct(one: pl.Struct, other: pl.Struct) -> pl.DataType | None:
    fields = {field.name: as_type(field.dtype) for field in one.fields}
    for field in other.fields:
        dtype = joined(fields.get(field.name, pl.Null()), as_type(field.dtype))
        if dtype is None:
            return None
        fields[field.name] = dtype
    return pl.Struct(fields)


def moved(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return a column in a wider type.

    Raises:
        ConversionError: A value would change.
    """
    if column.dtype == dtype:
        return column
    name = column.name
    if has_patterns(column.dtype):
        raise ConversionError(
            f"field {name!r} changes its type to {dtype}, and a field inside it is named like a pattern "
            "('*' or '^…$'), which keeps it from being changed",
            help="rename that nested field, or give the field one type from the beginning",
        )
    try:
        made = column.to_frame().select(_cast(pl.nth(0), column.dtype, dtype).alias(name)).to_series()
    except pl.exceptions.PolarsError as error:
        reason = str(error).split("\n", 1)[0]
        raise ConversionError(f"field {name!r} does not fit the type {dtype}: {reason}") from error
    if not _unchanged(column, made):
        raise ConversionError(f"field {name!r} holds values that the type {dtype} cannot keep exactly")
    return made


def _cast(value: pl.Expr, old: pl.DataType, new: pl.DataType) -> pl.Expr:
    if old == new:
        return value
    if isinstance(old, pl.Array) and isinstance(new, pl.List):
        return _cast(value.arr.to_list(), pl.List(old.inner), new)
    if isinstance(old, pl.List) and isinstance(new, pl.List):
        return value.list.eval(_cast(pl.element(), as_type(old.inner), as_type(new.inner)))
    if isinstance(old, pl.Struct) and isinstance(new, pl.Struct):
        have = {field.name: as_type(field.dtype) for field in old.fields}
        fields = [_field(value, have.get(one.name), as_type(one.dtype), one.name) for one in new.fields]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    return value.cast(new, strict=True)


def _field(value: pl.Expr, old: pl.DataType | None, new: pl.DataType, name: str) -> pl.Expr:
    if old is None:
        return pl.lit(None, dtype=new).alias(name)
    return _cast(value.struct.field(name), old, new).alias(name)


def _unchanged(old: pl.Series, new: pl.Series) -> bool:  # noqa: PLR0911 - one answer per kind of type
    """Tell whether numbers and times survived; other casts either keep the value or fail."""
    if isinstance(old.dtype, pl.Null) or old.dtype == new.dtype:
        return True
    if isinstance(old.dtype, pl.Struct):
        made = {column.name: column for column in new.struct.unnest().get_columns()}
        return all(_unchanged(column, made[column.name]) for column in old.struct.unnest().get_columns())
    if isinstance(old.dtype, pl.List | pl.Array):
        plain = old if isinstance(old.dtype, pl.List) else old.arr.to_list()
        return _unchanged(plain.list.explode(), new.list.explode())
    if old.dtype.is_integer() and new.dtype.is_float():
        return bool((new.cast(old.dtype, strict=False).eq_missing(old)).all())
    if isinstance(old.dtype, pl.Datetime | pl.Duration):
        return bool(new.cast(old.dtype).eq_missing(old).all())
    if isinstance(new.dtype, pl.Decimal):
        return bool(new.cast(old.dtype, strict=False).eq_missing(old).all())
    return True


def joined_schemas(one: Mapping[str, pl.DataType], other: Mapping[str, pl.DataType]) -> tuple[Schema, str | None]:
    """Return columns that hold those of both, and the first column for which there is no such type."""
    made: Schema = dict(one)
    for name, dtype in other.items():
        both = joined(made.get(name, pl.Null()), dtype)
        if both is None:
            return made, name
        made[name] = both
    return made, None


def fitted(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return a frame with just these columns, missing ones null.

    Raises:
        ConversionError: A value would change.
    """
    if list(frame.schema.items()) == list(schema.items()):
        return frame
    have = frame.schema
    columns = {}  # by name: from a list, Polars renames a column with the empty name
    for name, dtype in schema.items():
        if name in have:
            columns[name] = moved(frame.get_column(name), dtype)
        else:
            columns[name] = pl.Series(name, [None], dtype).new_from_index(0, frame.height)
    return pl.DataFrame(columns)


def declared_nulls(schema: Schema, declared: Mapping[str, str]) -> Schema:
    """Return columns with the declared type where no value told one.

    Args:
        schema: The columns.
        declared: Type names of the declared fields; ``object``, ``array`` and ``any`` say too little.
    """
    if not any(isinstance(dtype, pl.Null) for dtype in schema.values()):
        return schema
    return {
        name: _DECLARED.get(declared.get(name, ""), dtype) if isinstance(dtype, pl.Null) else dtype
        for name, dtype in schema.items()
    }


def without_guesses(frame: pl.DataFrame, declared: Mapping[str, str]) -> pl.DataFrame:
    """Forget the types of empty columns of which the declared type does not tell everything: scale and time zone."""
    empty = [
        name
        for name, kind in declared.items()
        if kind in {"decimal", "datetime"} and name in frame.columns and frame[name].null_count() == frame.height
    ]
    return frame.with_columns(pl.Series(name, [None] * frame.height, pl.Null()) for name in empty) if empty else frame


def unstorable(schema: Mapping[str, pl.DataType]) -> tuple[str, str] | None:
    """Return the first column that Parquet has no type for, and why."""
    for name, dtype in schema.items():
        for one in inner_types(dtype):
            if isinstance(one, pl.Object):
                return name, "holds Python objects"
            if isinstance(one, pl.Struct) and not one.fields:
                return name, "holds only empty objects"
    return None
