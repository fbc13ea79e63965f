"""Reads JSON lines: one object per line, every number exact, every line judged on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from etlctl.deferred import Deferred
from etlctl.errors import FatalError
from etlctl.kit.codecs.json_exact import RefusedLine, exact_object, numbers_survive, parse_lines, parse_plain
from etlctl.kit.codecs.reading import RAW_LIMIT, Chunk, Unreadable, raw_text
from etlctl.kit.sources import OpenSource, skip_to

if TYPE_CHECKING:
    from typing import BinaryIO

    from etlctl.batch import Record

MAX_RECORD_BYTES = 64 << 20
_BLOCK = 1 << 19  # longer lists of nested objects are slower to make, not faster
_DEFERRED_BLOCK = 1 << 21
_UTF8_BOM = b"\xef\xbb\xbf"


class JsonlReader:
    """Reads JSON lines (also called ndjson).

    Blank lines are skipped. A number that a float would change is kept as a Decimal, an integer of any size as it
    is. Of a key that stands twice in one object the last one counts, as everywhere in JSON.

    Args:
        max_record_bytes: Longest line.
        chunk_bytes: Bytes to read at once, at most 512 KiB, or 2 MiB of deferred ones.
        chunk_rows: Not used: a chunk is a block of bytes.
        defer: Leave lines as they are for whoever uses the records.
    """

    def __init__(
        self,
        *,
        max_record_bytes: int = MAX_RECORD_BYTES,
        chunk_bytes: int = 8 << 20,
        chunk_rows: int | None = None,  # noqa: ARG002
        defer: bool = False,
    ) -> None:
        self._limit = max_record_bytes
        self._size = max(1, min(chunk_bytes, _DEFERRED_BLOCK if defer else _BLOCK))
        self._defer = defer

    def columns(self, source: OpenSource) -> list[str] | None:  # noqa: ARG002
        """Return None: lines may have different fields."""
        return None

    def chunks(self, source: OpenSource, start: Mapping[str, Any] | None) -> Iterator[Chunk]:
        """Yield the objects of each block of lines. Tokens are ``{"offset": byte, "line": physical line}``."""
        with closing(source.stream()) as stream:
            yield from _Reading(stream, self._size, self._limit, defer=self._defer).chunks(source.name, start)


class _Reading:
    """One pass over the lines of one file."""

    def __init__(self, stream: BinaryIO, size: int, limit: int, *, defer: bool) -> None:
        self._stream = stream
        self._size = size
        self._limit = limit
        self._defer = defer
        self._data = b""
        self._offset = 0
        self._line = 1
        self._ended = False

    def chunks(self, name: str, start: Mapping[str, Any] | None) -> Iterator[Chunk]:
        if start is None:
            self._skip_bom(name)
        else:
            skip_to(self._stream, 0, int(start["offset"]), name)
            self._offset, self._line = int(start["offset"]), int(start["line"])
        while self._data or not self._ended:
            if b"\n" not in self._data:  # a pipe may give nothing more for long: use first what is there
                self._fill()
            cut = len(self._data) if self._ended else self._data.rfind(b"\n") + 1
            if cut:
                chunk = self._lines(cut)
            elif len(self._data) > self._limit:
                chunk = self._too_long()
            else:
                continue
            if len(chunk) or chunk.unreadable:
                yield chunk

    def _fill(self) -> None:
        if self._ended:
            return
        have = len(self._data)
        more = self._stream.read(max(self._size - have, have, 1))
        self._ended = not more
        self._data = self._data + more if have else more

    def _skip_bom(self, name: str) -> None:
        while len(self._data) < len(_UTF8_BOM) and not self._ended:
            self._fill()
        if self._data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            raise FatalError(
                f"Error reading JSON lines file {name}: it is UTF-16 text, and JSON lines are UTF-8",
                help="convert it to UTF-8 first, for example with: iconv -f utf-16 -t utf-8",
            )
        if self._data.startswith(_UTF8_BOM):
            self._data = self._data[len(_UTF8_BOM) :]
            self._offset = len(_UTF8_BOM)

    def _lines(self, cut: int) -> Chunk:
        block, self._data = self._data[:cut], self._data[cut:]
        lines = block.split(b"\n")
        first, self._line = self._line, self._line + len(lines) - 1
        self._offset += cut
        token = {"offset": self._offset, "line": self._line}
        if not lines[-1]:
            lines.pop()
        if len(block) > self._limit:
            return self._one_by_one(lines, first, token)
        if self._defer and b"" not in lines and numbers_survive(block):
            deferred = Deferred(
                len(lines),
                len(block),
                lambda start, end: parse_plain(lines[start:end]),
                lambda: self._one_by_one(lines, first, token),
            )
            return Chunk(None, None, token, [], lambda record: first + record, deferred)
        records = parse_lines(block, lines)
        if records is not None:
            return Chunk(records, None, token, [], lambda record: first + record)
        return self._one_by_one(lines, first, token)

    def _one_by_one(self, lines: list[bytes], first: int, token: dict[str, int]) -> Chunk:
        records: list[Record] = []
        places: list[int] = []
        unreadable: list[Unreadable] = []
        for number, line in enumerate(lines, first):
            if not line.strip(b" \t\r"):
                continue
            try:
                if len(line) > self._limit:
                    raise self._length_refused()
                record = exact_object(line)
            except RefusedLine as refused:
                index = len(records) + len(unreadable)
                unreadable.append(
                    Unreadable(index, refused.rule, refused.message, raw_text(line.rstrip(b"\r")), number)
                )
            else:
                records.append(record)
                places.append(number)
        return Chunk(records, None, token, unreadable, places.__getitem__)

    def _too_long(self) -> Chunk:
        """Drop a line of any length in constant memory."""
        head, length, newline = self._data[: RAW_LIMIT + 1], len(self._data), -1
        while newline < 0 and not self._ended:
            self._data = self._stream.read(_BLOCK)
            self._ended = not self._data
            newline = self._data.find(b"\n")
            length += newline if newline >= 0 else len(self._data)
        self._data = self._data[newline + 1 :] if newline >= 0 else b""
        refused = self._length_refused()
        bad = Unreadable(0, refused.rule, refused.message, raw_text(head, length), self._line)
        self._offset += length + (newline >= 0)
        self._line += newline >= 0
        return Chunk([], None, {"offset": self._offset, "line": self._line}, [bad])

    def _length_refused(self) -> RefusedLine:
        message = f"the line is longer than {self._limit:,} bytes (json_options.max_record_bytes)"
        return RefusedLine("jsonl.too_long", message)
