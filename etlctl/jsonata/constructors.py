"""Objects, groupings and bindings carried along a path (``@``, ``#``, ``%``) for values of any shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etlctl.jsonata.limits import BUDGET
from etlctl.jsonata.navigation import at_index, hits, items_of, ordered
from etlctl.jsonata.operators import admit
from etlctl.jsonata.values import NOTHING, JsonataError, Kept
from etlctl.types import shown

Binding = dict[str, Any]
"""What one item of a path carries along: its value under ``@``, variables and parents under their names."""
Evaluate = Callable[[Any, Any], Any]
"""Evaluates for an item and its binding (an empty one outside a path with bindings)."""
VALUE = "@"
_NONE: Binding = {}


class Bindings(list[Binding]):
    """The items of a path that carries bindings."""

    __slots__ = ()


def joined(items: list[Any]) -> Any:
    """Return the context that the values of an object see when the context is an array: all items as one."""
    if len(items) == 1:
        return items[0]
    if not items:
        return NOTHING
    made: list[Any] = []
    for item in items:
        made.extend(item if isinstance(item, list) else (item,))
    return made


def checked_key(key: Any) -> Any:
    """Return a key of an object; raise T1003 when it is no text."""
    key = admit(key)
    if type(key) is not str:
        if key is NOTHING:
            return NOTHING
        raise JsonataError(f"Key in object structure must evaluate to a text; got {shown(key)}", "T1003")
    if key in {"_jsonata_lambda", "_jsonata_function"}:
        raise JsonataError(f"Object keys starting with _jsonata_ are reserved: {key}", "D1013")
    return key


def same_key(key: str) -> Any:
    """Raise D1009."""
    raise JsonataError(f"Multiple key definitions evaluate to the same key: {shown(key)}", "D1009")


def grouped(value: Any, pairs: list[tuple[Evaluate, Evaluate]]) -> dict[str, Any]:
    """Return the object that groups the items of a value by each pair's key, with that pair's value for each group."""
    if isinstance(value, Bindings):
        return _grouped_bindings(value, pairs)
    items = value if isinstance(value, list) else [value]
    groups: dict[str, list[Any]] = {}
    owners: dict[str, int] = {}
    budget = BUDGET.get()
    for item in items or (NOTHING,):
        budget.spend(1)
        for number, (key_of, _) in enumerate(pairs):
            key = key_of(item, _NONE)
            if type(key) is not str or key[:1] == "_":
                key = checked_key(key)
                if key is NOTHING:
                    continue
            if key in groups:
                if owners[key] != number:
                    same_key(key)
                groups[key].append(item)
            else:
                groups[key] = [item]
                owners[key] = number
    made: dict[str, Any] = {}
    for key, members in groups.items():
        budget.spend(1)
        result = pairs[owners[key]][1](joined(members), _NONE)
        if result is not NOTHING:
            made[key] = result
    return made


def _grouped_bindings(value: Bindings, pairs: list[tuple[Evaluate, Evaluate]]) -> dict[str, Any]:
    groups: dict[str, list[Binding]] = {}
    owners: dict[str, int] = {}
    budget = BUDGET.get()
    for binding in value:
        budget.spend(1)
        for number, (key_of, _) in enumerate(pairs):
            key = checked_key(key_of(binding[VALUE], binding))
            if key is NOTHING:
                continue
            if owners.setdefault(key, number) != number:
                same_key(key)
            groups.setdefault(key, []).append(binding)
    made: dict[str, Any] = {}
    for key, members in groups.items():
        budget.spend(len(members))
        merged = {name: _appended([each.get(name, NOTHING) for each in members]) for name in _names(members)}
        result = pairs[owners[key]][1](merged.pop(VALUE), merged)
        if result is not NOTHING:
            made[key] = result
    return made


def _names(members: list[Binding]) -> list[str]:
    """Return the names that any of the members binds, in order."""
    return list(dict.fromkeys(name for binding in members for name in binding))


def _appended(values: list[Any]) -> Any:
    """Return what appending values one after the other gives."""
    present = [each for each in values if each is not NOTHING]
    if len(present) < 2:
        return present[0] if present else NOTHING
    made: list[Any] = []
    for each in present:
        made.extend(each if isinstance(each, list) else (each,))
    return made


# --- paths with bindings ---------------------------------------------------------------------------------------------


def bindings_of(value: Any) -> Bindings:
    """Return the items of a value, without any binding yet."""
    return Bindings({VALUE: item} for item in items_of(value))


def binding_step(
    evaluate: Evaluate, bindings: Bindings, focus: str | None, position: str | None, label: str | None
) -> Bindings:
    """Return the items of a step, each with the bindings it came with and its own."""
    made = Bindings()
    budget = BUDGET.get()
    for binding in bindings:
        budget.spend(1)
        budget.check_items(len(made))
        context = binding[VALUE]
        result = evaluate(context, binding)
        if result is NOTHING:
            continue
        if isinstance(result, Bindings):
            made.extend({**binding, **inner} for inner in result)
            continue
        for number, item in enumerate(result if isinstance(result, list) else (result,)):
            each = {**binding, VALUE: context if focus else item}
            if focus:
                each[focus] = item
            if position:
                each[position] = number
            if label:
                each[label] = context
            made.append(each)
    return made


def positioned(bindings: Bindings, name: str) -> Bindings:
    """Bind each item's position."""
    for number, binding in enumerate(bindings):
        binding[name] = number
    return bindings


def filtered_bindings(evaluate: Evaluate, bindings: Bindings) -> Bindings:
    """Return the items that a predicate selects."""
    count = len(bindings)
    BUDGET.get().spend(count)
    made = Bindings()
    for number, binding in enumerate(bindings):
        made.extend([binding] * hits(evaluate(binding[VALUE], binding), number, count))
    return made


def indexed_bindings(bindings: Bindings, index: float) -> Bindings:
    """Return the item that a literal index selects."""
    return Bindings(at_index(list(bindings), index))


def ordered_bindings(bindings: Bindings, terms: list[tuple[Evaluate, bool]]) -> Bindings:
    """Return the items in the order of the terms."""

    def applied(evaluate: Evaluate) -> Callable[[Binding], Any]:
        return lambda binding: evaluate(binding[VALUE], binding)

    return Bindings(ordered(list(bindings), [(applied(evaluate), descending) for evaluate, descending in terms]))


def values_of(bindings: Bindings) -> list[Any]:
    """Return the items without what they carry."""
    return [binding[VALUE] for binding in bindings]


def found_kept(items: list[Any]) -> Any:
    """Return what items stand for where arrays of one item are kept."""
    if len(items) == 1:
        return Kept(items)
    return items or NOTHING
