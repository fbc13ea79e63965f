"""Writes records to a file, to a folder of parts, or to standard output."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from etlctl.ids import new_id
from etlctl.kit.codecs.formats import Choice, chosen, problem_of
from etlctl.kit.codecs.write_options import CsvOptions, ExcelOptions, JsonOptions, ParquetOptions
from etlctl.kit.drafts import Claim, held_token
from etlctl.kit.file_places import Job, PartFolder, Place, SingleFile, Stream
from etlctl.kit.read_back import Written, copy_written
from etlctl.kit.write_errors import told
from etlctl.sdk import (
    CommitToken,
    Delivery,
    Example,
    FatalError,
    Loader,
    WriteContext,
    Writer,
)
from etlctl.sdk.dry_writer import DryWriter
from etlctl.sdk.place_writer import PlaceWriter
from etlctl.sdk.stored import Stored

_STDOUT = "standard output"


class File(Loader):
    """Writes CSV, TSV, JSON, JSON lines, Parquet or Excel files.

    Nothing ever stands half-written under its final name: records go to a hidden folder beside it, and the finished
    file is flushed to disk and renamed. Records appended to a file are copied to its end at once; whoever reads it in
    that moment may see a part of them, and when a run dies in it, the next one undoes it. A run that is resumed goes
    on with what it had committed, and every record comes once. A path that ends in ``/`` is a folder that gets one
    part for each batch; ``-`` is standard output.
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
        """Files are exact, appended ones too: a resumed run goes by its token. What a stream got cannot be undone."""
        return Delivery.at_least_once if self.path == "-" else Delivery.exactly_once

    def places(self, base_dir: Path) -> tuple[Path, ...]:
        """Return the file or folder that is written."""
        return () if self.path == "-" else ((base_dir / Path(self.path).expanduser()).resolve(),)

    async def held(self, ctx: WriteContext) -> CommitToken | None:
        """Return the token of an unfinished run of the stream; what it has prepared is hidden."""
        if self.path == "-":
            return None
        token = await ctx.run_cpu(held_token, ctx.path(self.path).resolve(), ctx.stream)
        return None if token is None else CommitToken.from_dict(token)

    def additive(self) -> File:
        """Return the loader that appends to the same file."""
        return self if self.appends else self.model_copy(update={"write_method": "append", "write_mode": None})

    def scratch(self, folder: Path, ctx: WriteContext) -> Self:
        """Return this loader writing inside a folder, where a copy of the present destination is put.

        Raises:
            FatalError: It writes to standard output.
        """
        if self.path == "-":
            raise FatalError("standard output cannot be imitated in a folder", help="write to a file to try it out")
        found = ctx.path(self.path)
        copy, real = folder / found.name, found.resolve()
        as_parts = self._choice(real).as_parts
        with told(self.path):
            copy_written(real, copy)
        return self.model_copy(update={"path": f"{copy}/" if as_parts else str(copy)})

    async def contents(self, ctx: WriteContext) -> Counter[str]:
        """Return how often each record is in the file or folder; fields without a value are left out.

        Raises:
            FatalError: It cannot be read, or it is standard output.
        """
        if self.path == "-":
            raise FatalError("what was written to standard output cannot be read back")
        written = self._written(ctx)
        return await ctx.run_cpu(written.contents)

    async def stored(self, ctx: WriteContext) -> Stored:
        """Return what the file or folder holds.

        Raises:
            FatalError: It is standard output.
        """
        if self.path == "-":
            raise FatalError("what was written to standard output cannot be read back")
        written = self._written(ctx)
        return Stored(written.path.exists(), written.records)

    def _written(self, ctx: WriteContext) -> Written:
        path = ctx.path(self.path).resolve()
        choice = self._choice(path)
        target, compression = chosen(choice)
        options: dict[str, Any] = {}
        if self.csv_options is not None:
            nulls = [self.csv_options.null_value] if self.csv_options.null_value else []
            told_apart = {"delimiter": self.csv_options.delimiter} if self.csv_options.delimiter else {}
            options = {"header": self.csv_options.header, "null_values": nulls, **told_apart}
        elif self.excel_options is not None:
            options = {"sheet": self.excel_options.sheet}
        return Written(path, target.name, target.extension, compression, options)

    async def open(self, ctx: WriteContext) -> Writer:
        """Prepare the destination; nothing under the final name changes before ``finish``.

        Raises:
            FatalError: It cannot be written, or another run is writing it.
        """
        if ctx.dry_run:
            return DryWriter()
        place = await ctx.run_cpu(self._place, ctx)
        if self.path == "-":
            return _StreamWriter(place, ctx, self.path)
        return PlaceWriter(place, ctx, self.path, None if self.appends else self._written(ctx))

    def _place(self, ctx: WriteContext) -> Place:
        path = None if self.path == "-" else ctx.path(self.path).resolve()
        with told(self.path):
            choice = self._choice(path)
            problem = problem_of(choice)
            if problem is not None:
                raise FatalError(f"cannot write {self.path}: {problem}")
            target, compression = chosen(choice)
            target = target.declaring({name: declared.type for name, declared in ctx.fields.items()})
            claim = Claim(ctx.run_id or new_id("run"), ctx.stream, ctx.fence, ctx.resume)
            job = Job(target, compression, self.appends, claim, ctx.warn)
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


class _StreamWriter(PlaceWriter):
    """What went to a stream cannot be taken back, so there are no tokens."""

    keeps_tokens = False
    puts_off = False
