"""Converting a whole list of values at once, where one look at all of them proves that each is plain.

Plain is text in the usual form, or an integer where a number is wanted. A list that holds anything else is left to the
one-by-one converters of ``etlctl.types``, the authority.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from etlctl.types import PLAIN, TypeOptions

Bulk: TypeAlias = Callable[[Sequence[Any]], Sequence[Any] | None]
"""Returns the converted values (the same list when there is nothing to do), or None when some value is not plain."""

_LONGEST = 4000
_EXACT_FLOAT = 2**53
_INTEGER_LETTERS = re.compile(r"[0-9+-]*").fullmatch
_FLOAT_LETTERS = re.compile(r"[0-9+.eE-]*").fullmatch
_MOMENT_LETTERS = re.compile(r"[0-9T:Z-]*").fullmatch
_MOMENT = len("2000-01-01T00:00:00Z")
_ZONE = _MOMENT - 1


def bulk_converter(kind: str, options: TypeOptions) -> Bulk | None:
    """Return the bulk converter of a canonical type, None when there is none."""
    return _BULK.get(kind) if options == PLAIN else None


def _integers(values: Sequence[Any]) -> Sequence[Any] | None:
    if set(map(type, values)) == {int}:
        return values
    try:
        letters = "".join(values)
        if not _INTEGER_LETTERS(letters) or (len(letters) > _LONGEST and len(max(values, key=len)) > _LONGEST):
            return None
        return list(map(int, values))
    except (TypeError, ValueError):
        return None


def _floats(values: Sequence[Any]) -> Sequence[Any] | None:
    kinds = set(map(type, values))
    if kinds == {float}:
        return values
    if kinds == {int}:
        exact = min(values) >= -_EXACT_FLOAT and max(values) <= _EXACT_FLOAT
        return list(map(float, values)) if exact else None
    try:
        if not _FLOAT_LETTERS("".join(values)):
            return None
        made = list(map(float, values))
    except (TypeError, ValueError):
        return None
    return None if math.inf in made or -math.inf in made else made


def _moments(values: Sequence[Any]) -> Sequence[Any] | None:
    """Read texts like ``2000-01-01T00:00:00Z``: one Z each, at the end, so that each is in UTC."""
    try:
        letters = "".join(values)
        if not _MOMENT_LETTERS(letters) or set(map(len, values)) != {_MOMENT}:
            return None
        if letters[_ZONE::_MOMENT].count("Z") != len(values):
            return None
        return list(map(datetime.fromisoformat, values))
    except (TypeError, ValueError):
        return None


_BULK: dict[str, Bulk] = {"integer": _integers, "float": _floats, "datetime": _moments}
