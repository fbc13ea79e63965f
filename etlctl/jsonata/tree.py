"""From the nodes of jsonata-python's parser, which are one class with fifty fields, to those of ``nodes``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etlctl.jsonata import nodes as n
from etlctl.jsonata.values import JsonataSyntaxError


def read_tree(symbol: Any) -> n.Node:
    """Return the typed node of a parser's node that has been through its second stage."""
    common = {
        "offset": symbol.position,
        "predicates": tuple(n.Filter(read_tree(each.expr), each.position) for each in symbol.predicate or ()),
        "group": _group(symbol.group),
        "keep_array": symbol.keep_array,
    }
    kind = symbol.type if symbol.type not in {"binary", "unary"} else f"{symbol.type} {symbol.value}"
    make = _KINDS.get(kind)
    if make is not None:
        return make(symbol, common)
    if symbol.type == "binary":
        return n.Binary(operator=symbol.value, left=read_tree(symbol.lhs), right=read_tree(symbol.rhs), **common)
    raise JsonataSyntaxError(f"Syntax error: {symbol.value}", symbol.position, "S0201")


def _pairs(pairs: Any) -> tuple[n.Pair, ...]:
    return tuple((read_tree(key), read_tree(value)) for key, value in pairs)


def _group(group: Any) -> n.Group | None:
    return None if group is None else n.Group(_pairs(group.lhs_object), group.position)


def _literal(symbol: Any, common: dict[str, Any]) -> n.Node:
    return n.Literal(value=symbol.value, **common)


def _path(symbol: Any, common: dict[str, Any]) -> n.Node:
    steps = tuple(_step(each) for each in symbol.steps)
    common["offset"] = steps[0].node.offset
    return n.Path(steps=steps, keep_singleton=symbol.keep_singleton_array, binds=bool(symbol.tuple), **common)


def _step(symbol: Any) -> n.Step:
    stages = tuple(
        n.Filter(read_tree(each.expr), each.position) if each.type == "filter" else n.PositionBind(each.value)
        for each in symbol.stages or ()
    )
    ancestor = symbol.ancestor.label if symbol.ancestor is not None else None
    return n.Step(read_tree(symbol), stages, symbol.focus, symbol.index, ancestor, bool(symbol.tuple))


def _sort(symbol: Any, common: dict[str, Any]) -> n.Node:
    return n.Sort(terms=tuple(n.Term(read_tree(each.expression), each.descending) for each in symbol.terms), **common)


def _condition(symbol: Any, common: dict[str, Any]) -> n.Node:
    otherwise = None if symbol._else is None else read_tree(symbol._else)  # noqa: SLF001 - the parser's field
    return n.Condition(test=read_tree(symbol.condition), then=read_tree(symbol.then), otherwise=otherwise, **common)


def _lambda(symbol: Any, common: dict[str, Any]) -> n.Node:
    if symbol.thunk:
        call = symbol.body
        return _call(call, {**common, "offset": call.position, "keep_array": call.keep_array}, tail=True)
    parameters = tuple(each.value for each in symbol.arguments)
    return n.Lambda(parameters=parameters, signature=symbol.signature, body=read_tree(symbol.body), **common)


def _call(symbol: Any, common: dict[str, Any], *, tail: bool = False) -> n.Node:
    function = read_tree(symbol.procedure)
    common["offset"] = function.offset
    arguments = tuple(read_tree(each) for each in symbol.arguments)
    return n.Call(function=function, arguments=arguments, tail=tail, **common)


def _partial(symbol: Any, common: dict[str, Any]) -> n.Node:
    function = read_tree(symbol.procedure)
    common["offset"] = function.offset
    arguments = tuple(None if each.type == "operator" else read_tree(each) for each in symbol.arguments)
    return n.Partial(function=function, arguments=arguments, **common)


def _transform(symbol: Any, common: dict[str, Any]) -> n.Node:
    delete = None if symbol.delete is None else read_tree(symbol.delete)
    return n.Transform(pattern=read_tree(symbol.pattern), update=read_tree(symbol.update), delete=delete, **common)


def _regex(symbol: Any, common: dict[str, Any]) -> n.Node:
    return n.Regex(pattern=symbol.value.pattern, flags=symbol.value.flags, **common)


def _items(symbol: Any) -> tuple[n.Node, ...]:
    return tuple(read_tree(each) for each in symbol.expressions)


_KINDS: dict[str, Callable[[Any, dict[str, Any]], n.Node]] = {
    "string": _literal,
    "number": _literal,
    "value": _literal,
    "name": lambda symbol, common: n.Name(value=symbol.value, **common),
    "wildcard": lambda _, common: n.Wildcard(**common),
    "descendant": lambda _, common: n.Descendants(**common),
    "parent": lambda symbol, common: n.Parent(label=symbol.slot.label, **common),
    "variable": lambda symbol, common: n.Variable(name=symbol.value, **common),
    "regex": _regex,
    "path": _path,
    "sort": _sort,
    "condition": _condition,
    "lambda": _lambda,
    "function": _call,
    "partial": _partial,
    "transform": _transform,
    "block": lambda symbol, common: n.Block(items=_items(symbol), whole=symbol.consarray, **common),
    "apply": lambda symbol, common: n.Apply(left=read_tree(symbol.lhs), right=read_tree(symbol.rhs), **common),
    "bind": lambda symbol, common: n.Bind(name=symbol.lhs.value, value=read_tree(symbol.rhs), **common),
    "unary [": lambda symbol, common: n.Array(items=_items(symbol), whole=symbol.consarray, **common),
    "unary {": lambda symbol, common: n.Object(pairs=_pairs(symbol.lhs_object), **common),
    "unary -": lambda symbol, common: n.Negate(operand=read_tree(symbol.expression), **common),
}
