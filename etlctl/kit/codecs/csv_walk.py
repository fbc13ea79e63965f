"""The slow and exact way through a CSV block that is not made of good records only: tell the good from the bad."""

from __future__ import annotations

from dataclasses import dataclass, field

from etlctl.kit.codecs.csv_grammar import Fault, Grammar
from etlctl.kit.codecs.reading import Unreadable, raw_text
from etlctl.kit.codecs.transcoding import show_marks

_WINDOW = 1 << 18
"""Bytes to prove good at once before looking closer."""
_SMALL_WINDOW = 1 << 14
"""Bytes to prove good at once where something near is bad."""


@dataclass(slots=True)
class Walk:
    """Walks records from the start of ``data`` as far as they are complete.

    Attributes:
        grammar: What a record looks like.
        data: Bytes from the start of a record on. With ``last`` it ends with a line end.
        line: 1-based physical line at ``at``.
        last: No more data follows.
        comment: Lines that start with it are skipped.
        encoding: What messages call the encoding of the text.
        at: Bytes walked so far.
        records: Good records so far.
        good: Byte ranges of the good records, neighbours joined.
        runs: (ordinal of a good record, its line) wherever a run of good records starts.
        unreadable: Everything else that is not blank.
    """

    grammar: Grammar
    data: bytes
    line: int
    last: bool
    comment: bytes | None = None
    encoding: str = "UTF-8"
    at: int = 0
    records: int = 0
    good: list[tuple[int, int]] = field(default_factory=list)
    runs: list[tuple[int, int]] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    def run(self) -> Walk:
        """Walk until the data ends or only more data can tell."""
        while self.at < len(self.data):
            if not self._window(_WINDOW) and not self._closely(min(self.at + _WINDOW, len(self.data))):
                break
        return self

    def _closely(self, stop: int) -> bool:
        """Walk up to ``stop``, where something is bad on the way; False: only more data can tell."""
        while self.at < stop:
            if self._window(_SMALL_WINDOW):
                continue
            near = min(self.at + _SMALL_WINDOW, stop)
            while self.at < near:
                if not self._record():
                    return False
        return True

    def good_bytes(self) -> bytes:
        """Return the good records, one after the other."""
        if len(self.good) == 1 and self.good[0] == (0, len(self.data)):
            return self.data
        return b"".join(self.data[start:end] for start, end in self.good)

    def _window(self, size: int) -> bool:
        """Take many records at once when they are all proved good."""
        grammar = self.grammar
        end = min(self.at + min(size, grammar.max_row_bytes), len(self.data))
        cut = grammar.cut(self.data, self.at, end)
        if cut <= self.at:
            return False
        piece = self.data[self.at : cut]
        if not is_clean(piece) or has_comment(piece, self.comment) or not grammar.proves(piece):
            return False
        self._take(cut, grammar.count_records(piece))
        return True

    def _record(self) -> bool:
        """Take one record, good or bad, or one blank line; False: only more data can tell."""
        data, start = self.data, self.at
        line_end = data.find(b"\n", start) + 1
        if line_end == 0:
            return False
        if line_end - start > self.grammar.max_row_bytes:
            self.refuse(too_long(self.grammar.max_row_bytes, line_end - start))
            return True
        if self._skipped(start, line_end):
            self._move(line_end)
            return True
        end = self.grammar.record_end(data, start)
        if end < 0:
            fault = self.grammar.fault(data, start, last=self.last)
            if fault is None:
                return False
            self.refuse(fault)
        elif (fault := text_fault(data[start:end], self.encoding)) is not None:
            self.refuse(fault)
        else:
            self._take(end, 1)
        return True

    def _skipped(self, start: int, line_end: int) -> bool:
        if self.comment is not None and self.data.startswith(self.comment, start):
            return True
        blank = line_end - start == 1 or (line_end - start == 2 and self.data.startswith(b"\r\n", start))
        return blank and self.grammar.fields > 1

    def _take(self, end: int, records: int) -> None:
        start = self.at
        if self.good and self.good[-1][1] == start:
            self.good[-1] = (self.good[-1][0], end)
        else:
            self.good.append((start, end))
            self.runs.append((self.records, self.line))
        self.records += records
        self._move(end)

    def refuse(self, fault: Fault) -> None:
        """Put what the fault spans among the unreadable and go on after it."""
        end = self.at + fault.length
        record = self.data[self.at : end].rstrip(b"\r\n")
        raw = raw_text(record if self.encoding == "UTF-8" else show_marks(record).encode("utf-8", "backslashreplace"))
        index = self.records + len(self.unreadable)
        self.unreadable.append(Unreadable(index, fault.rule, fault.message, raw, self.line))
        self._move(end)

    def _move(self, end: int) -> None:
        self.line += self.data.count(b"\n", self.at, end)
        self.at = end


def is_clean(data: bytes) -> bool:
    """Tell whether bytes are valid UTF-8 without NUL."""
    return b"\0" not in data and valid_utf8(data)


def valid_utf8(data: bytes) -> bool:
    """Tell whether bytes are valid UTF-8."""
    if data.isascii():
        return True
    import polars as pl  # noqa: PLC0415

    try:
        pl.Series([data], dtype=pl.Binary).cast(pl.String, strict=True)  # ten times as fast as bytes.decode
    except pl.exceptions.PolarsError:
        return False
    return True


def has_comment(data: bytes, comment: bytes | None) -> bool:
    """Tell whether any line starts with the comment mark."""
    return comment is not None and (data.startswith(comment) or b"\n" + comment in data)


def too_long(limit: int, length: int | None) -> Fault:
    """Return the fault of a line that is longer than the limit."""
    return Fault("csv.too_long", f"the line is longer than {limit:,} bytes (csv_options.max_row_bytes)", length or 0)


def text_fault(record: bytes, encoding: str) -> Fault | None:
    """Return what is wrong with the characters of a record, if anything."""
    if b"\0" in record:
        return Fault("csv.nul", "the record holds a NUL character", len(record))
    if valid_utf8(record):
        return None
    rule = "text.utf8" if encoding == "UTF-8" else "text.encoding"
    return Fault(rule, f"the record holds bytes that are no valid {encoding} text", len(record))
