"""Comparing a record's value with one written in YAML, like with like, never by guess."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any, TypeAlias

from etlctl.errors import RecordRejected
from etlctl.types import kind_of, parse

Test: TypeAlias = Callable[[Any], bool]
"""Tells whether a value that is not null passes; raises ``Unlike`` when it cannot be compared."""

ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
MEMBERS = ("in", "not_in")
TEXTS = ("contains", "not_contains", "starts_with", "ends_with")
NULLS = ("is_null", "not_null")
PASS_NULL = frozenset({"ne", "not_in", "not_contains", "is_null"})
"""Operators that a missing or null field passes."""

_NUMBERS = (int, float)


class Unlike(Exception):  # noqa: N818
    """Two values are of kinds that cannot be compared."""


def compile_test(name: str, wanted: Any) -> Test:
    """Return the test of an operator against the value in the contract."""
    if name in ORDERS:
        return _order(ORDERS[name], wanted)
    if name in MEMBERS:
        return _member(list(wanted), within=name == "in")
    if name in TEXTS:
        return _TEXT_TESTS[name](wanted)
    present = name == "not_null"
    return lambda _: present


def usual_types(wanted: Any) -> tuple[type, ...]:
    """Return the types whose values compare with this one as they are."""
    if isinstance(wanted, int | float):
        return _NUMBERS
    return (str,) if isinstance(wanted, str) else ()


def _order(compare: Callable[[Any, Any], Any], wanted: Any) -> Test:
    simple = usual_types(wanted)

    def test(value: Any) -> bool:
        if type(value) in simple:
            return bool(compare(value, wanted))
        return bool(compare(*alike(value, wanted)))

    return test


def alike(value: Any, wanted: Any) -> tuple[Any, Any]:
    """Return both values in a form that can be compared.

    Raises:
        Unlike: There is none.
    """
    kind = kind_of(value)
    if kind in {"number", "text", "list", "object"} and kind == kind_of(wanted):
        return value, wanted
    if kind in {"date", "datetime", "time"} and isinstance(wanted, str):
        return _moments(value, wanted)
    raise Unlike


def _moments(value: date | datetime | time, wanted: str) -> tuple[Any, Any]:
    if isinstance(value, time):
        return value, _read(wanted, "time")
    moment = _read(wanted, "datetime")
    if not isinstance(value, datetime):
        if moment.tzinfo is not None:
            raise Unlike
        return datetime.combine(value, time()), moment
    if value.tzinfo is not None:
        return value, moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if moment.tzinfo is not None:
        raise Unlike
    return value, moment


def _read(text: str, kind: str) -> Any:
    try:
        return parse(text, kind)
    except RecordRejected as error:
        raise Unlike from error


def _member(items: list[Any], *, within: bool) -> Test:
    def test(value: Any) -> bool:
        compared = not items
        for item in items:
            try:
                left, right = alike(value, item)
            except Unlike:
                continue
            compared = True
            if left == right:
                return within
        if not compared:
            raise Unlike
        return not within

    return test


def _contains(wanted: Any, *, within: bool) -> Test:
    def test(value: Any) -> bool:
        if isinstance(value, str) and isinstance(wanted, str):
            return (wanted in value) is within
        if isinstance(value, list | tuple):
            return any(_same(item, wanted) for item in value) is within
        raise Unlike

    return test


def _same(item: Any, wanted: Any) -> bool:
    if item is None:
        return False
    try:
        left, right = alike(item, wanted)
    except Unlike:
        return False
    return bool(left == right)


def _affix(wanted: Any, check: Callable[[str, str], bool]) -> Test:
    def test(value: Any) -> bool:
        if not isinstance(value, str) or not isinstance(wanted, str):
            raise Unlike
        return check(value, wanted)

    return test


_TEXT_TESTS: dict[str, Callable[[Any], Test]] = {
    "contains": lambda wanted: _contains(wanted, within=True),
    "not_contains": lambda wanted: _contains(wanted, within=False),
    "starts_with": lambda wanted: _affix(wanted, str.startswith),
    "ends_with": lambda wanted: _affix(wanted, str.endswith),
}
