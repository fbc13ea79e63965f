"""Parameters of a run: the declared ones checked and converted, the rest kept for the references that name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from etlctl.contract.scalars import plain_scalar
from etlctl.contract.sections import InputParam

ParamValue = str | int | float | bool


def convert_parameter(declared: InputParam, value: Any) -> ParamValue:
    """Return a parameter's value as its declared type; dates and datetimes stay ISO 8601 text.

    Raises:
        ValueError: It is not of that type; the message names the value and says what would do.
    """
    return _CONVERT[declared.type](value)


def _string(value: Any) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"{value!r} is not text")


def _integer(value: Any) -> int:
    number = plain_scalar(value.strip()) if isinstance(value, str) else value
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    raise ValueError(f"{value!r} is not a whole number")


def _float(value: Any) -> float:
    number = plain_scalar(value.strip()) if isinstance(value, str) else value
    if isinstance(number, int | float) and not isinstance(number, bool):
        return float(number)
    raise ValueError(f"{value!r} is not a number")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "false": False}
    if isinstance(value, str) and value.strip().lower() in known:
        return known[value.strip().lower()]
    raise ValueError(f"{value!r} is neither true nor false")


def _date(value: Any) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a date such as 2024-01-31") from None


def _datetime(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    try:
        return datetime.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a date and time such as 2024-01-31T06:00:00Z") from None


_CONVERT: Mapping[str, Callable[[Any], ParamValue]] = {
    "string": _string,
    "integer": _integer,
    "float": _float,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
}
