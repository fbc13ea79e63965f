"""Incremental loads as values: the window a run reads, how cursor values compare, and what is frozen with a run.

A cursor value is kept in the source's own text and never rounded. To compare two of them each becomes a *key*: an
instant in nanoseconds since 1970 (UTC; without a zone it counts as UTC), a day since 1970, a number, or the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias

from etlctl.frozen import frozen
from etlctl.temporal import SPACE, Unparsable, to_date, to_datetime

ValueType: TypeAlias = Literal["datetime", "date", "integer", "float", "decimal", "string"]
RowOrder: TypeAlias = Literal["asc", "desc"]
OnMissing: TypeAlias = Literal["reject", "load", "drop"]

SECOND = 1_000_000_000
DAY = 86_400 * SECOND

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - keys count from here in UTC
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_UNITS = {"w": 7 * DAY, "d": DAY, "h": 3600 * SECOND, "m": 60 * SECOND, "min": 60 * SECOND, "s": SECOND, "ms": 10**6}
_SPAN = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?\s*(?:min|ms|w|d|h|m|s)\s*)+", re.IGNORECASE)
_SPAN_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(min|ms|w|d|h|m|s)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_FRACTION = re.compile(r"[.,]([0-9]+)")
_STYLE = re.compile(
    r"(?P<day>[0-9]{4}-?[0-9]{2}-?[0-9]{2})"
    r"(?:(?P<sep>[Tt ])(?P<clock>[0-9:]+)(?:(?P<point>[.,])(?P<fraction>[0-9]+))?(?P<zone> ?[Zz]| ?[+-][0-9:]+)?)?"
)


@frozen(kw_only=True)
class Window:
    """The part of a source that a run reads, frozen when the run begins and the same for all its attempts.

    Pushing it into a query or a request is only ever an optimisation: the engine filters afterwards in any case, so
    an extractor may give more than the window (never less).

    Attributes:
        field: The cursor field, as the source names it.
        low: Smallest value to read, itself included, in the source's own text and with the lag taken off; None: from
            the beginning.
        high: Largest value to read, itself included, in the source's own text; None: to the end.
        value_type: How to compare values: ``datetime``, ``date``, ``integer``, ``float``, ``decimal`` or ``string``.
        row_order: ``asc`` or ``desc``: the contract's word that the source gives records in that order; None: any.
        open_high: Leave ``high`` itself out (ranges of a backfill); who pushes ``<=`` gives a little more, no harm.
    """

    field: str
    low: str | None = None
    high: str | None = None
    value_type: ValueType = "datetime"
    row_order: RowOrder | None = None
    open_high: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Window:
        """Return the window that ``to_dict`` wrote."""
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})


Recent: TypeAlias = Mapping[str, Sequence[str]]
"""Hashes of records that were loaded, by their cursor value in its own text; equal records as often as loaded."""


@frozen(kw_only=True)
class Increment:
    """What an incremental run goes by; made when the run begins, and the same for all its attempts.

    Attributes:
        stream: Whose cursor it is: contract and parameters, without the date the run is for.
        window: What is read.
        start: Where the cursor stood; None: nowhere yet.
        lag: How far the window reaches back behind the cursor, as written; None: not at all.
        ceiling: Larger values flow but do not move the cursor, in text; None: all may move it.
        on_missing: What becomes of a record without a usable cursor value.
        until: What ``${cursor_end}`` says; None: nothing.
        seen: The records in the window that runs before have loaded.
        moves: The cursor of the stream moves when the run has finished.
    """

    stream: str
    window: Window
    start: str | None = None
    lag: str | None = None
    ceiling: str | None = None
    on_missing: OnMissing = "reject"
    until: str | None = None
    seen: Recent = field(default_factory=dict)
    moves: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**values, "window": self.window.to_dict(), "seen": {text: list(own) for text, own in self.seen.items()}}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Increment:
        """Return what ``to_dict`` wrote."""
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        return cls(**{**known, "window": Window.of(values["window"])})


@frozen(kw_only=True)
class CursorMove:
    """Where a run moves the cursor of its stream.

    Attributes:
        stream: Whose cursor it is.
        field: The cursor field.
        value: The new high-water mark, in the source's own text.
        value_type: How to compare it.
        recent: Records that were loaded at it, or within the lag below it.
    """

    stream: str
    field: str
    value: str
    value_type: ValueType
    recent: Recent


def merged(stored: Recent, found: Recent) -> dict[str, list[str]]:
    """Return the records of both, each as often as the one that has it more often."""
    together: dict[str, list[str]] = {}
    for text in {**stored, **found}:
        counts = Counter(stored.get(text, ())) | Counter(found.get(text, ()))
        together[text] = list(counts.elements())
    return together


# --- comparing -----------------------------------------------------------------------------------------------------


def comparable(value: Any, value_type: str) -> Any:
    """Return the key of a cursor value.

    Raises:
        Unparsable: It is not of that type; the text says why, continuing "<value> …".
    """
    return _KEYS[value_type](value)


def _instant(value: Any) -> int:
    if type(value) is str:
        text = value.strip(SPACE)
        found = _FRACTION.search(text)
        if found is not None and len(found[1]) > 6:
            if found[1][9:].strip("0"):
                raise Unparsable("is finer than a nanosecond")
            rest = text[: found.start()] + text[found.end() :]
            return _since_epoch(to_datetime(rest)) + int(found[1][:9].ljust(9, "0"))
        return _since_epoch(to_datetime(text))
    if isinstance(value, date):
        return _since_epoch(to_datetime(value))
    raise Unparsable("is not a datetime")


def _since_epoch(moment: datetime) -> int:
    since = moment.replace(tzinfo=None) - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1000


def _day(value: Any) -> int:
    return to_date(value).toordinal() - _EPOCH_DAY


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip(SPACE)):
        return int(value.strip(SPACE))
    if isinstance(value, float | Decimal) and _is_whole(value):
        return int(value)
    raise Unparsable("is not a whole number")


def _is_whole(value: float | Decimal) -> bool:
    return (value.is_finite() if isinstance(value, Decimal) else value - value == 0) and value == int(value)


def _float(value: Any) -> float:
    number = float(_decimal(value)) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float | Decimal):
        raise Unparsable("is not a number")
    try:
        made = float(number)
    except OverflowError:
        raise Unparsable("is too large for a float") from None
    if made - made != 0:
        raise Unparsable("is not a finite number")
    return made


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise Unparsable("is not a number")
    try:
        made = Decimal(value.strip(SPACE)) if isinstance(value, str) else Decimal(str(value))
    except InvalidOperation:
        raise Unparsable("is not a number") from None
    if not made.is_finite():
        raise Unparsable("is not a finite number")
    return made


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Unparsable("is not text")


_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "datetime": _instant,
    "date": _day,
    "integer": _integer,
    "float": _float,
    "decimal": _decimal,
    "string": _text,
}
VALUE_TYPES = tuple(_KEYS)


def own_text(value: Any) -> str:
    """Return a cursor value in the source's own text; what is no text becomes ISO 8601 or digits, exactly."""
    if isinstance(value, str):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


# --- spans and shifting --------------------------------------------------------------------------------------------


def span_of(lag: str | float | None, value_type: str) -> Any:
    """Return a span in the units of the keys of a type; 0 for None.

    Args:
        lag: Such as ``90s``, ``1h`` or ``1d12h`` for instants (a number is seconds) and days; a number for numbers.
        value_type: Of the cursor.

    Raises:
        ValueError: It is no span of that type; the text says what would be one.
    """
    if lag is None:
        return "" if value_type == "string" else 0
    text = str(lag).strip()
    if value_type == "string":
        raise ValueError("text has no distance: a cursor of type string takes no lag")
    if value_type in {"datetime", "date"}:
        length = nanoseconds(text)
        if value_type == "datetime":
            return length
        if length % DAY:
            raise ValueError(f"{text!r} is not a whole number of days, such as 1d")
        return length // DAY
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number such as 1000, the distance in the cursor's own unit")
    if value_type == "integer":
        if not text.isdigit():
            raise ValueError(f"{text!r} is not a whole number")
        return int(text)
    return float(text) if value_type == "float" else Decimal(text)


def nanoseconds(text: str) -> int:
    """Return a length of time, such as ``90s``, ``1h``, ``1d12h`` or a number of seconds, in nanoseconds.

    Raises:
        ValueError: It is none.
    """
    if _NUMBER.fullmatch(text):
        return int(Decimal(text) * SECOND)
    if not _SPAN.fullmatch(text):
        raise ValueError(f"{text!r} is not a length of time such as 90s, 15m, 1h, 1d12h or 1w")
    return sum(int(Decimal(number) * _UNITS[unit.lower()]) for number, unit in _SPAN_PART.findall(text))


def shifted(text: str, value_type: str, span: Any) -> str:
    """Return the value that lies a span below another one, written like that one.

    Args:
        text: A value in the source's own text.
        value_type: Its type.
        span: As of ``span_of``; may be negative.
    """
    if not span:
        return text
    key = comparable(text, value_type) - span
    if value_type == "date":
        day = date.fromordinal(max(key + _EPOCH_DAY, 1)).isoformat()
        return day if "-" in text else day.replace("-", "")
    if value_type == "datetime":
        return _written_like(text.strip(SPACE), key)
    return repr(key) if value_type == "float" else str(key)


def _written_like(text: str, key: int) -> str:
    """Return an instant in the style of another one: separators, digits of the fraction and zone."""
    found = _STYLE.fullmatch(text)
    if found is None:
        return instant_text(key) + "Z"
    zone = (found["zone"] or "").strip()
    offset = datetime.fromisoformat(f"2000-01-01T00:00:00{zone.upper()}").utcoffset() or timedelta() if zone else None
    local = key + (int(offset.total_seconds()) * SECOND if offset else 0)
    day, clock = instant_text(local).split("T")
    if "-" not in found["day"]:
        day = day.replace("-", "")
    if found["sep"] is None and not local % DAY:
        return day
    clock, _, fraction = clock.partition(".")
    digits = max(len(found["fraction"] or ""), len(fraction))
    point = found["point"] or "."
    if found["clock"] and ":" not in found["clock"]:
        clock = clock.replace(":", "")
    tail = f"{point}{fraction.ljust(digits, '0')}" if digits else ""
    return f"{day}{found['sep'] or 'T'}{clock}{tail}{found['zone'] or ''}"


def instant_text(key: int) -> str:
    """Return the instant of a key as ISO 8601 in UTC without zone, with as many digits as it needs.

    What lies before the year 1 or after 9999 becomes the first or the last second there is.
    """
    seconds, rest = divmod(key, SECOND)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return "0001-01-01T00:00:00" if key < 0 else "9999-12-31T23:59:59"
    return moment.isoformat() + (f".{rest:09d}".rstrip("0") if rest else "")


def ceiling_text(value_type: str, span: str | float | None, now: datetime) -> str | None:
    """Return the largest value that may move a cursor: now and what clocks may differ by; None: there is no limit."""
    if span is None or value_type not in {"datetime", "date"}:
        return None
    key = _since_epoch(now.astimezone(UTC)) + nanoseconds(str(span))
    return instant_text(key) + "Z" if value_type == "datetime" else instant_text(key)[:10]
