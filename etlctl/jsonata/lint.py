"""What will surely fail in an expression that can be read: unknown functions, calls with too many arguments."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches

from etlctl.frozen import frozen
from etlctl.jsonata import nodes as n
from etlctl.jsonata.analysis import children
from etlctl.jsonata.functions import BUILTINS
from etlctl.jsonata.functions.signature import Signature
from etlctl.jsonata.surroundings import SURROUNDINGS
from etlctl.jsonata.syntax import parse


@frozen
class Doubt:
    """Something that is most likely a mistake.

    Attributes:
        message: What is wrong.
        start: Offset of its first character in the expression.
        end: Offset of the first character after it.
        help: What to do; None when there is nothing to say.
    """

    message: str
    start: int
    end: int
    help: str | None = None


def wrong_calls(expression: str, bindings: Collection[str] = ()) -> list[Doubt]:
    """Return the calls of functions that do not exist, or that never take so many arguments; in order.

    Args:
        expression: One that can be read.
        bindings: Names of variables from outside.
    """
    nodes = list(_nodes(parse(expression)))
    bound = {*bindings, *(name for node in nodes for name in _bound(node))}
    # A call on the right of ``~>`` has one argument more: what stands on the left.
    given = {id(node.right) for node in nodes if isinstance(node, n.Apply)}
    found = (_wrong(node, bound, extra=id(node) in given) for node in nodes if isinstance(node, n.Call | n.Partial))
    return sorted((doubt for doubt in found if doubt is not None), key=lambda doubt: doubt.start)


def parents(expression: str) -> list[Doubt]:
    """Return the places where an expression that can be read asks for the parent (``%``), in order."""
    found = sorted({node.offset for node in _nodes(parse(expression)) if isinstance(node, n.Parent)})
    return [Doubt("% looks for the parent", offset, offset + 1) for offset in found]


def _nodes(tree: n.Node) -> Iterator[n.Node]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(children(node))


def _bound(node: n.Node) -> Iterator[str]:
    if isinstance(node, n.Bind):
        yield node.name
    elif isinstance(node, n.Lambda):
        yield from node.parameters
    elif isinstance(node, n.Path):
        for step in node.steps:
            names = [
                step.focus,
                step.position,
                *(each.name for each in step.stages if isinstance(each, n.PositionBind)),
            ]
            yield from (name for name in names if name)


def _wrong(node: n.Call | n.Partial, bound: Collection[str], *, extra: bool) -> Doubt | None:
    function = node.function
    if not isinstance(function, n.Variable) or function.predicates or function.name in {"", "$", *bound}:
        return None
    name, end = function.name, function.offset + len(function.name) + 1
    signature = _signature(name)
    if signature is None:
        near = get_close_matches(name, [*BUILTINS, *SURROUNDINGS], n=1)
        help_ = f"did you mean ${near[0]}?" if near else "bind it first ($name := …), or give it in bindings"
        return Doubt(f"there is no function ${name}", function.offset, end, help_)
    count, most = len(node.arguments) + extra, len(signature.parameters)
    if count <= most or any(each.pattern.endswith(("+", "*")) for each in signature.parameters):
        return None
    return Doubt(f"${name} takes at most {most} argument{'s' * (most != 1)}, not {count}", function.offset, end)


def _signature(name: str) -> Signature | None:
    if name in SURROUNDINGS:
        return SURROUNDINGS[name]
    builtin = BUILTINS.get(name)
    return None if builtin is None else builtin.signature
