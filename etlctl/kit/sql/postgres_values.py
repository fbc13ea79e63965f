"""Single values as text that PostgreSQL takes for a column: exactly what they were, or refused with the reason."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any
from uuid import UUID

from etlctl.errors import RecordRejected
from etlctl.kit.codecs.json_text import encode_value, is_utf8
from etlctl.kit.codecs.value_text import bytes_text, datetime_text, decimal_text, duration_text
from etlctl.kit.sql.postgres_table import Column
from etlctl.kit.sql.postgres_types import INT_RANGES

Refused = dict[int, RecordRejected]
"""Number of the value in its column to why it is refused."""

_SHOWN = 60
_ZONE_SHIFT = re.compile(r"[T ]\d\d?:\d\d.*?([+-]\d\d(?::?\d\d)?)\s*$").search


def column_texts(name: str, values: Iterable[Any], column: Column) -> tuple[list[str | None], Refused]:
    """Return the texts of a field's values for a column, and the values that have none.

    Args:
        name: The field, for messages.
        values: One per record; None is null.
        column: Where they go.
    """
    texts: list[str | None] = []
    refused: Refused = {}
    for number, value in enumerate(values):
        if value is None:
            texts.append(None)
            continue
        try:
            texts.append(_text(value, name, column))
        except RecordRejected as error:
            refused[number] = error
            texts.append(None)
    return texts, refused


def _text(value: Any, name: str, column: Column) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return _of_text(value, name, column)
    convert = _FAMILIES.get(column.family)
    if convert is not None:
        return convert(value, name, column)
    return _plain(value, name, column)


def _of_text(value: str, name: str, column: Column) -> str:
    if not is_utf8(value):
        raise RecordRejected(
            "load.not_utf8", f"field {name!r} holds text that is not Unicode (half a surrogate pair)", field=name
        )
    if "\0" in value:
        raise nul_refused(name)
    if column.length is not None and len(value) > column.length and value[column.length :].strip(" "):
        raise too_long(name, value, column)
    if column.family == "numeric" and column.scale is not None:
        try:
            return _rounded(Decimal(value), value, name, column)
        except InvalidOperation:
            return value  # the server says what is wrong with it
    if column.family == "timestamp":
        zone = _ZONE_SHIFT(value)
        if zone is not None and zone[1].strip("+-0:"):
            raise RecordRejected(
                "load.type",
                f"field {name!r}: {_shown(value)} has a time zone, which column {column.name!r} ({column.declared}) "
                "would drop in silence",
                field=name,
            )
    return value


def _integer(value: Any, name: str, column: Column) -> str:
    if isinstance(value, float | Decimal):
        if not math.isfinite(value) or value != int(value):
            raise mismatch(name, value, column)
        value = int(value)
    if not isinstance(value, int):
        return _plain(value, name, column)
    low, high = INT_RANGES[column.type_name]
    if not low <= value <= high:
        raise out_of_range(name, value, column)
    return str(int(value))


def _float(value: Any, name: str, column: Column) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return _plain(value, name, column)
    try:
        exact = float(value) == value or value != value  # noqa: PLR0124
        exact = exact or (isinstance(value, Decimal) and Decimal(repr(float(value))) == value)
    except OverflowError:
        exact = False
    if exact and column.type_name == "float4" and math.isfinite(value):
        exact = float4_keeps(float(value))
    if not exact:
        raise out_of_range(name, value, column)
    return repr(float(value))


def float4_keeps(value: float) -> bool:
    """Tell whether a four-byte float says the same number in its own digits."""
    try:
        single = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return False
    return float(f"{single:.7g}") == value or float(f"{single:.9g}") == value or single == value


def _numeric(value: Any, name: str, column: Column) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return _plain(value, name, column)
    if isinstance(value, float):
        text = repr(value)
        return text if column.scale is None or not math.isfinite(value) else _rounded(Decimal(text), text, name, column)
    if isinstance(value, int):
        return _long(value, name, column)
    if not value.is_finite():
        return str(value)
    return decimal_text(value) if column.scale is None else _rounded(value, decimal_text(value), name, column)


def _rounded(value: Decimal, text: str, name: str, column: Column) -> str:
    """Refuse what the column would round."""
    exponent = value.as_tuple().exponent
    scale = column.scale or 0
    if isinstance(exponent, int) and -exponent > scale and value != round(value, scale):
        raise out_of_range(name, text, column)
    return text


def _long(value: int, name: str, _column: Column) -> str:
    try:
        return str(int(value))
    except ValueError as error:  # the interpreter's limit on the digits of an integer
        raise RecordRejected(
            "load.out_of_range", f"field {name!r} holds an integer of over 4,300 digits", field=name
        ) from error


def _boolean(value: Any, name: str, column: Column) -> str:
    if value in (0, 1):  # True and False as well
        return "true" if value else "false"
    return _plain(value, name, column)


def _moment(value: Any, name: str, column: Column) -> str:
    if isinstance(value, datetime | time):
        if column.scale is not None and column.scale < 6 and value.microsecond % 10 ** (6 - column.scale):
            raise out_of_range(name, value.isoformat(), column)
        if column.family == "timestamp" and isinstance(value, datetime) and value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)  # in UTC, which the column does not say
        return datetime_text(value)
    return _plain(value, name, column)


def _day(value: Any, name: str, column: Column) -> str:
    if isinstance(value, datetime):
        if value.time() != time(0) or value.utcoffset():
            raise mismatch(name, value.isoformat(), column)
        return value.date().isoformat()
    return _plain(value, name, column)


def _interval(value: Any, name: str, column: Column) -> str:
    text = _plain(value, name, column)
    return "PT-" + text[3:] if text.startswith("-PT") else text


def _bytes(value: Any, name: str, column: Column) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    return _plain(value, name, column)


def _json(value: Any, name: str, _column: Column) -> str:
    return encode_value(value, name).decode()


def _array(value: Any, name: str, column: Column) -> str:
    if not isinstance(value, list | tuple):
        raise mismatch(name, value, column)
    return "{" + ",".join(_item(one, name, column) for one in value) + "}"


def _item(value: Any, name: str, column: Column) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple):
        return _array(value, name, column)
    text = _bytes(value, name, column) if isinstance(value, bytes) else _plain(value, name, column)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_FAMILIES: dict[str, Callable[[Any, str, Column], str]] = {
    "integer": _integer,
    "float": _float,
    "numeric": _numeric,
    "boolean": _boolean,
    "timestamp": _moment,
    "timestamptz": _moment,
    "time": _moment,
    "date": _day,
    "interval": _interval,
    "bytes": _bytes,
    "json": _json,
    "array": _array,
}


def _plain(value: Any, name: str, column: Column) -> str:
    for kind, convert in _PLAIN:
        if isinstance(value, kind):
            text = convert(value, name, column)
            if "\0" in text:
                raise nul_refused(name)
            if column.length is not None and len(text) > column.length:
                raise too_long(name, text, column)
            return text
    raise RecordRejected(
        "load.type", f"field {name!r} holds a {type(value).__name__}, which PostgreSQL has no form for", field=name
    )


_PLAIN: tuple[tuple[Any, Callable[[Any, str, Column], str]], ...] = (
    (str, lambda value, _name, _column: str(value)),
    (bool, lambda value, _name, _column: "true" if value else "false"),
    (int, _long),
    (float, lambda value, _name, _column: repr(float(value))),
    (Decimal, lambda value, _name, _column: decimal_text(value) if value.is_finite() else str(value)),
    ((datetime, time), lambda value, _name, _column: datetime_text(value)),
    (date, lambda value, _name, _column: value.isoformat()),
    (timedelta, lambda value, _name, _column: duration_text(value)),
    ((dict, list, tuple), _json),
    ((bytes, bytearray, memoryview), lambda value, _name, _column: bytes_text(value)),
    (UUID, lambda value, _name, _column: str(value)),
)


def mismatch(name: str, value: Any, column: Column) -> RecordRejected:
    """Return the refusal of a value that is of another kind than its column."""
    text = f"field {name!r}: {_shown(value)} is nothing that column {column.name!r} ({column.declared}) can hold"
    return RecordRejected("load.type", text, field=name)


def out_of_range(name: str, value: Any, column: Column) -> RecordRejected:
    """Return the refusal of a number or time that its column would round or cannot hold."""
    where = f"column {column.name!r} ({column.declared})"
    text = f"field {name!r} is {_shown(value)}, which {where} would round or cannot hold"
    return RecordRejected("load.out_of_range", text, field=name)


def too_long(name: str, value: str, column: Column) -> RecordRejected:
    """Return the refusal of a text that is too long for its column."""
    where = f"column {column.name!r} is {column.declared}"
    text = f"field {name!r} has {len(value):,} characters, and {where}: {_shown(value)}"
    return RecordRejected("load.too_long", text, field=name)


def nul_refused(name: str) -> RecordRejected:
    """Return the refusal of a text with a NUL."""
    return RecordRejected(
        "load.nul", f"field {name!r} holds a NUL character, which PostgreSQL cannot keep in a text", field=name
    )


def _shown(value: Any) -> str:
    try:
        text = str(value)
    except ValueError:
        return "an integer of over 4,300 digits"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
