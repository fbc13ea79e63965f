"""Pushing the window of an incremental run into a table's SELECT, only where that can leave nothing out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etlctl.cursor import Window
from etlctl.errors import FatalError
from etlctl.kit.sql.reading import Speech, TableFacts
from etlctl.temporal import Unparsable, to_datetime

Pushed = tuple[str, Sequence[str], Mapping[str, Any]]
"""Cursor field, conditions with binds, values of the binds."""
_LOW, _HIGH = "etlctl_low", "etlctl_high"
_NUMBERS = (
    "smallint",
    "integer",
    "bigint",
    "int",
    "tinyint",
    "mediumint",
    "numeric",
    "decimal",
    "double",
    "real",
    "float",
)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def pushed(
    window: Window | None, facts: TableFacts, speech: Speech, bound: Callable[[str, str, str], tuple[str, Any] | None]
) -> Pushed | None:
    """Return the conditions of a window, or None when there is none or it cannot be pushed.

    Records whose cursor field is null stay in: the engine decides about them.

    Args:
        window: What the run wants.
        facts: The table.
        speech: How the system wants its SQL.
        bound: Returns bind expression and value for a bound, given the column's type, the bind and the text; None
            when the two cannot be compared for certain.

    Raises:
        FatalError: The contract wants descending order.
    """
    kind = facts.columns.get(window.field) if window is not None else None
    if window is None or kind is None:
        return None
    field = speech.quote(window.field)
    nothing = "" if window.field in facts.required else f" OR {field} IS NULL"
    conditions, values = [], {}
    for name, sign, text in ((_LOW, ">=", window.low), (_HIGH, "<=", window.high)):
        if text is None:
            continue
        found = bound(kind, f":{name}", text) if _comparable(kind, window, text) else None
        if found is not None:
            conditions.append(f"{field} {sign} {found[0]}{nothing}")
            values[name] = found[1]
    if window.row_order == "desc":
        raise FatalError(
            f"row_order: desc: tables are read in ascending order of {window.field!r}",
            help="write row_order: asc, or leave it out; or give a query with an order of its own",
        )
    return (window.field, conditions, values) if conditions or window.row_order else None


def postgres_window(window: Window | None, facts: TableFacts, speech: Speech) -> Pushed | None:
    """Return the conditions of a window for PostgreSQL; its session is in UTC."""

    def bound(kind: str, bind: str, text: str) -> tuple[str, Any] | None:
        if _is_number(kind):
            return f"CAST({bind} AS numeric)" if _is_exact(kind) else f"CAST({bind} AS double precision)", text
        instant = _instant(text)
        if kind.startswith("timestamp") and kind.endswith("without time zone"):
            return f"(CAST({bind} AS timestamptz) AT TIME ZONE 'UTC')", instant
        if kind.startswith("timestamp"):
            return f"CAST({bind} AS timestamptz)", instant
        return (f"CAST({bind} AS date)", instant[:10]) if kind == "date" else None

    return pushed(window, facts, speech, bound)


def mysql_window(window: Window | None, facts: TableFacts, speech: Speech) -> Pushed | None:
    """Return the conditions of a window for MySQL; its session is in UTC."""

    def bound(kind: str, bind: str, text: str) -> tuple[str, Any] | None:
        if _is_number(kind):
            return (f"CAST({bind} AS DECIMAL(65, 20))" if _is_exact(kind) else f"({bind} + 0e0)"), text
        plain = _instant(text).replace("T", " ").removesuffix("+00:00")
        if kind in {"datetime", "timestamp"}:
            return f"CAST({bind} AS DATETIME(6))", plain
        return (f"CAST({bind} AS DATE)", plain[:10]) if kind == "date" else None

    return pushed(window, facts, speech, bound)


def sqlite_window(window: Window | None, facts: TableFacts, speech: Speech) -> Pushed | None:
    """Return the conditions of a window for SQLite: numbers only, for dates are texts of any layout there."""

    def bound(kind: str, bind: str, text: str) -> tuple[str, Any] | None:
        if not _is_number(kind):
            return None
        return bind, int(text) if text.lstrip("+-").isdigit() else float(text)

    found = pushed(window, facts, speech, bound)
    if found is None or not found[1]:
        return found
    # What is no number is left to the engine.
    texts = f"typeof({speech.quote(found[0])}) NOT IN ('integer', 'real')"
    return found[0], [f"{condition} OR {texts}" for condition in found[1]], found[2]


def _comparable(kind: str, window: Window, text: str) -> bool:
    if window.value_type in {"integer", "float", "decimal"}:
        return _is_number(kind) and _NUMBER.fullmatch(text) is not None
    if window.value_type in {"datetime", "date"}:
        try:
            _instant(text)
        except Unparsable:
            return False
        return kind == "date" or kind.startswith(("timestamp", "datetime"))
    return False


def _instant(text: str) -> str:
    """Return a date or time as ISO 8601 in UTC; one without a zone is in UTC already."""
    found = to_datetime(text)
    return found.replace(tzinfo=None).isoformat() + "+00:00"


def _is_number(kind: str) -> bool:
    return kind.startswith(_NUMBERS)


def _is_exact(kind: str) -> bool:
    return not kind.startswith(("double", "real", "float"))
