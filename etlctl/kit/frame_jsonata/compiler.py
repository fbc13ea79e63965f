"""From the syntax tree of a JSONata expression to columns, where both mean the same for certain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl

from etlctl.jsonata import nodes as n
from etlctl.kit.frame_jsonata import functions, lists, operators
from etlctl.kit.frame_jsonata.scope import Scope, field_of
from etlctl.kit.frame_jsonata.values import Unsupported, Value, literal, made

_COMPARISONS = frozenset({"<", "<=", ">", ">="})


def compiled(node: n.Node, scope: Scope) -> Value:
    """Return the value of an expression as columns.

    Raises:
        Unsupported: Only the rows form can evaluate it.
    """
    if isinstance(node, n.Path):
        return _path(node, scope)
    plain(node)
    for kind, handler in _HANDLERS.items():
        if isinstance(node, kind):
            return handler(node, scope)
    raise Unsupported(type(node).__name__.lower())


def plain(node: n.Node) -> None:
    """Refuse what may stand behind any expression: predicates, a grouping, ``[]``."""
    if node.predicates or node.group is not None or node.keep_array:
        raise Unsupported("a predicate, a grouping or [] behind an expression that is no path")


def _variable(node: n.Variable, scope: Scope) -> Value:
    return scope.variable(node.name)


def _binary(node: n.Binary, scope: Scope) -> Value:
    operator = node.operator
    left, right = compiled(node.left, scope), compiled(node.right, scope)
    if operator in "+-*/%":
        return operators.arithmetic(operator, left, right)
    if operator in _COMPARISONS:
        return operators.compared(operator, left, right)
    if operator in {"and", "or"}:
        return operators.both(operator, left, right)
    simple: dict[str, Callable[[Value, Value], Value]] = {
        "=": operators.equal,
        "!=": operators.unequal,
        "&": operators.joined,
        "in": operators.member,
    }
    if operator not in simple:
        raise Unsupported(f"the operator {operator}")
    return simple[operator](left, right)


def _condition(node: n.Condition, scope: Scope) -> Value:
    otherwise = None if node.otherwise is None else compiled(node.otherwise, scope)
    return operators.chosen(compiled(node.test, scope), compiled(node.then, scope), otherwise)


def _block(node: n.Block, scope: Scope) -> Value:
    *before, last = node.items or (None,)
    if last is None:
        raise Unsupported("an empty block")
    return compiled(last, bound(before, scope))


def bound(items: list[n.Node], scope: Scope) -> Scope:
    """Return the scope behind the first expressions of a block, which may only bind variables."""
    for item in items:
        if not isinstance(item, n.Bind):
            raise Unsupported("an expression in a block whose value is not used")
        plain(item)
        scope = scope.binding(item.name, compiled(item.value, scope))
    return scope


def pairs_of(node: n.Object, scope: Scope) -> dict[str, Value]:
    """Return the values of an object constructor by key.

    Raises:
        Unsupported: A key is not a constant, or stands twice.
    """
    plain(node)
    found: dict[str, Value] = {}
    for key, value in node.pairs:
        if not isinstance(key, n.Literal) or not isinstance(key.value, str) or key.value in found:
            raise Unsupported("a key that is not a constant of its own")
        found[key.value] = compiled(value, scope)
    return found


def _object(node: n.Object, scope: Scope) -> Value:
    parts = {key: value.present() for key, value in pairs_of(node, scope).items()}
    if not parts or any(value.sequence for value in parts.values()):
        raise Unsupported("an object of this kind inside a record")
    fields = pl.Struct({key: value.dtype for key, value in parts.items()})
    result = made(pl.struct([value.expr.alias(key) for key, value in parts.items()]), fields, *parts.values())
    known = {value.computed for value in parts.values()}
    return replace(result, computed=False if known == {False} else None)


def _array(node: n.Array, scope: Scope) -> Value:
    if any(isinstance(item, n.Array) for item in node.items):
        raise Unsupported("an array in an array")
    return lists.array([compiled(item, scope) for item in node.items])


def _apply(node: n.Apply, scope: Scope) -> Value:
    return compiled(applied_call(node), scope)


def applied_call(node: n.Apply) -> n.Call:
    """Return the call that ``left ~> right`` stands for.

    Raises:
        Unsupported: The right side is no function with a name.
    """
    if isinstance(node.right, n.Call):
        return replace(node.right, arguments=(node.left, *node.right.arguments))
    if isinstance(node.right, n.Variable):
        return n.Call(offset=node.offset, function=node.right, arguments=(node.left,))
    raise Unsupported("~> to something that is no function with a name")


def _call(node: n.Call, scope: Scope) -> Value:
    if not isinstance(node.function, n.Variable) or node.function.name in scope.names:
        raise Unsupported("a call of something that is no built-in function")
    name = node.function.name
    if name in {"map", "filter"}:
        return _over_items(name, node, scope)
    if name in {"now", "millis"} and not node.arguments:
        return functions.instant(name, scope.now)
    return functions.call(name, node.arguments, lambda argument: compiled(argument, scope))


def _over_items(name: str, node: n.Call, scope: Scope) -> Value:
    if len(node.arguments) != 2:
        raise Unsupported(f"${name} with {len(node.arguments)} arguments")
    given, function = node.arguments
    if not isinstance(function, n.Lambda) or len(function.parameters) != 1 or function.signature is not None:
        raise Unsupported(f"${name} with a function that is not written as function($item){{…}}")
    plain(function)
    (parameter,) = function.parameters
    of = lists.not_null(compiled(given, scope))

    def body(item: Value) -> Value:
        return compiled(function.body, scope.inside(item, name=parameter, context=False))

    return lists.mapped(of, body) if name == "map" else lists.filtered(of, body)


# --- paths -----------------------------------------------------------------------------------------------------------


def _path(node: n.Path, scope: Scope) -> Value:
    if node.group is not None or node.predicates or node.binds:
        raise Unsupported("a path that groups")
    value: Value | None = None
    for number, step in enumerate(node.steps):
        if step.focus or step.position or step.ancestor or step.binds:
            raise Unsupported("a path with @, # or %")
        value = _first(step, scope) if number == 0 else _next(value, step, scope)
    if value is None:
        raise Unsupported("the whole record as a value")
    if not (node.keep_singleton or node.keep_array):
        return value
    if not isinstance(value.dtype, pl.List):
        raise Unsupported("[] behind something that is no list")
    return replace(value, sequence=False)


def is_record(node: n.Node, scope: Scope) -> bool:
    """Tell whether an expression is the record itself."""
    if isinstance(node, n.Path) and len(node.steps) == 1:
        node = node.steps[0].node
    plain(node)
    return (
        isinstance(node, n.Variable) and scope.depth == 0 and (node.name == "$" or (node.name == "" and not scope.item))
    )


def _first(step: n.Step, scope: Scope) -> Value | None:
    if is_record(step.node, scope):
        if step.stages:
            raise Unsupported("a predicate on the record")
        return None
    value = scope.field(step.node.value) if isinstance(step.node, n.Name) else compiled(_bare(step.node), scope)
    return _staged(value, step.stages, scope)


def _bare(node: n.Node) -> n.Node:
    return replace(node, keep_array=False) if node.keep_array else node


def _next(value: Value | None, step: n.Step, scope: Scope) -> Value:
    node = step.node
    if value is None:
        if not isinstance(node, n.Name):
            raise Unsupported("a step of this kind on the record")
        return _staged(scope.field(node.value), step.stages, scope)
    if isinstance(value.dtype, pl.List):
        if step.stages:
            raise Unsupported("a predicate on a field of the items of a list")
        if isinstance(node, n.Name):
            return lists.mapped(value, lambda item: field_of(item, node.value))
        if not isinstance(node, n.Block | n.Object):
            raise Unsupported("a step of this kind on a list")
        of = lists.not_null(value)
        return lists.mapped(of, lambda item: compiled(node, scope.inside(item, context=True)))
    if not isinstance(node, n.Name):
        raise Unsupported("a step of this kind on an object")
    return _staged(field_of(value, node.value), step.stages, scope)


def _staged(value: Value, stages: tuple[n.Stage, ...], scope: Scope) -> Value:
    for stage in stages:
        if not isinstance(stage, n.Filter):
            raise Unsupported("a path with #")
        test = stage.expression
        if isinstance(test, n.Literal) and type(test.value) is int:
            value = lists.picked(value, test.value)
        else:
            value = _passing(value, test, scope)
    return value


def _passing(value: Value, test: n.Node, scope: Scope) -> Value:
    def passes(item: Value) -> Value:
        found = compiled(test, scope.inside(item, context=True))
        if found.is_number or isinstance(found.dtype, pl.List):
            raise Unsupported("a predicate that may be an index")
        return found

    return lists.filtered(lists.not_null(value), passes)


_HANDLERS: dict[type[n.Node], Callable[..., Value]] = {
    n.Literal: lambda node, _: literal(node.value),
    n.Variable: _variable,
    n.Binary: _binary,
    n.Negate: lambda node, scope: operators.negated(compiled(node.operand, scope)),
    n.Condition: _condition,
    n.Block: _block,
    n.Object: _object,
    n.Array: _array,
    n.Apply: _apply,
    n.Call: _call,
}
