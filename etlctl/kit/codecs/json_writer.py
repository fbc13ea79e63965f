"""A JSON array of objects, one a line or indented."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from etlctl.errors import FatalError
from etlctl.kit.codecs.jsonl_writer import JsonlWriter
from etlctl.kit.codecs.writing import State, Target
from etlctl.kit.compression import decompress

if TYPE_CHECKING:
    import io

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^"{}\[\],:]+')
_BLOCK = 1 << 20
_SPACE = b" \t\r\n"


class JsonWriter(JsonlWriter):
    """Writes one JSON array; an existing one is written again with the new records behind its own.

    Args:
        target: Where to.
        indent: Spaces per level; None writes one record a line.
    """

    def __init__(self, target: Target, indent: int | None = None) -> None:
        self._indent = indent
        self._any = target.state is not None and bool(target.state["any"])
        existing = target.existing if target.state is None else None
        if existing is not None:
            _check_array(existing, target)
        super().__init__(replace(target, existing=None))
        if target.state is None:
            self._sink.write(b"[\n")
        if existing is not None:
            self._copy(existing, target)

    def checkpoint(self) -> State:
        """Put every record on disk; the array stays open."""
        return {**super().checkpoint(), "any": self._any}

    def finish(self) -> None:
        """End the array and close the file."""
        self._put_held()
        self._sink.write(b"\n]\n" if self._any else b"]\n")
        super().finish()

    def _direct(self) -> BinaryIO | None:
        return None

    def _put_lines(self, lines: bytes) -> None:
        if not lines:
            return
        body = lines.removesuffix(b"\n")
        if self._indent is None:
            body = body.replace(b"\n", b",\n")
        else:
            body = b",\n".join(indented(line, self._indent) for line in body.split(b"\n"))
        self._sink.write(b",\n" + body if self._any else body)
        self._any = True

    def _copy(self, existing: Path, target: Target) -> None:
        """Copy the records of an existing array as they stand, digits included."""
        with _opened(existing, target) as stream:
            held = b""
            first = True
            for block in _blocks(stream):
                body = held + block
                if first:
                    body = body.lstrip(_SPACE)[1:].lstrip(_SPACE)
                    first = False
                # What may belong to the end of the array waits until more has come.
                kept = body.rstrip(_SPACE + b"]")
                held = body[len(kept) :]
                self._sink.write(kept)
                self._any = self._any or bool(kept)
            self._sink.write(held.rstrip(_SPACE)[:-1].rstrip(_SPACE))


def _opened(existing: Path, target: Target) -> BinaryIO:
    """Open the plain text of a file, behind its byte order mark if it has one."""
    stream = decompress(existing.open("rb"), target.compression, target.name)
    if cast("io.BufferedReader", stream).peek(3).startswith(codecs.BOM_UTF8):
        stream.read(3)
    return stream


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block


def _check_array(existing: Path, target: Target) -> None:
    """Make sure that a file is one whole JSON array before anything is put behind its last element."""
    import ijson  # noqa: PLC0415

    try:
        with _opened(existing, target) as stream:
            events = ijson.basic_parse(stream)
            first = next(events)[0]
            for _ in events:
                pass
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise FatalError(
            f"cannot append to {target.name}: it is no valid JSON: {error}",
            help="repair the file, or set write_method: replace to write it anew",
        ) from error
    if first != "start_array":
        raise FatalError(
            f"cannot append to {target.name}: it holds no JSON array but {_KINDS.get(first, first)}",
            help="set write_method: replace to write it anew, or choose another path",
        )


_KINDS = {"start_map": "an object", "string": "a text", "number": "a number", "boolean": "a boolean", "null": "null"}


def indented(line: bytes, indent: int) -> bytes:
    """Return compact JSON spread over lines, itself standing one level deep; every value keeps its text."""
    made: list[bytes] = [b" " * indent]
    depth = 1
    tokens = _TOKEN.findall(line)
    for place, token in enumerate(tokens):
        if token in (b"{", b"["):
            made.append(token)
            if tokens[place + 1] not in (b"}", b"]"):
                depth += 1
                made.append(b"\n" + b" " * (indent * depth))
        elif token in (b"}", b"]"):
            if tokens[place - 1] not in (b"{", b"["):
                depth -= 1
                made.append(b"\n" + b" " * (indent * depth))
            made.append(token)
        elif token == b",":
            made.append(b",\n" + b" " * (indent * depth))
        else:
            made.append(b": " if token == b":" else token)
    return b"".join(made)
