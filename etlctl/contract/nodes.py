"""Reads YAML into a node tree with positions, within limits; everything wrong becomes a diagnostic."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from etlctl.contract.codes import Code
from etlctl.contract.document import Document, Items, Mapping, Node, Scalar
from etlctl.contract.scalars import CORE_TAGS, plain_scalar, tagged_scalar
from etlctl.diagnostics import Diagnostic, Span

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 100_000

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COLLECTION_TAGS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_FRIENDLY = (
    ("mapping values are not allowed", "': ' inside a value", 'put the value in quotes: key: "a: b"'),
    ("did not find expected ',' or", "a bracket or a comma is missing", "close the [ or {, or quote a value with ${…}"),
    ("unexpected end of stream", "a quote is opened and never closed", "add the closing quote"),
    (
        "did not find expected key",
        "the indentation does not fit the lines above",
        "line the key up with its neighbours",
    ),
    ("could not find expected ':'", "a line that is neither a key nor part of a value", "write 'key: value'"),
    (
        "block sequence entries are not allowed",
        "a list item cannot start here",
        "put '- ' on its own line below the key",
    ),
    (
        "unknown escape character",
        "an unknown escape in a double-quoted text",
        "use single quotes, or double the backslash",
    ),
    ("cannot start any token", "a value cannot start with this character", "put the value in quotes"),
)


class _Stop(Exception):  # noqa: N818
    """Reading cannot go on; the problem is already noted."""


def read_document(path: Path, file: str | None = None) -> Document:
    """Read a YAML file.

    Args:
        path: File to open.
        file: Path to show in messages; ``path`` when left out.

    Returns:
        The document; whatever is wrong with it as YAML is in ``problems``, and then ``root`` may be None.
    """
    shown = str(path) if file is None else file
    document = Document(shown, path)
    try:
        # Not stat: the size of a pipe or a device says nothing, and it may never end.
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        document.problems.append(Code.unreadable_file.at(shown, None, f"cannot read the file: {error.strerror}"))
        return document
    if len(raw) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES // 1024} KiB"
        document.problems.append(
            Code.yaml_limit.at(shown, None, message, help="a contract is a page of YAML, not data")
        )
        return document
    return parse_document(raw, document)


def parse_document(raw: bytes, document: Document) -> Document:
    """Parse the bytes of a YAML file into ``document``."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        span = Span(line, column, line, column + 1)
        document.problems.append(Code.unreadable_file.at(document.file, span, message, help="save the file as UTF-8"))
        return document
    document.text = text.replace("\r\n", "\n").replace("\r", "\n")
    bad = list(_UNREADABLE.finditer(document.text))
    for match in bad[:20]:
        message = f"control character U+{ord(match[0]):04X} is not allowed"
        document.problems.append(Code.unreadable_file.at(document.file, document.span(*match.span()), message))
    if not bad:
        _Reader(document).read()
    return document


class _Reader:
    """One reading of one document: events in, nodes out."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.parser = _Parser(document.text)
        self.anchors: dict[str, Node] = {}

    def read(self) -> None:
        try:
            self._read()
        except yaml.YAMLError as error:
            self.document.problems.append(self._syntax_problem(error))
        except _Stop:
            pass
        finally:
            self.parser.dispose()

    def _read(self) -> None:
        self.parser.get_event()  # the start of the stream
        if isinstance(self.parser.get_event(), yaml.StreamEndEvent):
            return
        root = self._node(self.parser.get_event(), 1)
        self.parser.get_event()  # the end of the document
        after = self.parser.get_event()
        if not isinstance(after, yaml.StreamEndEvent):
            span = self._span(after)
            self._problem(Code.yaml_syntax, span, "a second document starts here", help="remove the '---' line")
        self.document.root = root

    def _problem(self, code: Code, span: Span | None, message: str, *, help: str | None = None) -> None:  # noqa: A002
        self.document.problems.append(code.at(self.document.file, span, message, help=help))

    def _span(self, event: Any) -> Span:
        return self.document.span(event.start_mark.index, event.end_mark.index)

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._anchored(event, self._scalar(event))
        if depth > MAX_DEPTH:
            self._problem(Code.yaml_limit, self._span(event), f"nested deeper than {MAX_DEPTH} levels")
            raise _Stop
        if event.tag and event.tag not in _COLLECTION_TAGS:
            self._unknown_tag(event)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(event, depth)
        return self._items(event, depth)

    def _anchored(self, event: Any, node: Node) -> Node:
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        node = self.anchors.get(event.anchor)
        if node is None:
            self._problem(Code.yaml_syntax, self._span(event), f"alias *{event.anchor} has no anchor &{event.anchor}")
            return self._empty(event)
        if not isinstance(node, Scalar) and node.open:
            self._problem(Code.yaml_limit, self._span(event), f"alias *{event.anchor} contains itself")
            return self._empty(event)
        return node

    def _empty(self, event: Any) -> Scalar:
        return Scalar(None, "", self._span(event), event.start_mark.index, event.end_mark.index, "")

    def _unknown_tag(self, event: Any) -> None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        message = f"tag {tag} is not allowed"
        help_ = "contracts hold plain text, numbers, lists and mappings; remove the tag"
        self._problem(Code.yaml_tag, self._span(event), message, help=help_)

    def _scalar(self, event: Any) -> Scalar:
        span, start, end = self._span(event), event.start_mark.index, event.end_mark.index
        style = event.style or ""
        scalar = Scalar(event.value, event.value, span, start, end, style)
        if event.tag in CORE_TAGS:
            try:
                scalar.value = tagged_scalar(event.value, event.tag)
            except ValueError as error:
                self._problem(Code.wrong_type, span, str(error))
        elif event.tag and event.tag != "!":
            self._unknown_tag(event)
        elif not style and not event.tag:
            scalar.value = plain_scalar(event.value)
        return scalar

    def _items(self, event: Any, depth: int) -> Items:
        items = Items(self._span(event))
        self._anchored(event, items)
        while not isinstance(event := self.parser.get_event(), yaml.SequenceEndEvent):
            item = self._node(event, depth + 1)
            items.items.append(item)
            self._grow(items, item)
        items.open = False
        return items

    def _mapping(self, event: Any, depth: int) -> Mapping:
        mapping = Mapping(self._span(event))
        self._anchored(event, mapping)
        merges: list[Node] = []
        seen: dict[str, Scalar] = {}
        while not isinstance(event := self.parser.get_event(), yaml.MappingEndEvent):
            key = self._key(self._node(event, depth + 1))
            value = self._node(self.parser.get_event(), depth + 1)
            self._grow(mapping, value)
            if key is None:
                continue
            if key.text == "<<" and not key.style:
                merges.append(value)
            elif key.text in seen:
                self._duplicate(key, seen[key.text])
            else:
                seen[key.text] = key
                mapping.entries.append((key, value))
        for merge in merges:
            self._merge(mapping, seen, merge)
        mapping.open = False
        return mapping

    def _grow(self, parent: Mapping | Items, child: Node) -> None:
        parent.size += child.size
        if parent.size > MAX_NODES:
            message = f"more than {MAX_NODES:,} values once aliases are expanded"
            self._problem(Code.yaml_limit, parent.span, message, help="aliases of aliases multiply; write it plainly")
            raise _Stop

    def _key(self, node: Node) -> Scalar | None:
        if isinstance(node, Scalar) and (node.text or node.style):
            return node
        message = "a key must be text" if not isinstance(node, Scalar) else "a key is missing before ':'"
        help_ = "quote values that start with '{' or '['" if not isinstance(node, Scalar) else None
        self._problem(Code.yaml_syntax, node.span, message, help=help_)
        return None

    def _duplicate(self, key: Scalar, first: Scalar) -> None:
        related = ((self.document.file, first.span, "first written here"),)
        message = f"key {key.text!r} is written twice: first on line {first.span.line}, again on line {key.span.line}"
        self.document.problems.append(
            Code.duplicate_key.at(self.document.file, key.span, message, help="remove one of them", related=related)
        )

    def _merge(self, mapping: Mapping, seen: dict[str, Scalar], source: Node) -> None:
        if isinstance(source, Items):
            for item in source.items:
                self._merge(mapping, seen, item)
            return
        if not isinstance(source, Mapping):
            self._problem(Code.yaml_syntax, source.span, "'<<' takes a mapping or a list of mappings")
            return
        for key, value in source.entries:
            if key.text not in seen:
                seen[key.text] = key
                mapping.entries.append((key, value))

    def _syntax_problem(self, error: yaml.YAMLError) -> Diagnostic:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", None) or error)
        message, help_ = problem, None
        span = self.document.span(mark.index, mark.index + 1) if mark is not None else None
        if mark is not None and self.document.text[mark.index : mark.index + 1] == "\t":
            message, help_ = "a tab is used for indentation", "indent with spaces"
        else:
            for words, friendly, advice in _FRIENDLY:
                if words in problem:
                    message, help_ = friendly, advice
        return Code.yaml_syntax.at(self.document.file, span, f"not valid YAML: {message}", help=help_)
