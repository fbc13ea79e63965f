"""Values as SQLite keeps them: exactly what they were, or refused; a column's affinity never rounds one in silence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from etlctl.errors import RecordRejected
from etlctl.kit.codecs.json_text import encode_value
from etlctl.kit.codecs.value_text import datetime_text, decimal_text, duration_text

INT64 = (-(2**63), 2**63 - 1)
_EXACT_FLOAT = 2**53
_SURE_DIGITS = 15  # significant digits of a text that SQLite keeps when it makes a number of it
_PLAIN = frozenset({int, str, float, bytes})
_READY: dict[type, type] = {bool: int} | dict.fromkeys((Decimal, datetime, date, time, timedelta, list, dict), str)
_NUMERIC = frozenset({"INTEGER", "REAL", "NUMERIC"})
_NUMBER = re.compile(r"\s*[+-]?(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE][+-]?[0-9]+)?\s*").fullmatch
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*").fullmatch
_FRACTION = re.compile(r"[+-]?[0-9]*\.[0-9]+").fullmatch
_SHOWN = 60

Refused = dict[int, RecordRejected]
"""Number of the value in its column to why it is refused."""


def affinity_of(declared: str, *, strict: bool = False) -> str:
    """Return what a column of a declared type makes of values: INTEGER, TEXT, BLOB, REAL or NUMERIC.

    The rules are those of https://www.sqlite.org/datatype3.html#determination_of_column_affinity.
    """
    name = declared.upper()
    if strict and name == "ANY":
        return "BLOB"
    for affinity, parts in (
        ("INTEGER", ("INT",)),
        ("TEXT", ("CHAR", "CLOB", "TEXT")),
        ("BLOB", ("BLOB",)),
        ("REAL", ("REAL", "FLOA", "DOUB")),
    ):
        if any(part in name for part in parts):
            return affinity
    return "NUMERIC" if name else "BLOB"


def declared_type(kinds: Collection[type], values: Iterable[Any] = ()) -> str:
    """Return the type to declare for a new column that is to keep values of these Python types exactly."""
    kinds = set(kinds)
    if kinds == {int}:
        return "INTEGER" if all(value is None or INT64[0] <= value <= INT64[1] for value in values) else "TEXT"
    if kinds == {int, float}:
        return "NUMERIC"
    if len(kinds) != 1:
        return ""
    (kind,) = kinds
    return _DECLARED.get(kind) or next((name for of, name in _DECLARED.items() if issubclass(kind, of)), "")


_DECLARED: dict[type, str] = {
    bool: "BOOLEAN",
    float: "REAL",
    str: "TEXT",
    bytes: "BLOB",
    Decimal: "TEXT",
    datetime: "TEXT",
    date: "TEXT",
    time: "TEXT",
    timedelta: "TEXT",
    dict: "TEXT",
    list: "TEXT",
    tuple: "TEXT",
    UUID: "TEXT",
}

SCHEMA_TYPES = {
    "string": "TEXT",
    "integer": "INTEGER",
    "float": "REAL",
    "decimal": "TEXT",
    "boolean": "BOOLEAN",
    "date": "TEXT",
    "datetime": "TEXT",
    "time": "TEXT",
    "object": "TEXT",
    "array": "TEXT",
    "any": "",
}
"""Types of a contract's schema, with what to declare for them."""


def column_values(
    name: str, values: list[Any], kinds: frozenset[type], affinity: str, *, ready: bool = False
) -> tuple[list[Any], Refused]:
    """Return a column as the driver takes it.

    Args:
        name: The field, for messages.
        values: One per record; None is null.
        kinds: Python types among them, None's left out.
        affinity: Of the column they go to.
        ready: They are int, float, str and bytes already; the kinds are those of the values they were made from.
    """
    refused: Refused = {}
    if not ready and not kinds <= _PLAIN:
        values = _plain(name, values, refused)
    if ready:
        kinds = frozenset(_READY.get(kind, kind) for kind in kinds)
    elif not kinds <= _PLAIN:
        kinds = frozenset(map(type, values)) - {type(None)}
    if float in kinds:
        _refuse_nan(name, values, kinds, refused)
        if affinity == "TEXT":  # SQLite would write a text of 15 digits
            values = [repr(value) if type(value) is float else value for value in values]
    if int in kinds:
        values = _integers(name, values, affinity, refused)
    if str in kinds and affinity in _NUMERIC:
        values = _number_texts(name, values, affinity, refused)
    return values, refused


def _plain(name: str, values: list[Any], refused: Refused) -> list[Any]:
    made: list[Any] = []
    for number, value in enumerate(values):
        kind = type(value)
        if value is None or kind in _PLAIN:
            made.append(value)
            continue
        try:
            made.append(_converted(name, value))
        except RecordRejected as error:
            refused[number] = error
            made.append(None)
    return made


def _converted(name: str, value: Any) -> Any:
    for kind, convert in _CONVERTERS:
        if isinstance(value, kind):
            return convert(value, name)
    raise RecordRejected(
        "load.type", f"field {name!r} holds a {type(value).__name__}, which SQLite has no form for", field=name
    )


def _decimal(value: Decimal, name: str) -> str:
    if not value.is_finite():
        raise RecordRejected(
            "load.not_finite", f"field {name!r} is the decimal {value}, which is no number", field=name
        )
    return decimal_text(value)


_CONVERTERS: tuple[tuple[Any, Callable[[Any, str], Any]], ...] = (
    (Enum, lambda value, name: value.value if type(value.value) in _PLAIN else _converted(name, value.value)),
    (bool, lambda value, _name: int(value)),
    (int, lambda value, _name: int(value)),
    (float, lambda value, _name: float(value)),
    (str, lambda value, _name: str(value)),
    (Decimal, _decimal),
    ((datetime, time), lambda value, _name: datetime_text(value)),
    (date, lambda value, _name: value.isoformat()),
    ((dict, list, tuple), lambda value, name: encode_value(value, name).decode()),
    (timedelta, lambda value, _name: duration_text(value)),
    ((bytearray, memoryview), lambda value, _name: bytes(value)),
    (UUID, lambda value, _name: str(value)),
)


def _refuse_nan(name: str, values: list[Any], kinds: frozenset[type], refused: Refused) -> None:
    # NaN passes into a sum, which is far cheaper than asking every value; infinities may cancel out to NaN, too.
    total = sum(filter(None, values)) if kinds == {float} else sum(v for v in values if type(v) is float)
    if not math.isnan(total):
        return
    for number, value in enumerate(values):
        if type(value) is float and value != value:  # noqa: PLR0124
            refused[number] = RecordRejected(
                "load.not_finite", f"field {name!r} is nan, and SQLite would make it null", field=name
            )


def _integers(name: str, values: list[Any], affinity: str, refused: Refused) -> list[Any]:
    if affinity in {"TEXT", "BLOB"}:
        if not _beyond(values, *INT64):
            return values
        return [_long_text(value, number, name, refused) for number, value in enumerate(values)]
    # Elsewhere the driver itself refuses what is beyond 64 bits; only a double would take it and round it.
    if affinity == "REAL" and _beyond(values, -_EXACT_FLOAT, _EXACT_FLOAT):
        for number, value in enumerate(values):
            if type(value) is int and not _is_double(value):
                refused[number] = _out_of_range(name, value, affinity)
    return values


def _beyond(values: list[Any], low: int, high: int) -> bool:
    numbers = [value for value in values if type(value) is int]
    return bool(numbers) and not (low <= min(numbers) and max(numbers) <= high)


def _long_text(value: Any, number: int, name: str, refused: Refused) -> Any:
    if type(value) is not int or INT64[0] <= value <= INT64[1]:
        return value
    try:
        return str(value)
    except ValueError:  # the interpreter's limit on the digits of an integer
        refused[number] = RecordRejected(
            "load.out_of_range", f"field {name!r} holds an integer of over 4,300 digits", field=name
        )
        return None


def _is_double(value: int) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _number_texts(name: str, values: list[Any], affinity: str, refused: Refused) -> list[Any]:
    """Return texts for a column that makes numbers of them; refuse those whose number it would round."""
    if not any(type(value) is str and len(value) > _SURE_DIGITS for value in values):
        return values
    made = list(values)
    for number, value in enumerate(values):
        if type(value) is str and len(value) > _SURE_DIGITS and _is_rounded(value, affinity):
            # Zeros behind the point are no digits that could be lost, but SQLite counts them.
            made[number] = value.rstrip("0").removesuffix(".") if _FRACTION(value) else value
            if _is_rounded(made[number], affinity):
                refused[number] = _out_of_range(name, value, affinity)
    return made


def is_number_text(text: str) -> bool:
    """Tell whether a text is a number to a column that makes numbers of texts."""
    return _NUMBER(text) is not None


def _is_rounded(text: str, affinity: str) -> bool:
    found = _NUMBER(text)
    if found is None:
        return False  # stays a text
    if _INTEGER(text) and len(text) < _SHOWN:
        value = int(text)
        if INT64[0] <= value <= INT64[1]:
            return affinity == "REAL" and not _is_double(value)
    digits = "".join(part or "" for part in found.groups()).lstrip("0")
    return len(digits) > _SURE_DIGITS


def _out_of_range(name: str, value: Any, affinity: str) -> RecordRejected:
    try:
        shown = str(value)
    except ValueError:
        shown = "an integer of over 4,300 digits"
    shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
    return RecordRejected(
        "load.out_of_range",
        f"field {name!r} is {shown}, which a column of SQLite's kind {affinity} would round or cannot hold; "
        "a TEXT column keeps it exactly",
        field=name,
    )
