"""Types of PostgreSQL: which values are at home in a column, and which type keeps new values exactly."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

INT_RANGES = {
    "int2": (-(2**15), 2**15 - 1),
    "int4": (-(2**31), 2**31 - 1),
    "int8": (-(2**63), 2**63 - 1),
}
"""Integers a column of a type can hold."""

FAMILIES = {
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "citext"), "text"),
    **dict.fromkeys(INT_RANGES, "integer"),
    **dict.fromkeys(("float4", "float8"), "float"),
    "numeric": "numeric",
    "bool": "boolean",
    "date": "date",
    **dict.fromkeys(("time", "timetz"), "time"),
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "interval": "interval",
    "uuid": "uuid",
    "bytea": "bytes",
    **dict.fromkeys(("json", "jsonb"), "json"),
}
"""What kind of values a type is for; types that are not here take text that only the server understands."""

HOME: dict[str, tuple[type, ...]] = {
    "text": (str, Enum, UUID),
    "integer": (bool, int),
    "float": (int, float),
    "numeric": (int, float, Decimal),
    "boolean": (bool,),
    "date": (date,),
    "time": (time,),
    "timestamp": (date, datetime),
    "timestamptz": (date, datetime),
    "interval": (timedelta,),
    "uuid": (UUID,),
    "bytes": (bytes, bytearray, memoryview),
    "json": (dict, list, tuple, str, int, float, bool, Decimal),
    "array": (list, tuple),
    "other": (str,),
}
"""Kinds of values every one of which belongs into a column of a family."""

_TEXT_FORMS = frozenset({"integer", "float", "numeric", "boolean", "date", "time", "timestamp", "timestamptz", "interval", "uuid"})  # fmt: skip # noqa: E501


def family_of(type_name: str, category: str) -> str:
    """Return the family of a type.

    Args:
        type_name: As ``pg_type.typname`` has it, of the type under a domain.
        category: As ``pg_type.typcategory`` has it.
    """
    return "array" if category == "A" else FAMILIES.get(type_name, "other")


def takes_all(family: str, kind: type) -> bool:
    """Tell whether every value of a Python type is at home in a column of a family."""
    if family == "date" and issubclass(kind, datetime):
        return False
    return issubclass(kind, HOME[family]) and not (family in {"float", "numeric"} and kind is bool)


def takes_some(family: str, kind: type) -> bool:
    """Tell whether some values are: texts that say a number or a date, whole floats among integers."""
    if takes_all(family, kind):
        return True
    if family in _TEXT_FORMS and issubclass(kind, str):
        return True
    return family in {"integer", "float"} and kind in {float, Decimal}


SCHEMA_TYPES = {
    "string": "text",
    "integer": "bigint",
    "float": "double precision",
    "decimal": "numeric",
    "boolean": "boolean",
    "date": "date",
    "datetime": "timestamp with time zone",
    "time": "time without time zone",
    "object": "jsonb",
    "array": "jsonb",
}
"""Types of a contract's schema, with what to declare for them; any other is declared by its values."""

_DECLARED: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (float, "double precision"),
    (str, "text"),
    (bytes, "bytea"),
    (Decimal, "numeric"),
    (date, "date"),
    (time, "time without time zone"),
    (timedelta, "interval"),
    (dict, "jsonb"),
    (list, "jsonb"),
    (tuple, "jsonb"),
    (UUID, "uuid"),
)


def declared_type(kinds: Collection[type], values: Iterable[Any] = ()) -> str:
    """Return the type to declare for a new column that is to keep values of these Python types exactly.

    Args:
        kinds: Types of the values, None's left out.
        values: The values: integers and times are looked at.
    """
    found = {next((of for of in (bool, int, datetime) if issubclass(kind, of)), kind) for kind in kinds}
    if found == {int}:
        low, high = INT_RANGES["int8"]
        return "bigint" if all(value is None or low <= value <= high for value in values) else "numeric"
    if found == {datetime}:
        zoned = any(value is not None and value.tzinfo is not None for value in values)
        return "timestamp with time zone" if zoned else "timestamp without time zone"
    if len(found) > 1 and found <= {int, float, Decimal}:
        return "numeric"
    if found and all(issubclass(kind, dict | list | tuple) for kind in found):
        return "jsonb"
    if len(found) != 1:
        return "text"
    (kind,) = found
    return next((name for of, name in _DECLARED if issubclass(kind, of)), "text")
