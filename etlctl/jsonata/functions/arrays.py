"""Functions on arrays: append, reverse, zip, distinct, sort, shuffle."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from etlctl.jsonata.functions.builtin import BUILTINS, unusual
from etlctl.jsonata.functions.signature import shown, symbol
from etlctl.jsonata.limits import BUDGET
from etlctl.jsonata.values import NOTHING, JsonataError, Sequence

_NUMBERS: Final = frozenset((int, float))
_STRINGS: Final = frozenset((str,))
_SIMPLE: Final = frozenset((str, int, float, type(None)))
_MANY: Final = 10_000


@BUILTINS.define("append", "<xx:a>")
def append(first: Any, second: Any) -> Any:
    """Return the items of both; what is not an array counts as one item, nothing as none."""
    if first is NOTHING:
        return second
    if second is NOTHING:
        return first
    left = first if isinstance(first, list) else [first]
    right = second if isinstance(second, list) else [second]
    size = len(left) + len(right)
    if size > _MANY:
        budget = BUDGET.get()
        budget.check_items(size)
        budget.check()  # appending in a loop copies again and again
    return [*left, *right]


@BUILTINS.define("reverse", "<a:a>")
def reverse(items: Any) -> Any:
    """Return the items in the opposite order."""
    if isinstance(items, list):
        return items if len(items) <= 1 else items[::-1]
    return unusual("reverse", items)


@BUILTINS.define("zip", "<a+>", arity=0)
def zipped(*arrays: Any) -> Any:
    """Return arrays of the first items, the second items and so on, as far as the shortest array goes."""
    if not arrays:
        return unusual("zip")
    columns: list[list[Any]] = []
    for array in arrays:
        if array is NOTHING:
            return []
        columns.append(array if isinstance(array, list) else [array])
    size = min(map(len, columns)) * (len(columns) + 4)  # a row weighs more than its items
    if size > _MANY:
        BUDGET.get().check_items(size)
    return [list(row) for row in zip(*columns, strict=False)]


@BUILTINS.define("distinct", "<x:x>")
def distinct(items: Any) -> Any:
    """Return the items without repetitions, compared by value."""
    if not isinstance(items, list) or len(items) <= 1:
        return items
    kinds = set(map(type, items))
    if kinds <= _SIMPLE:
        unique = list(dict.fromkeys(items))
    else:
        seen: dict[Any, Any] = {}
        for item in items:
            seen.setdefault(identity(item), item)
        unique = list(seen.values())
    return Sequence(unique) if isinstance(items, Sequence) else unique


def identity(value: Any) -> Any:
    """Return something hashable that is equal for equal JSON values; true is not 1."""
    kind = type(value)
    if kind is str or kind is int or kind is float or value is None:
        return value
    if kind is bool:
        return (bool, value)
    if isinstance(value, list):
        return (list, tuple([identity(item) for item in value]))
    if kind is dict:
        return (dict, frozenset([(key, identity(item)) for key, item in value.items()]))
    return (object, id(value))


@BUILTINS.define("shuffle", "<a:a>")
def shuffle(items: Any) -> Any:
    """Return the items in random order."""
    if isinstance(items, list):
        return items if len(items) <= 1 else random.sample(items, len(items))
    return unusual("shuffle", items)


@BUILTINS.define("sort", "<af?:a>")
def sort(items: Any, comparator: Any = NOTHING) -> Any:
    """Return the items in order: numbers or texts ascending (D3070), others as a comparator says that two must change.

    The comparator gets two items and tells whether the first belongs after the second. It is asked in the order of the
    reference's merge sort, so that one that contradicts itself gives the same result.
    """
    if not isinstance(items, list):
        return unusual("sort", items, *([] if comparator is NOTHING else [comparator]))
    if comparator is not NOTHING:
        if symbol(comparator) != "f":
            return unusual("sort", items, comparator)
        return items if len(items) <= 1 else _merge_sort(list(items), comparator)
    if len(items) <= 1:
        return items
    kinds = set(map(type, items))
    if kinds <= _NUMBERS:
        return sorted(items)
    if kinds == _STRINGS:
        return sorted(items, key=unit_order(items))
    msg = f"$sort without a comparator needs an array of strings or of numbers: {shown(items)}"
    raise JsonataError(msg, "D3070")


def unit_order(texts: list[str]) -> Callable[[str], bytes] | None:
    """Return the key that sorts texts by UTF-16 units, as the reference does; None when Python's order is the same."""
    joined = "".join(texts)
    if joined.isascii() or max(joined) <= "\uffff":
        return None
    return lambda text: text.encode("utf-16-be", "surrogatepass")


def _after(comparator: Callable[..., Any], left: Any, right: Any) -> bool:
    """Tell whether JavaScript takes the comparator's answer for true: empty arrays and objects are."""
    answer = comparator(left, right)
    return bool(answer) or isinstance(answer, (list, dict))


def _merge_sort(items: list[Any], comparator: Callable[..., Any]) -> list[Any]:
    if len(items) <= 1:
        return items
    middle = len(items) // 2
    left = _merge_sort(items[:middle], comparator)
    right = _merge_sort(items[middle:], comparator)
    merged: list[Any] = []
    at = 0
    for item in left:
        while at < len(right) and _after(comparator, item, right[at]):
            merged.append(right[at])
            at += 1
        merged.append(item)
    merged.extend(right[at:])
    return merged
