"""Functions on objects: keys, lookup, spread, merge, clone."""

from __future__ import annotations

from typing import Any

from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions.builtin import BUILTINS, unusual
from etlctl.jsonata.functions.numeric import normal, rounded_to_fifteen
from etlctl.jsonata.values import NOTHING, Sequence


@BUILTINS.define("keys", "<x-:a<s>>")
def keys(value: Any) -> Sequence:
    """Return the keys of an object, or of all objects in an array; none for anything else."""
    if type(value) is dict:
        return Sequence(value)
    if isinstance(value, list):
        merged: dict[str, None] = {}
        for item in value:
            merged.update(dict.fromkeys(keys(item)))
        return Sequence(merged)
    return Sequence()


@BUILTINS.define("lookup", "<x-s:x>")
def lookup(value: Any, key: Any) -> Any:
    """Return the value of a key of an object, or the values in all objects of an array."""
    if type(key) is not str:
        return NOTHING if key is NOTHING else unusual("lookup", value, key)
    if type(value) is dict:
        return value.get(key, NOTHING)
    if not isinstance(value, list):
        return NOTHING
    found = Sequence()
    for item in value:
        result = lookup(item, key)
        if isinstance(result, list):
            found.extend(result)
        elif result is not NOTHING:
            found.append(result)
    return found


@BUILTINS.define("spread", "<x-:a<o>>")
def spread(value: Any) -> Any:
    """Return an object as objects of one key each, an array as those of all its objects; else the value itself."""
    if type(value) is dict:
        return Sequence([{key: item} for key, item in value.items()])
    if not isinstance(value, list):
        return value
    items: list[Any] = []
    for item in value:
        part = spread(item)
        if isinstance(part, list):
            items.extend(part)
        elif part is not NOTHING:
            items.append(part)
    return items if value else Sequence()


@BUILTINS.define("merge", "<a<o>:o>")
def merge(objects: Any) -> Any:
    """Return one object with the keys of all in an array; later ones win."""
    if isinstance(objects, list):
        merged: dict[str, Any] = {}
        for item in objects:
            if type(item) is not dict:
                return unusual("merge", objects)
            merged.update(item)
        return merged
    return unusual("merge", objects)


@BUILTINS.define("clone", "<(oa)-:o>")
def clone(value: Any) -> Any:
    """Return a deep copy, as if by way of ``$string``: numbers keep 15 digits, functions become empty text."""
    return _copied(value) if type(value) is dict or isinstance(value, list) else unusual("clone", value)


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: _copied(item) for key, item in value.items() if item is not NOTHING}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if kind is float:
        return normal(value if value.is_integer() else rounded_to_fifteen(value))
    if isinstance(value, Closure):
        return ""
    return None if value is NOTHING else value
