"""Functions that take or give numbers: sums, extremes, rounding, roots, powers, ``$number`` and ``$formatBase``."""

from __future__ import annotations

import math
import re
import sys
from itertools import accumulate
from typing import Any, Final

from etlctl.jsonata.functions.builtin import BUILTINS, unusual
from etlctl.jsonata.functions.numeric import EXACT, as_float, normal, out_of_range, shortest
from etlctl.jsonata.functions.signature import shown
from etlctl.jsonata.values import NOTHING, JsonataError

_INTS: Final = {int}
_NUMBERS: Final = frozenset((int, float))
_NAIVE_SUM: Final = sys.version_info < (3, 12)  # later ones compensate rounding errors, which JavaScript does not
_DECIMAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([Ee][-+]?[0-9]+)?")
_RADIX: Final = re.compile(r"0(?:[xX][0-9A-Fa-f]+|[oO][0-7]+|[bB][01]+)")
_BLANK: Final = "\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_POWERS: Final = tuple(10.0**places for places in range(16))


def _total(values: list[Any], kinds: set[type]) -> Any:
    """Add numbers from left to right as doubles are added; ints stay exact."""
    if kinds == _INTS:
        return sum(values)
    try:
        return sum(values) if _NAIVE_SUM else list(accumulate(values, initial=0))[-1]
    except OverflowError:
        raise out_of_range("a sum with an int past 1e308") from None


@BUILTINS.define("sum", "<a<n>:n>")
def total(values: Any) -> Any:
    """Return the sum of an array of numbers."""
    if isinstance(values, list):
        kinds = set(map(type, values))
        if kinds <= _NUMBERS:
            result = _total(values, kinds)
            return result if type(result) is int else normal(result)
    return unusual("sum", values)


@BUILTINS.define("count", "<a:n>")
def count(values: Any) -> Any:
    """Return how many items an array has; 0 for nothing, 1 for anything else."""
    if isinstance(values, list):
        return len(values)
    return 0 if values is NOTHING else 1


@BUILTINS.define("max", "<a<n>:n>")
def largest(values: Any) -> Any:
    """Return the largest of an array of numbers."""
    if isinstance(values, list) and _NUMBERS.issuperset(map(type, values)):
        return _normal(max(values)) if values else NOTHING
    return unusual("max", values)


@BUILTINS.define("min", "<a<n>:n>")
def smallest(values: Any) -> Any:
    """Return the smallest of an array of numbers."""
    if isinstance(values, list) and _NUMBERS.issuperset(map(type, values)):
        return _normal(min(values)) if values else NOTHING
    return unusual("min", values)


@BUILTINS.define("average", "<a<n>:n>")
def average(values: Any) -> Any:
    """Return the mean of an array of numbers."""
    if isinstance(values, list):
        kinds = set(map(type, values))
        if kinds <= _NUMBERS:
            return _quotient(_total(values, kinds), len(values)) if values else NOTHING
    return unusual("average", values)


def _normal(value: float) -> int | float:
    return value if type(value) is int else normal(value)


def _quotient(amount: float, size: int) -> int | float:
    if type(amount) is int and amount % size == 0:
        return amount // size
    try:
        return normal(amount / size)
    except OverflowError:
        raise out_of_range("an average past 1e308") from None


@BUILTINS.define("number", "<(nsb)-:n>")
def number(value: Any) -> Any:
    """Return a number for a number, a text that is one, or a boolean (D3030)."""
    kind = type(value)
    if kind is int:
        return value
    if kind is str:
        return _parse(value)
    if kind is float:
        return normal(value)
    if kind is bool:
        return int(value)
    return unusual("number", value)


def _parse(text: str) -> int | float:
    if text.isdigit() and text.isascii() and len(text) < 300:
        return int(text)
    if _DECIMAL.fullmatch(text) is not None:
        value = float(text)
        if not math.isinf(value):
            return int(text) if text.lstrip("-").isdigit() else normal(value)
    bare = text.strip(_BLANK)
    if _RADIX.fullmatch(bare) is not None and _stands_right(text, bare):
        whole = int(bare, 0)
        as_float(whole)
        return whole
    msg = f"{shown(text)} is not a number"
    raise JsonataError(msg, "D3030")


def _stands_right(text: str, bare: str) -> bool:
    """Tell whether blanks stand only where the reference overlooks them."""
    kind = bare[1].lower()
    return kind == "o" or (text.startswith(bare) if kind == "x" else text.endswith(bare))


@BUILTINS.define("abs", "<n-:n>")
def absolute(value: Any) -> Any:
    """Return a number without its sign."""
    if type(value) is int:
        return abs(value)
    if type(value) is float:
        return normal(abs(value))
    return unusual("abs", value)


@BUILTINS.define("floor", "<n-:n>")
def floor(value: Any) -> Any:
    """Return the largest whole number that is not above."""
    if type(value) is int:
        return value
    if type(value) is float:
        return math.floor(value) if -EXACT < value < EXACT else normal(value)
    return unusual("floor", value)


@BUILTINS.define("ceil", "<n-:n>")
def ceil(value: Any) -> Any:
    """Return the smallest whole number that is not below."""
    if type(value) is int:
        return value
    if type(value) is float:
        return math.ceil(value) if -EXACT < value < EXACT else normal(value)
    return unusual("ceil", value)


@BUILTINS.define("round", "<n-n?:n>")
def rounded(value: Any, places: Any = NOTHING) -> Any:
    """Return a number rounded half to even as its decimal digits say, so that 1.005 to two places is a tie."""
    if type(value) is float:
        if places is NOTHING or (type(places) is int and places == 0):
            return round(value) if -EXACT < value < EXACT else normal(value)
        if type(places) is int:
            return _round_places(value, places)
    elif type(value) is int:
        if places is NOTHING or (type(places) is int and places >= 0):
            return value
        if type(places) is int:
            return _round_whole(value, -places)
    if type(places) is float and (type(value) is int or type(value) is float):
        if places.is_integer():
            return rounded(value, int(places))
        raise out_of_range(f"a number rounded to {places} places")
    return unusual("round", value, places)


def _round_places(value: float, places: int) -> int | float:
    if 0 < places < 16:
        # Away from ties and within exact doubles, scaling in binary decides the same; the division is then exact too.
        scaled = value * _POWERS[places]
        if -1e9 < scaled < 1e9:
            near = round(scaled)
            if not 0.499999 < abs(scaled - near) < 0.500001:
                return normal(near / _POWERS[places])
    if abs(places) > 400:
        raise out_of_range(f"a number rounded to {places} places")
    whole = _scaled(value, places)
    if whole != whole or abs(whole) == math.inf:  # noqa: PLR0124 - NaN
        raise out_of_range(f"{value} rounded to {places} places")
    return normal(_scaled(float(round(whole)), -places))


def _scaled(value: float, places: int) -> float:
    """Move the decimal point in the text: binary multiplication would turn 1.005 into 100.49999999999999."""
    digits, _, exponent = repr(value).partition("e")
    return float(f"{digits}e{int(exponent or 0) + places}")


def _round_whole(value: int, zeros: int) -> int:
    if zeros > 400:
        return 0
    unit: int = 10**zeros
    whole, rest = divmod(value, unit)
    if rest * 2 > unit or (rest * 2 == unit and whole % 2):
        whole += 1
    return whole * unit


@BUILTINS.define("sqrt", "<n-:n>")
def sqrt(value: Any) -> Any:
    """Return the square root (D3060 below zero)."""
    if type(value) is int or type(value) is float:
        if value < 0:
            msg = f"$sqrt cannot be applied to a negative number: {value}"
            raise JsonataError(msg, "D3060")
        return normal(math.sqrt(as_float(value)))
    return unusual("sqrt", value)


@BUILTINS.define("power", "<n-n:n>")
def power(base: Any, exponent: Any) -> Any:
    """Return a number raised to a power (D3061 when no JSON number can hold it)."""
    if type(base) not in _NUMBERS or type(exponent) not in _NUMBERS:
        if (type(base) in _NUMBERS) and exponent is NOTHING:
            raise _no_power(base, exponent)
        return unusual("power", base, exponent)
    if type(base) is int and type(exponent) is int and exponent >= 0:
        if abs(base) > 1 and (abs(base).bit_length() - 1) * exponent > 1024:
            raise _no_power(base, exponent)
        whole = base**exponent
        try:
            float(whole)
        except OverflowError:
            raise _no_power(base, exponent) from None
        return whole
    try:
        result = math.pow(base, exponent)
    except (ValueError, OverflowError):
        raise _no_power(base, exponent) from None
    return normal(result)


def _no_power(base: Any, exponent: Any) -> JsonataError:
    msg = f"$power gives no number that JSON can hold: {shown(base)} to the power of {shown(exponent)}"
    return JsonataError(msg, "D3061")


@BUILTINS.define("formatBase", "<n-n?:s>")
def format_base(value: Any, radix: Any = NOTHING) -> Any:
    """Return the digits of a number, rounded to a whole one, in a base from 2 to 36 (D3100)."""
    if type(value) not in _NUMBERS or not (radix is NOTHING or type(radix) in _NUMBERS):
        return unusual("formatBase", value, radix)
    base = 10 if radix is NOTHING else int(rounded(radix))
    if not 2 <= base <= 36:
        msg = f"the radix of $formatBase must be between 2 and 36, not {base}"
        raise JsonataError(msg, "D3100")
    near = rounded(value)
    if base == 10:
        return shortest(near)
    as_float(near)  # what is no double has too many digits
    whole = int(near)
    digits: list[str] = []
    rest = abs(whole)
    while rest:
        rest, digit = divmod(rest, base)
        digits.append(_DIGITS[digit])
    return ("-" if whole < 0 else "") + ("".join(reversed(digits)) or "0")
