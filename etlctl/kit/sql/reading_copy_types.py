"""Columns of PostgreSQL's COPY CSV with exact types: what Polars cannot hold is told row by row, never changed.

==================================  ==============================================================================
PostgreSQL                          column
==================================  ==============================================================================
smallint, integer, bigint, oid      Int64
real, double precision              Float64, the shortest text of a ``real`` read as such
numeric(p, s)                       Decimal(p, s); without precision Decimal(38, 20)
boolean, date, time, bytea          Boolean, Date, Time, Binary
timestamp, timestamptz              Datetime in microseconds, the latter in UTC
json, jsonb                         String, parsed later when asked for
arrays of the above                 List; arrays of anything else List(String); one dimension
everything else                     String, as PostgreSQL writes it (intervals in ISO 8601)
==================================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from etlctl.batch import make_series
from etlctl.errors import ConversionError
from etlctl.frozen import frozen

INTEGERS, FLOATS, JSON = frozenset({20, 21, 23, 26}), frozenset({700, 701}), frozenset({114, 3802})
BOOL, BYTEA, DATE, TIME, TIMESTAMP, TIMESTAMPTZ, NUMERIC = 16, 17, 1082, 1083, 1114, 1184, 1700
_DIGITS, _SCALE = 38, 20
_SECONDS = "%Y-%m-%d %H:%M:%S%.f"

Finish = Callable[[pl.Series], pl.Series]
"""Turns texts into values; what it cannot turn becomes null."""


@frozen
class CopyColumn:
    """How one column is read.

    Attributes:
        name: Its name.
        parsed: The type Polars' CSV parser gives it at once.
        finish: Turns text into values, or None when the parser has done it.
        dtype: The type in the end.
        json: It is JSON text.
    """

    name: str
    parsed: pl.DataType
    dtype: pl.DataType
    finish: Finish | None = None
    json: bool = False

    def values(self, texts: pl.Series) -> tuple[pl.Series, pl.Series | None]:
        """Return the values of texts, and which rows hold one that the type cannot keep (None: no row does).

        Args:
            texts: What stands in the CSV; null where the database has null.
        """
        made = self.finish(texts) if self.finish is not None else texts.cast(self.dtype, strict=False)
        if made.null_count() == texts.null_count():
            return made, None
        return made, made.is_null() & texts.is_not_null()


def copy_column(
    name: str, oid: int, modifier: int, element: int | None, load_array: Callable[[int], Callable[[bytes], Any]]
) -> CopyColumn:
    """Return how a column of a type is read.

    Args:
        name: Its name.
        oid: Type.
        modifier: The type's modifier, such as precision and scale; -1 for none.
        element: Type of the elements when it is an array, else None.
        load_array: Returns what parses the text of an array of elements of a type.
    """
    text = pl.String()
    if element is not None:
        inner = _ELEMENTS.get(element, text)
        load = load_array(element if element in _ELEMENTS else 25)
        listed = pl.List(inner)
        return CopyColumn(name, text, listed, lambda texts: _arrays(texts, listed, load))
    if oid in INTEGERS:
        return CopyColumn(name, pl.Int64(), pl.Int64())
    if oid in FLOATS:
        return CopyColumn(name, pl.Float64(), pl.Float64())
    if oid == NUMERIC:
        return _numeric(name, modifier)
    if oid in _FINISHES:
        dtype, finish = _FINISHES[oid]
        return CopyColumn(name, text, dtype, finish)
    return CopyColumn(name, text, text, json=oid in JSON)


def _numeric(name: str, modifier: int) -> CopyColumn:
    if modifier < 4:
        dtype = pl.Decimal(_DIGITS, _SCALE)
        return CopyColumn(name, pl.String(), dtype, lambda texts: _decimals(texts, dtype, _SCALE))
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4) & 0x7FF ^ 0x400) - 0x400
    if 0 <= scale <= precision <= _DIGITS:
        dtype = pl.Decimal(precision, scale)
        return CopyColumn(name, dtype, dtype)
    scale = min(max(scale, 0), _DIGITS)
    wide = pl.Decimal(_DIGITS, scale)
    return CopyColumn(name, pl.String(), wide, lambda texts: _decimals(texts, wide, scale))


def _decimals(texts: pl.Series, dtype: pl.DataType, scale: int) -> pl.Series:
    """Turn texts into decimals; Polars alone would round what has more places."""
    made = texts.cast(dtype, strict=False)
    rounded = texts.str.contains(rf"\.\d{{{scale}}}\d*[1-9]")
    return made.set(rounded.fill_null(value=False), None) if rounded.any() else made


def _booleans(texts: pl.Series) -> pl.Series:
    return texts == "t"


def _dates(texts: pl.Series) -> pl.Series:
    return texts.str.to_date("%Y-%m-%d", strict=False)


def _times(texts: pl.Series) -> pl.Series:
    return texts.str.to_time("%H:%M:%S%.f", strict=False)


def _timestamps(texts: pl.Series) -> pl.Series:
    return texts.str.to_datetime(_SECONDS, time_unit="us", strict=False)


def _instants(texts: pl.Series) -> pl.Series:
    # The session's time zone is UTC, so that every text ends with +00.
    plain = texts.str.strip_suffix("+00")
    return plain.str.to_datetime(_SECONDS, time_unit="us", strict=False).dt.replace_time_zone("UTC")


def _bytes(texts: pl.Series) -> pl.Series:
    return texts.str.strip_prefix("\\x").str.decode("hex", strict=False)


def _arrays(texts: pl.Series, dtype: pl.DataType, load: Callable[[bytes], Any]) -> pl.Series:
    values = [None if text is None else _array(text, load) for text in texts]
    return _series(texts.name, values, dtype)


def _array(text: str, load: Callable[[bytes], Any]) -> Any:
    try:
        found = load(text.encode())
    except Exception:  # noqa: BLE001 - a date that Python cannot hold; psycopg has many errors for it
        return None
    return None if text.startswith("[") or any(isinstance(item, list) for item in found) else found


def _series(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    try:
        return make_series(name, values, dtype)
    except ConversionError:
        return pl.concat([_one(name, value, dtype) for value in values])


def _one(name: str, value: Any, dtype: pl.DataType) -> pl.Series:
    try:
        return make_series(name, [value], dtype)
    except ConversionError:
        return pl.Series(name, [None], dtype=dtype)


_FINISHES: dict[int, tuple[pl.DataType, Finish]] = {
    BOOL: (pl.Boolean(), _booleans),
    BYTEA: (pl.Binary(), _bytes),
    DATE: (pl.Date(), _dates),
    TIME: (pl.Time(), _times),
    TIMESTAMP: (pl.Datetime("us"), _timestamps),
    TIMESTAMPTZ: (pl.Datetime("us", "UTC"), _instants),
}
_ELEMENTS: dict[int, pl.DataType] = {
    **dict.fromkeys(INTEGERS, pl.Int64()),
    **dict.fromkeys(FLOATS, pl.Float64()),
    BOOL: pl.Boolean(),
    NUMERIC: pl.Decimal(_DIGITS, _SCALE),
    DATE: pl.Date(),
    TIMESTAMP: pl.Datetime("us"),
    TIMESTAMPTZ: pl.Datetime("us", "UTC"),
    25: pl.String(),
}
