"""The Excel reader: types as stored, sheets, headers, error cells, resuming."""

from __future__ import annotations

import io
import json
import sys
from datetime import date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter

from etlctl.errors import FatalError, MissingExtraError
from etlctl.kit.codecs import excel_errors
from etlctl.kit.codecs.excel_errors import column_letters
from etlctl.kit.codecs.excel_reader import ExcelReader
from etlctl.kit.sources import OpenSource


def source(path: Path) -> OpenSource:
    return OpenSource(path.name, path, False, path.stat().st_size, lambda: path.open("rb"))


def workbook(path: Path, sheets: dict[str, list[list[object]]]) -> OpenSource:
    book = xlsxwriter.Workbook(str(path), {"default_date_format": "yyyy-mm-dd hh:mm:ss"})
    span = book.add_format({"num_format": "[h]:mm:ss"})
    clock = book.add_format({"num_format": "hh:mm:ss"})
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for y, row in enumerate(rows):
            for x, value in enumerate(row):
                if isinstance(value, str) and value.startswith("#"):
                    sheet.write_formula(y, x, "=1/0", None, value)
                elif isinstance(value, str):
                    sheet.write_string(y, x, value)
                elif isinstance(value, timedelta):
                    sheet.write_datetime(y, x, value, span)
                elif isinstance(value, time):
                    sheet.write_datetime(y, x, value, clock)
                elif value is not None:
                    sheet.write(y, x, value)
    book.close()
    return source(path)


def read(opened: OpenSource, start=None, **options):
    chunks = list(ExcelReader(**options).chunks(opened, start))
    return pl.concat([chunk.frame for chunk in chunks]), chunks


def test_values_have_the_types_that_excel_stores(tmp_path):
    moment = datetime(2024, 1, 2, 3, 4, 5)  # noqa: DTZ001
    rows = [
        ["whole", "real", "code", "flag", "day", "moment", "clock", "span", "mixed", "none"],
        [1, 1, "007", True, date(2024, 1, 1), moment, time(10, 0, 1), timedelta(hours=30), 1, None],
        [2, 1.5, "x", False, date(2024, 1, 2), moment, time(23, 59, 59), timedelta(minutes=1), "x", None],
        [None, None, None, None, None, None, None, None, None, None],
        [3, None, "", None, None, None, None, None, 2.5, None],
    ]
    frame, _ = read(workbook(tmp_path / "t.xlsx", {"S": rows}))
    assert frame.schema == {
        "whole": pl.Int64,
        "real": pl.Float64,
        "code": pl.String,
        "flag": pl.Boolean,
        "day": pl.Date,
        "moment": pl.Datetime("us"),
        "clock": pl.Time,
        "span": pl.Duration("us"),
        "mixed": pl.String,
        "none": pl.String,
    }
    assert frame.rows()[:2] == [
        (1, 1.0, "007", True, date(2024, 1, 1), moment, time(10, 0, 1), timedelta(hours=30), "1", None),
        (2, 1.5, "x", False, date(2024, 1, 2), moment, time(23, 59, 59), timedelta(minutes=1), "x", None),
    ]
    assert frame["mixed"].to_list() == ["1", "x", "2.5"]


def test_numbers_that_a_double_does_not_hold_exactly_stay_floats(tmp_path):
    frame, _ = read(workbook(tmp_path / "t.xlsx", {"S": [["n"], [2**53], [1e300]]}))
    assert frame.schema == {"n": pl.Float64}


def test_a_late_value_decides_the_type_too(tmp_path):
    rows = [["n"], *[[n] for n in range(3_000)], ["late text"]]
    frame, _ = read(workbook(tmp_path / "t.xlsx", {"S": rows}))
    assert frame["n"].to_list()[-2:] == ["2999", "late text"]


def test_sheets_by_name_and_number(tmp_path):
    book = workbook(tmp_path / "t.xlsx", {"One": [["a"], [1]], "Two": [["b"], [2]]})
    assert read(book)[0].columns == ["a"]
    assert read(book, sheet=2)[0].columns == ["b"]
    assert read(book, sheet="Two")[0].columns == ["b"]
    with pytest.raises(FatalError, match="has no sheet 'Tow'; its sheets are 1 'One', 2 'Two'") as raised:
        read(book, sheet="Tow")
    assert raised.value.help == "did you mean 'Two'?"
    with pytest.raises(FatalError, match="no sheet 3"):
        read(book, sheet=3)


def test_the_header_is_the_first_row_with_values_or_the_one_named(tmp_path):
    rows = [[], [None, "Report of June"], [], [None, "name", "n"], [None, "x", 1], [], [None, "y", 2]]
    book = workbook(tmp_path / "t.xlsx", {"S": rows})
    frame, (chunk,) = read(book, header_row=4)
    assert frame.to_dicts() == [{"name": "x", "n": 1}, {"name": "y", "n": 2}]
    assert [chunk.line_of(n) for n in range(2)] == [5, 7]
    with pytest.raises(FatalError, match="row 2 of sheet 'S' gives column C no name, but there are values below"):
        read(book)
    frame, _ = read(workbook(tmp_path / "u.xlsx", {"S": rows[2:]}))
    assert frame.columns == ["name", "n"]


def test_duplicate_names_and_empty_sheets_are_errors(tmp_path):
    book = workbook(tmp_path / "t.xlsx", {"S": [["a", "b", "a"], [1, 2, 3]], "E": []})
    with pytest.raises(FatalError, match="row 1 of sheet 'S' names columns A and C both 'a'"):
        read(book)
    with pytest.raises(FatalError, match="sheet 'E' has no header"):
        read(book, sheet="E")


def test_a_header_without_rows_still_tells_the_columns(tmp_path):
    frame, _ = read(workbook(tmp_path / "t.xlsx", {"S": [["a", "b"]]}))
    assert (frame.columns, frame.height) == (["a", "b"], 0)


def test_error_cells_are_unreadable_rows_with_their_place(tmp_path):
    rows = [["n", "t"], [1, "x"], ["#DIV/0!", "y"], [None, "#N/A"], [4, "z"]]
    frame, (chunk,) = read(workbook(tmp_path / "t.xlsx", {"Other": [["#REF!"]], "S": rows}), sheet="S")
    assert frame.to_dicts() == [{"n": 1, "t": "x"}, {"n": 4, "t": "z"}]
    assert [(bad.index, bad.line, bad.rule, bad.message, json.loads(bad.raw)) for bad in chunk.unreadable] == [
        (1, 3, "excel.error_cell", "cell A3 holds the error #DIV/0!", {"n": None, "t": "y"}),
        (2, 4, "excel.error_cell", "cell B4 holds the error #N/A", {"n": None, "t": None}),
    ]


def test_error_cells_are_found_across_blocks_of_a_long_sheet(tmp_path):
    rows = [["n", "text"], *[["#N/A" if n % 1000 == 7 else n, "some longer text " * 3] for n in range(20_000)]]
    _, chunks = read(workbook(tmp_path / "t.xlsx", {"S": rows}))
    assert [bad.line for chunk in chunks for bad in chunk.unreadable] == [n + 2 for n in range(7, 20_000, 1000)]


def test_resuming_at_every_token_gives_exactly_the_rest(tmp_path):
    rows = [["n"], *[[n if n % 7 else None] for n in range(1, 3_000)]]
    book = workbook(tmp_path / "t.xlsx", {"S": rows})
    whole, chunks = read(book, chunk_rows=1_000)
    assert len(chunks) == 3
    seen = 0
    for chunk in chunks:
        seen += chunk.frame.height
        rest = list(ExcelReader().chunks(book, json.loads(json.dumps(chunk.next))))
        assert [n for later in rest for n in later.frame["n"]] == whole["n"].to_list()[seen:]


def test_no_workbook_is_refused_by_name(tmp_path):
    path = tmp_path / "t.xlsx"
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(FatalError, match=r"t\.xlsx cannot be read as an Excel workbook"):
        read(source(path))
    good = workbook(tmp_path / "g.xlsx", {"S": [["a"], [1]]})
    path.write_bytes(good.path.read_bytes()[:-200])
    with pytest.raises(FatalError, match=r"t\.xlsx cannot be read as an Excel workbook"):
        read(source(path))


def test_without_the_extra_the_message_names_it(tmp_path, monkeypatch):
    book = workbook(tmp_path / "t.xlsx", {"S": [["a"], [1]]})
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with pytest.raises(MissingExtraError, match=r"etlctl\[excel\]"):
        read(book)


def test_column_letters():
    assert [column_letters(n) for n in (0, 25, 26, 701, 702)] == ["A", "Z", "AA", "ZZ", "AAA"]


@pytest.mark.parametrize("block", [1, 7, 40, 1000])
def test_error_cells_cut_by_the_end_of_a_block_are_found(block, monkeypatch):
    cells = b"".join(
        b'<row r="%d"><c r="A%d" s="1" t="e"><v>#N/A</v></c><c r="B%d"><v>1</v></c></row>' % (n, n, n)
        for n in range(2, 30)
    )
    monkeypatch.setattr(excel_errors, "_BLOCK", block)
    sheet = io.BytesIO(
        b"<sheetData>" + cells + b"<x:c r=\"AB30\" t='e'><x:f>1/0</x:f><x:v>#REF!</x:v></x:c></sheetData>"
    )
    assert list(excel_errors._scan(sheet)) == [("A", n, "#N/A") for n in range(2, 30)] + [("AB", 30, "#REF!")]
