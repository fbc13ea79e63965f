"""Rewrites what a case expects in the text of its file: only those lines change, comments and layout stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import yaml

from etlctl.contract.document import Document, PathKey
from etlctl.contract.nodes import parse_document
from etlctl.contract.yaml_text import scalar
from etlctl.errors import EtlctlError
from etlctl.frozen import frozen

Row = Mapping[str, Any]
_WIDTH = 110
_NOWHERE = Path()


@frozen
class CaseEdit:
    """What is to stand in a case.

    Attributes:
        path: Where the case is in the document.
        expect: The records to expect; None leaves them as they are.
        origins: For records of ``expect`` the place of the record they come from in what stands there now.
        kept: Those among them that are as they were: their text stays.
        others: Other keys to set, such as ``rejected``.
    """

    path: PathKey
    expect: Sequence[Row] | None = None
    origins: Mapping[int, int] = field(default_factory=dict)
    kept: frozenset[int] = frozenset()
    others: Mapping[str, Any] = field(default_factory=dict)


def updated(text: str, edits: Sequence[CaseEdit]) -> str:
    """Return the text of a file with cases updated.

    Args:
        text: The whole file, lines ended by a line feed.
        edits: What to set.

    Raises:
        EtlctlError: A case is written in a way that cannot be changed in place (anchors and aliases).
    """
    for edit in edits:
        before = text
        if edit.expect is not None:
            text = _with_rows(text, edit)
        for key, value in edit.others.items():
            text = _with_value(text, edit.path, key, value)
        _verify(before, text, edit)
    return text


def _verify(before: str, text: str, edit: CaseEdit) -> None:
    """See that the text now says what it should, and nothing else has changed.

    Raises:
        EtlctlError: It does not.
    """
    data = parse_document(before.encode("utf-8", "surrogatepass"), Document("", _NOWHERE)).data
    case = _at(data, edit.path)
    if edit.expect is not None:
        case["expect"] = [dict(row) for row in edit.expect]
    case.update(edit.others)
    found = parse_document(text.encode("utf-8", "surrogatepass"), Document("", _NOWHERE))
    if found.problems or repr(_sorted(found.data)) != repr(_sorted(data)):
        raise EtlctlError(
            f"the case {case.get('name')!r} cannot be updated in place",
            help="write its expect: without anchors (&, *) and merges (<<), or correct it by hand",
        )


def _at(data: Any, path: PathKey) -> Any:
    for part in path:
        data = data[part]
    return data


def _sorted(value: Any) -> Any:
    """Return a value in a form whose text does not depend on the order of keys, and tells 1 from 1.0."""
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value


# --- finding places ----------------------------------------------------------------------------------------------


def _case_node(text: str, path: PathKey) -> yaml.MappingNode:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for part in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
        elif isinstance(node, yaml.MappingNode):
            node = next(value for key, value in node.value if key.value == part)
    if not isinstance(node, yaml.MappingNode):
        raise EtlctlError("the case is not a mapping")
    return node


def _entry(case: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((name, value) for name, value in case.value if name.value == key), None)


def _last_line(node: yaml.Node) -> int:
    """Return the number (from 0) of the last line of a node; comments behind it are not counted."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    end, start = node.end_mark, node.start_mark
    return end.line - 1 if end.column == 0 and end.line > start.line else end.line


# --- writing -----------------------------------------------------------------------------------------------------


def _with_rows(text: str, edit: CaseEdit) -> str:
    rows = edit.expect or ()
    case = _case_node(text, edit.path)
    found = _entry(case, "expect")
    if found is not None and isinstance(found[1], yaml.SequenceNode) and not found[1].flow_style and rows:
        return _with_items(text, found[0].start_mark.line, found[1], rows, edit)
    return _with_value(text, edit.path, "expect", [dict(row) for row in rows])


def _with_items(text: str, key_line: int, node: yaml.SequenceNode, rows: Sequence[Row], edit: CaseEdit) -> str:
    """Replace the items of a block list; an item that stays keeps its lines, one that changes the comments above it."""
    lines = text.split("\n")
    column = node.start_mark.column
    chunks: list[tuple[list[str], list[str]]] = []
    above = key_line + 1
    for item in node.value:
        first, last = _dash_line(lines, item, above), _last_line(item)
        chunks.append((lines[above:first], lines[first : last + 1]))
        above = last + 1
    made: list[str] = []
    for number, row in enumerate(rows):
        comments, own = chunks[edit.origins[number]] if number in edit.origins else ([], [])
        made += comments
        made += own if number in edit.kept else _item(row, column)
    return "\n".join([*lines[: key_line + 1], *made, *lines[above:]])


def _dash_line(lines: Sequence[str], item: yaml.Node, above: int) -> int:
    """Return the line with the dash of an item; its value may begin on a later one."""
    line = item.start_mark.line
    while line > above and not lines[line].lstrip().startswith("-"):
        line -= 1
    return line


def _with_value(text: str, path: PathKey, key: str, value: Any) -> str:
    """Set a key of a case, whatever stands there now."""
    case = _case_node(text, path)
    found = _entry(case, key)
    if case.flow_style:
        return _in_flow(text, case, found, key, value)
    column = case.start_mark.column
    if found is None:
        line = _last_line(case) + 1
        lines = text.split("\n")
        return "\n".join([*lines[:line], *_key_lines(key, value, column), *lines[line:]])
    name, node = found
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        lines = text.split("\n")
        first, last = name.start_mark.line, _last_line(node)
        # The first key of a case stands behind the dash.
        lead = lines[first][: name.start_mark.column]
        made = _key_lines(key, value, column)
        return "\n".join([*lines[:first], lead + made[0].lstrip(), *made[1:], *lines[last + 1 :]])
    made = _key_lines(key, value, column)
    tail = made[0].lstrip().removeprefix(f"{key}:").lstrip()
    new = "\n".join([tail, *made[1:]]) if tail else "\n" + "\n".join(made[1:])
    start, end = node.start_mark.index, node.end_mark.index
    gap = " " if start == name.end_mark.index + 1 and tail else ""
    before = text[:start].rstrip(" ") if not tail else text[:start] + gap
    return before + new + text[end:]


def _in_flow(text: str, case: yaml.MappingNode, found: tuple[yaml.Node, yaml.Node] | None, key: str, value: Any) -> str:
    new = _flow(value)
    if found is not None:
        return text[: found[1].start_mark.index] + new + text[found[1].end_mark.index :]
    end = case.end_mark.index - 1
    return f"{text[:end].rstrip(' ,')}, {key}: {new}{text[end:]}"


def _key_lines(key: str, value: Any, column: int) -> list[str]:
    """Return the lines of a key with its value; a list gets a line for each item unless all of it fits on one."""
    lead = " " * column
    one = f"{lead}{key}: {_flow(value)}"
    single = not isinstance(value, list) or not value or (len(value) == 1 and not isinstance(value[0], dict))
    if single:
        return [one]
    return [f"{lead}{key}:", *(line for item in value for line in _item(item, column + 2))]


def _item(value: Any, column: int) -> list[str]:
    """Return the lines of a list item: on one line when it fits, else a line for each field."""
    lead = " " * column + "- "
    one = lead + _flow(value)
    if len(one) <= _WIDTH or not isinstance(value, Mapping) or not value:
        return [one]
    fields = [f"{scalar(name)}: {_flow(item)}" for name, item in value.items()]
    return [lead + fields[0], *(" " * (column + 2) + line for line in fields[1:])]


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(_pairs(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return scalar(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _pairs(value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in value.items():
        yield f"{scalar(name)}: {_flow(item)}"


def _float(value: float) -> str:
    if value != value:  # noqa: PLR0124
        return ".nan"
    if value in {float("inf"), float("-inf")}:
        return ".inf" if value > 0 else "-.inf"
    return repr(value)
