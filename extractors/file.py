"""Reads files: CSV, TSV, JSON, JSON lines, Parquet, Excel and XML, plain or compressed."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from etlctl.kit.codecs.read_options import CsvOptions, ExcelOptions, JsonOptions, XmlOptions
from etlctl.kit.compression import Compression
from etlctl.kit.read_ahead import read_ahead
from etlctl.kit.record_files import OPTIONS, RecordFiles, unreadable
from etlctl.kit.sources import OpenSource, find_files, open_sources
from etlctl.kit.stdin import stdin_source
from etlctl.sdk import Batch, Example, Extractor, FatalError, ReadContext

_HEADERS_LOOKED_AT = 10


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
        self._files().check(self.paths)
        return self

    def _files(self) -> RecordFiles:
        given = {name: getattr(self, name) for name in OPTIONS}
        return RecordFiles(self.format, self.compression, self.on_bad_record == "fail", given)

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
        files = self._files()
        try:
            sources = self._sources(Path(base_dir), threading.Event())[:_HEADERS_LOOKED_AT]
            headers = [files.reader(source).columns(source) for source in sources]
            texts = all(files.format_of_source(source) in {"csv", "tsv"} for source in sources)
        except (FatalError, OSError):
            return None
        if not headers or headers[0] is None or any(header != headers[0] for header in headers):
            return None
        return dict.fromkeys(headers[0], "string" if texts else "any")

    def _batches(self, ctx: ReadContext, stop: threading.Event) -> Iterator[Batch]:
        yield from self._files().batches(self._sources(ctx.base_dir, stop), ctx)

    def _sources(self, base_dir: Path, stop: threading.Event) -> list[OpenSource]:
        if self.paths == ["-"]:
            return [stdin_source(self.compression, stop)]
        files = self._files()
        sources: list[OpenSource] = []
        for name, path in find_files(self.paths, base_dir):
            try:
                sources += open_sources(name, path, self.compression, lambda members: files.wanted(members, name))  # noqa: B023
            except OSError as error:
                raise unreadable(name, error) from error
        for source in sources:
            files.format_of_source(source)
        return sources
