"""What JSONata's operators do when an operand is missing, of another kind than usual, or out of range.

Generated code decides the usual cases itself and calls these functions for the rest, so they are complete: they take
any value and either return what the reference would, or raise its error.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sized
from datetime import date, time
from decimal import Decimal
from typing import Any, Final

from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions import BUILTINS
from etlctl.jsonata.limits import BUDGET
from etlctl.jsonata.values import NOTHING, JsonataError, Kept, Nothing, Sequence, Whole
from etlctl.types import shown, to_text

LARGEST: Final = 1.7976931348623157e308
"""The largest double; whole numbers beyond it are out of range too, so that none can grow without end."""
_EXACT: Final = 2**53
_RANGE: Final = 10_000_000
PLAIN: Final = frozenset({str, int, float, bool, type(None)})
"""Types of values that are JSON as they are."""
SHALLOW: Final = PLAIN | {dict, list, Nothing, Sequence, Kept, Whole}
"""The same, and containers of whatever they hold."""


def number_of(value: Decimal) -> int | float:
    """Return the number that stands for a decimal exactly.

    Raises:
        JsonataError: There is none.
    """
    if value.is_finite() and abs(value.adjusted()) < 400:
        number: int | float = int(value) if value == value.to_integral_value() else float(value)
        if Decimal(repr(number)) == value:
            return number
    raise JsonataError(f"the decimal {shown(value)} has no exact JSON number; convert it to string or float first")


def admit(value: Any) -> Any:
    """Return an input value in JSON terms; containers are copied only where something in them changes.

    Raises:
        JsonataError: A decimal has no exact number, or the value is larger than an evaluation may go through.
    """
    kind = type(value)
    if kind in PLAIN or value is NOTHING or (isinstance(value, list) and PLAIN.issuperset(map(type, value))):
        return value
    return _Walk().admit(value)


def finished(value: Any) -> Any:
    """Return a result as plain JSON values, all containers exactly ``dict`` and ``list``.

    Raises:
        JsonataError: It contains a function, or it is too large.
    """
    kind = type(value)
    if kind in PLAIN or value is NOTHING:
        return value
    if isinstance(value, list) and PLAIN.issuperset(map(type, value)):
        return list(value)
    if kind is dict and PLAIN.issuperset(map(type, value.values())):
        return value.copy()
    return _Walk().finish(value)


class _Walk:
    """A walk through a value, which may contain itself many times over: bounded in time and items."""

    __slots__ = ("_budget", "_seen")

    def __init__(self) -> None:
        self._budget = BUDGET.get()
        self._seen = 0

    def _enter(self, container: Sized) -> None:
        self._seen += len(container) + 1
        if self._seen > 10_000:
            self._budget.check()
            self._budget.check_items(self._seen)

    def admit(self, value: Any) -> Any:
        """Return the value in JSON terms."""
        if isinstance(value, dict):
            self._enter(value)
            items = {key: item if type(item) in PLAIN else self.admit(item) for key, item in value.items()}
            return value if all(items[key] is item for key, item in value.items()) else items
        if isinstance(value, list | tuple):
            self._enter(value)
            made = [item if type(item) in PLAIN else self.admit(item) for item in value]
            if isinstance(value, tuple):
                return made
            return value if all(map(operator.is_, made, value)) else type(value)(made)
        if isinstance(value, Decimal):
            return number_of(value)
        return to_text(value) if isinstance(value, date | time | bytes) else value

    def finish(self, value: Any) -> Any:
        """Return the value as plain JSON."""
        if type(value) in PLAIN:
            return value
        if isinstance(value, dict):
            self._enter(value)
            return {key: item if type(item) in PLAIN else self.finish(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            self._enter(value)
            # A group of a regular expression that took no part leaves a hole in an array: null, as in the reference.
            filled = (None if item is NOTHING else item for item in value)
            return [item if type(item) in PLAIN else self.finish(item) for item in filled]
        if isinstance(value, Closure):
            raise JsonataError("the result contains a function, which is not a value")
        return self.admit(value)


def whole(value: float) -> int | float:
    """Return a whole float as an integer while that is the same number to every reader."""
    return int(value) if -_EXACT <= value <= _EXACT else value


def out_of_range(value: float) -> Any:
    """Raise D1001."""
    raise JsonataError(f"Number out of range: {shown(value)}", "D1001")


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number; raise D1001 for an infinite one."""
    kind = type(value)
    if kind is int:
        return True
    if kind is not float or math.isnan(value):
        return False
    return True if math.isfinite(value) else out_of_range(value)


def _remainder(left: float, right: float) -> float:
    if not right:
        return out_of_range(math.nan)  # type: ignore[no-any-return] # it raises
    if type(left) is int and type(right) is int:
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    return math.fmod(left, right)


def divide(left: float, right: float) -> float:
    """Return a quotient, exact when it is whole."""
    if not right:
        return out_of_range(math.inf)  # type: ignore[no-any-return] # it raises
    if type(left) is int and type(right) is int:
        quotient, rest = divmod(left, right)
        return left / right if rest else quotient
    return left / right


_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
    "%": _remainder,
}


def arithmetic(sign: str, left: Any, right: Any) -> Any:
    """Return ``left sign right`` for any operands; ``NOTHING`` when one is missing."""
    left, right = admit(left), admit(right)
    if left is not NOTHING and not is_number(left):
        raise JsonataError(f"The left side of the {sign} operator must be a number, not {_kind(left)}", "T2001")
    if right is not NOTHING and not is_number(right):
        raise JsonataError(f"The right side of the {sign} operator must be a number, not {_kind(right)}", "T2002")
    if left is NOTHING or right is NOTHING:
        return NOTHING
    return settled(_ARITHMETIC[sign](left, right))


def settled(result: Any) -> Any:
    """Return the result of an operation as the reference gives it: whole floats as integers, nothing out of range."""
    if type(result) is float:
        if result.is_integer():
            return whole(result)
        return result if math.isfinite(result) else out_of_range(result)
    return result if -LARGEST <= result <= LARGEST else out_of_range(result)


def negate(value: Any) -> Any:
    """Return ``-value``."""
    value = admit(value)
    if value is NOTHING:
        return NOTHING
    if is_number(value):
        return -value
    raise JsonataError(f"Cannot negate a value that is not a number: {_kind(value)}", "D1002")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Closure):
        return "a function"
    names = {bool: "the boolean", str: "the text", dict: "the object", list: "the array"}
    return f"{names.get(type(value), 'the value')} {shown(value)}"


_ORDER: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _units(text: str) -> str | bytes:
    """Return what texts are ordered by: UTF-16 code units."""
    return text if text.isascii() else text.encode("utf-16-be", "surrogatepass")


def text_order(left: str, right: str) -> tuple[Any, Any]:
    """Return two texts as values that compare like JSONata's."""
    if left.isascii() or right.isascii():
        return left, right
    return _units(left), _units(right)


def compare(sign: str, left: Any, right: Any) -> Any:
    """Return ``left sign right`` for any operands; ``NOTHING`` when one is missing."""
    left, right = admit(left), admit(right)
    kinds = [_comparable(side) for side in (left, right)]
    if "" in kinds:
        wrong = left if kinds[0] == "" or left is NOTHING else right
        wrong = right if kinds[0] != "" else wrong
        text = f"The expressions either side of operator {sign} must be numbers or texts, not {_kind(wrong)}"
        raise JsonataError(text, "T2010")
    if left is NOTHING or right is NOTHING:
        return NOTHING
    if kinds[0] != kinds[1]:
        text = f"The values {shown(left)} and {shown(right)} either side of operator {sign} must be of the same type"
        raise JsonataError(text, "T2009")
    if kinds[0] == "string":
        left, right = text_order(left, right)
    return _ORDER[sign](left, right)


def _comparable(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return "string"
    if kind is int or kind is float:
        return "number"
    return "nothing" if value is NOTHING else ""


def equal(left: Any, right: Any) -> bool:
    """Tell whether two values are equal, deeply; nothing equals nothing else."""
    kind = type(left)
    if kind is str or kind is int or kind is float:
        other = type(right)
        if other is kind:
            return bool(left == right)
        if (other is int or other is float) and kind is not str:
            return bool(left == right)
        if other in PLAIN or right is NOTHING:
            return False
    if left is NOTHING or right is NOTHING:
        return False
    return _deep_equal(admit(left), admit(right))


def unequal(left: Any, right: Any) -> bool:
    """Tell whether two values differ; false when one is missing."""
    return left is not NOTHING and right is not NOTHING and not equal(left, right)


def _deep_equal(left: Any, right: Any) -> bool:
    if left is right:
        return not (type(left) is float and math.isnan(left))
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(_deep_equal(item, right[key]) for key, item in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(_deep_equal, left, right))
    if isinstance(left, bool) or isinstance(right, bool) or isinstance(left, Closure):
        return False
    return bool(left == right) if not isinstance(right, dict | list) else False


def includes(left: Any, right: Any) -> bool:
    """Tell whether ``left in right``: strict equality, so objects and arrays only equal themselves."""
    if left is NOTHING or right is NOTHING:
        return False
    left = admit(left)
    if type(left) is str:
        return left in right if type(right) is list else any(item == left for item in _listed(right))
    if type(left) is int or type(left) is float:
        return any(item == left and type(item) is not bool for item in _listed(right))
    return any(item is left for item in _listed(right))


def _listed(value: Any) -> list[Any]:
    value = admit(value)
    return value if isinstance(value, list) else [value]


def truthy(value: Any) -> bool:
    """Tell what ``$boolean`` makes of a value; nothing is false."""
    kind = type(value)
    if kind is bool:
        return bool(value)
    if value is NOTHING or value is None:
        return False
    if isinstance(value, list):
        return truthy(value[0]) if len(value) == 1 else any(truthy(item) for item in value)
    if kind is float:
        return value != 0 and is_number(value)
    return False if isinstance(value, Closure) else bool(admit(value))


_string = BUILTINS["string"].call


def text(value: Any) -> str:
    """Return what a value adds to a text: nothing adds nothing."""
    if type(value) is int:
        return str(value)
    if value is NOTHING:
        return ""
    made: str = _string(admit(value))
    return made


def bounded(made: str) -> str:
    """Return a text that is not too long."""
    BUDGET.get().check_characters(len(made))
    return made


def numbers_from(left: Any, right: Any) -> Any:
    """Return the whole numbers from ``left`` to ``right``."""
    left, right = admit(left), admit(right)
    for side, name, code in ((left, "left", "T2003"), (right, "right", "T2004")):
        fits = type(side) is int or (type(side) is float and side.is_integer())
        if side is not NOTHING and not fits:
            raise JsonataError(f"The {name} side of the range operator (..) must be a whole number", code)
    if left is NOTHING or right is NOTHING or left > right:
        return NOTHING
    size = int(right) - int(left) + 1
    limit = min(_RANGE, BUDGET.get().items)
    if size > limit:
        raise JsonataError(f"a range of {size} items is longer than the limit of {limit}", "D2014")
    BUDGET.get().spend(size)
    BUDGET.get().check_items(size)
    return Sequence(range(int(left), int(right) + 1)).collapsed()
