"""The rules of one field as tests of a value; each raises ``RecordRejected`` naming rule, field and value."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from etlctl.contract.data_rules import FieldRule
from etlctl.contract.formats import accepts
from etlctl.errors import RecordRejected
from etlctl.types import kind_of, shown

ValueTest = Callable[[Any], None]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "float": (float, int),
    "decimal": (Decimal, int),
    "boolean": (bool,),
    "date": (date,),
    "datetime": (datetime,),
    "time": (time,),
    "object": (dict,),
    "array": (list, tuple),
}


def is_of_type(value: Any, kind: str) -> bool:
    """Tell whether a value is of a schema type: true is no number, a datetime no date, an integer a float."""
    if kind == "any":
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, datetime):
        return kind == "datetime"
    return isinstance(value, _TYPES[kind])


def value_tests(name: str, rule: FieldRule) -> list[ValueTest]:
    """Return the tests of one field, in the order in which a value has to pass them."""

    def refuse(kind: str, value: Any, text: str) -> RecordRejected:
        return RecordRejected(f"check.{kind}", f"field {name!r}: {shown(value)} {text}", field=name)

    def of_type(value: Any) -> None:
        if not is_of_type(value, rule.type):
            kind = "boolean" if isinstance(value, bool) else kind_of(value)
            raise refuse("type", value, f"is {kind}, not {rule.type}; convert it first")

    def in_enum(value: Any) -> None:
        if not any(value == each and isinstance(value, bool) is isinstance(each, bool) for each in rule.enum or ()):
            allowed = ", ".join(shown(each) for each in rule.enum or ())
            raise refuse("enum", value, f"is not one of {allowed}")

    tests: list[ValueTest] = [] if rule.type == "any" else [of_type]
    if rule.enum is not None:
        tests.append(in_enum)
    return tests + _range_tests(rule, refuse) + _text_tests(rule, refuse)


_Refuse = Callable[[str, Any, str], RecordRejected]


def _range_tests(rule: FieldRule, refuse: _Refuse) -> list[ValueTest]:
    bounds: list[tuple[str, int | float, Callable[[Any, Any], bool], str]] = []
    if (low := rule.minimum) is not None:
        bounds.append(("minimum", low, operator.ge, f"is less than the minimum {_written(low)}"))
    if (over := rule.exclusive_minimum) is not None:
        bounds.append(("exclusive_minimum", over, operator.gt, f"is not greater than {_written(over)}"))
    if (high := rule.maximum) is not None:
        bounds.append(("maximum", high, operator.le, f"is more than the maximum {_written(high)}"))
    if (under := rule.exclusive_maximum) is not None:
        bounds.append(("exclusive_maximum", under, operator.lt, f"is not less than {_written(under)}"))

    def bounded(value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise refuse(bounds[0][0], value, f"is {kind_of(value)}, not a number")
        is_nan = value != value  # noqa: PLR0124 - a decimal NaN raises where it is compared by order
        for kind, bound, holds, text in bounds:
            if is_nan or not holds(value, _like(value, bound)):
                raise refuse(kind, value, text)

    return [bounded] if bounds else []


def _written(bound: float) -> str:
    """Return a bound as text: a whole number in full."""
    return str(bound) if isinstance(bound, int) else f"{bound:.15g}"


def _like(value: Any, bound: float) -> float | Decimal:
    """Return a bound to compare a value with: beside a decimal it stands for the number it is written as."""
    return Decimal(repr(bound)) if isinstance(value, Decimal) else bound


def _text_tests(rule: FieldRule, refuse: _Refuse) -> list[ValueTest]:
    tests: list[ValueTest] = []
    if rule.min_length is not None or rule.max_length is not None:
        tests.append(_length_test(rule, refuse))
    if rule.pattern is not None:
        pattern, search = rule.pattern, _search(rule.pattern)

        def matching(value: Any) -> None:
            try:
                found = isinstance(value, str) and search(value)
            except TimeoutError:
                text = f"cannot be held against the pattern {pattern} within {_MOST_SECONDS:g} s"
                raise refuse("pattern", value, text) from None
            if not found:
                raise refuse("pattern", value, f"does not match the pattern {pattern}")

        tests.append(matching)
    if rule.format is not None:
        kind, of_format = rule.format, accepts(rule.format)

        def formed(value: Any) -> None:
            if not isinstance(value, str) or not of_format(value):
                raise refuse("format", value, f"is no {kind}" if isinstance(value, str) else "is not text")

        tests.append(formed)
    return tests


def _search(pattern: str) -> Callable[[str], object]:
    """Return the search for a pattern; one that may try for ages gives up in time, with ``TimeoutError``."""
    if _MAY_EXPLODE(pattern):
        import regex  # noqa: PLC0415 - few patterns need it

        try:
            limited = regex.compile(pattern)
        except regex.error:  # the few things only the standard library knows
            return re.compile(pattern).search
        return lambda text: limited.search(text, timeout=_MOST_SECONDS)
    return re.compile(pattern).search


_MOST_SECONDS = 1.0
_MAY_EXPLODE = re.compile(r"\)[*+{]|(?:[*+}].*){3}", re.DOTALL).search
"""A group that repeats, or several repetitions: what a search that goes back and tries again can get lost in."""


def _length_test(rule: FieldRule, refuse: _Refuse) -> ValueTest:
    def measured(value: Any) -> None:
        if not isinstance(value, str):
            raise refuse("min_length" if rule.min_length is not None else "max_length", value, "is not text")
        if rule.min_length is not None and len(value) < rule.min_length:
            raise refuse("min_length", value, f"has fewer than {rule.min_length} characters")
        if rule.max_length is not None and len(value) > rule.max_length:
            raise refuse("max_length", value, f"has more than {rule.max_length} characters")

    return measured
