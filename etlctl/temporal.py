"""Dates and times from text: ISO 8601 or a given layout, read exactly or refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any, TypeAlias

Converter: TypeAlias = Callable[[Any], Any]
"""Turns a value that is not None into one of a type, or raises ``Unparsable``."""

SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode white space: what trimming takes away."""

_MEMO = 4096
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}").fullmatch
_CLOCK = r"(?:[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,]([0-9]+))?)?|[0-9]{4}(?:[0-9]{2}(?:[.,]([0-9]+))?)?)"
_TIME = re.compile(_CLOCK).fullmatch
_DATETIME = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|[0-9]{{8}})[Tt ]({_CLOCK})( ?(?:[Zz]|[+-][0-9]{{2}}(?::?[0-9]{{2}})?))?"
).fullmatch


class Unparsable(ValueError):  # noqa: N818
    """A value is not of the type asked for; the text says why, continuing "<value> …"."""


_MIDNIGHT = time()


def to_datetime(value: Any) -> datetime:
    """Return the datetime a value stands for, in UTC when it has a zone; dates are midnight."""
    if type(value) is str:
        if len(value) == 20 and value[10] == "T" and value[19] == "Z" and value[4] == "-" == value[7]:
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                raise Unparsable("is not a datetime that exists") from None
        return _datetime_text(value.strip(SPACE))
    if isinstance(value, datetime):
        return value if value.tzinfo is None or value.tzinfo is UTC else _to_utc(value)
    if isinstance(value, date):
        return datetime.combine(value, _MIDNIGHT)
    raise Unparsable("is not a datetime")


def _datetime_text(text: str) -> datetime:
    found = _DATETIME(text)
    if found is None:
        if _DATE(text):
            return datetime.combine(_date_text(text), _MIDNIGHT)
        raise Unparsable("is not an ISO 8601 datetime; another layout needs a format")
    day, clock, first, second, zone = found.groups()
    offset = (zone or "").strip().upper()
    exact = _to_microseconds(clock, first or second)
    try:
        moment = datetime.fromisoformat(f"{day}T{exact}{offset}")
    except ValueError as error:
        raise Unparsable("is not a datetime that exists") from error
    return _to_utc(moment) if offset else moment


def _to_microseconds(clock: str, fraction: str | None) -> str:
    if fraction is None:
        return clock
    if fraction[6:].strip("0"):
        raise Unparsable("is finer than a microsecond")
    return f"{clock[: -len(fraction) - 1]}.{fraction[:6]}"


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise Unparsable("lies outside the years 1 to 9999 in UTC") from error


def to_date(value: Any) -> date:
    """Return the date a value stands for; a datetime must be at midnight."""
    if isinstance(value, str):
        text = value.strip(SPACE)
        if _DATE(text):
            return _date_text(text)
        if not _DATETIME(text):
            raise Unparsable("is not an ISO 8601 date; another layout needs a format")
        value = _datetime_text(text)
    if isinstance(value, datetime):
        moment = to_datetime(value)
        if moment.time() != _MIDNIGHT:
            raise Unparsable("has a time of day; a date has none")
        return moment.date()
    if isinstance(value, date):
        return value
    raise Unparsable("is not a date")


def _date_text(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Unparsable("is not a date that exists") from error


def to_time(value: Any) -> time:
    """Return the time of day a value stands for."""
    if isinstance(value, str):
        text = value.strip(SPACE)
        found = _TIME(text)
        if found is None:
            raise Unparsable("is not an ISO 8601 time without zone; another layout needs a format")
        exact = _to_microseconds(text, found[1] or found[2])
        try:
            return time.fromisoformat(exact)
        except ValueError as error:
            raise Unparsable("is not a time of day") from error
    if isinstance(value, time):
        if value.tzinfo is not None:
            raise Unparsable("has a time zone; a time of day has none")
        return value
    raise Unparsable("is not a time")


def by_layout(kind: str, layout: str, convert: Converter) -> Converter:
    """Return the converter that reads text in a ``strptime`` layout and leaves other values to ``convert``."""
    memo: dict[str, Any] = {}

    def from_layout(value: Any) -> Any:
        if not isinstance(value, str):
            return convert(value)
        found = memo.get(value)
        if found is None:
            found = _read_layout(value.strip(SPACE), kind, layout)
            if len(memo) < _MEMO:
                memo[value] = found
        return found

    return from_layout


def _read_layout(text: str, kind: str, layout: str) -> Any:
    try:
        moment = datetime.strptime(text, layout)  # noqa: DTZ007
    except ValueError as error:
        raise Unparsable(f"does not match the format {layout!r}") from error
    if kind == "time":
        return moment.time()
    return to_date(moment) if kind == "date" else to_datetime(moment)


def layout_problem(layout: str) -> str | None:
    """Return what is wrong with a ``strptime`` layout, or None."""
    try:
        datetime.strptime("", layout)  # noqa: DTZ007
    except ValueError as error:
        problem = str(error)
        return None if "does not match" in problem or "unconverted" in problem else problem
    except (re.error, IndexError) as error:
        return str(error)
    return None if layout else "the format is empty"
