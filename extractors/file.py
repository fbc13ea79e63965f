"""Reads files: CSV, TSV, JSON, JSON lines, Parquet, Excel and XML, plain or compressed."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from etlctl.kit.codecs import READABLE, Readable, format_of, reader_for
from etlctl.kit.codecs.reading import Chunk, FormatReader
from etlctl.kit.codecs.transcoding import encoding_problem
from etlctl.kit.compression import Compression, strip_suffix
from etlctl.kit.file_position import STDIN, FilePosition, check_trace, done_mark, find_place, trace_of
from etlctl.kit.read_ahead import read_ahead
from etlctl.kit.sources import OpenSource, find_files, open_sources
from etlctl.kit.stdin import stdin_source
from etlctl.sdk import Batch, Example, Extractor, FatalError, ReadContext, Rejection

_HEADERS_LOOKED_AT = 10
_OPTIONS_OF: dict[Readable, str] = {
    "csv": "csv_options",
    "tsv": "csv_options",
    "json": "json_options",
    "jsonl": "json_options",
    "excel": "excel_options",
    "xml": "xml_options",
}


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


class File(Extractor):
    """Reads CSV, TSV, JSON, JSON lines, Parquet, Excel or XML files.

    Reading is strict: what is no proper record goes to the dead letters with its line and its raw text, and nothing
    is repaired. CSV and XML values are text until ``convert`` or the schema says otherwise.
    """

    path: str | list[str] = Field(min_length=1)
    """The file, or several, relative to the contract's folder; ``*``, ``**``, ``?`` and ``[…]`` match files in name order; ``-`` is standard input."""  # noqa: E501
    format: Literal["auto", "csv", "tsv", "json", "jsonl", "parquet", "excel", "xml"] = "auto"
    """What to read; ``auto`` goes by the extension."""
    compression: Compression = "auto"
    """How it is compressed; ``auto`` goes by ``.gz``, ``.zst`` and ``.zip`` (every fitting member, in name order)."""
    on_bad_record: Literal["reject", "fail"] = "reject"
    """What is no proper record goes to the dead letters (``reject``) or stops the run (``fail``)."""
    csv_options: CsvOptions | None = None
    """How CSV and TSV are read."""
    json_options: JsonOptions | None = None
    """How JSON and JSON lines are read."""
    excel_options: ExcelOptions | None = None
    """How a workbook is read."""
    xml_options: XmlOptions | None = None
    """How XML is read."""

    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "A CSV file; every value is text, an empty cell is null",
            "path: people.csv",
            given={"people.csv": "name,zip\nAnn,00123\nBob,\n"},
            expect=[{"name": "Ann", "zip": "00123"}, {"name": "Bob", "zip": None}],
        ),
        Example(
            "Broken lines go to the dead letters",
            "path: people.csv\ncsv_options: {delimiter: ;}",
            given={"people.csv": 'name;age\nAnn;41\nBob\nEve;"4"2"\n'},
            expect=[{"name": "Ann", "age": "41"}],
            rejected=("csv.short_row", "csv.bad_quote"),
        ),
        Example(
            "All files of a folder, in name order",
            "path: days/*.jsonl",
            given={"days/2.jsonl": '{"n": 2}\n', "days/1.jsonl": '{"n": 1}\n[1]\n'},
            expect=[{"n": 1}, {"n": 2}],
            rejected=("jsonl.not_an_object",),
        ),
        Example(
            "The records inside a JSON document",
            "path: answer.json\njson_options: {records_path: data.items}",
            given={"answer.json": '{"data": {"items": [{"id": 1}, {"id": 2}]}}'},
            expect=[{"id": 1}, {"id": 2}],
        ),
        Example("A sheet of a workbook", "path: book.xlsx\nexcel_options: {sheet: Prices, header_row: 3}"),
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        plain = [path for path in self.paths if "${" not in path]
        if "-" in plain and len(self.paths) > 1:
            raise ValueError("path: - (standard input) cannot be read together with other files")
        formats = [self._format_by_name(path) for path in plain]
        if self.format != "auto":
            formats = [self.format]
        known = {_OPTIONS_OF.get(name, "") for name in formats if name is not None}
        if formats and None not in formats and len(plain) == len(self.paths):
            for option in dict.fromkeys(_OPTIONS_OF.values()):
                if getattr(self, option) is not None and option not in known:
                    names = " and ".join(sorted(str(name) for name in set(formats)))
                    raise ValueError(f"{option} has no effect on format {names}; remove it, or set format")
        return self

    def _format_by_name(self, path: str) -> Readable | None:
        """Return the format that a path or pattern tells; None when only the files can tell."""
        name = format_of(path)
        if self.format != "auto" or name is not None:
            return name
        if path == "-":
            raise ValueError(f"standard input does not tell its format; set format: {_formats()}")
        inner = Path(strip_suffix(path))
        archive = self.compression == "zip" or path.lower().endswith(".zip")
        if not archive and inner.suffix and not any(char in inner.suffix for char in "*?["):
            raise ValueError(_unknown(path))
        return None

    @property
    def paths(self) -> list[str]:
        """The paths and patterns, in the order given."""
        return [self.path] if isinstance(self.path, str) else self.path

    def places(self, base_dir: Path) -> tuple[Path, ...]:
        """Return the files that are read."""
        names = [path for path in self.paths if path != "-"]
        return tuple(path.resolve() for _, path in find_files(names, base_dir)) if names else ()

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        """Yield a batch per chunk of a file; files are read on a thread, a little ahead."""
        stop = threading.Event()
        async with aclosing(read_ahead(lambda: self._batches(ctx, stop), stop=stop)) as batches:
            async for batch in batches:
                yield batch

    def fields(self, base_dir: str) -> dict[str, str] | None:
        """Return the columns in the headers of the files, when they agree; whole trees are not searched for them."""
        if any(path == "-" or "**" in path for path in self.paths):
            return None
        try:
            sources = self._sources(Path(base_dir), threading.Event())[:_HEADERS_LOOKED_AT]
            headers = [self._reader(source).columns(source) for source in sources]
            texts = all(self._format(source) in {"csv", "tsv"} for source in sources)
        except (FatalError, OSError):
            return None
        if not headers or headers[0] is None or any(header != headers[0] for header in headers):
            return None
        return dict.fromkeys(headers[0], "string" if texts else "any")

    def _batches(self, ctx: ReadContext, stop: threading.Event) -> Iterator[Batch]:
        sources = self._sources(ctx.base_dir, stop)
        place = find_place(ctx.position, {source.name: source.path for source in sources}, ctx.warn)
        done = "".join(done_mark(source.name, trace_of(source.path)) for source in sources[: place.index])
        start = place.token
        for index in range(place.index, len(sources)):
            source = sources[index]
            reader = self._reader(source, ctx)
            try:
                if index == place.index:
                    check_trace(ctx.position, source.path, source.name)
                trace = trace_of(source.path)
                name = source.name if source.path is not None else STDIN
                if start is None:
                    yield Batch.of_position(FilePosition(name, index, None, trace, done).to_json())
                with closing(reader.chunks(source, start)) as chunks:  # type: ignore[type-var]
                    for chunk in chunks:
                        yield self._batch(chunk, source.name, FilePosition(name, index, chunk.next, trace, done), ctx)
                        del chunk
            except OSError as error:
                raise _unreadable(source.name, error) from error
            start = None
            done += done_mark(source.name, trace)

    def _batch(self, chunk: Chunk, name: str, position: FilePosition, ctx: ReadContext) -> Batch:
        rejected = [
            Rejection(
                index=piece.index,
                stage="extract",
                step=ctx.step,
                rule=piece.rule,
                message=piece.message,
                raw=piece.raw,
                location=name if piece.line is None else f"{name}:{piece.line}",
            )
            for piece in chunk.unreadable
        ]
        if rejected and self.on_bad_record == "fail":
            first = rejected[0]
            said = f"{first.message} ({first.rule}): {str(first.raw)[:200]!r}"
            raise FatalError(
                f"{first.location}: {first.rule if ctx.conceals else said}",
                help="mend the file, or send such records to the dead letters with on_bad_record: reject",
            )
        line_of = chunk.line_of
        locate = None if line_of is None else lambda record: f"{name}:{line_of(record)}"
        batch = Batch(chunk.records, chunk.frame, position.to_json(), rejected=rejected, locate=locate)
        if chunk.deferred is not None:
            batch.deferred = chunk.deferred.then(lambda whole: self._batch(whole, name, position, ctx))
        return batch

    def _sources(self, base_dir: Path, stop: threading.Event) -> list[OpenSource]:
        if self.paths == ["-"]:
            return [stdin_source(self.compression, stop)]
        sources: list[OpenSource] = []
        for name, path in find_files(self.paths, base_dir):
            try:
                sources += open_sources(name, path, self.compression, lambda members: self._wanted(members, name))  # noqa: B023
            except OSError as error:
                raise _unreadable(name, error) from error
        for source in sources:
            self._format(source)
        return sources

    def _wanted(self, members: Sequence[str], archive: str) -> list[str]:
        """Choose the members of an archive to read: those of the format wanted, or of any format it tells."""
        own = [member for member in members if not member.startswith("__MACOSX/")]
        asked = self.format if self.format != "auto" else format_of(archive)
        fitting = [member for member in own if (format_of(member) == asked if asked else format_of(member))]
        if not fitting and len(own) == 1 and asked:
            return own
        if not fitting:
            shown = ", ".join(own[:10]) or "nothing"
            raise FatalError(
                f"{archive} holds no {asked or 'readable'} file; it holds {shown}",
                help=f"set format to that of the files inside: {_formats()}",
            )
        return fitting

    def _format(self, source: OpenSource) -> Readable:
        if self.format != "auto":
            return self.format
        found = format_of(source.name)
        if found is None and source.path is not None:
            found = format_of(source.path.name)  # the only member of an archive such as orders.csv.zip
        if found is None:
            raise FatalError(_unknown(source.name))
        return found

    def _reader(self, source: OpenSource, ctx: ReadContext | None = None) -> FormatReader:
        name = self._format(source)
        given: Any = getattr(self, _OPTIONS_OF.get(name, ""), None)
        options = given.model_dump(exclude_none=True) if given is not None else {}
        if name in {"csv", "tsv"} and given is not None:
            options["quote"] = given.quote or None
        if name in {"json", "jsonl"}:
            options.pop("max_record_bytes" if name == "json" else "records_path", None)
        if ctx is None:
            return reader_for(name, options)
        if name == "jsonl":
            options["defer"] = ctx.defers
        return reader_for(name, options, chunk_bytes=ctx.chunk_bytes, chunk_rows=ctx.batch_size)


def _formats() -> str:
    return ", ".join(dict.fromkeys(READABLE.values()))


def _unknown(path: str) -> str:
    extension = Path(strip_suffix(path)).suffix
    told = f"the extension {extension!r} does not tell the format" if extension else "no extension tells the format"
    return f"{path}: {told}; set format to one of: {_formats()}"


def _unreadable(name: str, error: OSError) -> FatalError:
    return FatalError(f"cannot read {name}: {error.strerror or error}", help="check that it exists and may be read")
