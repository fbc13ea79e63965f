"""Finds the error cells (``#N/A``, ``#REF!``, …) of an .xlsx sheet, which its reader takes for empty ones."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_BLOCK = 1 << 20
_ERROR = re.compile(rb"<(?:\w+:)?c\s([^>]*\bt=[\"']e[\"'][^>]*)>.*?<(?:\w+:)?v>([^<]*)<", re.DOTALL)
_PLACE = re.compile(rb"\br=[\"']([A-Z]+)([0-9]+)[\"']")
_CELL = re.compile(rb"<(?:\w+:)?c\s")


def error_cells(path: Path, sheet: str, header_row: int) -> dict[int, str]:
    """Return what is wrong with a row by its number, for the rows under the header that hold an error cell.

    Only .xlsx tells; other kinds of workbooks give nothing.
    """
    if not zipfile.is_zipfile(path):
        return {}
    found: dict[int, list[str]] = {}
    with zipfile.ZipFile(path) as archive:
        part = _sheet_part(archive, sheet)
        if part is None:
            return {}
        with archive.open(part) as stream:
            for letters, row, value in _scan(stream):
                if row > header_row:
                    found.setdefault(row, []).append(f"cell {letters}{row} holds the error {value}")
    return {row: "; ".join(cells) for row, cells in found.items()}


def column_letters(index: int) -> str:
    """Return the letters of a column by its place from 0: A, B, …, Z, AA."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _scan(stream: IO[bytes]) -> Iterator[tuple[str, int, str]]:
    window = b""
    while block := stream.read(_BLOCK):
        window += block
        starts = [match.start() for match in _CELL.finditer(window, max(0, len(window) - (1 << 16)))]
        # The last cell may go on in the next block.
        cut = starts[-1] if starts else len(window) - min(len(window), 16)
        yield from _errors(window[:cut])
        window = window[cut:]
    yield from _errors(window)


def _errors(text: bytes) -> Iterator[tuple[str, int, str]]:
    for match in _ERROR.finditer(text):
        if place := _PLACE.search(match[1]):
            yield place[1].decode(), int(place[2]), match[2].decode("utf-8", "replace")


def _sheet_part(archive: zipfile.ZipFile, sheet: str) -> str | None:
    """Return the archive member of a sheet by its name; None when the archive is no .xlsx."""
    from defusedxml import ElementTree  # noqa: PLC0415

    names = set(archive.namelist())
    if not {"xl/workbook.xml", "xl/_rels/workbook.xml.rels"} <= names:
        return None
    key = None
    for element in ElementTree.fromstring(archive.read("xl/workbook.xml")).iter():
        if element.tag.endswith("}sheet") and element.get("name") == sheet:
            key = next((value for name, value in element.items() if name.endswith("}id")), None)
    for element in ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels")).iter():
        if key is not None and element.get("Id") == key:
            part = posixpath.normpath(posixpath.join("xl", element.get("Target", ""))).removeprefix("/")
            return part if part in names else None
    return None
