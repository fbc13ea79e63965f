"""The syntax tree of a JSONata expression: small, typed, immutable, every node with the place it stands at.

The shapes follow the reference parser: ``a.b[0].c`` is one ``Path`` of three steps, a predicate after a step of a path
is a stage of that step, one after anything else a predicate of the node itself. What a node's common fields say is
applied in this order: the node's own value, ``predicates``, ``group``, then an array of one item collapses unless
``keep_array``.
"""

from __future__ import annotations

from typing import TypeAlias

from etlctl.frozen import frozen


@frozen(kw_only=True)
class Node:
    """Any expression.

    Attributes:
        offset: 0-based offset of its first token in the expression; of the operator for binary operators.
        predicates: What stands in brackets behind it, in order; for steps of a path see ``Step.stages``.
        group: The object behind it in braces (``items{name: $sum(price)}``); of a ``Path`` it groups the path's result.
        keep_array: Followed by ``[]``: a result of one item stays an array.
    """

    offset: int
    predicates: tuple[Filter, ...] = ()
    group: Group | None = None
    keep_array: bool = False


@frozen
class Filter:
    """``[expression]`` behind a step: an index (or several) or a condition."""

    expression: Node
    offset: int


@frozen
class PositionBind:
    """``#$name`` behind a predicate: binds each item's position."""

    name: str


Stage: TypeAlias = Filter | PositionBind
Pair: TypeAlias = tuple[Node, Node]


@frozen
class Group:
    """Key and value expressions of a grouping."""

    pairs: tuple[Pair, ...]
    offset: int


@frozen(kw_only=True)
class Literal(Node):
    """A text, a number (int when it is whole), true, false or null."""

    value: str | int | float | bool | None


@frozen(kw_only=True)
class Name(Node):
    """A field name; stands in paths only."""

    value: str


@frozen(kw_only=True)
class Wildcard(Node):
    """``*``: the values of all fields."""


@frozen(kw_only=True)
class Descendants(Node):
    """``**``: the value and everything in it, at any depth."""


@frozen(kw_only=True)
class Parent(Node):
    """``%``: the object that the context was taken from.

    Attributes:
        label: Name it is bound under by the step that carries the same ``Step.ancestor``.
    """

    label: str


@frozen(kw_only=True)
class Variable(Node):
    """``$name``; the context when the name is empty, the whole input when it is ``$``."""

    name: str


@frozen(kw_only=True)
class Regex(Node):
    """``/pattern/flags``; flags are some of ``i`` and ``m``. The dialect is that of ECMAScript."""

    pattern: str
    flags: str


@frozen
class Step:
    """One step of a path.

    Attributes:
        node: What is evaluated for each item of what the step before gave; a ``Name`` in most cases.
        stages: Predicates and position binds, in order.
        focus: ``@$name``: the variable bound to each item, while the context stays that of the step before.
        position: ``#$name`` right behind the step: the variable bound to each item's position.
        ancestor: Label under which the step's own context is bound for ``%``.
        binds: From this step on the path carries bindings along with its items.
    """

    node: Node
    stages: tuple[Stage, ...] = ()
    focus: str | None = None
    position: str | None = None
    ancestor: str | None = None
    binds: bool = False


@frozen(kw_only=True)
class Path(Node):
    """Steps, each evaluated for every item of the one before; a single field name is a path of one step.

    Attributes:
        steps: At least one.
        keep_singleton: Some step is followed by ``[]``: a result of one item stays an array.
        binds: The result carries bindings (``%``) to the path around it.
    """

    steps: tuple[Step, ...]
    keep_singleton: bool = False
    binds: bool = False


@frozen
class Term:
    """One key of an order-by."""

    expression: Node
    descending: bool


@frozen(kw_only=True)
class Sort(Node):
    """``^(…)``: a step that orders the items of the step before."""

    terms: tuple[Term, ...]


@frozen(kw_only=True)
class Binary(Node):
    """``+ - * / % & = != < <= > >= and or in ..``; the last only inside array constructors."""

    operator: str
    left: Node
    right: Node


@frozen(kw_only=True)
class Negate(Node):
    """Unary minus; of a number literal it is folded into the literal."""

    operand: Node


@frozen(kw_only=True)
class Array(Node):
    """``[…]``.

    Attributes:
        items: The expressions.
        whole: First or last step of a path: the array is one item, not many.
    """

    items: tuple[Node, ...]
    whole: bool = False


@frozen(kw_only=True)
class Object(Node):
    """``{…}``."""

    pairs: tuple[Pair, ...]


@frozen(kw_only=True)
class Block(Node):
    """``(…; …)``: variables bound in it are its own.

    Attributes:
        items: The expressions; the last one is the result.
        whole: One of them is an array constructor that stands first in a path.
    """

    items: tuple[Node, ...]
    whole: bool = False


@frozen(kw_only=True)
class Condition(Node):
    """``test ? then : otherwise``; ``a ?: b`` and ``a ?? b`` are conditions as well."""

    test: Node
    then: Node
    otherwise: Node | None = None


@frozen(kw_only=True)
class Bind(Node):
    """``$name := value``."""

    name: str
    value: Node


@frozen(kw_only=True)
class Lambda(Node):
    """``function($a, $b)<signature>{ body }``; signature includes its angle brackets, or is None."""

    parameters: tuple[str, ...]
    signature: str | None
    body: Node


@frozen(kw_only=True)
class Call(Node):
    """``function(arguments)``.

    Attributes:
        function: What is called; a ``Variable`` in most cases.
        arguments: The arguments.
        tail: The call is the last thing its lambda does.
    """

    function: Node
    arguments: tuple[Node, ...]
    tail: bool = False


@frozen(kw_only=True)
class Partial(Node):
    """``function(a, ?)``; None stands for a parameter left open."""

    function: Node
    arguments: tuple[Node | None, ...]


@frozen(kw_only=True)
class Apply(Node):
    """``left ~> right``."""

    left: Node
    right: Node


@frozen(kw_only=True)
class Transform(Node):
    """``|pattern|update,delete|``: a function that changes a copy of its argument."""

    pattern: Node
    update: Node
    delete: Node | None = None
