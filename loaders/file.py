"""Writes records to a file, to a folder of parts, or to standard output."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from etlctl.batch import frame_to_rows
from etlctl.errors import EtlctlError, OutputClosed
from etlctl.ids import new_id
from etlctl.kit.atomic import write_failure
from etlctl.kit.codecs.formats import Choice, chosen, problem_of
from etlctl.kit.codecs.writing import Refusals
from etlctl.kit.file_places import Job, PartFolder, Place, SingleFile, Stream
from etlctl.sdk import (
    Batch,
    Delivery,
    Example,
    FatalError,
    Loader,
    Published,
    Receipt,
    Record,
    Rejection,
    WriteContext,
    Writer,
)
from etlctl.sdk.loader import Encoder

_STDOUT = "standard output"


class Options(BaseModel):
    """Base of the options of one format."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


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


class File(Loader):
    """Writes CSV, TSV, JSON, JSON lines, Parquet or Excel files.

    Nothing ever stands half-written under its final name: records go to a hidden folder beside it, and the finished
    file is flushed to disk and renamed, or appended in one step that the next run undoes if this one dies in it. A
    path that ends in ``/`` is a folder that gets one part for each batch; ``-`` is standard output.
    """

    path: str = Field(min_length=1)
    """The file, relative to the contract's folder; ``~`` is the home folder, a trailing ``/`` means a folder of parts, ``-`` standard output."""  # noqa: E501
    format: Literal["auto", "csv", "tsv", "json", "jsonl", "parquet", "excel"] = "auto"
    """What to write; ``auto`` goes by the extension."""
    compression: Literal["auto", "none", "gzip", "zstd"] = "auto"
    """Compression of csv, tsv, json and jsonl; ``auto`` goes by ``.gz`` and ``.zst``."""
    write_method: Literal["replace", "append", "insert", "overwrite"] | None = None
    """``replace`` (the default; also called ``overwrite``) or ``append`` (also called ``insert``)."""
    write_mode: Literal["replace", "append", "insert", "overwrite"] | None = None
    """Another name for ``write_method``."""
    partition: Literal["parts"] | None = None
    """``parts`` makes the path a folder that gets one part for each batch."""
    make_dirs: bool = True
    """Make folders of the path that do not exist."""
    csv_options: CsvOptions | None = None
    """How CSV and TSV are written."""
    json_options: JsonOptions | None = None
    """How JSON is written."""
    parquet_options: ParquetOptions | None = None
    """How Parquet is written."""
    excel_options: ExcelOptions | None = None
    """How a workbook is written."""

    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "A CSV file, written anew on each run",
            "path: out/people.csv",
            given=[{"name": "Ann", "age": 41}, {"name": "Bob", "age": None}],
            expect={"out/people.csv": "name,age\nAnn,41\nBob,\n"},
        ),
        Example(
            "Compressed JSON lines that grow from run to run",
            "path: out/events.jsonl.gz\nwrite_method: append",
            given=[{"id": 1, "price": 9.5}],
            expect={"out/events.jsonl.gz": '{"id":1,"price":9.5}\n'},
        ),
        Example(
            "Parquet with a compression of choice", "path: out/orders.parquet\nparquet_options: {compression: snappy}"
        ),
        Example("A folder that gets a part for each batch", "path: out/orders/\nformat: parquet"),
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.write_method and self.write_mode and self._appends(self.write_method) != self._appends(self.write_mode):
            raise ValueError(
                f"write_method: {self.write_method} and write_mode: {self.write_mode} contradict each other; keep one"
            )
        problem = problem_of(self._choice()) if "${" not in self.path else None
        if problem is not None:
            raise ValueError(problem)
        return self

    @staticmethod
    def _appends(method: str | None) -> bool:
        return method in {"append", "insert"}

    @property
    def appends(self) -> bool:
        """Records come after what is there, instead of replacing it."""
        return self._appends(self.write_method or self.write_mode)

    def _choice(self, path: Path | None = None) -> Choice:
        given = {
            name: value.model_dump()
            for name in ("csv_options", "json_options", "parquet_options", "excel_options")
            if (value := getattr(self, name)) is not None
        }
        as_parts = (
            self.partition == "parts" or self.path.endswith(("/", os.sep)) or (path is not None and path.is_dir())
        )
        return Choice(self.path, self.format, self.compression, as_parts, given)

    def delivery(self) -> Delivery:
        """Replacing is exact: the file holds just the last finished run. An append that is run again comes twice."""
        if self.path == "-" or self.appends:
            return Delivery.at_least_once
        return Delivery.exactly_once

    async def open(self, ctx: WriteContext) -> Writer:
        """Prepare the destination; nothing under the final name changes before ``finish``.

        Raises:
            FatalError: It cannot be written, or another run is writing it.
        """
        if ctx.dry_run:
            return _DryWriter()
        place = await ctx.run_cpu(self._place, ctx)
        return _FileWriter(place, ctx, self.path)

    def _place(self, ctx: WriteContext) -> Place:
        path = None if self.path == "-" else ctx.path(self.path).resolve()
        with _told(self.path):
            choice = self._choice(path)
            problem = problem_of(choice)
            if problem is not None:
                raise FatalError(f"cannot write {self.path}: {problem}")
            target, compression = chosen(choice)
            job = Job(target, compression, self.appends, ctx.run_id or new_id("run"), ctx.warn)
            if path is None:
                if sys.stdout is None:
                    raise FatalError(
                        "standard output is closed: there is nowhere to write to",
                        help="leave it open, or write to a file",
                    )
                return Stream(sys.stdout.buffer, _STDOUT, job)
            self._check(path, as_parts=choice.as_parts)
            return PartFolder(path, job) if choice.as_parts else SingleFile(path, job)

    def _check(self, path: Path, *, as_parts: bool) -> None:
        if self.make_dirs:
            path.parent.mkdir(parents=True, exist_ok=True)
        if as_parts and path.exists() and not path.is_dir():
            raise FatalError(
                f"cannot write parts to {path}: it is a file, not a folder",
                help="remove the file, or give the folder another name",
            )
        if not as_parts and path.exists() and not path.is_file():
            raise FatalError(f"cannot write {path}: it is no regular file", help="for standard output, set path: '-'")


class _FileWriter(Writer):
    """Moves batches to a place on threads, one call at a time."""

    def __init__(self, place: Place, ctx: WriteContext, name: str) -> None:
        self._place = place
        self._ctx = ctx
        self._name = name
        self._records = 0
        self._busy = threading.Lock()  # a canceled write goes on in its thread; abort must wait for its end

    def encoder(self) -> Encoder | None:
        return self._place.encode

    async def write(self, batch: Batch) -> Receipt:
        return await self._ctx.run_cpu(self._write, batch)

    async def finish(self) -> Published:
        return await self._ctx.run_cpu(self._finish)

    async def abort(self) -> None:
        await self._ctx.run_cpu(self._abort)

    def _write(self, batch: Batch) -> Receipt:
        with self._busy, _told(self._name):
            refusals = self._place.write(batch)
        taken = len(batch) - len(refusals) - sum(len(part.rejected) for part in batch.encoded or ())
        self._records += taken
        return Receipt(taken, _rejections(batch, refusals, self._ctx.step))

    def _finish(self) -> Published:
        with self._busy, _told(self._name):
            return Published((self._place.finish(),), self._records)

    def _abort(self) -> None:
        with self._busy:
            self._place.abort()


class _DryWriter(Writer):
    """Counts, and writes nothing."""

    def __init__(self) -> None:
        self._records = 0

    async def write(self, batch: Batch) -> Receipt:
        self._records += len(batch)
        return Receipt(len(batch))

    async def finish(self) -> Published:
        return Published((), self._records)

    async def abort(self) -> None:
        return


def _rejections(batch: Batch, refusals: Refusals, step: str) -> list[Rejection]:
    locate: Callable[[int], str] | None = batch.locate
    made = []
    for place, refused in refusals:
        where = locate(place) if locate is not None else None
        raw = _record(batch, place)
        made.append(Rejection(place, "load", step, refused.rule, refused.message, raw, refused.field, where))
    return made


def _record(batch: Batch, place: int) -> Record:
    if batch.frame is not None:
        return frame_to_rows(batch.frame.slice(place, 1))[0]
    return (batch.records or [])[place]


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn what the system and Polars raise into an error that says what to do."""
    try:
        yield
    except EtlctlError:
        raise
    except BrokenPipeError as error:
        _silence_stdout()
        raise OutputClosed("whoever reads standard output has closed it") from error
    except OSError as error:
        raise write_failure(error, error.filename or name) from error
    except BaseException as error:
        # Polars reports some failures as errors of its own, a panic among them is not even an Exception.
        if type(error).__module__.split(".")[0] in {"polars", "pyo3_runtime"}:
            raise write_failure(error, name) from error
        raise


def _silence_stdout() -> None:
    """Let the interpreter's last flush of a closed standard output go nowhere instead of complaining."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
