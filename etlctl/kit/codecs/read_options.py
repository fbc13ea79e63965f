"""The options of the formats that files are read in, as they stand in a contract."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from etlctl.kit.codecs.transcoding import encoding_problem


class Options(BaseModel):
    """Base of the options of one format."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class CsvOptions(Options):
    """How CSV and TSV are read. Every value is text; an empty cell is null, a quoted empty cell is empty text."""

    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """One ASCII character between cells; a comma for csv and a tab for tsv when left out."""
    quote: str | None = Field(default='"', max_length=1)
    """One ASCII character around quoted cells; empty or null: quotes are ordinary characters."""
    header: bool = True
    """The first line names the columns."""
    columns: list[str] | None = Field(default=None, min_length=1)
    """Names of the columns when there is no header; ``column_1``, ``column_2``, … when left out."""
    encoding: str = "utf-8"
    """Encoding of the text, such as ``latin-1``, ``cp1252`` or ``utf-16``."""
    null_values: list[str] = Field(default_factory=list)
    """Texts that mean null, such as ``NA``, in quotes or not."""
    skip_rows: int = Field(default=0, ge=0)
    """Lines before the header that are no data."""
    comment: str | None = Field(default=None, min_length=1)
    """Lines that start with this text are skipped."""
    max_row_bytes: int = Field(default=1 << 20, ge=64, le=1 << 30)
    """Longest record in bytes. A quote that is not closed within it makes its line unreadable, not the rest."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        marks = {"delimiter": self.delimiter, "quote": self.quote}
        for name, mark in marks.items():
            if mark and (not mark.isascii() or mark in "\r\n\0"):
                raise ValueError(f"{name}: {mark!r} cannot be one; take a single ASCII character, no line end")
        if self.delimiter and self.delimiter == self.quote:
            raise ValueError(f"delimiter and quote are both {self.quote!r}")
        if self.columns is not None:
            if self.header:
                raise ValueError("columns names the columns of a file without a header: add header: false")
            if len(set(self.columns)) < len(self.columns) or not all(self.columns):
                raise ValueError("columns must be names that are not empty and differ from each other")
        problem = encoding_problem(self.encoding) if "${" not in self.encoding else None
        if problem is not None:
            raise ValueError(problem)
        return self


class JsonOptions(Options):
    """How JSON and JSON lines are read."""

    records_path: str | None = Field(default=None, min_length=1)
    """json: fields on the way to the records, joined by dots, such as ``data.items``; leads to an array or an object."""  # noqa: E501
    max_record_bytes: int | None = Field(default=None, ge=64, le=1 << 30)
    """jsonl: longest line in bytes; 64 MiB when left out."""


class ExcelOptions(Options):
    """How a workbook is read."""

    sheet: str | int = 1
    """Name of the sheet, or its number from 1."""
    header_row: int | None = Field(default=None, ge=1)
    """Number of the row with the column names; the first row with values when left out."""


class XmlOptions(Options):
    """How XML is read."""

    record: str | None = Field(default=None, min_length=1)
    """Name of the record elements (``book``) or their path from the root (``catalog/books/book``); the children of the root when left out."""  # noqa: E501
