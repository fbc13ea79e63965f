"""Reads CSV and TSV strictly, at the speed of Polars.

A block is cut at a likely record end. When it can be *proved* to hold only good records (see ``csv_grammar``), Polars
parses it whole; otherwise it is walked record by record, and only the good ones are parsed. Nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.codecs.csv_grammar import Grammar
from etlctl.kit.codecs.csv_header import Beginning, HeaderRules, read_beginning
from etlctl.kit.codecs.csv_lines import LineNumbers, line_ends_inside, line_numbers
from etlctl.kit.codecs.csv_unread import Unread
from etlctl.kit.codecs.csv_walk import Walk, has_comment, is_clean, too_long
from etlctl.kit.codecs.reading import RAW_LIMIT, Chunk, Unreadable, raw_text
from etlctl.kit.codecs.transcoding import as_utf8, is_utf8
from etlctl.kit.sources import OpenSource, skip_to

if TYPE_CHECKING:
    import polars as pl

MAX_ROW_BYTES = 1 << 20
_FIRST_BLOCK = 1 << 21  # small, so that the next stage has something to do soon
_BOM = b"\xef\xbb\xbf"


@frozen
class _Block:
    """Records that were read: the good ones as a frame, the others, and where that leaves us."""

    frame: pl.DataFrame
    unreadable: list[Unreadable]
    lines: LineNumbers
    length: int
    line: int


class CsvReader:
    """Reads comma- or otherwise separated text; every value is text.

    An empty cell is null, a quoted empty cell (``""``) is the empty text. Blank lines are skipped where records have
    more than one field.

    Args:
        delimiter: One ASCII character between fields.
        quote: One ASCII character around quoted fields; None: quotes are ordinary characters.
        header: The first line names the columns.
        columns: Names when there is no header; ``column_1``, … when left out.
        encoding: Encoding of the text; anything but UTF-8 is transcoded on the way.
        null_values: Texts that mean null, quoted or not.
        skip_rows: Lines before the header that are no data.
        comment: Lines that start with this text are skipped.
        max_row_bytes: Longest record; bounds how far an open quote is followed.
        chunk_bytes: Bytes to read at once.
        chunk_rows: Not used: a chunk is a block of bytes.
    """

    def __init__(
        self,
        *,
        delimiter: str = ",",
        quote: str | None = '"',
        header: bool = True,
        columns: Sequence[str] | None = None,
        encoding: str = "utf-8",
        null_values: Sequence[str] = (),
        skip_rows: int = 0,
        comment: str | None = None,
        max_row_bytes: int = MAX_ROW_BYTES,
        chunk_bytes: int = 8 << 20,
        chunk_rows: int | None = None,  # noqa: ARG002
    ) -> None:
        self._encoding = encoding
        self._null_values = list(null_values)
        self._chunk_bytes = max(chunk_bytes, 1)
        self._comment = comment.encode() if comment else None
        self._probe = Grammar(1, delimiter.encode(), quote.encode() if quote else None, max_row_bytes)
        names = tuple(columns) if columns is not None else None
        self._rules = HeaderRules(header, names, skip_rows, self._comment, self._probe, min(self._chunk_bytes, 1 << 16))

    def columns(self, source: OpenSource) -> list[str] | None:
        """Return the names in the header line (or those given); None for a source that can be read only once."""
        if source.path is None:
            return None
        with closing(self._open(source)) as stream:
            return list(read_beginning(stream, source.name, self._rules).columns)

    def chunks(self, source: OpenSource, start: Mapping[str, Any] | None) -> Iterator[Chunk]:
        """Yield one frame per block of ``chunk_bytes``. Tokens are ``{"offset": byte, "line": physical line}``."""
        with closing(self._open(source)) as stream:
            begin = read_beginning(stream, source.name, self._rules)
            if start is not None:
                _go_on(stream, begin, source, start)
            if begin.columns:
                yield from _Reading(self, stream, begin, source.name).chunks(fresh=start is None)

    def _open(self, source: OpenSource) -> BinaryIO:
        return as_utf8(source.stream(), self._encoding)


def _go_on(stream: BinaryIO, begin: Beginning, source: OpenSource, start: Mapping[str, Any]) -> None:
    """Move on to the byte that a token names."""
    offset = int(start["offset"])
    held = begin.offset + len(begin.rest)
    begin.rest = begin.rest[offset - begin.offset :]
    if offset > held:
        skip_to(stream, held, offset, source.name)
    begin.offset, begin.line = offset, int(start["line"])


class _Reading:
    """One pass over the records of one file."""

    def __init__(self, reader: CsvReader, stream: BinaryIO, begin: Beginning, name: str) -> None:
        probe = reader._probe  # noqa: SLF001
        self._grammar = Grammar(len(begin.columns), probe.delimiter, probe.quote, probe.max_row_bytes)
        self._columns = begin.columns
        self._comment = reader._comment  # noqa: SLF001
        self._null_values = reader._null_values  # noqa: SLF001
        self._encoding = "UTF-8" if is_utf8(reader._encoding) else reader._encoding  # noqa: SLF001
        self._size = reader._chunk_bytes  # noqa: SLF001
        self._block_size = min(self._size, _FIRST_BLOCK)
        self._unread = Unread(stream, begin.rest)
        self._name = name
        self._offset = begin.offset
        self._line = begin.line
        self._open_end = False  # the last line of the file has no line end of its own

    def chunks(self, *, fresh: bool) -> Iterator[Chunk]:
        """Yield what the file holds; a file without records gives one empty frame, so that its columns are known."""
        ended = False
        unread = self._unread
        stuck = not unread.has_line()  # a pipe may give nothing more for long: use first what is there
        while len(unread) or not ended:
            ended = ended or (stuck and self._fill())
            block = self._too_long(ended=ended) if self._hopeless() else self._block(ended=ended)
            stuck = block is None or not unread.has_line()
            if block is None:
                continue
            self._offset += block.length
            self._line = block.line
            if block.frame.height or block.unreadable:
                fresh = False
                token = {"offset": self._offset, "line": self._line}
                yield Chunk(None, block.frame, token, block.unreadable, block.lines)
            del block
        if fresh:
            yield Chunk(None, self._parse(b""), {"offset": self._offset, "line": self._line})

    def _fill(self) -> bool:
        """Read on; True when the file has ended."""
        have = len(self._unread)
        want = self._block_size - have if have < self._block_size else have  # no progress so far: look twice as far
        self._block_size = min(2 * self._block_size, self._size)
        return not self._unread.fill(max(want, 1))

    def _block(self, *, ended: bool) -> _Block | None:
        """Take the complete records at the start of the data; None when there is none yet."""
        unread = self._unread
        if ended and unread.end_line():
            self._open_end = True
        cut = unread.cut(self._grammar)
        block = (self._fast(unread.first(cut)) if cut else None) or self._slow(unread.first(len(unread)), ended=ended)
        if block.length == 0:
            return None
        unread.drop(block.length)
        if self._open_end and not len(unread):
            return replace(block, length=block.length - 1)
        return block

    def _fast(self, block: bytes) -> _Block | None:
        """Parse a block that is proved to hold good records only; None when that cannot be proved."""
        grammar = self._grammar
        if not is_clean(block) or has_comment(block, self._comment) or not grammar.lines_fit(block):
            return None
        if grammar.quote is not None and grammar.quote in block:
            return self._fast_quoted(block)
        if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
            return None
        frame = self._try_parse(block)
        if frame is None:
            return None
        lines = frame.height
        if not self._accounts_for(frame, block):
            lines = block.count(b"\n")
            if frame.height != lines or not self._all_full(frame, block):
                return None
        return self._done(frame, block, lines, LineNumbers(((0, self._line),)))

    def _accounts_for(self, frame: pl.DataFrame, block: bytes) -> bool:
        """Tell whether the cells, a delimiter or line feed after each, are all that a block without quotes holds.

        Without a null at the end of a record no record was short, so a skipped line would be missing in the sum.
        Adding up the lengths is several times as quick as counting line feeds; False says nothing.
        """
        if frame.width < 2 or frame.to_series(-1).null_count():
            return False
        import polars as pl  # noqa: PLC0415

        cells = frame.select(pl.sum_horizontal(pl.all().str.len_bytes().sum())).item()
        return bool(cells + frame.height * frame.width == len(block))

    def _all_full(self, frame: pl.DataFrame, block: bytes) -> bool:
        """Tell whether no record of a block without quotes was short; a longer one makes Polars raise.

        Polars fills what a short record lacks with null, so one without a null at its end is full. Where there are
        such nulls, equal totals of delimiters tell.
        """
        if frame.width > 1 and not frame.to_series(-1).null_count():
            return True
        return block.count(self._grammar.delimiter) == frame.height * (frame.width - 1)

    def _fast_quoted(self, block: bytes) -> _Block | None:
        if not self._grammar.proves(block):
            return None
        frame = self._try_parse(block)
        if frame is None:
            return None
        lines = block.count(b"\n")
        if lines == frame.height:
            return self._done(frame, block, lines, LineNumbers(((0, self._line),)))
        inside = line_ends_inside(frame)
        if frame.height + inside.sum() != lines or not self._surely_fits(frame):
            return None
        return self._done(frame, block, lines, line_numbers([(0, self._line)], inside))

    def _surely_fits(self, frame: pl.DataFrame) -> bool:
        """Tell whether no record can have been longer than the limit, had every character been a doubled quote."""
        import polars as pl  # noqa: PLC0415

        longest = frame.select(pl.sum_horizontal(pl.all().str.len_bytes()).max()).item() or 0
        return bool(2 * longest + 3 * self._grammar.fields + 2 <= self._grammar.max_row_bytes)

    def _done(self, frame: pl.DataFrame, block: bytes, lines: int, numbers: LineNumbers) -> _Block:
        return _Block(self._nulls(frame), [], numbers, len(block), self._line + lines)

    def _slow(self, data: bytes, *, ended: bool) -> _Block:
        walk = Walk(self._grammar, data, self._line, ended, self._comment, self._encoding).run()
        good = walk.good_bytes()
        frame = self._parse(good)
        inside = line_ends_inside(frame) if good.count(b"\n") > walk.records else None
        if frame.height != walk.records:
            raise FatalError(
                f"{self._name}: {walk.records:,} records from line {self._line} on were parsed as {frame.height:,}",
                help="this is a defect of etlctl or of its Polars version; please report it with the file",
            )
        numbers = line_numbers(walk.runs or [(0, self._line)], inside)
        return _Block(self._nulls(frame), walk.unreadable, numbers, walk.at, walk.line)

    def _hopeless(self) -> bool:
        """Tell whether the line at the start of the data is longer than the limit without having ended."""
        return len(self._unread) > self._grammar.max_row_bytes and not self._unread.has_line()

    def _too_long(self, *, ended: bool) -> _Block:
        """Drop a line of any length in constant memory."""
        unread = self._unread
        head, length, whole = unread.first(RAW_LIMIT + 1), unread.drop_line(), False
        while not ended and not whole:
            ended = not unread.fill(self._size)
            whole = unread.has_line()
            length += unread.drop_line()
        fault = too_long(self._grammar.max_row_bytes, length)
        bad = Unreadable(0, fault.rule, fault.message, raw_text(head, length), self._line)
        line = self._line + whole
        return _Block(self._parse(b""), [bad], LineNumbers(((0, line),)), length, line)

    def _try_parse(self, block: bytes) -> pl.DataFrame | None:
        import polars as pl  # noqa: PLC0415

        try:
            return self._parse(block)
        except pl.exceptions.PolarsError:
            return None

    def _parse(self, block: bytes) -> pl.DataFrame:
        import polars as pl  # noqa: PLC0415

        schema = dict.fromkeys(self._columns, pl.String())
        if not block:
            return pl.DataFrame(schema=schema)
        marked = block.startswith(_BOM)  # Polars would take it off, but inside a file it is text
        if marked:
            block = self._grammar.delimiter * (self._grammar.fields - 1) + b"\n" + block
        quote = self._grammar.quote
        frame = pl.read_csv(
            block,
            has_header=False,
            schema=schema,
            separator=self._grammar.delimiter.decode(),
            quote_char=quote.decode() if quote is not None and quote in block else None,
        )
        return frame.slice(1) if marked else frame

    def _nulls(self, frame: pl.DataFrame) -> pl.DataFrame:
        if not self._null_values:
            return frame
        import polars as pl  # noqa: PLC0415

        meant = pl.all().is_in(self._null_values)
        return frame.with_columns(pl.when(~meant).then(pl.all()))
