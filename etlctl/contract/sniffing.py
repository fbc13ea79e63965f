"""Looks at a data file once and finds the options to read it with: format, delimiter, encoding, records path."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etlctl.errors import EtlctlError, FatalError
from etlctl.kit.codecs import READABLE, format_of
from etlctl.kit.codecs.json_reader import USUAL_KEYS
from etlctl.kit.codecs.json_scanner import JsonScanner, MalformedJson
from etlctl.kit.sources import OpenSource, open_sources
from etlctl.types import parse

_HEAD = 1 << 18
_LINES = 300
_DELIMITERS = ",;\t|"
_BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_DEEPEST = 3


@dataclass(slots=True)
class Sniffed:
    """How to read a file.

    Attributes:
        format: Name of the format.
        options: What differs from the defaults: the name of the options block to its options.
        notes: Why, by option, and what the reader should know; keys may be "" for a general remark.
    """

    format: str
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def untyped(self) -> bool:
        """Tell whether every value is text, so that types have to be found out."""
        return self.format in {"csv", "tsv", "xml"}


def sniff(path: Path) -> Sniffed:
    """Return how to read a file.

    Raises:
        EtlctlError: The file is missing, or its name tells no format.
    """
    if not path.is_file():
        raise EtlctlError(f"File not found: {path}", help="give the path of a data file, such as data.csv")
    sources = open_sources(path.as_posix(), path, "auto", lambda members: members)
    name = format_of(path.name) or next((found for source in sources if (found := format_of(source.name))), None)
    if name is None:
        raise EtlctlError(
            f"the name of {path} does not tell its format",
            help=f"rename it so that it ends with one of {', '.join(READABLE)} (.gz, .zst or .zip may follow)",
        )
    source = next((source for source in sources if format_of(source.name) == name), sources[0])
    if name in {"csv", "tsv"}:
        return _sniff_csv(name, source)
    if name == "json":
        return _sniff_json(source)
    return Sniffed(name)


def _sniff_csv(name: str, source: OpenSource) -> Sniffed:
    found = Sniffed(name)
    options: dict[str, Any] = {}
    encoding = _encoding(source)
    if encoding != "utf-8":
        options["encoding"] = encoding
        found.notes["encoding"] = "the bytes are no UTF-8; check a few letters with accents"
    with closing(source.stream()) as stream:
        head = stream.read(_HEAD)
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    if not text.strip():
        raise EtlctlError(f"{source.name} is empty: there is nothing to infer from")
    delimiter = _delimiter(text, "\t" if name == "tsv" else ",")
    if delimiter != ("\t" if name == "tsv" else ","):
        options["delimiter"] = delimiter
    first = next(csv.reader(io.StringIO(text), delimiter=delimiter), [])
    if not _is_header(first):
        options["header"] = False
        options["columns"] = [f"column_{number}" for number in range(1, len(first) + 1)]
        found.notes["columns"] = "the first line looks like data: name the columns here"
    if options:
        found.options["csv_options"] = options
    return found


def _encoding(source: OpenSource) -> str:
    """Return ``utf-8`` when the whole file is, else the likeliest other encoding."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    undefined = frozenset(b"\x81\x8d\x8f\x90\x9d")
    western, valid, first = True, True, True
    with closing(source.stream()) as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            if first and block[:2] in _BOMS:
                return _BOMS[block[:2]]
            first = False
            western = western and undefined.isdisjoint(block)
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                valid = False
                decoder.reset()
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        valid = False
    if valid:
        return "utf-8"
    return "cp1252" if western else "latin-1"


def _delimiter(text: str, usual: str) -> str:
    """Return the delimiter by which most lines have the same number of cells, more than one."""
    best, score = usual, 0.0
    whole = text[: text.rfind("\n") + 1] or text
    for delimiter in usual + _DELIMITERS.replace(usual, ""):
        widths = Counter(_widths(whole, delimiter))
        if not widths:
            continue
        width, lines = widths.most_common(1)[0]
        agreement = lines / widths.total() if width > 1 else 0.0
        # A little extra for more cells: "1,5;2,5" agrees on commas, too.
        agreement += min(width, 50) / 1000 if agreement else 0
        if agreement > score:
            best, score = delimiter, agreement
    return best


def _widths(text: str, delimiter: str) -> Iterator[int]:
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter)):
            if number >= _LINES:
                return
            if row:
                yield len(row)
    except csv.Error:
        return


def _is_header(cells: list[str]) -> bool:
    """Tell whether a first line names columns: every cell has a different text, and none is a number or a date."""
    names = [cell.strip() for cell in cells]
    return all(names) and len(set(names)) == len(names) and not any(_is_value(name) for name in names)


def _is_value(text: str) -> bool:
    for kind in ("float", "datetime"):
        try:
            parse(text, kind)
        except EtlctlError:
            continue
        return True
    return False


def _sniff_json(source: OpenSource) -> Sniffed:
    """Find the array of objects in a document that holds more than its records."""
    found = Sniffed("json")
    with closing(source.stream()) as stream:
        scanner = JsonScanner(stream)
        if scanner.peek() != "{":
            return found
        try:
            arrays = dict(_arrays(scanner, ()))
        except MalformedJson as error:
            place = f"{source.name}, line {error.line}, column {error.column}"
            help_text = "rename the file to .jsonl if every line is a record of its own" if error.several else None
            raise FatalError(f"{place}: malformed JSON: {error.message}", help=help_text) from error
    if not arrays or any("." in key for path in arrays for key in path):
        return found
    path = max(arrays, key=lambda path: (arrays[path], -len(path)))
    usual = [path for path in arrays if len(path) == 1 and path[0] in USUAL_KEYS]
    if usual == [path]:
        return found
    found.options["json_options"] = {"records_path": ".".join(path)}
    others = [".".join(other) for other in arrays if other != path]
    found.notes["records_path"] = f"an array of {arrays[path]:,} objects" + (
        f"; other arrays of objects: {', '.join(others[:5])}" if others else ""
    )
    return found


def _arrays(scanner: JsonScanner, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield path and length of the arrays of objects, passing over the rest; checks the document on the way."""
    for key in scanner.members():
        opening = scanner.peek()
        if opening == "[":
            objects = [isinstance(item.value, dict) for item in scanner.items()]
            if objects and objects[0]:
                yield (*above, key), len(objects)
        elif opening == "{" and len(above) < _DEEPEST:
            yield from _arrays(scanner, (*above, key))
        else:
            scanner.skip()
    if not above and scanner.peek():
        raise scanner.malformed("the document is over, but there is more text", several=True)
