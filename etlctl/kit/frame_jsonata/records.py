"""The columns that a JSONata expression makes of a record: one record for each, or none where a condition fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl

from etlctl.frozen import frozen
from etlctl.jsonata import nodes as n
from etlctl.jsonata.syntax import parse
from etlctl.kit.frame_jsonata import operators
from etlctl.kit.frame_jsonata.compiler import applied_call, bound, compiled, is_record, pairs_of, plain
from etlctl.kit.frame_jsonata.scope import Scope
from etlctl.kit.frame_jsonata.values import (
    FLOAT,
    Unsupported,
    Value,
    fields_of,
    instance,
    literal,
    require_json,
)

_EXACT = 2.0**53


@frozen
class Columns:
    """What becomes of the records of a frame.

    Attributes:
        columns: The new columns, in order.
        keep: Where it is false, the record is dropped; None when none is.
        doubts: Where any is true, only the rows form knows; asked after dropping.
        mixed: Columns of floats that the rows form makes integers where they are whole.
    """

    columns: Mapping[str, Value]
    keep: Value | None
    doubts: tuple[pl.Expr, ...]
    mixed: frozenset[str]


def record_columns(
    expression: str, schema: Mapping[str, pl.DataType], bindings: Mapping[str, Any], now: datetime
) -> Columns:
    """Compile an expression that makes one record of one, or none.

    Args:
        expression: The expression, known to be well formed.
        schema: Columns of the frame.
        bindings: Values of variables.
        now: When the run began.

    Raises:
        Unsupported: Only the rows form can evaluate it.
    """
    scope = Scope(schema, now)
    for name, value in bindings.items():
        scope = scope.binding(name, literal(value))
    keep, fields = _conditional(parse(expression), scope)
    if not fields:
        raise Unsupported("a record without fields")
    finished = {name: _output(name, value) for name, value in fields.items()}
    doubts = tuple(doubt for value in finished.values() for doubt in value.doubts)
    mixed = frozenset(name for name, value in finished.items() if value.computed)
    return Columns(finished, keep, doubts, mixed)


def condition_column(
    expression: str, schema: Mapping[str, pl.DataType], bindings: Mapping[str, Any], now: datetime
) -> Value:
    """Compile an expression whose truth is wanted.

    Raises:
        Unsupported: Only the rows form can evaluate it.
    """
    scope = Scope(schema, now)
    for name, value in bindings.items():
        scope = scope.binding(name, literal(value))
    test = operators.truth(compiled(parse(expression), scope))
    if test.constant:
        raise Unsupported("a condition that looks at no field")
    return test


def _conditional(node: n.Node, scope: Scope) -> tuple[Value | None, dict[str, Value]]:
    """Return the condition to keep a record on, if there is one, and its fields."""
    if isinstance(node, n.Block) and node.items:
        plain(node)
        *before, last = node.items
        return _conditional(last, bound(before, scope))
    if not isinstance(node, n.Condition):
        return None, _fields(node, scope)
    plain(node)
    test = operators.truth(compiled(node.test, scope))
    then = _fields(node.then, scope)
    if node.otherwise is None:
        return test, then
    other = _fields(node.otherwise, scope)
    if list(then) != list(other):
        raise Unsupported("a choice between records of different fields")
    return None, {name: operators.chosen(test, value, other[name]) for name, value in then.items()}


def _fields(node: n.Node, scope: Scope) -> dict[str, Value]:
    """Return the fields of the record that an expression is."""
    if isinstance(node, n.Block) and node.items:
        plain(node)
        *before, last = node.items
        return _fields(last, bound(before, scope))
    if isinstance(node, n.Object):
        return pairs_of(node, scope)
    if isinstance(node, n.Apply):
        return _applied(node, scope)
    if isinstance(node, n.Call):
        return _merged(node, scope)
    if is_record(node, scope):
        return {name: scope.field(name) for name in scope.schema}
    raise Unsupported("an expression that is no object of constant keys")


def _applied(node: n.Apply, scope: Scope) -> dict[str, Value]:
    plain(node)
    if not isinstance(node.right, n.Transform):
        return _merged(applied_call(node), scope)
    change = node.right
    plain(change)
    if not is_record(change.pattern, scope) or not isinstance(change.update, n.Object):
        raise Unsupported("a transform of something else than the record")
    fields = _fields(node.left, scope)
    if not is_record(node.left, scope):
        raise Unsupported("a transform of something else than the record")
    if any(_has_float(dtype) for dtype in scope.schema.values()):
        raise Unsupported("a transform of numbers with fractions, which it copies by way of 15 digits,")
    fields.update(pairs_of(change.update, scope))
    for name in _deleted(change.delete):
        fields.pop(name, None)
    return fields


def _has_float(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List):
        return _has_float(instance(dtype.inner))
    return dtype.is_float() or any(_has_float(of) for of in fields_of(dtype).values())


def _deleted(node: n.Node | None) -> list[str]:
    if node is None:
        return []
    plain(node)
    names = list(node.items) if isinstance(node, n.Array) else [node]
    found = [name.value for name in names if isinstance(name, n.Literal) and isinstance(name.value, str)]
    if len(found) < len(names):
        raise Unsupported("a transform that deletes fields whose names are not constant")
    return found


def _merged(node: n.Call, scope: Scope) -> dict[str, Value]:
    """Return the fields of ``$merge([…])`` of the record and objects."""
    plain(node)
    is_merge = isinstance(node.function, n.Variable) and node.function.name == "merge"
    if not is_merge or len(node.arguments) != 1 or not isinstance(node.arguments[0], n.Array):
        raise Unsupported("a call of something else than $merge([…])")
    plain(node.arguments[0])
    merged: dict[str, Value] = {}
    for item in node.arguments[0].items:
        merged.update(_fields(item, scope))
    return merged


def _output(name: str, value: Value) -> Value:
    """Return a field as it comes out: what has no place in a column is for the rows form."""
    value = value.present()
    if value.sequence:
        raise Unsupported(f"{name!r} may be one value or several: put it in [ ]")
    if value.dtype == FLOAT:
        if value.computed is None:
            raise Unsupported(f"{name!r} is an integer here and a float there")
        return value.doubting(value.expr.abs() >= _EXACT) if value.computed else value
    if value.computed is not False:
        raise Unsupported(f"{name!r} has computed numbers with fractions inside")
    if value.dtype.is_nested():
        require_json(value.dtype)
    return replace(value, items=())
