"""The records of a workbook that is to be appended to, or a clear word why they cannot be kept as they are."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from etlctl.errors import FatalError
from etlctl.kit.codecs.excel_reader import ExcelReader
from etlctl.kit.sources import OpenSource

_CELL = re.compile(rb'<c r="([A-Z]+)(\d+)"([^>]*)>')
_TEXT = (b't="s"', b't="inlineStr"', b't="str"')
_KEPT = 1 << 12
_BLOCK = 1 << 20
_ADVICE = "set write_method: replace to write it anew, or choose another path"


def records_of(path: Path, sheet: str, name: str) -> Iterator[pl.DataFrame]:
    """Yield what a workbook holds.

    Raises:
        FatalError: It has other sheets, another sheet name, or a column of text and other cells: writing it again
            would lose or change something.
    """
    sheets = _sheets(path, name)
    if sheets != [sheet]:
        raise FatalError(
            f"cannot append to {name}: it has the sheets {', '.join(map(repr, sheets))}, and only a workbook with the "
            f"one sheet {sheet!r} can be written again without losing anything",
            help=_ADVICE,
        )
    source = OpenSource(name, path, compressed=False, size=path.stat().st_size, opener=lambda: path.open("rb"))
    plain = _columns_with_other_than_text(path)
    for chunk in ExcelReader(sheet=sheet).chunks(source, None):
        frame = chunk.frame
        if frame is None:
            continue
        for place, (column, dtype) in enumerate(frame.schema.items()):
            if isinstance(dtype, pl.String) and place in plain:
                raise FatalError(
                    f"cannot append to {name}: its column {column!r} has text and other cells, "
                    "which would all become text when it is written again",
                    help=_ADVICE,
                )
        yield frame


def _sheets(path: Path, name: str) -> list[str]:
    from etlctl.errors import MissingExtraError  # noqa: PLC0415

    try:
        import fastexcel  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("appending to a workbook", "excel") from error
    try:
        return list(fastexcel.read_excel(path).sheet_names)
    except fastexcel.FastExcelError as error:
        raise FatalError(f"cannot append to {name}: it is no Excel workbook: {error}", help=_ADVICE) from error


def _columns_with_other_than_text(path: Path) -> set[int]:
    """Return the columns (0-based) that have a cell below the first row which is no text."""
    found: set[bytes] = set()
    with zipfile.ZipFile(path) as archive:
        parts = [one for one in archive.namelist() if one.startswith("xl/worksheets/sheet")]
        for part in parts:
            with archive.open(part) as stream:
                held = b""
                while block := stream.read(_BLOCK):
                    held += block
                    for letters, row, attributes in _CELL.findall(held):
                        if row != b"1" and not any(kind in attributes for kind in _TEXT):
                            found.add(letters)
                    held = held[-_KEPT:]
    return {_place(letters) for letters in found}


def _place(letters: bytes) -> int:
    place = 0
    for letter in letters:
        place = place * 26 + letter - 64
    return place - 1
