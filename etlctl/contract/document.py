"""A YAML file as plain data, with the place of every key and value."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from etlctl.diagnostics import Diagnostic, Span

PathKey = tuple[str | int, ...]
_ESCAPE_LENGTHS = {"x": 4, "u": 6, "U": 10}


@dataclass(slots=True)
class Scalar:
    """A leaf: its value, its text, and where it stands. ``style`` is empty for plain scalars."""

    value: Any
    text: str
    span: Span
    start: int
    end: int
    style: str
    size: int = 1


@dataclass(slots=True)
class Mapping:
    """Keys and values in order."""

    span: Span
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)
    size: int = 1
    open: bool = True


@dataclass(slots=True)
class Items:
    """Values in order."""

    span: Span
    items: list[Node] = field(default_factory=list)
    size: int = 1
    open: bool = True


Node = Scalar | Mapping | Items


@dataclass
class Document:
    """A YAML file that was read.

    Attributes:
        file: Path as the user wrote it.
        path: Path to open.
        text: Content, line ends normalised.
        root: The node tree; None when the file is empty or broken.
        problems: What is wrong with it as YAML.
    """

    file: str
    path: Path
    text: str = ""
    root: Node | None = None
    problems: list[Diagnostic] = field(default_factory=list)

    @cached_property
    def data(self) -> Any:
        """The content as plain Python values; keys are text."""
        return None if self.root is None else _plain(self.root)

    @cached_property
    def _places(self) -> dict[PathKey, tuple[Scalar | None, Node]]:
        places: dict[PathKey, tuple[Scalar | None, Node]] = {}
        if self.root is not None:
            _collect(places, (), None, self.root)
        return places

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the file, without their ends."""
        return self.text.split("\n")

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(len(line) + 1 for line in self.lines[:-1])]

    def has(self, path: PathKey) -> bool:
        """Tell whether something stands at the path."""
        return path in self._places

    def key_span(self, path: PathKey) -> Span | None:
        """Return where the key of an entry is, or the value where there is no key."""
        if path not in self._places:
            return None
        key, value = self._places[path]
        return key.span if key is not None else value.span

    def value_span(self, path: PathKey) -> Span | None:
        """Return where a value is; an empty one is shown at its key."""
        if path not in self._places:
            return None
        key, value = self._places[path]
        empty = isinstance(value, Scalar) and value.start == value.end
        return key.span if empty and key is not None else value.span

    def nearest(self, path: Sequence[str | int]) -> PathKey:
        """Return the path with the parts left out that do not stand in the document.

        Validators put their own words between the keys (names of union members, of wrapped fields).
        """
        found: PathKey = ()
        for part in path:
            if (*found, part) in self._places:
                found = (*found, part)
        return found

    def written(self, path: PathKey) -> str | None:
        """Return a number, true or false as it is written; None for anything else."""
        place = self._places.get(path)
        if place is None or not isinstance(place[1], Scalar) or not isinstance(place[1].value, int | float):
            return None
        return place[1].text

    def is_plain(self, path: PathKey) -> bool:
        """Tell whether the value is a scalar without quotes."""
        place = self._places.get(path)
        return place is not None and isinstance(place[1], Scalar) and not place[1].style

    def inside(self, path: PathKey, start: int, end: int) -> Span | None:
        """Return where characters ``start`` to ``end`` of a text value stand in the file."""
        place = self._places.get(path)
        if place is None or not isinstance(place[1], Scalar):
            return self.value_span(path)
        node = place[1]
        index = source_index(self.text, node)
        if not index:
            return node.span
        first = index[start] if start < len(index) else index[-1] + 1
        last = max(index[min(max(end, start + 1), len(index)) - 1], first)
        return self.span(first, last + 1)

    def span(self, start: int, end: int) -> Span:
        """Return the span of a range of characters; one that runs over a line end is cut there."""
        line = bisect_right(self._starts, start)
        column = start - self._starts[line - 1] + 1
        room = len(self.lines[line - 1]) + 1
        return Span(line, column, line, max(min(column + end - start, room), column + 1))


def _plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Mapping):
        return {key.text: _plain(value) for key, value in node.entries}
    return [_plain(item) for item in node.items]


def _collect(places: dict[PathKey, tuple[Scalar | None, Node]], path: PathKey, key: Scalar | None, node: Node) -> None:
    places[path] = (key, node)
    if isinstance(node, Mapping):
        for name, value in node.entries:
            _collect(places, (*path, name.text), name, value)
    elif isinstance(node, Items):
        for number, item in enumerate(node.items):
            _collect(places, (*path, number), None, item)


def source_index(text: str, node: Scalar) -> list[int]:
    """Return for each character of a scalar's value where it stands in the file, through quotes, escapes and folds."""
    place = _content_start(text, node)
    index: list[int] = []
    for char in node.text:
        if node.style == '"':
            place = _skip_joined_lines(text, place, node.end)
        if node.style == '"' and text[place : place + 1] == "\\":
            index.append(place)
            place += _ESCAPE_LENGTHS.get(text[place + 1 : place + 2], 2)
            continue
        here = text[place : place + 1]
        if here != char and here.isspace():
            after = _skip_space(text, place, node.end)
            if char.isspace():
                index.append(place)
                place = after
                continue
            place = after
        index.append(min(place, max(node.end - 1, node.start)))
        place += 2 if node.style == "'" and char == "'" else 1
    return index


def _skip_space(text: str, place: int, end: int) -> int:
    while place < end and text[place].isspace():
        place += 1
    return place


def _skip_joined_lines(text: str, place: int, end: int) -> int:
    while text[place : place + 2] == "\\\n":
        place = _skip_space(text, place + 1, end)
    return place


def _content_start(text: str, node: Scalar) -> int:
    if node.style in {"|", ">"}:
        line_end = text.find("\n", node.start)
        return node.end if line_end < 0 else line_end + 1
    if node.style:
        return text.find(node.style, node.start) + 1
    # An anchor or a tag may stand before a plain scalar.
    first = node.text.split("\n", 1)[0].split(" ", 1)[0]
    return max(text.rfind(first, node.start, node.end) if text[node.start] in "&!" else node.start, node.start)
