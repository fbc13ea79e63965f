"""The options of the formats that files are written in, as they stand in a contract."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Base of the options of one format."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class CsvOptions(Options):
    """How CSV and TSV are written."""

    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """One character between cells; a comma for csv and a tab for tsv when left out."""
    header: bool = True
    """The first line names the columns."""
    null_value: str = ""
    """Text of a null. With one, every text is quoted, so that an equal text stays a text."""
    quote_style: Literal["necessary", "non_numeric", "always"] = "necessary"
    """Which cells are quoted. With ``always`` a null and a text equal to ``null_value`` look the same."""


class JsonOptions(Options):
    """How JSON is written."""

    indent: int | None = Field(default=None, ge=0, le=8)
    """Spaces per level; one record a line when left out."""


class ParquetOptions(Options):
    """How Parquet is written."""

    compression: Literal["zstd", "snappy", "lz4", "gzip", "none"] = "zstd"
    """Codec of the pages."""
    level: int | None = Field(default=None, ge=1, le=22)
    """Compression level of ``zstd`` (to 22) or ``gzip`` (to 9); a fast one when left out."""
    row_group_rows: int | None = Field(default=None, ge=1)
    """Rows in a row group; about 131,000, less when records are wide, when left out."""


class ExcelOptions(Options):
    """How a workbook is written."""

    sheet: str = Field(default="Sheet1", min_length=1, max_length=31, pattern=r"^[^\[\]:*?/\\]+$")
    """Name of the sheet."""
