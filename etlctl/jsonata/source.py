"""What generated Python consists of: functions being written, variables and where they are visible, constants.

Nothing of an expression's text gets into the source except through ``repr`` of plain values and through names made up
here; everything else is a constant of the generated module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from etlctl.frozen import frozen
from etlctl.jsonata.values import NOTHING

DEEPEST_LOOP: Final = 12
"""Loops inside one another in one generated function; Python takes 20."""
_DEEPEST: Final = 80
"""Indentation levels in one generated module; Python takes 100."""


class Retry(Exception):  # noqa: N818 - not a failure of the expression
    """A record is not of the shape that code was fitted to."""


class TooDeep(Exception):  # noqa: N818 - not a failure of the expression
    """The expression nests deeper than Python source can."""


@dataclass(slots=True)
class Atom:
    """A value in generated code.

    Attributes:
        code: Python expression without side effects: a name or a literal.
        kind: What it is for sure: ``number``, ``string``, ``boolean``, ``null``, ``array``, ``object``; else ``any``.
        missing: It may be ``NOTHING``.
        finished: It is a plain JSON value, at any depth.
        sample: What it was for the record that the code is being fitted to; ``NOTHING`` when that is not known.
        items: Name of a new list of plain values that a sequence stands in.
    """

    code: str
    kind: str = "any"
    missing: bool = True
    finished: bool = False
    sample: Any = NOTHING
    items: str = ""

    @property
    def sure(self) -> bool:
        """Tell whether the kind holds without a test."""
        return self.kind != "any" and not self.missing


NOTHING_ATOM: Final = Atom("NOTHING", "nothing", finished=True)


@frozen
class Context:
    """The context value of an expression.

    Attributes:
        code: Name of the Python variable that holds it.
        single: Paths take it as one item even when it is an array: the input of the whole expression.
        sample: What it was for the record that the code is being fitted to; ``NOTHING`` when that is not known.
    """

    code: str
    single: bool = False
    sample: Any = NOTHING


class Function:
    """A Python function being written.

    Args:
        parent: The function it is written inside; None for the outermost.
    """

    def __init__(self, parent: Function | None) -> None:
        self.parent = parent
        self.lines: list[tuple[int, str, int]] = []
        self.level = 0
        self.loops = 0
        self.branches = 0
        self.nonlocals: set[str] = set()
        self.known: list[dict[tuple[str, str], str]] = [{}]
        self.depth: int = parent.depth + parent.level + 1 if parent is not None else 1

    def emit(self, text: str, offset: int) -> None:
        """Add a line; the offset is the place in the expression that it does the work of."""
        if self.level + self.depth > _DEEPEST:
            raise TooDeep
        self.lines.append((self.level, text, offset))

    @contextmanager
    def indented(self) -> Iterator[None]:
        """Write what follows one level deeper, where it may not happen at all."""
        self.level += 1
        self.branches += 1
        self.known.append({})
        yield
        self.known.pop()
        self.branches -= 1
        self.level -= 1

    @contextmanager
    def loop(self, head: str, offset: int) -> Iterator[None]:
        """Write a loop."""
        self.emit(head, offset)
        self.loops += 1
        before = len(self.lines)
        with self.indented():
            yield
            if len(self.lines) == before:
                self.emit("pass", offset)
        self.loops -= 1

    def seen(self, holder: str, name: str) -> str | None:
        """Return the variable that a field of a variable has been read into for sure."""
        return next((level[holder, name] for level in self.known if (holder, name) in level), None)

    def adopt(self, child: Function, name: str, parameters: str, offset: int) -> None:
        """Write a finished function into this one."""
        self.emit(f"def {name}({parameters}):", offset)
        if child.nonlocals:
            self.lines.append((self.level + 1, f"nonlocal {', '.join(sorted(child.nonlocals))}", offset))
        self.lines.extend((self.level + 1 + level, text, at) for level, text, at in child.lines)


@dataclass(slots=True)
class LocalVariable:
    """A JSONata variable in generated code.

    Attributes:
        code: Its Python name.
        owner: The function it belongs to.
        level: Branch depth at which its frame begins; a bind there happens for sure.
        definite: It has been bound for sure where code is being written now.
        raw: Its value comes from a caller, and may be a sequence that has not collapsed.
        sample: What it was for the record that the code is being fitted to; ``NOTHING`` when that is not known.
    """

    code: str
    owner: Function
    level: int = 0
    definite: bool = False
    raw: bool = False
    sample: Any = NOTHING


@dataclass(slots=True)
class Frame:
    """Variables of a block or lambda."""

    parent: Frame | BindingFrame | None
    variables: dict[str, LocalVariable] = field(default_factory=dict)


@dataclass(slots=True)
class BindingFrame:
    """Variables that the items of a path carry; ``code`` is the Python name of the dictionary."""

    parent: Frame | BindingFrame | None
    code: str


class Constants:
    """Objects that generated code uses by name."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def name(self, value: Any) -> str:
        """Return the name of an object, the same one each time."""
        known = self._names.get(id(value))
        if known is None:
            known = self._names[id(value)] = f"K{len(self._names)}"
            self.values[known] = value
        return known
