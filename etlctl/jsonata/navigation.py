"""Steps, predicates and orderings of JSONata paths, for values of any shape.

Between two steps of a path generated code keeps what the reference calls a sequence as a plain value: a list is its
items, anything else its only item, ``NOTHING`` no item. These functions take and return such values. At the end of a
path a list of two or more items is the result as it is; one item stands for itself, no item for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cmp_to_key
from typing import Any, Final

from etlctl.jsonata.limits import BUDGET
from etlctl.jsonata.operators import admit, is_number, text_order, truthy
from etlctl.jsonata.source import Retry
from etlctl.jsonata.values import NOTHING, JsonataError, Kept, Sequence, Whole
from etlctl.types import shown

Evaluate = Callable[[Any], Any]
_MANY: Final = 100_000


def collapsed(value: Any) -> Any:
    """Return what a value stands for where it is used."""
    return value.collapsed() if isinstance(value, Sequence) else value


def found(items: list[Any]) -> Any:
    """Return what the items that a path ends with stand for; several are a sequence, which ``$distinct`` can tell."""
    if len(items) == 1:
        return items[0]
    return Sequence(items) if items else NOTHING


def found_final(items: list[Any]) -> Any:
    """Return the same for a path that is part of the result: a plain list."""
    if len(items) == 1:
        return items[0]
    return items or NOTHING


class Many:
    """The items of a long array: whoever goes through them looks at the clock and the memory now and then."""

    __slots__ = ("_items",)

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        budget = BUDGET.get()
        for start in range(0, len(self._items), _MANY // 10):
            budget.check()
            yield from self._items[start : start + _MANY // 10]


def items_of(value: Any) -> Any:
    """Return the items that the next step goes through."""
    if isinstance(value, list):
        return value if len(value) < _MANY else Many(value)
    return () if value is NOTHING else (value,)


def array_items(value: Any) -> Any:
    """Return the items of an array constructor that begins a path; what a predicate took out of it has none."""
    if isinstance(value, list):
        return value
    return list(value) if isinstance(value, str) else NOTHING


def lookup(value: Any, name: str) -> Any:
    """Return a field of one item; of an array the fields of its items, as a sequence."""
    if isinstance(value, dict):
        return value.get(name, NOTHING)
    if not isinstance(value, list):
        return NOTHING
    made = Sequence()
    for item in value:
        result = lookup(item, name)
        if isinstance(result, list):
            made.extend(result)
        elif result is not NOTHING:
            made.append(result)
    return made


def field(value: Any, name: str) -> Any:
    """Return a field of one item, collapsed: what a name step evaluates to."""
    if type(value) is dict:
        result = value.get(name, NOTHING)
        return result.collapsed() if isinstance(result, Sequence) else result
    return collapsed(lookup(value, name))


def name_step(value: Any, name: str) -> Any:
    """Return a field of all items of a value, between two steps."""
    if not isinstance(value, list):
        return value.get(name, NOTHING) if isinstance(value, dict) else NOTHING
    made: list[Any] = []
    for item in value:
        result = item.get(name, NOTHING) if type(item) is dict else collapsed(lookup(item, name))
        if isinstance(result, list) and type(result) is not Whole:
            made.extend(result)
        elif result is not NOTHING:
            made.append(result)
    return made or NOTHING


def last_name_step(value: Any, name: str) -> Any:
    """Return a field of all items of a value, as the last step of a path."""
    if not isinstance(value, list):
        return last([field(value, name)]) if isinstance(value, dict) else NOTHING
    made: list[Any] = []
    for item in value:
        result = item.get(name, NOTHING) if type(item) is dict else collapsed(lookup(item, name))
        if result is not NOTHING:
            made.append(result)
    return last(made)


def last_field(value: Any, name: str) -> Any:
    """Return a field of one item (which may be an array), as the only step of a path."""
    return last([field(value, name)])


def flat(results: list[Any]) -> list[Any]:
    """Return the results of a step as the items of the next: arrays give their items."""
    if not any(isinstance(result, list) or result is NOTHING for result in results):
        return results
    made: list[Any] = []
    for result in results:
        if isinstance(result, list) and type(result) is not Whole:
            made.extend(result)
        elif result is not NOTHING:
            made.append(result)
    return made


def last(results: list[Any]) -> Any:
    """Return the value of a path from the results of its last step; an array that is the only one stays as it is."""
    if len(results) == 1:
        only = results[0]
        if type(only) is list or type(only) is Whole:
            return only
    return found(flat(results))


def last_final(results: list[Any]) -> Any:
    """Return the same for a path that is part of the result: a plain list."""
    if len(results) == 1 and type(results[0]) is list:
        return results[0]
    return found_final(flat(results))


def last_kept(results: list[Any]) -> Any:
    """Return the value of a path some step of which keeps arrays of one item."""
    results = [result for result in results if result is not NOTHING]
    if len(results) == 1 and type(results[0]) is list:
        return results[0]
    if len(results) == 1 and type(results[0]) is Whole:
        return Kept(results)
    items = flat(results)
    return Kept(items) if len(items) == 1 else found(items)


def last_raw(results: list[Any]) -> list[Any]:
    """Return the items of a path's last step as a grouping behind it sees them."""
    if len(results) == 1 and type(results[0]) in {list, Whole}:
        only: list[Any] = results[0]
        return only
    return flat(results)


def each_last(evaluate: Evaluate, items: Collection[Any]) -> list[Any]:
    """Return the results of a step for all items, missing ones left out."""
    BUDGET.get().spend(len(items))
    return [result for item in items if (result := evaluate(item)) is not NOTHING]


def fields(items: Iterable[Any], name: str) -> list[Any]:
    """Return a field of each item, missing ones left out."""
    return [result for item in items if (result := field(item, name)) is not NOTHING]


def kept(value: Any) -> Any:
    """Return a raw result with ``[]`` behind it: a sequence of one item stays an array."""
    if isinstance(value, Sequence):
        return Kept(value) if len(value) == 1 else value.collapsed()
    return value


# --- predicates ------------------------------------------------------------------------------------------------------


def tested_items(value: Any) -> Any:
    """Return the items that a predicate is evaluated for; it is evaluated for nothing too, and may fail."""
    return (value if len(value) < _MANY else Many(value)) if isinstance(value, list) else (value,)


def at_index(value: Any, index: float) -> Any:
    """Return what a literal index selects: an array as it is, another item as a sequence."""
    items = value if isinstance(value, list) else items_of(value)
    position = math.floor(index)
    if position < 0:
        position += len(items)
    if not 0 <= position < len(items):
        return Sequence()
    item = items[position]
    return item if isinstance(item, list) else Sequence((item,))


def hits(result: Any, position: int, count: int) -> int:
    """Return how often a predicate's result selects the item at a position of so many."""
    if type(result) is bool:
        return int(result)
    result = admit(result)
    if is_number(result):
        return int((math.floor(result) + (count if result < 0 else 0)) == position)
    if isinstance(result, list) and all(is_number(each) for each in result):
        indexes = [math.floor(each) for each in result]
        return sum(1 for each in indexes if (each + count if each < 0 else each) == position)
    return int(truthy(result))


def filtered(evaluate: Evaluate, value: Any) -> Sequence:
    """Return the items that a predicate selects."""
    items = tested_items(value)
    made = Sequence()
    count = len(items)
    BUDGET.get().spend(count)
    for position, item in enumerate(items):
        times = hits(evaluate(item), position, count)
        if times and item is not NOTHING:
            made.extend([item] * times)
    return made


# --- wildcards -------------------------------------------------------------------------------------------------------


def wildcard(value: Any) -> Any:
    """Return the values of all fields of an item, not collapsed; arrays give their items, at any depth."""
    made = Sequence()
    arrays = False
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, list):
                arrays = True
                _flatten(item, made)
            else:
                made.append(admit(item))
    return list(made) if arrays else made


def _flatten(items: list[Any], made: list[Any]) -> None:
    for item in items:
        if isinstance(item, list):
            _flatten(item, made)
        else:
            made.append(admit(item))


def descendants(value: Any) -> Any:
    """Return an item and everything in it, at any depth; arrays give their items."""
    if value is NOTHING:
        return NOTHING
    made: list[Any] = []
    waiting = [admit(value)]
    budget = BUDGET.get()
    while waiting:
        item = waiting.pop()
        if not len(made) & 0xFFFF:
            budget.check()
            budget.check_items(len(made))
        if isinstance(item, list):
            waiting.extend(reversed(item))
            continue
        made.append(item)
        if isinstance(item, dict):
            waiting.extend(reversed(item.values()))
    return Sequence(made).collapsed()


# --- order-by --------------------------------------------------------------------------------------------------------


def ordered(value: Any, terms: list[tuple[Evaluate, bool]]) -> Any:
    """Return the items in the order of the terms (key and whether descending); missing keys come last."""
    items = value if isinstance(value, list) else list(items_of(value))
    if len(items) < 2:
        return items
    BUDGET.get().spend(len(items) * len(terms))
    try:
        keys = [[evaluate(item) for item in items] for evaluate, _ in terms]
    except JsonataError:
        # A later term may fail on an item that never needs it: evaluate as the reference does, when they tie.
        return _compared(items, terms)
    if not all(map(_alike, keys)):
        return _compared(items, terms)
    order = list(range(len(items)))
    for column, (_, descending) in reversed(list(zip(keys, terms, strict=True))):
        sortable = column
        if type(column[0]) is str and not all(map(str.isascii, column)):
            sortable = [each.encode("utf-16-be", "surrogatepass") for each in column]
        order.sort(key=sortable.__getitem__, reverse=descending)
    return [items[position] for position in order]


def sorted_by(items: list[Any], columns: tuple[tuple[list[Any], bool], ...]) -> list[Any]:
    """Return items in the order of key columns; raise ``Retry`` for keys of unlike types."""
    if len(items) < 2:
        return items
    order = list(range(len(items)))
    for keys, descending in reversed(columns):
        kinds = set(map(type, keys))
        if kinds != {str} and not kinds <= {int, float}:
            raise Retry
        if (kinds == {str} and not all(map(str.isascii, keys))) or (kinds != {str} and any(map(math.isnan, keys))):
            raise Retry
        order.sort(key=keys.__getitem__, reverse=descending)
    return [items[position] for position in order]


def _alike(keys: list[Any]) -> bool:
    """Tell whether keys are all texts, or all numbers that compare as usual."""
    kinds = set(map(type, keys))
    return kinds == {str} or (kinds <= {int, float} and not any(map(math.isnan, keys)))


def _compared(items: list[Any], terms: list[tuple[Evaluate, bool]]) -> list[Any]:
    budget = BUDGET.get()

    def order(left: Any, right: Any) -> int:
        budget.spend(1)
        for evaluate, descending in terms:
            difference = _difference(admit(evaluate(left)), admit(evaluate(right)), descending=descending)
            if difference:
                return difference
        return 0

    return sorted(items, key=cmp_to_key(order))


def _difference(left: Any, right: Any, *, descending: bool) -> int:
    if left is NOTHING or right is NOTHING:
        return (left is NOTHING) - (right is NOTHING)
    kinds = [str if type(side) is str else float if type(side) in {int, float} else None for side in (left, right)]
    if None in kinds:
        wrong = left if kinds[0] is None else right
        raise JsonataError(f"The keys of an order-by must be numbers or texts, not {shown(wrong)}", "T2008")
    if kinds[0] is not kinds[1]:
        text = f"Type mismatch when comparing {shown(left)} and {shown(right)} in an order-by"
        raise JsonataError(text, "T2007")
    if kinds[0] is str:
        left, right = text_order(left, right)
    difference: int = (left > right) - (left < right)
    return -difference if descending else difference
