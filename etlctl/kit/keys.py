"""Values as keys: what counts as the same value when records are looked up, joined, grouped or told apart.

Text is only ever the same as text, true and false only as themselves, a date only as a date; numbers are the same when
they are equal (1 and 1.0). NaN is the same as NaN. Lists and objects are the same when all their items are; an object
without a field is the same as one where it is null. Null is the same as missing.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

_NAN = ("nan",)
_MOST_DIGITS = 4000
_EXACT = Context(prec=100_000)
_WHOLE = 2**53
_PLAIN = frozenset({str, int, type(None)})
LONG = 500
"""Key texts of more characters are kept as their SHA-256: no two texts with the same one are known."""


def key(value: Any) -> Any:
    """Return what stands for a value in a set or a dict: equal and of equal hash exactly when the value is the same."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, float | Decimal):
        return value if value == value else _NAN  # noqa: PLR0124
    if isinstance(value, Mapping):
        return (dict, frozenset((name, key(item)) for name, item in value.items() if item is not None))
    if isinstance(value, list | tuple):
        return (list, tuple(key(item) for item in value))
    return value


def keys_of(values: Iterable[Any]) -> list[Any]:
    """Return the keys of many values."""
    return [value if type(value) in _PLAIN else key(value) for value in values]


def combined(fields: Sequence[str]) -> Callable[[Mapping[str, Any]], Any]:
    """Return the function that gives the key of a record by some of its fields."""
    if len(fields) == 1:
        (name,) = fields
        return lambda record: key(record.get(name))
    names = tuple(fields)
    return lambda record: tuple(key(record.get(name)) for name in names)


# --- as text ---------------------------------------------------------------------------------------------------------


def key_text(values: Sequence[Any]) -> str:
    """Return a text that stands for some values together: equal exactly when each of them is the same.

    A text of more than ``LONG`` characters is given as its SHA-256 digest.
    """
    return shortened("".join(map(_text, values)))


def shortened(text: str) -> str:
    """Return a key text as it is when it is short and any database or column can hold it, else its digest."""
    if len(text) <= LONG and "\x00" not in text and (text.isascii() or _is_unicode(text)):
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() + "#"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates: JSON can have them
        return False
    return True


def _text(value: Any) -> str:
    """Return one value as text that says where it ends: a letter for the kind, the length, the text."""
    kind = type(value)
    if kind is str:
        return f"s{len(value)}:{value}"
    if value is None:
        return "0"
    if kind is int:
        return _integer_text(value)
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, float | Decimal):
        return _number_text(value)
    return _other_text(value)


def _integer_text(value: int) -> str:
    try:
        return f"n{value};"
    except ValueError:  # CPython refuses to write very long integers in decimal
        return f"n{value:x}x;"


def _number_text(value: float | Decimal) -> str:
    if value != value:  # noqa: PLR0124
        return "nan;"
    if value in {float("inf"), float("-inf")}:
        return f"n{float(value)};"
    if isinstance(value, Decimal) and value and abs(value.adjusted()) > _MOST_DIGITS:
        return f"n{value.normalize()};"
    if value == int(value):
        return _integer_text(int(value))
    near = float(value)
    # A fraction that a double holds is told by its bits, which columns can give as well.
    return f"r{_bits(near)};" if near == value else f"d{Decimal(value).normalize(_EXACT)};"


def _bits(value: float) -> int:
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    return int(bits)


def _other_text(value: Any) -> str:
    if isinstance(value, date | time | timedelta):
        return _moment_text(value) if isinstance(value, datetime) else f"{type(value).__name__}{value!s};"
    if isinstance(value, Mapping):
        inner = "".join(f"{_text(name)}{_text(item)}" for name, item in sorted(value.items()) if item is not None)
        return f"o{inner}."
    if isinstance(value, list | tuple):
        return f"l{''.join(map(_text, value))}."
    if isinstance(value, bytes):
        return f"b{value.hex()};"
    if isinstance(value, int):
        return _integer_text(int(value))
    return f"?{type(value).__name__}{len(repr(value))}:{value!r}"


def _moment_text(value: datetime) -> str:
    offset = value.utcoffset()
    if offset is None:
        return f"d{value.isoformat()};"
    return f"z{(value.replace(tzinfo=None) - datetime.min - offset) // _MICROSECOND};"  # noqa: DTZ901


_MICROSECOND = timedelta(microseconds=1)


# --- columns ---------------------------------------------------------------------------------------------------------


def key_column(frame: pl.DataFrame, fields: Sequence[str]) -> pl.Series:
    """Return ``key_text`` of some columns of each row of a frame; a column that is not there is null."""
    import polars as pl  # noqa: PLC0415

    texts = [_column_text(frame, name).fill_null("0") for name in fields]
    made = frame.select(pl.concat_str(texts).alias("key")).to_series() if texts else pl.Series("key", [""])
    return _all_shortened(made)


def record_column(frame: pl.DataFrame) -> pl.Series:
    """Return ``key_text`` of each row of a frame as a whole record; columns are told by name, not by place."""
    import polars as pl  # noqa: PLC0415

    texts = [pl.lit(f"{_text(name)}") + _column_text(frame, name) for name in sorted(frame.columns)]
    parts = [pl.lit("o"), *(text.fill_null("") for text in texts), pl.lit(".")]
    made = frame.select(pl.concat_str(parts).alias("key")).to_series()
    return _all_shortened(made.new_from_index(0, frame.height) if made.len() != frame.height else made)


def _column_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Return the text of each value of a column, null where the value is."""
    import polars as pl  # noqa: PLC0415

    if name not in frame.columns or frame.schema[name] == pl.Null:
        return pl.lit(None, dtype=pl.String)
    values = frame.get_column(name)
    dtype = values.dtype
    if dtype == pl.String:
        column = pl.lit(values)
        return pl.concat_str(pl.lit("s"), column.str.len_chars().cast(pl.String), pl.lit(":"), column)
    if dtype.is_integer():
        return pl.concat_str(pl.lit("n"), pl.lit(values).cast(pl.String), pl.lit(";"))
    if dtype == pl.Boolean:
        return pl.when(pl.lit(values)).then(pl.lit("t")).when(pl.lit(values).not_()).then(pl.lit("f"))
    if dtype == pl.Float64 and not (values.is_finite() & (values.abs() >= _WHOLE)).any():
        return _float_text(values)
    texts = [None if value is None else _text(value) for value in values.to_list()]
    return pl.lit(pl.Series(name, texts, dtype=pl.String))


def _float_text(values: pl.Series) -> pl.Expr:
    """Return the text of floats that are less than 2**53, or not finite."""
    import polars as pl  # noqa: PLC0415

    column = pl.lit(values)
    whole = pl.concat_str(pl.lit("n"), column.cast(pl.Int64, strict=False).cast(pl.String), pl.lit(";"))
    bits = pl.concat_str(pl.lit("r"), pl.lit(values.reinterpret(dtype=pl.UInt64)).cast(pl.String), pl.lit(";"))
    return (
        pl.when(column.is_nan())
        .then(pl.lit("nan;"))
        .when(column.is_infinite())
        .then(pl.when(column > 0).then(pl.lit("ninf;")).otherwise(pl.lit("n-inf;")))
        .when(column == column.floor())
        .then(whole)
        .when(column.is_not_null())
        .then(bits)
    )


def _all_shortened(texts: pl.Series) -> pl.Series:
    import polars as pl  # noqa: PLC0415

    longest, nul = texts.str.len_bytes().max(), texts.str.contains("\x00", literal=True).any()
    if not nul and (not isinstance(longest, int) or longest <= LONG):
        return texts
    return pl.Series(texts.name, [shortened(text) for text in texts.to_list()], dtype=pl.String)
