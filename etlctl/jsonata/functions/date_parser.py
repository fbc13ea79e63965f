"""Texts read by a date picture, with the reference's rules for what is missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from math import nan
from typing import Any, Final, TypeAlias

import regex

from etlctl.jsonata.functions.calendar_fields import DAY, FURTHEST, Moment, civil_from_days, days_from_civil
from etlctl.jsonata.functions.date_picture import DAYS, MONTHS, Part
from etlctl.jsonata.functions.integer_picture import IntegerPicture, parse_integer_text, sequence_refused
from etlctl.jsonata.functions.number_words import WORD_VALUES
from etlctl.jsonata.functions.numeric import out_of_range
from etlctl.jsonata.limits import BUDGET, timed_out
from etlctl.jsonata.values import NOTHING, JsonataError

Reader: TypeAlias = Callable[[str], float | None]

_LONGEST_WAIT: Final = 5.0
"""Seconds a text may take where the evaluation has no deadline."""
_UNUSUAL: Final = frozenset("XxWwdPh")
_HALVES: Final = {"am": 0, "AM": 0, "pm": 1, "PM": 1}
_DATE_BITS: Final = "YXMxWwdD"
_TIME_BITS: Final = "PHhmsf"
_WORDS: Final = "(?:" + "|".join([*map(regex.escape, WORD_VALUES), "and", "[\\-, ]"]) + ")+"


def parse_date(text: str, parts: tuple[Part, ...], now: Callable[[], int]) -> Any:
    """Return the milliseconds since the epoch that a text says; nothing when it does not fit the picture.

    Args:
        text: What to read.
        parts: The picture.
        now: Gives the clock in milliseconds, for the fields left of the first one that is given.

    Raises:
        JsonataError: D3136 for a picture with gaps or by ISO weeks, D3133 or D3130 for one that cannot be parsed.
    """
    matcher, readers, orderly = _matcher(parts)
    try:
        found = matcher.fullmatch(text, timeout=None if orderly else BUDGET.get().seconds_left() or _LONGEST_WAIT)
    except TimeoutError:
        raise timed_out() from None
    if found is None:
        return NOTHING
    fields: dict[str, float | None] = {}
    for reader, group in zip(readers, found.groups(), strict=True):
        if reader is not None:
            fields[reader[0]] = reader[1](group)
    if not fields:
        return NOTHING
    return _to_millis(fields, now)


@lru_cache(maxsize=512)
def _matcher(parts: tuple[Part, ...]) -> tuple[regex.Pattern[str], list[tuple[str, Reader] | None], bool]:
    """Return the expression of a picture, what reads its groups, and whether it surely needs no look at the clock."""
    pattern = ""
    readers: list[tuple[str, Reader] | None] = []
    for part in parts:
        if not part.component:
            pattern += f"({regex.escape(part.literal)})"
            readers.append(None)
        else:
            text, reader = _reader(part)
            pattern += f"({text})"
            readers.append((part.component, reader))
    return regex.compile(pattern, regex.IGNORECASE | regex.ASCII | regex.VERSION0), readers, _is_orderly(parts)


def _is_orderly(parts: tuple[Part, ...]) -> bool:
    """Tell whether each component ends where the next part begins: at punctuation, or after its number of digits."""
    for part, following in pairwise(parts):
        if part.component and (part.integer is None or part.integer.width is None):
            if following.component or following.literal[0].isalnum():
                return False
            if part.integer is not None and part.integer.primary == "words":
                return False
    return True


def _reader(part: Part) -> tuple[str, Reader]:
    """Return the regular expression of a component, and what makes a number of its text."""
    if part.component in "Zz":
        return _zone_reader(part)
    if part.component == "f":
        return "[0-9]+", lambda text: float(f"0.{text[:3]}") * 1000
    if part.integer is not None:
        picture = part.integer
        return _integer_pattern(picture), lambda text: parse_integer_text(text, picture)
    names = _HALVES if part.component == "P" else _names(part)
    return "[a-zA-Z]+", names.get


def _names(part: Part) -> dict[str, int]:
    if part.component not in ("M", "x", "F"):
        msg = f"only months and days have names in date pictures, not {part.component}"
        raise JsonataError(msg, "D3133")
    names = DAYS if part.component == "F" else MONTHS
    return {name[: part.most or None]: number for number, name in enumerate(names, 1)}


def _integer_pattern(picture: IntegerPicture) -> str:
    upper = picture.case == "upper"
    if picture.primary == "letters":
        return "[A-Z]+" if upper else "[a-z]+"
    if picture.primary == "roman":
        return "[MDCLXVI]+" if upper else "[mdclxvi]+"
    if picture.primary == "words":
        return _WORDS
    if picture.primary == "sequence":
        raise sequence_refused(picture)
    digits = f"[0-9]{{{picture.width}}}" if picture.width else "[0-9]+"
    return digits + "(?:th|st|nd|rd)" if picture.ordinal else digits


def _zone_reader(part: Part) -> tuple[str, Reader]:
    picture = part.integer
    if picture is None:
        msg = f"component {part.component} of the date picture cannot be parsed as a name"
        raise JsonataError(msg, "D3133")
    prefix = "GMT" if part.component == "z" else ""
    mark = picture.separators[0][1] if picture.regular else ""
    # The separator goes into the expression as it is, in the reference too; one that means something there is refused.
    pattern = f"{prefix}[-+][0-9]+" + (f"{regex.escape(mark)}[0-9]+" if mark else "")

    def read(text: str) -> float:
        offset = text[len(prefix) :]
        if mark:
            hours, _, minutes = offset.partition(mark)
        elif len(offset) <= 3:
            hours, minutes = offset, "0"
        else:
            hours, minutes = offset[:3], offset[3:]
        return int(hours) * 60 + int(minutes)

    return pattern, read


def _given(fields: dict[str, float | None], component: str) -> bool:
    """Tell whether a field was read; zero and NaN do not count when the kind of date is found out."""
    value = fields.get(component)
    return bool(value) and value == value  # noqa: PLR0124 - NaN


def _mask(fields: dict[str, float | None], components: str) -> int:
    mask = 0
    for component in components:
        mask = mask * 2 + _given(fields, component)
    return mask


def _is_kind(mask: int, kind: int) -> bool:
    return not ~kind & mask and bool(kind & mask)


def _kinds(fields: dict[str, float | None]) -> tuple[str, str]:
    """Return the components of the kind of date and of the kind of time that were given."""
    if _UNUSUAL.isdisjoint(fields):
        return "YMD", "Hmsf"
    dates = _mask(fields, _DATE_BITS)
    times = _mask(fields, _TIME_BITS)
    twelve_hours = not _is_kind(times, 0b010111) and _is_kind(times, 0b101111)
    time = "Phmsf" if twelve_hours else "Hmsf"
    if not _is_kind(dates, 0b10100001) and _is_kind(dates, 0b10000010):
        return "YD", time
    if _is_kind(dates, 0b1010100):
        return "XxwF", time
    return "XWF" if _is_kind(dates, 0b1001000) else "YMD", time


def _to_millis(fields: dict[str, float | None], now: Callable[[], int]) -> int:
    date, time = _kinds(fields)
    _complete(fields, date + time, now)
    if date[0] == "X":
        raise _incomplete()
    month = fields.get("M") or nan
    fields["M"] = month - 1 if month > 0 else 0
    if date == "YD":
        days = days_from_civil(_year(_number(fields, "Y")), 1, 1) + int(_number(fields, "d")) - 1
        _, month, day = civil_from_days(days)
        fields["M"], fields["D"] = month - 1, day
    if time == "Phmsf":
        hour = fields.get("h")
        fields["H"] = (0 if hour == 12 else _number(fields, "h")) + (12 if fields.get("P") == 1 else 0)
    return _utc(fields)


def _complete(fields: dict[str, float | None], components: str, now: Callable[[], int]) -> None:
    """Fill in what is missing: from the clock before the first field given, lowest values after the last."""
    started = ended = False
    for component in components:
        if fields.get(component) is not None:
            started = True
            if ended:
                raise _incomplete()
        elif started:
            fields[component] = 1 if component in "MDd" else 0
            ended = True
        elif component == "P":
            fields[component] = None
        else:
            fields[component] = Moment(now()).field(component)


def _incomplete() -> JsonataError:
    msg = "the date picture lacks components between those it has, or uses ISO weeks, which cannot be parsed"
    return JsonataError(msg, "D3136")


def _number(fields: dict[str, float | None], component: str) -> int:
    value = fields.get(component)
    if value is None or value != value:  # noqa: PLR0124 - NaN
        msg = f"component {component} of the date is not a number that can be read"
        raise JsonataError(msg, "D3136")
    return int(value)


def _year(year: int) -> int:
    return year + 1900 if 0 <= year <= 99 else year  # as Date.UTC reads years of two digits


def _utc(fields: dict[str, float | None]) -> int:
    year, month, day = (_number(fields, component) for component in "YMD")
    hour, minute, second, milli = (_number(fields, component) for component in "Hmsf")
    if abs(year) > 300_000 or abs(month) > 10_000_000:
        raise out_of_range(f"year {year}")
    millis = days_from_civil(_year(year + month // 12), month % 12 + 1, 1) * DAY + (day - 1) * DAY
    millis += ((hour * 60 + minute) * 60 + second) * 1000 + milli
    if abs(millis) > FURTHEST:
        raise out_of_range(f"{millis} milliseconds as a date")
    shift = fields.get("Z") or fields.get("z") or 0
    return millis - int(shift) * 60_000
