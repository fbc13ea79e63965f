"""An Excel workbook with one sheet: cells wait in a file beside it until all columns are known."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from etlctl.batch import Batch, Record, frame_to_rows
from etlctl.errors import FatalError, MissingExtraError, RecordRejected
from etlctl.kit.byte_sink import ByteSink
from etlctl.kit.codecs.excel_cells import LAYOUTS, MAX_COLUMNS, MAX_ROWS, MAX_TEXT, Cell, excel_cell
from etlctl.kit.codecs.table_records import empty_refusals, unnameable
from etlctl.kit.codecs.writing import FormatWriter, Refusals, State, Target

if TYPE_CHECKING:
    import polars as pl

_SLICE = 1_000


class ExcelWriter(FormatWriter):
    """Writes a workbook.

    Whole numbers beyond 2^53, decimals that a double cannot hold, moments with a zone and those before March 1900
    become text, because Excel would change them. Null and the empty text look the same.

    Args:
        target: Where to; the rows of ``existing`` are written again in front of the new ones.
        sheet: Name of the sheet.
    """

    def __init__(self, target: Target, sheet: str) -> None:
        try:
            import xlsxwriter  # noqa: F401, PLC0415
        except ImportError as error:
            raise MissingExtraError("format: excel", "excel") from error
        self._target = target
        self._sheet = sheet
        self._columns: dict[str, int] = {}
        self._rows = 0
        self._waiting = target.scratch(1)
        self._kept = target.state is not None
        if target.state is not None:
            self._columns = {name: place for place, name in enumerate(target.state["columns"])}
            self._rows = target.state["rows"]
            self._sink = ByteSink.resume(self._waiting, "none", target.state["length"])
            return
        self._sink = ByteSink.create(self._waiting)
        if target.existing is not None:
            self._take_over(target.existing)

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        if batch.frame is not None:
            return self._take_frame(batch.frame)
        return self._take(batch.records or [])

    def checkpoint(self) -> State:
        """Put the waiting cells on disk."""
        self._kept = True
        return {"length": self._sink.checkpoint(), "columns": list(self._columns), "rows": self._rows}

    def finish(self) -> None:
        """Write the workbook."""
        self._sink.end()
        self._sink.close()
        _write_workbook(self._target.file, self._sheet, list(self._columns), self._waiting)
        if not self._kept:
            self._waiting.unlink()

    def abort(self) -> None:
        """Close the file of waiting cells."""
        self._sink.close()

    def _take_frame(self, frame: pl.DataFrame) -> Refusals:
        if not frame.width:
            return empty_refusals(frame.height)
        self._meet(frame.columns)
        refusals: Refusals = []
        for start in range(0, frame.height, _SLICE):
            found = self._take(frame_to_rows(frame.slice(start, _SLICE)))
            refusals += [(start + place, refused) for place, refused in found]
        return refusals

    def _take(self, records: list[Record]) -> Refusals:
        names = list(dict.fromkeys(name for record in records for name in record))
        refused = unnameable(records, names)
        for place, record in enumerate(records):
            if place in refused:
                continue
            self._meet(record)
            try:
                cells = {self._columns[name]: excel_cell(value, name) for name, value in record.items()}
            except RecordRejected as error:
                refused[place] = error
                continue
            self._wait(cells)
        return sorted(refused.items())

    def _meet(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._columns:
                continue
            if len(name) > MAX_TEXT:
                raise FatalError(f"the field name {name[:60]!r}… is longer than an Excel cell holds")
            if len(self._columns) == MAX_COLUMNS:
                raise FatalError(
                    f"{self._target.name} needs more than {MAX_COLUMNS:,} columns, the most an Excel sheet has",
                    help="drop fields in transform.yaml (select), or write Parquet, CSV or JSON lines",
                )
            self._columns[name] = len(self._columns)

    def _wait(self, cells: dict[int, Cell]) -> None:
        if self._rows == MAX_ROWS - 1:
            raise FatalError(
                f"{self._target.name} needs more than {MAX_ROWS:,} rows, the most an Excel sheet has, header included",
                help="filter the records, split them over several contracts, or write Parquet, CSV or JSON lines",
            )
        row: list[Cell] = [None] * (max(cells) + 1)
        for column, cell in cells.items():
            row[column] = cell
        self._sink.write(orjson.dumps(row) + b"\n")
        self._rows += 1

    def _take_over(self, existing: Path) -> None:
        from etlctl.kit.codecs.excel_existing import records_of  # noqa: PLC0415

        try:
            for frame in records_of(existing, self._sheet, self._target.name):
                self._take_frame(frame)
        except BaseException:
            self._sink.close()
            raise


def _write_workbook(path: Path, sheet_name: str, columns: list[str], waiting: Path) -> None:
    import xlsxwriter  # noqa: PLC0415
    from xlsxwriter.exceptions import XlsxWriterException  # noqa: PLC0415

    try:
        book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": str(path.parent), "use_zip64": True})
        sheet = book.add_worksheet(sheet_name, worksheet_class=_exact_worksheet())
        layouts = {name: book.add_format({"num_format": layout}) for name, layout in LAYOUTS.items()}
        for column, name in enumerate(columns):
            sheet.write_string(0, column, name)
        with waiting.open("rb") as lines:
            for row, line in enumerate(lines, 1):
                _write_row(sheet, row, orjson.loads(line), layouts)
        book.close()
    except XlsxWriterException as error:
        cause = error.__cause__ or error.__context__ or (error.args[0] if error.args else None)
        if isinstance(cause, OSError):
            raise cause from error
        raise FatalError(f"cannot write {path.name}: {error}") from error


def _write_row(sheet: Any, row: int, cells: list[Cell], layouts: dict[str, Any]) -> None:
    for column, cell in enumerate(cells):
        if cell is None or cell == "":
            continue
        if isinstance(cell, bool):
            sheet.write_boolean(row, column, cell)
        elif isinstance(cell, str):
            sheet.write_string(row, column, cell)
        elif isinstance(cell, list):
            sheet.write_number(row, column, cell[0], layouts[cell[1]])
        else:
            sheet.write_number(row, column, cell)


def _exact_worksheet() -> type[Any]:
    from xlsxwriter.worksheet import Worksheet  # noqa: PLC0415

    class ExactWorksheet(Worksheet):  # type: ignore[misc]
        """Writes all 17 digits a double can need; the library stops at 16."""

        def _xml_number_element(self, number: float, attributes: Any = ()) -> None:
            shown = "".join(f' {key}="{self._escape_attributes(value)}"' for key, value in attributes)
            self.fh.write(f"<c{shown}><v>{number!r}</v></c>")

    return ExactWorksheet
