"""The beginning of a CSV file: byte order mark, lines to skip, the header and what it tells about every record."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from typing import BinaryIO

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.codecs.csv_grammar import Grammar
from etlctl.kit.codecs.csv_walk import has_comment, is_clean

_UTF8_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@frozen
class HeaderRules:
    """How the beginning of a file is to be read.

    Attributes:
        header: The first line names the columns.
        columns: Names to use when there is no header.
        skip_rows: Lines before the header that are no data.
        comment: Lines that start with it are skipped.
        probe: Delimiter, quote and the longest line allowed; its number of fields does not matter.
        read_bytes: Bytes to read at once.
    """

    header: bool
    columns: tuple[str, ...] | None
    skip_rows: int
    comment: bytes | None
    probe: Grammar
    read_bytes: int


@dataclass(slots=True)
class Beginning:
    """What the beginning of a file told.

    Attributes:
        columns: Column names; empty when the file has no records and no names.
        offset: Byte at which the records start.
        line: Physical line at which the records start.
        rest: Bytes read already from ``offset`` on.
    """

    columns: tuple[str, ...]
    offset: int
    line: int
    rest: bytes


def read_beginning(stream: BinaryIO, name: str, rules: HeaderRules) -> Beginning:
    """Read up to the first record.

    Raises:
        FatalError: There is no header, or it does not name the columns clearly.
    """
    start = _Start(stream, name, rules)
    start.skip_bom()
    for _ in range(rules.skip_rows):
        start.drop_line()
    if not rules.header and rules.columns is not None:
        return start.here(rules.columns)
    start.skip_blank()
    found = start.first_record()
    if not rules.header:
        return start.here(tuple(f"column_{number}" for number in range(1, len(found) + 1)) if found else ())
    if found is None:
        raise FatalError(
            f"Error reading CSV file {name}: it is empty, there is no header line",
            help="put a header line into it, or set csv_options: {header: false, columns: […]}",
        )
    _check_names(found, name, start.line)
    start.drop(start.record_length)
    return start.here(tuple(found))


class _Start:
    """The first bytes of a file, read on as needed."""

    def __init__(self, stream: BinaryIO, name: str, rules: HeaderRules) -> None:
        self._stream = stream
        self._name = name
        self._rules = rules
        self._data = b""
        self._ended = False
        self._offset = 0
        self.line = 1
        self.record_length = 0

    def here(self, columns: tuple[str, ...]) -> Beginning:
        return Beginning(columns, self._offset, self.line, self._data)

    def drop(self, length: int) -> None:
        self.line += self._data.count(b"\n", 0, length)
        self._offset += min(length, len(self._data))
        self._data = self._data[length:]

    def _more(self) -> bool:
        if not self._ended:
            data = self._stream.read(max(self._rules.read_bytes, len(self._data)))
            self._ended = not data
            self._data += data
        return not self._ended

    def skip_bom(self) -> None:
        while len(self._data) < len(_UTF8_BOM) and self._more():
            pass
        encoding = _OTHER_BOMS.get(self._data[:2])
        if encoding is not None:
            raise FatalError(
                f"Error reading CSV file {self._name}: it is {encoding.upper()} text, not UTF-8",
                help=f"set csv_options: {{encoding: {encoding}}}",
            )
        if self._data.startswith(_UTF8_BOM):
            self.drop(len(_UTF8_BOM))

    def drop_line(self) -> None:
        while (end := self._data.find(b"\n")) < 0:
            if not self._more():
                self.drop(len(self._data))
                return
        self.drop(end + 1)

    def skip_blank(self) -> None:
        """Drop blank lines and comments before the first record."""
        while True:
            while b"\n" not in self._data and self._more():
                pass
            line = self._data[: self._data.find(b"\n") + 1]
            if line not in {b"\n", b"\r\n"} and not (
                self._data and has_comment(line or self._data, self._rules.comment)
            ):
                return
            self.drop_line()

    def first_record(self) -> list[str] | None:
        """Return the fields of the record that starts here, or None at the end of the file."""
        probe = self._rules.probe
        while True:
            if self._ended and not self._data:
                return None
            data = self._data
            if self._ended and not data.endswith(b"\n"):
                data += b"\n"
            end, found = probe.walk(data, 0, min(len(data), probe.max_row_bytes))
            if end >= 0:
                break
            if self._ended or len(data) >= probe.max_row_bytes:
                self._refuse("a quote is opened in it and never closed, or it is too long (csv_options.max_row_bytes)")
            self._more()
        if not isinstance(found, int):
            self._refuse(found[1])
        record = data[:end]
        if not is_clean(record):
            self._refuse("it holds a NUL character or bytes that are not valid text")
        self.record_length = end
        return self._split(record.decode("utf-8").removesuffix("\n").removesuffix("\r"))

    def _split(self, text: str) -> list[str]:
        delimiter, quote = self._rules.probe.delimiter.decode(), self._rules.probe.quote
        if quote is None:
            return text.split(delimiter)
        reader = csv.reader([text], delimiter=delimiter, quotechar=quote.decode(), strict=True)
        return next(reader, None) or [""]

    def _refuse(self, why: str) -> None:
        what = "the header line" if self._rules.header else "the first line"
        hint = "check csv_options: delimiter, quote, encoding and skip_rows"
        if "carriage return" in why:
            hint = "its lines end with lone carriage returns (old Mac style): convert them to line feeds first"
        raise FatalError(
            f"Error reading CSV file {self._name}: {what} (line {self.line}) is not valid CSV: {why}", help=hint
        )


def _check_names(names: list[str], file: str, line: int) -> None:
    where = f"Error reading CSV file {file}: the header (line {line})"
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise FatalError(
                f"{where} gives column {number} no name",
                help="name every column, or set csv_options: {header: false, skip_rows: 1, columns: […]}",
            )
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        places = " and ".join(str(number) for number, other in enumerate(names, 1) if other == name)
        raise FatalError(
            f"{where} names columns {places} both {name!r}",
            help="rename one of them, or set csv_options: {header: false, skip_rows: 1, columns: […]}",
        )
