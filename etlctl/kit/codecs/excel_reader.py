"""Reads a sheet of an Excel workbook (.xlsx, .xlsb, .xls, .ods) as frames, typed as Excel stores the cells.

Excel knows text, numbers, booleans and moments. A column of one kind keeps it; a column of several becomes text.
Excel has one kind of number and one of moment, so a column whose numbers are all whole is read as integers, a column
of moments that are all midnight as dates, and a column of moments on day zero as times. Rows without any value are no
records.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etlctl.errors import FatalError, MissingExtraError
from etlctl.kit.codecs.excel_errors import column_letters, error_cells
from etlctl.kit.codecs.reading import Chunk, Unreadable

if TYPE_CHECKING:
    import polars as pl

    from etlctl.kit.sources import OpenSource

_LARGEST_EXACT = 2**53
_DAYS_ZERO = (date(1899, 12, 30), date(1899, 12, 31), date(1904, 1, 1))
"""What a time of day without a date looks like, depending on the workbook's calendar."""
_MIDNIGHT = time()
_ROW = "__etlctl_row"


class ExcelReader:
    """Reads one sheet; the whole sheet is held while it is read, as the format demands.

    Args:
        sheet: Name of the sheet, or its number from 1; the first one when left out.
        header_row: Number of the row with the column names, from 1; the first row with values when left out.
        chunk_bytes: Not used.
        chunk_rows: Rows per chunk.
    """

    def __init__(
        self,
        *,
        sheet: str | int = 1,
        header_row: int | None = None,
        chunk_bytes: int = 8 << 20,  # noqa: ARG002
        chunk_rows: int = 50_000,
    ) -> None:
        self.sheet = sheet
        self.header_row = header_row
        self.chunk_rows = max(chunk_rows, 1_000)

    def chunks(self, source: OpenSource, start: Mapping[str, Any] | None) -> Iterator[Chunk]:
        """Yield the rows from a token on; the token is the number of the next row of the sheet.

        Raises:
            FatalError: The file is no workbook, has no such sheet, or its header does not name the columns clearly.
            MissingExtraError: The extra ``excel`` is not installed.
        """
        with source.on_disk() as path:
            sheet = _Sheet(path, source.name, self.sheet, self.header_row)
            bad = error_cells(path, sheet.name, sheet.header_row)
            frame = sheet.rows(bad)
        if start is None and frame.height == 0:
            yield Chunk(None, frame.drop(_ROW), {"row": sheet.header_row + 1})
        yield from self._cut(frame, bad, int(start["row"]) if start else 0)

    def columns(self, source: OpenSource) -> list[str] | None:  # noqa: ARG002
        """Return None: opening a workbook is no cheap look."""
        return None

    def _cut(self, frame: pl.DataFrame, bad: dict[int, str], first: int) -> Iterator[Chunk]:
        numbers = frame[_ROW].to_list()
        at = next((place for place, number in enumerate(numbers) if number >= first), len(numbers))
        while at < len(numbers):
            piece = frame.slice(at, self.chunk_rows)
            rows = numbers[at : at + self.chunk_rows]
            good, unreadable = self._sort_out(piece, rows, bad)
            at += len(rows)
            lines = [row for row in rows if row not in bad]
            yield Chunk(None, good, {"row": rows[-1] + 1}, unreadable, lines.__getitem__)

    @staticmethod
    def _sort_out(piece: pl.DataFrame, rows: list[int], bad: dict[int, str]) -> tuple[pl.DataFrame, list[Unreadable]]:
        import polars as pl  # noqa: PLC0415

        unreadable = [
            Unreadable(index, "excel.error_cell", bad[row], _shown(piece.row(index, named=True)), row)
            for index, row in enumerate(rows)
            if row in bad
        ]
        if unreadable:
            piece = piece.filter(pl.Series([row not in bad for row in rows]))
        return piece.drop(_ROW), unreadable


class _Sheet:
    """One sheet of a workbook."""

    def __init__(self, path: Path, file: str, wanted: str | int, header_row: int | None) -> None:
        try:
            import fastexcel  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError("format: excel", "excel") from error
        logging.getLogger("fastexcel").setLevel(logging.ERROR)  # it warns about every empty column
        self._file = file
        self._failure: type[Exception] = fastexcel.FastExcelError
        try:
            self._book = fastexcel.read_excel(path)
        except self._failure as error:
            raise self._damaged(error) from error
        self.name = _chosen(list(self._book.sheet_names), wanted, file)
        self.header_row = header_row or self._first_row()

    def rows(self, bad: Collection[int]) -> pl.DataFrame:
        """Return the rows under the header that hold something, with their numbers in the sheet as a last column."""
        import polars as pl  # noqa: PLC0415

        header = self._cells(self.header_row - 1, rows=1, dtypes="string")
        cells = self._cells(self.header_row)
        names = self._names(header, cells)
        frame = pl.DataFrame({name: cells[column] for column, name in names.items()})
        first = self.header_row + 1
        numbers = pl.Series(_ROW, range(first, first + frame.height), dtype=pl.Int64)
        empty = pl.all_horizontal(pl.exclude(_ROW).is_null())
        frame = frame.with_columns(numbers).filter(~empty | pl.col(_ROW).is_in(list(bad)))
        return frame.with_columns([_narrowed(column) for column in frame.iter_columns() if column.name != _ROW])

    def _first_row(self) -> int:
        import polars as pl  # noqa: PLC0415

        head = self._cells(0, rows=1_000, dtypes="string")
        filled = head.select(pl.any_horizontal(pl.all().is_not_null()).arg_true()) if head.width else None
        if filled is None or filled.height == 0:
            raise FatalError(
                f"{self._file}: sheet {self.name!r} has no header: its first 1,000 rows are empty",
                help="choose another sheet with excel_options: {sheet: …}",
            )
        return int(filled.item(0, 0)) + 1

    def _cells(self, skip: int, *, rows: int | None = None, dtypes: Literal["string"] | None = None) -> pl.DataFrame:
        """Return cells from a row on; columns are named by their place, counted from 0 for column A."""
        try:
            sheet = self._book.load_sheet(
                self.name, header_row=None, skip_rows=skip, n_rows=rows, schema_sample_rows=None, dtypes=dtypes
            )
            places = [str(column.absolute_index) for column in sheet.available_columns()]
            frame: pl.DataFrame = sheet.to_polars()
        except self._failure as error:
            raise self._damaged(error) from error
        frame.columns = places[: frame.width]
        return frame

    def _names(self, header: pl.DataFrame, cells: pl.DataFrame) -> dict[str, str]:
        """Return the name of each column by its place; columns without name and value are left out."""
        given = {place: (header[place].item(0) or "").strip() for place in header.columns} if header.height else {}
        names: dict[str, str] = {}
        for place in cells.columns:
            if name := given.get(place):
                names[place] = name
            elif cells[place].null_count() < cells.height:
                raise FatalError(
                    f"{self._file}: row {self.header_row} of sheet {self.name!r} gives column "
                    f"{column_letters(int(place))} no name, but there are values below",
                    help="name the column, or say which row holds the names with excel_options: {header_row: …}",
                )
        name, times = Counter(names.values()).most_common(1)[0] if names else ("", 0)
        if times > 1:
            places = " and ".join(column_letters(int(place)) for place, other in names.items() if other == name)
            raise FatalError(
                f"{self._file}: row {self.header_row} of sheet {self.name!r} names columns {places} both {name!r}",
                help="rename one of them in the workbook",
            )
        return names

    def _damaged(self, error: Exception) -> FatalError:
        reason = str(error).split("\n", 1)[0]
        return FatalError(
            f"{self._file} cannot be read as an Excel workbook: {reason}",
            help="the file is damaged, protected by a password or of another format; open and save it in Excel",
        )


def _chosen(sheets: list[str], wanted: str | int, file: str) -> str:
    if isinstance(wanted, str) and wanted in sheets:
        return wanted
    if isinstance(wanted, int) and 1 <= wanted <= len(sheets):
        return sheets[wanted - 1]
    close = get_close_matches(str(wanted), sheets, 1)
    known = ", ".join(f"{number} {name!r}" for number, name in enumerate(sheets, 1))
    raise FatalError(
        f"{file} has no sheet {wanted!r}; its sheets are {known}",
        help=f"did you mean {close[0]!r}?" if close else "name one of them with excel_options: {sheet: …}",
    )


def _narrowed(column: pl.Series) -> pl.Series:
    """Return a column with the type that its values have in the eyes of a reader."""
    import polars as pl  # noqa: PLC0415

    if column.dtype == pl.Float64:
        whole = (column == column.floor()) & (column.abs() <= _LARGEST_EXACT)
        return column.cast(pl.Int64) if whole.all() and column.null_count() < len(column) else column
    if isinstance(column.dtype, pl.Datetime):
        column = column.cast(pl.Datetime("us"))
        if column.dt.date().is_in(_DAYS_ZERO).all():
            return column.dt.time()
        return column.dt.date() if (column.dt.time() == _MIDNIGHT).all() else column
    return column.cast(pl.Duration("us")) if isinstance(column.dtype, pl.Duration) else column


def _shown(row: dict[str, Any]) -> str:
    """Return a row as the text of a dead letter."""
    row.pop(_ROW, None)
    return json.dumps(row, ensure_ascii=False, default=str)
