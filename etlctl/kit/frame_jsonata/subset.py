"""Tells from an expression alone, without data, why it can only run on rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

from etlctl.jsonata import nodes as n
from etlctl.jsonata.syntax import parse

_NAMES = (
    "abs", "average", "boolean", "ceil", "contains", "count", "exists", "filter", "floor", "join", "length",
    "lowercase", "map", "max", "merge", "millis", "min", "not", "now", "number", "replace", "round", "string",
    "substring", "substringAfter", "substringBefore", "sum", "trim", "uppercase",
)  # fmt: skip
FUNCTIONS = frozenset(_NAMES)
"""Functions with a form on columns, without the ``$``."""

_FORMLESS: dict[type[n.Node], str] = {
    n.Regex: "a regular expression",
    n.Sort: "sorting (^)",
    n.Wildcard: "the wildcard *",
    n.Descendants: "the wildcard **",
    n.Parent: "the parent operator %",
    n.Partial: "a partial application",
}


def rows_only(expression: str, bindings: Mapping[str, Any], *, record: bool = True) -> str | None:
    """Return why an expression has no columnar form; None when it may have one, depending on the columns.

    Args:
        expression: The expression, known to be well formed.
        bindings: Values of variables.
        record: It must make a record, and is not just tested for truth.
    """
    for name, value in bindings.items():
        if not isinstance(value, bool | int | float | str | None):
            return f"${name} is bound to a list or an object"
    return _rows_only(expression, record=record)


@lru_cache(maxsize=256)
def may_drop(expression: str) -> bool:
    """Tell whether the columnar form of an expression may drop records."""
    tree = parse(expression)
    while isinstance(tree, n.Block) and tree.items:
        tree = tree.items[-1]
    return isinstance(tree, n.Condition) and tree.otherwise is None


@lru_cache(maxsize=256)
def _rows_only(expression: str, *, record: bool) -> str | None:
    tree = parse(expression)
    if record and not _makes_a_record(tree):
        return "the expression is no object with constant keys: {…}, condition ? {…}, $merge([$, {…}]) or $ ~> |$|{…}|"
    return next(_problems(tree), None)


def _makes_a_record(node: n.Node) -> bool:
    if isinstance(node, n.Block) and node.items:
        return _makes_a_record(node.items[-1])
    if isinstance(node, n.Path) and len(node.steps) == 1:
        return _makes_a_record(node.steps[0].node)
    if isinstance(node, n.Condition):
        return _makes_a_record(node.then) and (node.otherwise is None or _makes_a_record(node.otherwise))
    if isinstance(node, n.Object):
        return all(isinstance(key, n.Literal) for key, _ in node.pairs)
    if isinstance(node, n.Call):
        node = node.function
        return isinstance(node, n.Variable) and node.name == "merge"
    return isinstance(node, n.Apply) or (isinstance(node, n.Variable) and node.name in {"", "$"})


def _problems(node: n.Node) -> Iterator[str]:
    """Yield what in an expression has no columnar form."""
    if type(node) in _FORMLESS:
        yield f"{_FORMLESS[type(node)]} has no columnar form"
    if node.group is not None:
        yield "grouping ({…} behind an expression) has no columnar form"
    if isinstance(node, n.Call):
        if not isinstance(node.function, n.Variable):
            yield "a call of a function that is not built in has no columnar form"
        elif node.function.name not in FUNCTIONS:
            yield f"${node.function.name} has no columnar form"
    for child in _children(node):
        yield from _problems(child)


def _children(node: n.Node) -> Iterator[n.Node]:
    for field in fields(node):
        yield from _nodes_in(getattr(node, field.name))


def _nodes_in(value: Any) -> Iterator[n.Node]:
    if isinstance(value, n.Node):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes_in(item)
    elif isinstance(value, n.Step):
        yield value.node
        yield from _nodes_in(value.stages)
    elif isinstance(value, n.Filter | n.Term):
        yield value.expression
    elif isinstance(value, n.Group):
        yield from _nodes_in(value.pairs)
