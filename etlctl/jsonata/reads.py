"""What an expression surely reads of the record it is given, and which fields the objects it makes can have."""

from __future__ import annotations

from collections.abc import Iterator

from etlctl.frozen import frozen
from etlctl.jsonata import nodes as n
from etlctl.jsonata.analysis import children
from etlctl.jsonata.syntax import parse


@frozen
class Read:
    """A field of the record that an expression reads.

    Attributes:
        name: The field.
        start: Offset of the first character of its name in the expression, quotes included.
        end: Offset of the first character after it.
    """

    name: str
    start: int
    end: int


def fields_read(expression: str) -> list[Read]:
    """Return the fields that an expression reads of the record itself, in order.

    Only what is certain: a name that begins a path where the context is the record. Names behind a dot, in predicates,
    groupings, order-bys and functions are of other values. Left out are the fields whose absence the expression
    provides for: those it asks ``$exists`` about, or has a ``??`` or ``?:`` for.

    Args:
        expression: One that can be read.
    """
    tree = parse(expression)
    expected = {name.value for guard in _guards(tree) for name in _names(guard)}
    found = {name.offset: name for name in _names(tree) if name.value not in expected}
    return [Read(found[at].value, at, _end(expression, found[at])) for at in sorted(found)]


def fields_made(expression: str) -> tuple[str, ...] | None:
    """Return the fields that the records of an expression can have; None when that cannot be told.

    A record lacks those whose value is nothing.

    Args:
        expression: One that can be read.
    """
    return _made(parse(expression))


def _names(node: n.Node) -> Iterator[n.Name]:
    """Yield the names that are looked up in the context of a node itself."""
    if isinstance(node, n.Path):
        first = node.steps[0].node
        if isinstance(first, n.Name):
            yield first
        else:
            yield from _names(first)
        return
    for inside in _in_context(node):
        yield from _names(inside)


def _in_context(node: n.Node) -> Iterator[n.Node]:
    """Yield the expressions inside a node that are evaluated in its own context."""
    match node:
        case n.Binary():
            yield from (node.left, node.right)
        case n.Apply():
            yield node.left
            if isinstance(node.right, n.Call | n.Partial):
                yield node.right
        case n.Negate():
            yield node.operand
        case n.Array() | n.Block():
            yield from node.items
        case n.Object():
            yield from (each for pair in node.pairs for each in pair)
        case n.Condition():
            yield from (each for each in (node.test, node.then, node.otherwise) if each is not None)
        case n.Bind():
            yield node.value
        case n.Call() | n.Partial():
            yield from (each for each in node.arguments if each is not None)
        case _:
            pass


def _guards(tree: n.Node) -> Iterator[n.Node]:
    """Yield what an expression asks for in order to do something else when it is not there."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        waiting.extend(children(node))
        if isinstance(node, n.Call) and isinstance(node.function, n.Variable) and node.function.name == "exists":
            yield from node.arguments
        elif isinstance(node, n.Condition) and node.test == node.then:  # how ``?:`` is written out
            yield node.test


def _end(expression: str, name: n.Name) -> int:
    first = expression[name.offset : name.offset + 1]
    if first in {"`", '"', "'"}:
        after = expression.find(first, name.offset + 1)
        return after + 1 if after > 0 else len(expression)
    return name.offset + len(name.value)


def _made(node: n.Node) -> tuple[str, ...] | None:  # noqa: PLR0911 - one case per kind of node
    if node.predicates or node.group:
        return None
    match node:
        case n.Object():
            return _keys(node)
        case n.Block() if node.items:
            return _made(node.items[-1])
        case n.Path() if isinstance(node.steps[-1].node, n.Object):
            return _made(node.steps[-1].node)
        case n.Array() if node.items:
            return _same([_made(item) for item in node.items])
        case n.Condition():
            return _same([_made(each) for each in (node.then, node.otherwise) if each is not None])
        case _:
            return None


def _keys(node: n.Object) -> tuple[str, ...] | None:
    keys = [key.value if isinstance(key, n.Literal) else None for key, _ in node.pairs]
    plain = all(not key.predicates and not key.group for key, _ in node.pairs)
    return tuple(str(key) for key in keys) if plain and all(isinstance(key, str) for key in keys) else None


def _same(made: list[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """Return the fields of several objects when each has the same ones: else no field is in all of them."""
    first = made[0]
    return first if first is not None and all(each is not None and set(each) == set(first) for each in made) else None
