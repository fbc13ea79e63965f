"""What every part of the compiler stands on: names, lines, and the methods that the parts call on each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from etlctl.jsonata import nodes as n
from etlctl.jsonata.functions.builtin import Builtin
from etlctl.jsonata.source import Atom, BindingFrame, Constants, Context, Frame, Function, LocalVariable


class Emitter(ABC):
    """State of one compilation.

    Args:
        bindings: Names of the variables that come from outside.
        optional: Names of fields that some records do not have.
    """

    def __init__(self, bindings: Collection[str] = (), optional: Collection[str] = ()) -> None:
        self.bindings = bindings
        self.optional = optional
        self.constants = Constants()
        self.target = Function(None)
        self.frame: Frame | BindingFrame | None = None
        self._count = 0
        self._prologue: dict[str, str] = {}

    @property
    def prologue_lines(self) -> list[str]:
        """Lines that stand before everything else in the outermost function."""
        return [f"{name} = {code}" for code, name in self._prologue.items()]

    def name(self, prefix: str = "r") -> str:
        """Return a new Python name."""
        self._count += 1
        return f"{prefix}{self._count}"

    def emit(self, text: str, offset: int) -> None:
        """Write a line."""
        self.target.emit(text, offset)

    def assign(
        self, code: str, node: n.Node, kind: str = "any", *, missing: bool = True, finished: bool = False
    ) -> Atom:
        """Write the assignment of code to a new name."""
        name = self.name()
        self.emit(f"{name} = {code}", node.offset)
        return Atom(name, kind, missing, finished)

    @staticmethod
    def unless(atom: Atom) -> str:
        """Return the beginning of a test that is over at once for a value of the sample's type."""
        kind = type(atom.sample)
        return f"type({atom.code}) is not {kind.__name__} and " if kind in {str, int, float, bool} else ""

    def prologue(self, code: str) -> str:
        """Return the name of a value computed once per evaluation."""
        if code not in self._prologue:
            self._prologue[code] = self.name("p")
        return self._prologue[code]

    @abstractmethod
    def value(self, node: n.Node, context: Context, *, final: bool = False) -> Atom:
        """Write the value of a node."""

    @abstractmethod
    def raw(self, node: n.Node, context: Context) -> Atom:
        """Write a node's value without collapsing it."""

    @abstractmethod
    def collapse(self, atom: Atom, node: n.Node) -> Atom:
        """Write the collapse of a raw value."""

    @abstractmethod
    def condition(self, node: n.Node, context: Context) -> str:
        """Write a node's value; return code that Python tests."""

    @abstractmethod
    def resolve(self, name: str) -> tuple[str, Builtin | None]:
        """Return code that looks a variable up."""

    @abstractmethod
    def known(self, name: str) -> LocalVariable | None:
        """Return the variable a name stands for when there is no doubt."""

    @abstractmethod
    def open_frame(self, names: list[str]) -> Frame:
        """Begin a frame of variables."""

    @abstractmethod
    def path(self, node: n.Path, context: Context, *, final: bool) -> Atom:
        """Write the value of a path."""

    @abstractmethod
    def must_be_list(self, code: str, node: n.Node) -> None:
        """Write the test that a value is a list, as it was for the sample."""

    @abstractmethod
    def computed(self, node: n.Node, context: Context) -> Atom:
        """Write the value of a node that is computed with again."""

    @abstractmethod
    def total(self, node: n.Node, context: Context) -> Atom | None:
        """Write the sum over a path in one loop; None where that cannot be."""

    @abstractmethod
    def filter_code(self, each: n.Filter, code: str, *, binding: bool = False) -> str:
        """Write a predicate; return code of what it selects of a value."""

    @abstractmethod
    def pair_functions(self, pairs: Sequence[n.Pair], context: Context, *, binding: bool) -> str:
        """Write the functions of a grouping."""

    @abstractmethod
    def item_function(self, node: n.Node, *, binding: bool, arguments: int = 2) -> str:
        """Write a function of an item."""
