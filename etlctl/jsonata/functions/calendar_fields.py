"""Fields of a moment by the proleptic Gregorian calendar in UTC, for any year JavaScript's Date has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from etlctl.jsonata.functions.numeric import out_of_range

DAY: Final = 86_400_000
"""Milliseconds of a day."""
_DATE_FIELDS: Final = {"Y": 0, "M": 1, "D": 2}
_CLOCK_FIELDS: Final = {"H": (3_600_000, 24), "m": (60_000, 60), "s": (1000, 60), "f": (1, 1000)}
FURTHEST: Final = 8_640_000_000_000_000
"""Milliseconds from 1970 that a date may be away."""


def days_from_civil(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a date.

    Args:
        year: Any year, astronomical.
        month: From 1; others count on into neighbouring years.
        day: From 1; others count on into neighbouring months.
    """
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468 + day - 1


def civil_from_days(days: int) -> tuple[int, int, int]:
    """Return year, month and day of so many days after 1970-01-01."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    return year + era * 400 + (month <= 2), month, day


def first_week(year: int, month: int) -> int:
    """Return the day number of the Monday that begins the first week (the one with a Thursday) of a month."""
    if 0 <= year + (month - 1) // 12 <= 99:
        year += 1900  # as Date.UTC reads years of two digits
    first = days_from_civil(year, month, 1)
    weekday = (first + 3) % 7 + 1
    return first + 8 - weekday if weekday > 4 else first - weekday + 1


@dataclass
class Moment:
    """A moment whose fields are worked out when they are asked for.

    Attributes:
        millis: Milliseconds since 1970-01-01 UTC, a whole number.
    """

    millis: int

    def __post_init__(self) -> None:
        if abs(self.millis) > FURTHEST:
            raise out_of_range(f"{self.millis} milliseconds as a date")
        self.days, self.of_day = divmod(self.millis, DAY)

    @cached_property
    def civil(self) -> tuple[int, int, int]:
        """Year, month and day."""
        return civil_from_days(self.days)

    @property
    def _today(self) -> int:
        year, month, day = self.civil
        return days_from_civil(year + 1900 if 0 <= year <= 99 else year, month, day)

    def field(self, component: str) -> int:
        """Return the number of a component of date pictures, such as ``Y`` or ``W``."""
        place = _DATE_FIELDS.get(component)
        if place is not None:
            return self.civil[place]
        clock = _CLOCK_FIELDS.get(component)
        if clock is not None:
            return self.of_day // clock[0] % clock[1]
        if component == "h":
            return (self.of_day // 3_600_000 - 1) % 12 + 1
        return self._rare(component)

    def _rare(self, component: str) -> int:
        year, month, _ = self.civil
        if component == "d":
            return self._today - days_from_civil(year + 1900 if 0 <= year <= 99 else year, 1, 1) + 1
        if component == "F":
            return (self.days + 3) % 7 + 1
        if component == "W":
            return self._week(year, 1, 12, 52)
        if component == "w":
            return self._week(year, month, 1, 4)
        if component == "X":
            return self._shift(year, 1, 12, year)
        shifted = self._shift(year, month, 1, month)
        return (shifted - 1) % 12 + 1

    def _week(self, year: int, month: int, step: int, usual: int) -> int:
        """Return the week of the period that begins in a month and has ``step`` months."""
        today = self._today
        week = (today - first_week(year, month)) / 7 + 1
        if week > usual:
            if today >= first_week(year, month + step):
                week = 1
        elif week < 1:
            week = (today - first_week(year, month - step)) / 7 + 1
        return int(week // 1)

    def _shift(self, year: int, month: int, step: int, value: int) -> int:
        """Return the number of the period, one less or more where the week belongs to a neighbour."""
        if self.millis < first_week(year, month) * DAY:
            return value - 1
        return value + 1 if self.millis >= first_week(year, month + step) * DAY else value
