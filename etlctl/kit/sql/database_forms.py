"""What a column of a database keeps exactly, read from its type; and the types of columns that are made."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import types
from sqlalchemy.dialects import mysql

from etlctl.frozen import frozen
from etlctl.kit.sql.sqlite_values import INT64, is_number_text

_BITS: tuple[tuple[Any, int], ...] = (
    (mysql.TINYINT, 8),
    (mysql.MEDIUMINT, 24),
    (types.SmallInteger, 16),
    (types.BigInteger, 64),
    (types.Integer, 32),
)
_NUMBERS = frozenset({int, bool})
_AS_TEXT = frozenset({str, Decimal, datetime, date, time, timedelta, dict, list, tuple, UUID})
_WHOLE: dict[str, frozenset[type]] = {
    "integer": _NUMBERS,
    "boolean": _NUMBERS,
    "decimal": frozenset({int, bool, float, Decimal}),
    "float": frozenset({int, float}),
    "single": frozenset({int, float}),
    "text": _AS_TEXT,
    "choice": _AS_TEXT,
    "choices": _AS_TEXT,
    "bytes": frozenset({bytes, bytearray, memoryview}),
    "date": frozenset({date}),
    "datetime": frozenset({datetime, date}),
    "time": frozenset({time}),
}
_NUMBERED = frozenset({float, str, Decimal})
_PART: dict[str, frozenset[type]] = {
    "integer": _NUMBERED, "boolean": _NUMBERED, "decimal": _NUMBERED, "float": _NUMBERED, "single": _NUMBERED,
    "bytes": frozenset({str}), "date": frozenset({datetime, str}), "datetime": frozenset({str}),
    "time": frozenset({str}),
}  # fmt: skip


@frozen
class Form:
    """What a column keeps.

    Attributes:
        kind: ``integer``, ``boolean``, ``decimal``, ``float``, ``single`` (a float of 32 bits), ``text``, ``choice``
            (one of some words), ``choices`` (several), ``bytes``, ``date``, ``datetime``, ``time``, ``json``, or
            ``any``, of which only the database knows what it keeps.
        low: The smallest integer.
        high: The greatest.
        digits: Digits of a decimal in all; None: as many as there are.
        scale: Digits behind its point, or of the fraction of a second; None: as many as there are.
        length: Characters of a text, bytes of binary data; None: the database tells.
        padded: Shorter values are filled up, so that they come back changed.
        words: The words of a choice.
        zoned: A datetime that knows its zone.
    """

    kind: str
    low: int = INT64[0]
    high: int = INT64[1]
    digits: int | None = None
    scale: int | None = None
    length: int | None = None
    padded: bool = False
    words: frozenset[str] = frozenset()
    zoned: bool = False

    def takes_all(self, kind: type) -> bool:
        """Tell whether every value of a Python type is at home in it."""
        return self.kind not in _WHOLE or kind in _WHOLE[self.kind]

    def takes_some(self, kind: type) -> bool:
        """Tell whether some values of a Python type are."""
        return self.takes_all(kind) or kind in _PART.get(self.kind, ())

    def takes(self, value: Any) -> bool:
        """Tell whether a value is at home in it."""
        if isinstance(value, float) and self.kind in {"integer", "boolean"}:
            return value.is_integer()
        if isinstance(value, str) and _PART.get(self.kind) == _NUMBERED:
            return is_number_text(value)
        return self.takes_some(type(value))


def form_of(kind: Any) -> Form:  # noqa: C901, PLR0911, PLR0912 - one line for each family of types
    """Return what a column of SQLAlchemy's type keeps."""
    if isinstance(kind, types.Boolean):
        return Form("boolean", 0, 1)
    if isinstance(kind, mysql.BIT):
        return Form("integer", 0, 2 ** (kind.length or 1) - 1)
    if isinstance(kind, mysql.YEAR):
        return Form("integer", 0, 2155)
    if isinstance(kind, types.Integer):
        return _integer(kind)
    if isinstance(kind, types.Float | mysql.FLOAT):
        single = type(kind).__name__ == "FLOAT" and (kind.precision or 0) <= 24 and isinstance(kind, mysql.FLOAT)
        scale = getattr(kind, "scale", None)  # MySQL's FLOAT(7,4) rounds to it
        return Form("single" if single or type(kind).__name__ == "REAL" else "float", scale=scale)
    if isinstance(kind, types.Numeric):
        return Form("decimal", digits=kind.precision, scale=kind.scale if kind.precision is not None else None)
    if isinstance(kind, mysql.SET):
        return Form("choices", words=frozenset(kind.values))
    if isinstance(kind, types.Enum):
        return Form("choice", words=frozenset(kind.enums))
    if isinstance(kind, types.JSON):
        return Form("json")
    if isinstance(kind, types.Uuid):
        return Form("any")
    if isinstance(kind, types.String):
        return Form("text", length=kind.length, padded=isinstance(kind, types.CHAR))
    if isinstance(kind, types._Binary):  # noqa: SLF001 - the one base of all binary types
        return Form("bytes", length=kind.length, padded=isinstance(kind, types.BINARY))
    if isinstance(kind, types.DateTime):
        return Form("datetime", scale=_fraction(kind), zoned=bool(kind.timezone))
    if isinstance(kind, types.Date):
        return Form("date")
    if isinstance(kind, types.Time):
        return Form("time", scale=_fraction(kind))
    return Form("any")


def _integer(kind: Any) -> Form:
    if isinstance(kind, mysql.TINYINT) and kind.display_width == 1 and not kind.unsigned:
        return Form("integer", -128, 127)
    bits = next(size for of, size in _BITS if isinstance(kind, of))
    if getattr(kind, "unsigned", False):
        return Form("integer", 0, 2**bits - 1)
    return Form("integer", -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _fraction(kind: Any) -> int | None:
    """Return the digits of a second that a type keeps: none in MySQL unless it says so."""
    return (kind.fsp or 0) if hasattr(kind, "fsp") else 6


def named_type(kinds: Collection[type], values: Iterable[Any] = ()) -> str:
    """Return the contract's name of the type of a new column that keeps values of these Python types exactly."""
    kinds = set(kinds)
    if kinds == {int}:
        return "integer" if all(value is None or INT64[0] <= value <= INT64[1] for value in values) else "huge"
    if kinds == {int, float}:
        return "float"
    if len(kinds) != 1:
        return "any"
    (kind,) = kinds
    return _NAMED.get(kind) or next((name for of, name in _NAMED.items() if issubclass(kind, of)), "any")


_NAMED: dict[type, str] = {
    bool: "boolean",
    float: "float",
    str: "string",
    bytes: "binary",
    Decimal: "decimal",
    datetime: "datetime",
    date: "date",
    time: "time",
    timedelta: "string",
    dict: "object",
    list: "array",
    tuple: "array",
    UUID: "string",
}

KEY_LENGTH = 255
"""Characters of a text in the key of a table that is made."""


def mysql_type(name: str, collation: str, *, key: bool) -> str:
    """Return the type of MySQL that keeps values of a contract's type exactly; texts tell case and accents apart.

    Args:
        name: Such as ``integer``.
        collation: Of texts.
        key: The column is part of a key, which has to have a length.
    """
    text = f"CHARACTER SET utf8mb4 COLLATE {collation}"
    if name in _MYSQL:
        return _MYSQL[name]
    if name == "binary":
        return f"VARBINARY({KEY_LENGTH})" if key else "LONGBLOB"
    if name in {"object", "array"} and not key:
        return "JSON"
    return f"VARCHAR({KEY_LENGTH}) {text}" if key else f"LONGTEXT {text}"


_MYSQL = {
    "integer": "BIGINT",
    "huge": "DECIMAL(65,0)",
    "float": "DOUBLE",
    "decimal": "DECIMAL(65,30)",
    "boolean": "TINYINT(1)",
    "date": "DATE",
    "datetime": "DATETIME(6)",
    "time": "TIME(6)",
}


def general_type(name: str, *, key: bool) -> Any:
    """Return SQLAlchemy's type that keeps values of a contract's type exactly."""
    if name in _GENERAL:
        return _GENERAL[name]
    return types.String(KEY_LENGTH) if key else types.Text()


_GENERAL: dict[str, Any] = {
    "integer": types.BigInteger(),
    "huge": types.Numeric(),
    "float": types.Double(),
    "decimal": types.Numeric(),
    "boolean": types.Boolean(),
    "date": types.Date(),
    "datetime": types.DateTime(),
    "time": types.Time(),
    "binary": types.LargeBinary(),
}
