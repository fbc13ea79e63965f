"""The strict grammar of a CSV record, as one linear-time proof over a block and as an exact walk of one record.

A record is ``n`` fields between delimiters and ends with LF or CR LF. A field is quoted (any text, quotes doubled)
or unquoted (no quote, delimiter, CR or LF). Nothing else is a record; nothing is repaired.
"""

from __future__ import annotations

import re
from functools import cached_property

from etlctl.frozen import frozen

_LF, _CR = 10, 13


@frozen
class Fault:
    """Why the text at some place is no record: the rule, the message and the number of bytes it spans."""

    rule: str
    message: str
    length: int


@frozen
class Grammar:
    """What a record of one file looks like.

    Attributes:
        fields: Fields of a record.
        delimiter: One byte between fields.
        quote: One byte around quoted fields; None: there is no quoting.
        max_row_bytes: Longest record, line end included.
    """

    fields: int
    delimiter: bytes
    quote: bytes | None
    max_row_bytes: int

    @cached_property
    def _block_pattern(self) -> str:
        field = _field(self.delimiter, self.quote, possessive="")
        delimiter = _escape(self.delimiter)
        rest = f"(?:{delimiter}{field}){{{self.fields - 1}}}" if self.fields > 1 else ""
        return rf"\A(?:{field}{rest}\r?\n)*\z"

    @cached_property
    def _record_pattern(self) -> re.Pattern[bytes]:
        field = _field(self.delimiter, self.quote, possessive="+")
        delimiter = _escape(self.delimiter)
        rest = f"(?:{delimiter}{field}){{{self.fields - 1}}}" if self.fields > 1 else ""
        return re.compile(rf"{field}{rest}\r?\n".encode(), re.DOTALL)

    @cached_property
    def _unquoted(self) -> re.Pattern[bytes]:
        special = _escape(self.delimiter) + (_escape(self.quote) if self.quote else "")
        return re.compile(rf"[^{special}\r\n]*+".encode())

    def proves(self, block: bytes) -> bool:
        """Tell whether a block of valid UTF-8 without NUL is made of whole records only.

        The regular expression runs in Rust without backtracking, in time linear in the block (about 500 MB/s).
        False may also mean that it is too large to build: the walk decides then.
        """
        import polars as pl  # noqa: PLC0415

        text = pl.Series([block], dtype=pl.Binary).cast(pl.String)
        try:
            return bool(text.str.contains(self._block_pattern, strict=True).item())
        except pl.exceptions.ComputeError:
            return False

    def count_records(self, block: bytes) -> int:
        """Return the number of records in a block that ``proves`` holds for."""
        lines = block.count(b"\n")
        if self.quote is None or self.quote not in block:
            return lines
        quote = re.escape(self.quote)
        inside: int = sum(piece.count(b"\n") for piece in re.findall(quote + b"[^" + quote + b"]*" + quote, block))
        return lines - inside

    def cut(self, data: bytes | bytearray, start: int, end: int) -> int:
        """Return where the last line of ``data[start:end]`` with an even number of quotes before its end ends.

        Returns ``start`` when there is none. A likely end of a record, to be proved.
        """
        at = data.rfind(b"\n", start, end) + 1
        if self.quote is None or at == 0:
            return max(at, start)
        quotes = data.count(self.quote, start, at)
        while quotes % 2 and at > start:
            before = data.rfind(b"\n", start, at - 1) + 1
            if before == 0:
                return start
            quotes -= data.count(self.quote, before, at)
            at = before
        return at

    def record_end(self, data: bytes, start: int) -> int:
        """Return where the record at ``start`` ends, or -1 when there is no whole valid record."""
        match = self._record_pattern.match(data, start, start + self.max_row_bytes)
        return match.end() if match else -1

    def fault(self, data: bytes, start: int, *, last: bool) -> Fault | None:
        """Find out why there is no valid record at ``start``; None: only more data can tell.

        Args:
            data: Bytes read so far.
            start: Start of the record. The line that starts here is complete and within ``max_row_bytes``.
            last: No more data follows.
        """
        line_end = data.index(b"\n", start) + 1
        limit = start + self.max_row_bytes
        decided = last or len(data) >= limit
        end, found = self.walk(data, start, min(limit, len(data)))
        if end < 0:
            message = "a quote is opened in this line and never closed"
            if not last:
                message += f" within {self.max_row_bytes:,} bytes (csv_options.max_row_bytes)"
            return Fault("csv.open_quote", message, line_end - start) if decided else None
        if isinstance(found, int):
            return Fault(*self._wrong_count(found), end - start)
        if end > line_end:
            lines = data.count(b"\n", start, end)
            message = f"a quote opened in this line runs on for {lines} more line(s) and then {found[1]}"
            return Fault("csv.open_quote", message, line_end - start)
        return Fault(*found, line_end - start)

    def _wrong_count(self, found: int) -> tuple[str, str]:
        rule = "csv.short_row" if found < self.fields else "csv.long_row"
        return rule, f"{found} field(s) where {self.fields} belong"

    def walk(self, data: bytes, at: int, limit: int) -> tuple[int, int | tuple[str, str]]:
        """Walk field by field: (end of the record, fields), (place of the error, rule and message) or (-1, 0)."""
        fields = 0
        while at < limit:
            quoted = self.quote is not None and data[at : at + 1] == self.quote
            at = self._quoted_end(data, at, limit) if quoted else self._unquoted_end(data, at, limit)
            if at < 0 or at >= limit:
                break
            fields += 1
            byte = data[at]
            if byte == self.delimiter[0]:
                at += 1
            elif byte == _LF:
                return at + 1, fields
            elif byte == _CR:
                if at + 1 >= limit:
                    break
                if data[at + 1] == _LF:
                    return at + 2, fields
                return at + 1, ("csv.bare_cr", "a carriage return stands outside quotes and ends no line")
            elif quoted:
                return at + 1, ("csv.bad_quote", f"text follows the closing quote of field {fields}")
            else:
                return at + 1, ("csv.bad_quote", f"a quote stands inside field {fields}, which is not quoted")
        return -1, 0

    def _unquoted_end(self, data: bytes, at: int, limit: int) -> int:
        match = self._unquoted.match(data, at, limit)
        return match.end() if match else at

    def _quoted_end(self, data: bytes, at: int, limit: int) -> int:
        """Return the place after the closing quote, or -1 when it is not there (or may be half of a pair)."""
        quote = self.quote or b""
        at = data.find(quote, at + 1, limit)
        while at >= 0:
            if at + 1 >= limit:
                return -1
            if data[at + 1] != quote[0]:
                return at + 1
            at = data.find(quote, at + 2, limit)
        return -1

    def lines_fit(self, block: bytes) -> bool:
        """Tell whether no line of a block is longer than ``max_row_bytes``."""
        start = 0
        while len(block) - start > self.max_row_bytes:
            newline = block.rfind(b"\n", start, start + self.max_row_bytes)
            if newline < 0:
                return False
            start = newline + 1
        return True


def _escape(byte: bytes) -> str:
    return rf"\x{byte[0]:02x}"


def _field(delimiter: bytes, quote: bytes | None, *, possessive: str) -> str:
    if quote is None:
        return rf"[^{_escape(delimiter)}\r\n]*{possessive}"
    mark = _escape(quote)
    plain = rf"[^{mark}{_escape(delimiter)}\r\n]*{possessive}"
    return rf"(?:{mark}(?:[^{mark}]|{mark}{mark})*{possessive}{mark}|{plain})"
