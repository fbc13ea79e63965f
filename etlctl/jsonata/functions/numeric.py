"""Numbers as JSONata sees them: whole floats become ints, and text is what JavaScript would write."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context
from math import isfinite, isinf, isnan
from typing import Final

from etlctl.jsonata.values import JsonataError

EXACT: Final = 2.0**53
"""Whole floats below this are what they say; larger ones stay floats, because their last digits are not known."""
_LONGEST_PICTURE: Final = 10_000
_FIFTEEN: Final = Context(prec=15, rounding=ROUND_HALF_UP)


def normal(value: float) -> int | float:
    """Return a result as the model has it: an int when it is whole and exact, else a finite float (D1001)."""
    if -EXACT < value < EXACT:
        whole = int(value)
        return whole if whole == value else value
    if isinf(value) or isnan(value):
        raise out_of_range(value)
    return value


def out_of_range(value: object) -> JsonataError:
    """Return the error of a result that no JSON number can be."""
    return JsonataError(f"the number is out of range: {value}", "D1001")


def check_picture(picture: str) -> None:
    """Refuse a picture that is too long (D1001): reading one takes time that no clock can stop."""
    if len(picture) > _LONGEST_PICTURE:
        msg = f"a picture of {len(picture)} characters is longer than the limit of {_LONGEST_PICTURE}"
        raise JsonataError(msg, "D1001")


def as_float(value: float) -> float:
    """Return a number as a double; an int that no double can hold is out of range (D1001)."""
    try:
        return float(value)
    except OverflowError:
        msg = "the number is out of range: it has more than 308 digits"
        raise JsonataError(msg, "D1001") from None


def shortest(value: float) -> str:
    """Return what JavaScript's ``Number.toString`` gives."""
    if type(value) is int:
        return whole_text(value)
    text = repr(value)
    if text.endswith(".0"):
        return "0" if text == "-0.0" else text[:-2]
    mark = text.find("e")
    if mark < 0:
        return text
    exponent = int(text[mark + 1 :])
    mantissa = text[:mark]
    sign = ""
    if mantissa[0] == "-":
        sign, mantissa = "-", mantissa[1:]
    mantissa = mantissa.removesuffix(".0")
    if -6 <= exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{mantissa.replace('.', '')}"
    if 0 < exponent < 21:
        whole, _, rest = mantissa.partition(".")
        return f"{sign}{whole}{rest.ljust(exponent, '0')}"
    return f"{sign}{mantissa}e{'+' if exponent > 0 else '-'}{abs(exponent)}"


def whole_text(value: int) -> str:
    """Return an int's digits, all of them; D1001 when there are thousands."""
    try:
        return str(value)
    except ValueError:
        msg = "the number is out of range: it has thousands of digits"
        raise JsonataError(msg, "D1001") from None


def rounded_to_fifteen(value: float) -> float:
    """Return ``Number(value.toPrecision(15))``, which hides the noise of binary arithmetic."""
    if len(repr(value)) <= 16 or not isfinite(value):
        return value
    return float(_FIFTEEN.create_decimal_from_float(value))


def number_text(value: float) -> str:
    """Return what ``$string`` gives for a number."""
    if type(value) is int:
        return whole_text(value)
    if value.is_integer():
        return shortest(value)
    return shortest(rounded_to_fifteen(value))
