"""Reads a JSON document: an array of objects somewhere in it, or the one object it is. Streams; numbers stay exact."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from etlctl.errors import FatalError
from etlctl.kit.codecs.json_scanner import Item, JsonScanner, MalformedJson, has_surrogate
from etlctl.kit.codecs.reading import Chunk, Unreadable, raw_text

if TYPE_CHECKING:
    from etlctl.batch import Record
    from etlctl.kit.sources import OpenSource

USUAL_KEYS = ("results", "items", "records", "values", "data")
"""Fields that hold the records when no path is given."""
_MANY = 5_000  # records; the garbage collector makes longer lists of nested objects slower, not faster


class JsonReader:
    """Reads the records of a JSON document.

    Without a path the records are: the items of the array that the document is; else the items of an array of
    objects under one of ``results``, ``items``, ``records``, ``values``, ``data`` at the top; else the one object.

    Args:
        records_path: Fields on the way to the records, joined by dots, such as ``data.items``.
        chunk_bytes: Characters of JSON per chunk.
        chunk_rows: Records per chunk at most.
    """

    def __init__(
        self, *, records_path: str | None = None, chunk_bytes: int = 8 << 20, chunk_rows: int = 50_000
    ) -> None:
        self.records_path = records_path
        self.chunk_bytes = chunk_bytes
        self.chunk_rows = min(chunk_rows, _MANY)

    def chunks(self, source: OpenSource, start: Mapping[str, Any] | None) -> Iterator[Chunk]:
        """Yield the records from a token on; the token is the ordinal of the next record.

        Raises:
            FatalError: The document is malformed before its first record, or there are no records at the path.
        """
        if start and start.get("end"):
            return
        with closing(source.stream()) as stream:
            scanner = JsonScanner(stream, min(self.chunk_bytes, 1 << 20))
            items = _locate(scanner, self.records_path, source.name)
            yield from self._read(items, scanner, source.name, int(start["record"]) if start else 0)

    def columns(self, source: OpenSource) -> list[str] | None:  # noqa: ARG002
        """Return None: the records of a JSON document may differ."""
        return None

    def _read(self, items: Iterator[Item], scanner: JsonScanner, name: str, skip: int) -> Iterator[Chunk]:
        chunk = _Building(skip)
        ordinal = 0
        try:
            for item in items:
                ordinal += 1
                if ordinal <= skip:
                    continue
                chunk.add(item, scanner)
                if len(chunk) >= self.chunk_rows or scanner.passed - chunk.began >= self.chunk_bytes:
                    yield chunk.finish()
                    chunk = _Building(ordinal, scanner.passed)
        except MalformedJson as error:
            where = f"{name}, line {error.line}, column {error.column}"
            if ordinal == 0:
                help_text = "use format: jsonl if every line is a record of its own" if error.several else None
                raise FatalError(f"{where}: malformed JSON: {error.message}", help=help_text) from None
            chunk.broken(error, where)
        if len(chunk):
            yield chunk.finish()


class _Building:
    """A chunk that is being filled."""

    def __init__(self, ordinal: int, began: int = 0) -> None:
        self.ordinal = ordinal
        self.began = began
        self.records: list[Record] = []
        self.lines: list[int] = []
        self.unreadable: list[Unreadable] = []
        self.ended = False

    def __len__(self) -> int:
        return len(self.records) + len(self.unreadable)

    def add(self, item: Item, scanner: JsonScanner) -> None:
        value = item.value
        if not isinstance(value, dict):
            kind = _kind(value)
            self._refuse("json.not_an_object", f"{kind} stands where a record (an object) belongs", item, scanner)
        elif item.constant:
            self._refuse("json.constant", f"{item.constant} is no JSON value", item, scanner)
        elif item.doubtful and has_surrogate(value):
            self._refuse("json.text", "text with bad UTF-8 or half of a surrogate pair", item, scanner)
        else:
            self.records.append(value)
            self.lines.append(item.line)

    def _refuse(self, rule: str, message: str, item: Item, scanner: JsonScanner) -> None:
        self.unreadable.append(Unreadable(len(self), rule, message, item.raw or scanner.raw(), item.line))

    def broken(self, error: MalformedJson, where: str) -> None:
        message = f"{where}: malformed JSON: {error.message}; nothing from here on can be read"
        self.unreadable.append(Unreadable(len(self), "json.malformed", message, error.excerpt, error.line))
        self.ended = True

    def finish(self) -> Chunk:
        token: dict[str, Any] = {"record": self.ordinal + len(self)}
        if self.ended:
            token["end"] = True
        return Chunk(self.records, None, token, self.unreadable, self.lines.__getitem__)


def _locate(scanner: JsonScanner, path: str | None, name: str) -> Iterator[Item]:
    """Yield the records, and check that the document is whole after them."""
    opening = scanner.peek()
    if not opening:
        raise FatalError(f"{name} is empty: there is no JSON in it")
    if path:
        yield from _at_path(scanner, path.split("."), path, name)
    elif opening == "[":
        yield from scanner.items()
    elif opening == "{":
        yield from _usual(scanner, name)
    else:
        yield scanner.item()
    _check_over(scanner)


def _check_over(scanner: JsonScanner) -> None:
    if scanner.peek():
        raise scanner.malformed("the document is over, but there is more text", several=True)


def _usual(scanner: JsonScanner, name: str) -> Iterator[Item]:
    """Yield the items under a usual key, else the object itself."""
    whole: dict[str, Any] = {}
    found: str | None = None
    doubtful, line, filled = False, scanner.line(), False
    constant: str | None = None
    for key in scanner.members():
        if key not in USUAL_KEYS or scanner.peek() != "[":
            whole[key] = scanner.value()
        else:
            items = scanner.items()
            first = next(items, None)
            if first is not None and not isinstance(first.value, dict):
                whole[key] = [first.value, *(item.value for item in items)]
            else:
                if first is not None:
                    if filled:
                        raise _two_places(name, found, key)
                    filled = True
                    yield first
                    yield from items
                found = key
        doubtful = doubtful or scanner.doubtful
        constant = constant or scanner.constant
    if found is None:
        _check_over(scanner)
        yield Item(whole, line, doubtful, constant, raw_text(json.dumps(whole).encode()))


def _two_places(name: str, one: str | None, other: str) -> FatalError:
    return FatalError(
        f"{name} holds arrays of objects under {one!r} and under {other!r}: both could be the records",
        help=f"say which one with json_options: {{records_path: {one}}}",
    )


def _at_path(scanner: JsonScanner, keys: Sequence[str], path: str, name: str) -> Iterator[Item]:
    """Yield the records at the end of a path, of which ``keys`` is what is left to go."""
    opening = scanner.peek()
    if not keys:
        if opening == "[":
            yield from scanner.items()
        elif opening == "{":
            yield scanner.item()
        else:
            raise FatalError(f"{name}: records_path {path!r} leads to {_kind(scanner.value())}, not to an array")
        return
    if opening != "{":
        done = ".".join(path.split(".")[: -len(keys)]) or "the top of the document"
        found = {"[": "an array", "": "nothing"}.get(opening, "a plain value")
        raise FatalError(
            f"{name}: records_path {path!r} cannot be followed: {done} is {found}, not an object with {keys[0]!r}",
            help="leave records_path out if the document itself is the array" if opening == "[" else None,
        )
    others: list[str] = []
    reached = False
    for key in scanner.members():
        if key == keys[0] and not reached:
            reached = True
            yield from _at_path(scanner, keys[1:], path, name)
        else:
            others.append(key)
            scanner.skip()
    if not reached:
        raise _no_such_field(name, path, keys[0], others)


def _no_such_field(name: str, path: str, key: str, others: Sequence[str]) -> FatalError:
    close = get_close_matches(key, others, 1)
    known = ", ".join(others[:20]) or "none"
    return FatalError(
        f"{name}: records_path {path!r} cannot be followed: there is no field {key!r} (fields there: {known})",
        help=f"did you mean {close[0]!r}?" if close else None,
    )


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", str: "text", list: "an array", dict: "an object"}
    return names.get(type(value), "a number")
