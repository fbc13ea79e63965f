"""Readers and writers of file formats; here: which format a file has and which reader reads it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from etlctl.kit.compression import strip_suffix

if TYPE_CHECKING:
    from etlctl.kit.codecs.reading import FormatReader

Readable: TypeAlias = Literal["csv", "tsv", "json", "jsonl", "parquet", "excel", "xml"]

READABLE: dict[str, Readable] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".geojson": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xlsb": "excel",
    ".xls": "excel",
    ".xml": "xml",
}
"""Format by the extension of a file name."""

_READERS: dict[Readable, tuple[str, str]] = {
    "csv": ("csv_reader", "CsvReader"),
    "tsv": ("csv_reader", "CsvReader"),
    "json": ("json_reader", "JsonReader"),
    "jsonl": ("jsonl_reader", "JsonlReader"),
    "parquet": ("parquet_reader", "ParquetReader"),
    "excel": ("excel_reader", "ExcelReader"),
    "xml": ("xml_reader", "XmlReader"),
}


def format_of(name: str) -> Readable | None:
    """Return the format that a file name tells, below a suffix such as ``.gz``; None when it tells none."""
    return READABLE.get(PurePath(strip_suffix(name)).suffix.lower())


def reader_for(
    name: Readable, options: Mapping[str, Any], *, chunk_bytes: int = 8 << 20, chunk_rows: int = 50_000
) -> FormatReader:
    """Return the reader of a format; only its own module is imported.

    Args:
        name: The format.
        options: Keyword arguments of the reader: the format's options in a contract.
        chunk_bytes: Bytes to give at once.
        chunk_rows: Records to give at once at most.
    """
    module, reader = _READERS[name]
    if name == "tsv":
        options = {"delimiter": "\t", **options}
    make = getattr(import_module(f"{__name__}.{module}"), reader)
    return cast("FormatReader", make(**options, chunk_bytes=chunk_bytes, chunk_rows=chunk_rows))
