"""Functions that call functions: map, filter, single, reduce, each, sift."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions.builtin import BUILTINS, Builtin, unusual
from etlctl.jsonata.functions.logic import truth
from etlctl.jsonata.limits import BUDGET
from etlctl.jsonata.values import NOTHING, JsonataError, Sequence

_EVERY: Final = 255


def _results(items: list[Any], function: Closure) -> Iterator[Any]:
    """Yield what a function gives for each item; it gets as many of (item, index, array) as it takes."""
    call = function.function
    if function.arity >= 3:
        results: Iterator[Any] = (call(item, index, items) for index, item in enumerate(items))
    elif function.arity == 2:
        results = (call(item, index) for index, item in enumerate(items))
    elif function.arity == 1 or isinstance(function, Builtin):
        results = map(call, items)
    else:
        results = (call() for _ in items)
    return _watched(results) if isinstance(function, Builtin) else results


def _watched(results: Iterator[Any]) -> Iterator[Any]:
    """Yield the same, looking at the clock now and then: built-in functions do not do it themselves."""
    budget = BUDGET.get()
    for count, result in enumerate(results):
        if not count & _EVERY:
            budget.check()
        yield result


def _is_array(value: Any) -> bool:
    return isinstance(value, list)


@BUILTINS.define("map", "<af>")
def mapped(items: Any, function: Any) -> Any:
    """Return what a function gives for each item, nothing left out."""
    if _is_array(items) and isinstance(function, Closure):
        return Sequence([result for result in _results(items, function) if result is not NOTHING])
    return unusual("map", items, function)


@BUILTINS.define("filter", "<af>")
def filtered(items: Any, function: Any) -> Any:
    """Return the items for which a function gives something true."""
    if _is_array(items) and isinstance(function, Closure):
        kept = zip(items, _results(items, function), strict=False)
        return Sequence([item for item, result in kept if result is True or (result is not False and truth(result))])
    return unusual("filter", items, function)


@BUILTINS.define("single", "<af?>")
def single(items: Any, function: Any = NOTHING) -> Any:
    """Return the one item for which a function gives something true (D3138 when there are more, D3139 when none)."""
    if not _is_array(items) or not (function is NOTHING or isinstance(function, Closure)):
        return unusual("single", items, *([] if function is NOTHING else [function]))
    found: Any = NOTHING
    seen = False
    results = _results(items, function) if isinstance(function, Closure) else iter([True] * len(items))
    for item, result in zip(items, results, strict=False):
        if truth(result):
            if seen:
                msg = "$single expected exactly one matching item, but more match"
                raise JsonataError(msg, "D3138")
            found, seen = item, True
    if not seen:
        msg = f"$single expected exactly one matching item, but none of {len(items)} matches"
        raise JsonataError(msg, "D3139")
    return found


@BUILTINS.define("reduce", "<afj?:j>")
def reduce(items: Any, function: Any, initial: Any = NOTHING) -> Any:
    """Return what is left when a function joins the result so far with one item after the other (D3050)."""
    if not _is_array(items) or not isinstance(function, Closure) or isinstance(initial, Closure):
        return unusual("reduce", items, function, initial)
    arity = function.arity
    if arity < 2:
        msg = f"the function given to $reduce must take at least two arguments; it takes {arity}"
        raise JsonataError(msg, "D3050")
    start = 0
    result = initial
    if initial is NOTHING and items:
        start, result = 1, items[0]
    return _folded(items, function, start, result)


def _folded(items: list[Any], function: Closure, start: int, result: Any) -> Any:
    call = function.function
    rest = items[start:] if start else items
    if isinstance(function, Builtin):
        call = _watching(call)
    if function.arity == 2:
        for item in rest:
            result = call(result, item)
    elif function.arity == 3:
        for index, item in enumerate(rest, start):
            result = call(result, item, index)
    else:
        for index, item in enumerate(rest, start):
            result = call(result, item, index, items)
    return result


def _watching(call: Callable[..., Any]) -> Callable[..., Any]:
    budget = BUDGET.get()

    def watched(*args: Any) -> Any:
        budget.check()
        return call(*args)

    return watched


@BUILTINS.define("each", "<o-f:a>")
def each(record: Any, function: Any) -> Any:
    """Return what a function gives for each (value, key, object) of an object, nothing left out."""
    if type(record) is dict and isinstance(function, Closure):
        return Sequence([result for _, _, result in _pairs(record, function) if result is not NOTHING])
    return unusual("each", record, function)


@BUILTINS.define("sift", "<o-f?:o>")
def sift(record: Any, function: Any) -> Any:
    """Return the part of an object for which a function of (value, key, object) gives something true; else nothing."""
    if type(record) is dict and isinstance(function, Closure):
        kept = {key: value for key, value, result in _pairs(record, function) if truth(result)}
        return kept or NOTHING
    return unusual("sift", record, function)


def _pairs(record: dict[str, Any], function: Closure) -> Iterator[tuple[str, Any, Any]]:
    call = function.function
    for key, value in list(record.items()):
        if function.arity >= 3:
            yield key, value, call(value, key, record)
        elif function.arity == 2:
            yield key, value, call(value, key)
        elif function.arity == 1 or isinstance(function, Builtin):
            yield key, value, call(value)
        else:
            yield key, value, call()
