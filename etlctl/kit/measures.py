"""What can be said about the values of a field in a group of records: sums, means, extremes, counts.

Null is no value: measures look past it, and one that has no value to go by is null (a count is 0, a list empty).
Integers and decimals are summed exactly, at any size. Floats are summed exactly and rounded once (``math.fsum``), so
that their order does not matter; NaN and infinities go by the rules of floats. A mean is the exact sum divided once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from fractions import Fraction
from typing import Any

from etlctl.errors import FatalError, RecordRejected
from etlctl.kit.keys import key
from etlctl.types import kind_of, shown

NUMERIC = frozenset({"sum", "mean"})
ORDERED = frozenset({"min", "max"})
LOGICAL = frozenset({"any", "all"})
FUNCTIONS = ("sum", "mean", "min", "max", "count", "count_distinct", "first", "last", "list", "any", "all")

_DIGITS = 38
_EXACT = Context(prec=100_000, traps=[InvalidOperation, DivisionByZero, Overflow])
_ROUNDED = Context(prec=_DIGITS, traps=[InvalidOperation, DivisionByZero, Overflow])
_ORDERS: tuple[tuple[str, Any], ...] = (
    ("number", int | float | Decimal),
    ("text", str),
    ("time with a zone", datetime),
    ("date", date),
    ("time", time),
    ("duration", timedelta),
)


def check(function: str, name: str, value: Any, first: Any) -> None:
    """Make sure that a value can be measured with those before it.

    Args:
        function: The measure.
        name: The field, for the message.
        value: The value, not null.
        first: The first value of the group, not null.

    Raises:
        RecordRejected: It cannot: rule ``aggregate.not_a_number``, ``.not_a_boolean`` or ``.unlike_types``.
    """
    if function in NUMERIC and (isinstance(value, bool) or not isinstance(value, int | float | Decimal)):
        raise _refusal("not_a_number", f"is {_kind(value)}, and {function} takes numbers", name, value)
    if function in LOGICAL and not isinstance(value, bool):
        raise _refusal("not_a_boolean", f"is {_kind(value)}, and {function} takes true and false", name, value)
    if function in ORDERED:
        kind = order_of(value)
        if kind is None:
            raise _refusal("unlike_types", f"is {_kind(value)}, which {function} cannot put in order", name, value)
        if kind != order_of(first):
            text = f"is {kind}, and the first of its group is {order_of(first)}: {function} compares like with like"
            raise _refusal("unlike_types", text, name, value)


def _refusal(rule: str, text: str, name: str, value: Any) -> RecordRejected:
    return RecordRejected(f"aggregate.{rule}", f"field {name!r}: {shown(value)} {text}", field=name)


def _kind(value: Any) -> str:
    return "boolean" if isinstance(value, bool) else kind_of(value)


def order_of(value: Any) -> str | None:
    """Return the word for the values that one can be put in order with; None when it has no order."""
    if isinstance(value, bool):
        return None
    if isinstance(value, datetime) and value.tzinfo is None:
        return "time without a zone"
    return next((word for word, kind in _ORDERS if isinstance(value, kind)), None)


def measure(function: str, values: Sequence[Any]) -> Any:
    """Return a measure of the values of a group, in order; null is not among them, and all were checked."""
    if not values:
        return {"count": 0, "count_distinct": 0, "list": []}.get(function)
    return _MEASURES[function](values)


def total(values: Sequence[Any]) -> Any:
    """Return the sum of numbers."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return sum(values)
    if any(issubclass(kind, float) for kind in kinds):
        return _float_total([float(value) if isinstance(value, Decimal) else value for value in values])
    if any(isinstance(value, Decimal) and not value.is_finite() for value in values):
        return Decimal("NaN")
    made = Decimal(0)
    for value in values:
        made = _EXACT.add(made, Decimal(value))
    return made


def _float_total(values: Sequence[Any]) -> float:
    try:
        return math.fsum(values)
    except ValueError:  # both infinities
        return math.nan
    except OverflowError:  # on the way, or in the end
        special = [value for value in values if isinstance(value, float) and not math.isfinite(value)]
        if special:
            return sum(special)
        exact = sum(map(Fraction, values), Fraction())
        try:
            return float(exact)
        except OverflowError:
            return math.inf if exact > 0 else -math.inf


def mean(values: Sequence[Any]) -> Any:
    """Return the mean of numbers: a float, or a decimal of decimals (rounded to 38 digits)."""
    return divided(total(values), len(values))


def divided(of: Any, count: int) -> Any:
    """Return a sum divided by a count, rounded once.

    Raises:
        FatalError: The mean of integers is beyond the range of a float.
    """
    if isinstance(of, Decimal):
        return _ROUNDED.divide(of, Decimal(count))
    try:
        return of / count
    except OverflowError as error:
        raise FatalError(
            "a mean of integers is beyond the range of a float", help="convert the field to decimal first"
        ) from error


def _least(values: Sequence[Any]) -> Any:
    return min(_without_nan(values))


def _greatest(values: Sequence[Any]) -> Any:
    return max(_without_nan(values))


def _without_nan(values: Sequence[Any]) -> Sequence[Any]:
    """Return the values that have a place in an order; NaN alone is all there is to say when nothing else is there."""
    return [value for value in values if value == value] or values[:1]  # noqa: PLR0124


_MEASURES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "sum": total,
    "mean": mean,
    "min": _least,
    "max": _greatest,
    "count": len,
    "count_distinct": lambda values: len({key(value) for value in values}),
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "list": list,
    "any": any,
    "all": all,
}
