"""Date and time pictures such as ``[Y0001]-[M01]-[D01]``, read once."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final

from etlctl.frozen import frozen
from etlctl.jsonata.functions.integer_picture import IntegerPicture, read_integer_picture, with_digits
from etlctl.jsonata.functions.numeric import check_picture
from etlctl.jsonata.functions.signature import shown
from etlctl.jsonata.values import JsonataError

_DEFAULTS: Final = {
    "Y": "1", "M": "1", "D": "1", "d": "1", "F": "n", "W": "1", "w": "1", "X": "1", "x": "1", "H": "1", "h": "1",
    "P": "n", "m": "01", "s": "01", "f": "1", "Z": "01:01", "z": "01:01", "C": "n", "E": "n",
}  # fmt: skip
MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
"""Names of the months."""
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
"""Names of the days of a week."""
_INTEGERS: Final = frozenset("YMDdFWwXxHhmsf")
_SPACE: Final = re.compile(r"\s+")
_LEADING: Final = re.compile(r"\s*([+-]?\d+)", re.ASCII)


@frozen
class Part:
    """A literal (``component`` empty) or a component of a picture.

    Attributes:
        component: Its letter, such as ``Y``.
        literal: The text of a literal.
        names: ``lower``, ``upper`` or ``title`` when it is written as a name.
        integer: How it is written as a number; None for a name.
        modifier: Second presentation modifier.
        most: Greatest width; None for any.
        year_digits: Last digits of the year that are written; -1 for all.
    """

    component: str
    literal: str = ""
    names: str = ""
    integer: IntegerPicture | None = None
    modifier: str = ""
    most: int | None = None
    year_digits: int = -1


@lru_cache(maxsize=512)
def read_date_picture(picture: str) -> tuple[Part, ...]:
    """Return the parts of a picture.

    Raises:
        JsonataError: D3135 for a missing bracket, D3132 for an unknown component, D3131 for mixed digits.
    """
    check_picture(picture)
    parts: list[Part] = []
    start = at = 0
    while at < len(picture):
        if picture[at] == "[":
            _add_literal(parts, picture[start:at])
            if picture[at + 1 : at + 2] == "[":
                parts.append(Part("", "["))
                at += 2
                start = at
                continue
            end = picture.find("]", at)
            if end < 0:
                msg = f"a component of the date picture {shown(picture)} has no closing ]"
                raise JsonataError(msg, "D3135")
            _add_component(parts, _SPACE.sub("", picture[at + 1 : end]))
            at = end
            start = end + 1
        at += 1
    _add_literal(parts, picture[start:at])
    return tuple(parts)


def _add_literal(parts: list[Part], text: str) -> None:
    if text:
        parts.append(Part("", text.replace("]]", "]")))


def _add_component(parts: list[Part], marker: str) -> None:
    component = marker[:1]
    body, comma, width = marker.rpartition(",")
    presentation = body[1:] if comma else marker[1:]
    least, most = _widths(width) if comma else (None, None)
    modifier = ""
    if len(presentation) > 1 and presentation[-1] in "atco":
        presentation, modifier = presentation[:-1], presentation[-1]
    elif not presentation:
        if component not in _DEFAULTS:
            msg = f"{shown(component)} is not a component of date pictures"
            raise JsonataError(msg, "D3132")
        presentation = _DEFAULTS[component]
    names = _names(presentation)
    integer: IntegerPicture | None = None
    year_digits = -1
    if not names and component in _INTEGERS and component:
        integer = read_integer_picture(f"{presentation};{modifier}" if modifier else presentation)
        # A picture without digits compares its undefined count, so its width is never set.
        if least is not None and integer.primary == "decimal" and integer.mandatory < least:
            integer = with_digits(integer, least)
        if component == "Y":
            integer, year_digits = _year(integer, most)
        _fix_width(parts)
    if component in ("Z", "z"):
        integer = read_integer_picture(presentation)
    parts.append(Part(component, "", names, integer, modifier, most, year_digits))


def _names(presentation: str) -> str:
    if presentation[0] == "n":
        return "lower"
    if presentation[0] == "N":
        return "title" if presentation[1:2] == "n" else "upper"
    return ""


def _year(integer: IntegerPicture, most: int | None) -> tuple[IntegerPicture, int]:
    """Return the picture of a year, and how many of its last digits are written."""
    if most is not None:
        return with_digits(integer, most), most
    digits = integer.mandatory + integer.optional if integer.primary == "decimal" else 0
    return integer, digits if digits >= 2 else -1


def _fix_width(parts: list[Part]) -> None:
    """Let a number right before another one take exactly its mandatory digits when it is parsed."""
    if parts and parts[-1].integer is not None:
        integer = parts[-1].integer
        parts[-1] = replace(parts[-1], integer=replace(integer, width=integer.mandatory or None))


def _widths(text: str) -> tuple[int | None, int | None]:
    least, dash, most = text.partition("-")
    return _width(least), _width(most) if dash else None


def _width(text: str) -> int | None:
    found = _LEADING.match(text)
    return None if text == "*" or found is None else int(found[1][:9])
