"""What stands in an Excel cell: numbers as long as they are exact, moments as long as Excel has them, else text."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias

from etlctl.errors import RecordRejected
from etlctl.kit.codecs.csv_cells import cell_text

Cell: TypeAlias = bool | int | float | str | list[Any] | None
"""A value, or [number, layout] for a moment; all of them JSON values."""

MAX_ROWS = 1_048_576
MAX_COLUMNS = 16_384
MAX_TEXT = 32_767

LAYOUTS = {
    "date": "yyyy-mm-dd",
    "datetime": "yyyy-mm-dd hh:mm:ss",
    "datetime_ms": "yyyy-mm-dd hh:mm:ss.000",
    "time": "hh:mm:ss",
    "time_ms": "hh:mm:ss.000",
}

_EXACT = 2**53
_DAY_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001 - Excel knows no zones
_FIRST_SAFE = date(1900, 3, 1)
"""Excel believes that 1900 was a leap year: earlier days mean something else to it."""


def excel_cell(value: Any, field: str) -> Cell:  # noqa: PLR0911 - one answer per kind of type
    """Return what to put into a cell.

    Raises:
        RecordRejected: There is no such cell.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return excel_cell(value.value, field)
    if isinstance(value, int):
        return int(value) if -_EXACT <= value <= _EXACT else _text(value, field)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RecordRejected(
                "load.not_finite", f"field {field!r} is {value}, and Excel has no such number", field=field
            )
        return float(value)
    if isinstance(value, Decimal):
        return _decimal(value, field)
    if isinstance(value, date | time):
        return _moment(value) or _text(value, field)
    return _text(value, field)


def _text(value: Any, field: str) -> str:
    text = cell_text(value, field) or ""
    if len(text) > MAX_TEXT:
        raise RecordRejected(
            "load.excel_text",
            f"field {field!r} has {len(text):,} characters; an Excel cell holds {MAX_TEXT:,}",
            field=field,
        )
    return text


def _decimal(value: Decimal, field: str) -> Cell:
    if not value.is_finite():
        raise RecordRejected(
            "load.not_finite", f"field {field!r} is {value}, and Excel has no such number", field=field
        )
    number = float(value)
    exact = math.isfinite(number) and Decimal(repr(number)) == value
    return number if exact else _text(value, field)


def _moment(value: date | time) -> Cell:
    if isinstance(value, time):
        if value.tzinfo is not None or value.microsecond % 1000:
            return None
        since = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
        return [since / timedelta(days=1), "time_ms" if value.microsecond else "time"]
    if isinstance(value, datetime):
        if value.tzinfo is not None or value.microsecond % 1000 or value.date() < _FIRST_SAFE:
            return None
        return [(value - _DAY_ZERO) / timedelta(days=1), "datetime_ms" if value.microsecond else "datetime"]
    if value < _FIRST_SAFE:
        return None
    return [(value - _DAY_ZERO.date()).days, "date"]
