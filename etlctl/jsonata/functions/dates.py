"""``$fromMillis`` and ``$toMillis``: moments as text and back."""

from __future__ import annotations

import re
from time import time
from typing import Any, Final

from etlctl.jsonata.functions.builtin import BUILTINS, unusual
from etlctl.jsonata.functions.calendar_fields import DAY, Moment, days_from_civil
from etlctl.jsonata.functions.date_parser import parse_date
from etlctl.jsonata.functions.date_picture import DAYS, MONTHS, Part, read_date_picture
from etlctl.jsonata.functions.integer_picture import IntegerPicture, write_integer
from etlctl.jsonata.functions.number_words import leading_integer
from etlctl.jsonata.functions.signature import shown
from etlctl.jsonata.limits import BUDGET
from etlctl.jsonata.values import NOTHING, JsonataError

_ISO: Final = re.compile(
    r"(\d{4})(?:-([01]\d))?(?:-([0-3]\d))?(?:T([0-2]\d):([0-5]\d):([0-5]\d))?(\.\d+)?(?:([+-])([0-2]\d):?([0-5]\d)|(Z))?",
    re.ASCII,
)


def now_millis() -> int:
    """Return the evaluation's clock in milliseconds since the epoch."""
    now = BUDGET.get().now
    return int(time() * 1000) if now is None else now


@BUILTINS.define("fromMillis", "<n-s?s?:s>")
def from_millis(millis: Any, picture: Any = NOTHING, timezone: Any = NOTHING) -> Any:
    """Return a moment as text: by a picture, or as ISO 8601 with milliseconds; in UTC or at an offset (``+0200``)."""
    if type(millis) is float:
        millis = int(millis)  # JavaScript's Date drops the fraction, towards zero
    if type(millis) is not int or not _is_text(picture) or not _is_text(timezone):
        return unusual("fromMillis", millis, picture, timezone)
    hours, minutes = _offset(timezone)
    moment = Moment(millis + (60 * hours + minutes) * 60_000)
    if picture is NOTHING:
        return _iso(moment, hours * 100 + minutes)
    parts = [part.literal or _component(moment, part, hours, minutes) for part in read_date_picture(picture)]
    return "".join(parts)


def _is_text(value: Any) -> bool:
    return value is NOTHING or type(value) is str


def _offset(timezone: Any) -> tuple[int, int]:
    """Return hours and minutes of an offset; the minutes of a negative one are negative too, as in the reference."""
    if timezone is NOTHING:
        return 0, 0
    offset = leading_integer(timezone)
    if offset != offset:  # noqa: PLR0124 - NaN
        msg = f"{shown(timezone)} is not an offset such as +0200"
        raise JsonataError(msg, "D3110")
    whole = int(offset)
    return whole // 100, whole - int(whole / 100) * 100


def _iso(moment: Moment, offset: int) -> str:
    year, month, day = moment.civil
    rest, milli = divmod(moment.of_day, 1000)
    rest, second = divmod(rest, 60)
    hour, minute = divmod(rest, 60)
    zone = "Z" if offset == 0 else _zone_digits(offset)
    # Only the last four digits of the year, and the sign that JavaScript's remainder keeps.
    shown_year = f"{abs(year) % 10_000:04}" if year >= 0 else f"-{-year % 10_000:04}"
    return f"{shown_year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}{zone}"


def _zone_digits(offset: int) -> str:
    digits = f"{abs(offset):04}"
    return f"{'+' if offset >= 0 else '-'}{digits[:-2]}:{digits[-2:]}"


def _component(moment: Moment, part: Part, hours: int, minutes: int) -> str:
    component = part.component
    if component in "YMDdFWwXxHhmsf":
        value = moment.field(component)
        if part.names and component != "f":
            return _name(part, value)
        if 0 <= part.year_digits < 10:
            value = value % 10**part.year_digits if value >= 0 else -(-value % 10**part.year_digits)
        return write_integer(value, _needed(part))
    if component in "Zz":
        return _zone(part, hours, minutes)
    if component == "P":
        text = "pm" if moment.of_day >= DAY // 2 else "am"
        return text.upper() if part.names == "upper" else text
    return "ISO" if component in "CE" else "undefined"


def _needed(part: Part) -> IntegerPicture:
    if part.integer is None:
        msg = f"component {part.component} of the date picture cannot be written as a name"
        raise JsonataError(msg, "D3133")
    return part.integer


def _name(part: Part, value: int) -> str:
    if part.component in "Mx":
        text = MONTHS[value - 1]
    elif part.component == "F":
        text = DAYS[value - 1]
    else:
        msg = f"only months and days have names in date pictures, not {part.component}"
        raise JsonataError(msg, "D3133")
    text = text.upper() if part.names == "upper" else text.lower() if part.names == "lower" else text
    return text if part.most is None else text[: part.most]


def _zone(part: Part, hours: int, minutes: int) -> str:
    offset = hours * 100 + minutes
    picture = _needed(part)
    digits = picture.mandatory
    if picture.regular or digits in (3, 4):
        text = write_integer(offset, picture)
    elif digits in (1, 2):
        text = write_integer(hours, picture)
        if minutes:
            text += f":{'-' if minutes < 0 else ''}{abs(minutes):02}"
    else:
        msg = f"the offset of a date picture has at most four digits, not {digits}"
        raise JsonataError(msg, "D3134")
    if offset >= 0:
        text = f"+{text}"
    if part.component == "z":
        text = f"GMT{text}"
    return "Z" if offset == 0 and part.modifier == "t" else text


@BUILTINS.define("toMillis", "<s-s?:n>")
def to_millis(text: Any, picture: Any = NOTHING) -> Any:
    """Return the milliseconds since the epoch that an ISO 8601 text, or a text in a picture, says (D3110, D3136).

    A text that does not fit its picture gives nothing.
    """
    if type(text) is not str or not _is_text(picture):
        return unusual("toMillis", text, picture)
    if picture is not NOTHING:
        return parse_date(text, read_date_picture(picture), now_millis)
    found = _ISO.fullmatch(text)
    millis = None if found is None else _iso_millis(found)
    if millis is None:
        msg = f"$toMillis needs an ISO 8601 timestamp such as 2024-01-31T12:30:00Z, not {shown(text)}"
        raise JsonataError(msg, "D3110")
    return millis


def _iso_millis(found: re.Match[str]) -> int | None:
    """Return what ``Date.parse`` makes of the parts, None where it makes nothing."""
    year, month, day, hour, minute, second, fraction, sign, zone_hour, zone_minute, _ = found.groups()
    timed = hour is not None
    if (fraction or sign) and not timed:
        return None
    clock = (int(hour), int(minute), int(second)) if timed else (0, 0, 0)
    whole_day = clock == (24, 0, 0) and not int((fraction or ".0")[1:4])
    if not 1 <= int(month or 1) <= 12 or not 1 <= int(day or 1) <= 31 or (clock[0] > 23 and not whole_day):
        return None
    millis = days_from_civil(int(year), int(month or 1), int(day or 1)) * DAY
    millis += ((clock[0] * 60 + clock[1]) * 60 + clock[2]) * 1000 + int((fraction or ".0")[1:4].ljust(3, "0"))
    if sign is not None:
        shift = (int(zone_hour) * 60 + int(zone_minute)) * 60_000
        return millis - shift if sign == "+" else millis + shift
    return millis  # UTC without an offset: the reference takes the machine's zone, which no pipeline should depend on
