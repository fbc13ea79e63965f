"""Questions about a syntax tree that the compiler asks before it writes code."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from etlctl.jsonata import nodes as n


def children(node: n.Node) -> Iterator[n.Node]:  # noqa: C901, PLR0912 - one case per kind of node
    """Yield the expressions directly inside a node, those of its predicates and grouping included."""
    match node:
        case n.Path():
            for step in node.steps:
                yield step.node
                yield from (stage.expression for stage in step.stages if isinstance(stage, n.Filter))
        case n.Sort():
            yield from (term.expression for term in node.terms)
        case n.Binary() | n.Apply():
            yield from (node.left, node.right)
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
        case n.Lambda():
            yield node.body
        case n.Call() | n.Partial():
            yield node.function
            yield from (each for each in node.arguments if each is not None)
        case n.Transform():
            yield from (each for each in (node.pattern, node.update, node.delete) if each is not None)
        case _:
            pass
    yield from (each.expression for each in node.predicates)
    if node.group is not None:
        yield from (each for pair in node.group.pairs for each in pair)


def bound_names(*nodes: n.Node) -> list[str]:
    """Return the variables that expressions bind in the frame they stand in, in order."""
    found: dict[str, None] = {}
    waiting = list(reversed(nodes))
    while waiting:
        node = waiting.pop()
        if isinstance(node, n.Bind):
            found[node.name] = None
        if isinstance(node, n.Block | n.Lambda):
            waiting.extend(each.expression for each in node.predicates)
            continue
        waiting.extend(reversed(list(children(node))))
    return list(found)


@lru_cache(maxsize=4096)
def makes_functions(node: n.Node) -> bool:
    """Tell whether an expression makes function values, which may outlive the loop turn they were made in."""
    if isinstance(node, n.Lambda | n.Partial | n.Transform | n.Apply):
        return True
    return any(makes_functions(each) for each in children(node))


def stays_inside(node: n.Node) -> bool:
    """Tell whether an expression for sure selects from its context only: no variable, no parent."""
    if isinstance(node, n.Parent | n.Bind) or (isinstance(node, n.Variable) and node.name != ""):
        return False
    return all(stays_inside(each) for each in children(node))


def has_regex(node: n.Node) -> bool:
    """Tell whether there is a regular expression in an expression."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, n.Regex):
            return True
        waiting.extend(children(each))
    return False


def is_predicate(node: n.Node) -> bool:
    """Tell whether an expression gives true, false or nothing for sure, so that it is no index."""
    if node.predicates or node.group or node.keep_array:
        return False
    if isinstance(node, n.Block):
        return bool(node.items) and is_predicate(node.items[-1])
    if isinstance(node, n.Binary):
        return node.operator in {"=", "!=", "<", "<=", ">", ">=", "and", "or", "in"}
    return isinstance(node, n.Literal) and isinstance(node.value, bool | str | type(None))


def carries_bindings(node: n.Node) -> bool:
    """Tell whether the items of an expression's own value carry bindings to what stands around it."""
    if isinstance(node, n.Block):
        return bool(node.items) and carries_bindings(node.items[-1])
    return isinstance(node, n.Path) and node.binds
