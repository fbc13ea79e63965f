"""CSV and TSV: every column that ever occurs, in order of appearance; null is nothing, an empty text is ``""``."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from etlctl.batch import Batch, Encoded, Record
from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.byte_sink import ByteSink
from etlctl.kit.codecs.csv_segments import copy_padded
from etlctl.kit.codecs.writing import FormatWriter, FrameHold, Refusals, State, Target, as_rejections
from etlctl.kit.compression import decompress

if TYPE_CHECKING:
    import polars as pl

QuoteStyle = Literal["necessary", "non_numeric", "always"]

_LONGEST_HEADER = 16 << 20


@frozen
class Dialect:
    """How CSV is written.

    Attributes:
        delimiter: One character between cells.
        header: The first line names the columns.
        null_value: Text of a null.
        quote_style: Which cells are quoted besides those that must be.
    """

    delimiter: str = ","
    header: bool = True
    null_value: str = ""
    quote_style: QuoteStyle = "necessary"

    @property
    def quoting(self) -> QuoteStyle:
        """The quotes needed so that a text equal to ``null_value`` is still told from a null."""
        return "non_numeric" if self.null_value and self.quote_style == "necessary" else self.quote_style


@dataclass(slots=True)
class _Segment:
    path: Path | None
    columns: int
    header: int


def encode_payload(records: list[Record]) -> Encoded:
    """Turn records into a frame of cells, for ``Writer.encoder``."""
    from etlctl.kit.codecs.csv_cells import cells_of_records  # noqa: PLC0415

    cells, refusals = cells_of_records(records)
    return Encoded(cells.height, cells, as_rejections(refusals))


class CsvWriter(FormatWriter):
    """Writes CSV.

    A new column begins a new segment; ``finish`` joins the segments under one header. On a stream, and behind an
    existing file, columns cannot be added any more.

    Args:
        target: Where to; ``existing`` is a CSV file that these records come after, in its columns.
        dialect: How.
    """

    def __init__(self, target: Target, dialect: Dialect) -> None:
        self._target = target
        self._dialect = dialect
        self._held = FrameHold(rows=0) if target.path is None else FrameHold()
        self._columns: list[str] = []
        self._fixed = ""
        self._written = False
        self._width: int | None = None
        self._kept = False
        if target.state is not None:
            self._go_on(target.state)
            return
        prefix = b""
        if target.existing is not None:
            prefix = self._fit_to(target.existing)
        self._sink = target.sink()
        self._sink.write(prefix)
        self._segments = [_Segment(target.path, 0, 0)]

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        from etlctl.kit.codecs.csv_cells import cells_of_frame, cells_of_records  # noqa: PLC0415
        from etlctl.kit.codecs.table_records import empty_refusals  # noqa: PLC0415

        if batch.encoded is not None:
            for part in batch.encoded:
                self._take(part.payload)
            return []
        if batch.frame is None:
            cells, refusals = cells_of_records(batch.records or [])
        elif not batch.frame.width:
            return empty_refusals(batch.frame.height)
        else:
            cells, refusals = cells_of_frame(batch.frame)
        self._take(cells)
        return refusals

    def checkpoint(self) -> State:
        """Put every record on disk."""
        self._put_held()
        self._kept = True
        return {
            "length": self._sink.checkpoint(),
            "columns": list(self._columns),
            "fixed": self._fixed,
            "written": self._written,
            "width": self._width,
            "segments": [[segment.columns, segment.header] for segment in self._segments],
        }

    def _go_on(self, state: State) -> None:
        self._columns, self._fixed = list(state["columns"]), state["fixed"]
        self._written, self._width, self._kept = state["written"], state["width"], True
        self._segments = [
            _Segment(self._target.scratch(place) if place else self._target.path, *sizes)
            for place, sizes in enumerate(state["segments"])
        ]
        last = self._segments[-1].path or self._target.file
        self._sink = ByteSink.resume(last, self._target.compression, state["length"])

    def finish(self) -> None:
        """Write what is left, join the segments, close the file."""
        self._put_held()
        if not self._written:
            self._begin()
        self._sink.end()
        self._sink.close()
        if len(self._segments) > 1:
            self._join()

    def abort(self) -> None:
        """Close the file."""
        self._sink.close()

    def _take(self, cells: pl.DataFrame) -> None:
        import polars as pl  # noqa: PLC0415

        self._meet(cells.columns)
        if cells.height and cells.columns != self._columns:
            have = {name: place for place, name in enumerate(cells.columns)}
            cells = cells.select(
                pl.nth(have[name]) if name in have else pl.lit(None).alias(name) for name in self._columns
            )
        for ready in self._held.add(cells) if cells.height else []:
            self._put(ready)

    def _meet(self, names: list[str]) -> None:
        """Make room for columns that were not there before."""
        known = set(self._columns)
        new = [name for name in names if name not in known]
        if not new:
            return
        if self._fixed:
            raise _no_room(self._target.name, new, self._fixed)
        if self._width is not None and len(new) != self._width:
            raise FatalError(
                f"cannot append to {self._target.name}: it has {self._width} columns and no header, "
                f"the records have {len(new)}",
                help="bring the records to the file's columns in transform.yaml (select), or choose another path",
            )
        self._put_held()
        if self._written:
            self._next_segment()
        self._columns += new
        if self._width is not None:
            self._fixed = "the file's columns are taken already"

    def _next_segment(self) -> None:
        if self._target.path is None:
            raise FatalError("a column cannot be added to CSV that was already handed on")
        self._sink.end()
        self._sink.close()
        path = self._target.scratch(len(self._segments))
        self._sink = ByteSink.create(path, self._target.compression)
        self._segments.append(_Segment(path, 0, 0))
        self._written = False

    def _put_held(self) -> None:
        for frame in self._held.take():
            self._put(frame)

    def _begin(self) -> None:
        """Write the header, where there is one; a joined file gets its header at the end."""
        first = len(self._segments) == 1
        header = self._header() if first and self._target.existing is None else b""
        self._sink.write(header)
        self._segments[-1].columns, self._segments[-1].header = len(self._columns), len(header)
        self._written = True
        if self._target.path is None and self._columns:
            self._fixed = "the first records are already on their way"

    def _put(self, cells: pl.DataFrame) -> None:
        if not self._written:
            self._begin()
        file = self._sink.direct()
        if file is not None:
            self._print(cells, file)
            self._sink.wrote()
            return
        buffer = io.BytesIO()
        self._print(cells, buffer)
        self._sink.write(buffer.getvalue())

    def _print(self, cells: pl.DataFrame, file: BinaryIO) -> None:
        from etlctl.kit.codecs.csv_cells import printable  # noqa: PLC0415

        printable(cells).sink_csv(
            file,
            include_header=False,
            separator=self._dialect.delimiter,
            null_value=self._dialect.null_value,
            quote_style=self._dialect.quoting,
        )

    def _header(self) -> bytes:
        import polars as pl  # noqa: PLC0415

        if not self._dialect.header or not self._columns:
            return b""
        buffer = io.BytesIO()
        empty = pl.DataFrame(schema=dict.fromkeys(self._columns, pl.String))
        empty.write_csv(buffer, separator=self._dialect.delimiter, quote_style=self._dialect.quoting)
        return buffer.getvalue()

    def _join(self) -> None:
        """Write all segments into one file under the header of all columns."""
        joined = self._target.scratch(0)
        self._sink = ByteSink.create(joined, self._target.compression)
        self._sink.write(self._header())
        null = self._dialect.null_value
        cell = (
            f'{self._dialect.delimiter}"{null}"'
            if self._dialect.quoting == "always"
            else self._dialect.delimiter + null
        )
        for segment in self._segments:
            padding = cell.encode() * (len(self._columns) - segment.columns)
            if segment.path is not None:
                copy_padded(segment.path, self._target.compression, segment.header, padding, self._sink)
                if not self._kept:
                    segment.path.unlink()
        self._sink.end()
        self._sink.close()
        if self._kept:
            self.made = joined
        else:
            joined.rename(self._target.file)

    def _fit_to(self, existing: Path) -> bytes:
        """Take over the columns of an existing file; return what must stand before the first new record."""
        ended, names = _looked_through(existing, self._target, self._dialect.delimiter)
        if self._dialect.header:
            if len(set(names)) < len(names):
                raise FatalError(
                    f"cannot append to {self._target.name}: a column name stands twice in its header: {names}"
                )
            self._columns = names
            self._fixed = "the file has no such column"
        else:
            self._width = len(names)
        return b"" if ended else b"\n"


def _looked_through(existing: Path, target: Target, delimiter: str) -> tuple[bool, list[str]]:
    """Return whether the last line is ended, and the cells of the first record."""
    with decompress(existing.open("rb"), target.compression, target.name) as stream:
        start = stream.read(_LONGEST_HEADER)
    text = start.decode("utf-8-sig", "replace")
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    last, open_quote = _ending(existing, target)
    if open_quote:
        raise FatalError(
            f"cannot append to {target.name}: a quoted cell in it is never closed",
            help="repair the file, then run again",
        )
    return last == b"\n", names


def _ending(existing: Path, target: Target) -> tuple[bytes, bool]:
    """Return the last byte, and whether a quoted cell is open there; the latter is only looked for when in doubt."""
    if target.compression == "none":
        with existing.open("rb") as file:
            file.seek(-1, io.SEEK_END)
            if file.read() == b"\n":
                return b"\n", False
    last, quotes = b"", 0
    with decompress(existing.open("rb"), target.compression, target.name) as stream:
        while block := stream.read(1 << 20):
            last = block[-1:]
            quotes += block.count(b'"')
    return last, quotes % 2 == 1


def _no_room(name: str, new: list[str], why: str) -> FatalError:
    columns = ", ".join(repr(one) for one in new)
    return FatalError(
        f"cannot add the column{'s' if len(new) > 1 else ''} {columns} to {name}: {why}",
        help="drop or rename the field in transform.yaml, write_method: replace the file, or write JSON lines",
    )
