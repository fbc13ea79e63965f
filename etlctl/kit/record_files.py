"""Reading the records of many files, whatever they are in: which format each has, and batches with positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import field
from pathlib import PurePath
from typing import Any, Protocol

from pydantic import BaseModel

from etlctl.batch import Batch, Position, Rejection
from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.codecs import READABLE, Readable, format_of, reader_for
from etlctl.kit.codecs.reading import Chunk, FormatReader
from etlctl.kit.compression import Compression, strip_suffix
from etlctl.kit.file_position import STDIN, FilePosition, check_trace, done_mark, find_place, trace_of
from etlctl.kit.sources import OpenSource

_OPTIONS_OF: dict[Readable, str] = {
    "csv": "csv_options",
    "tsv": "csv_options",
    "json": "json_options",
    "jsonl": "json_options",
    "excel": "excel_options",
    "xml": "xml_options",
}
OPTIONS = tuple(dict.fromkeys(_OPTIONS_OF.values()))
"""Names of the options of formats in a contract."""


class Asking(Protocol):
    """What a read context tells: see ``ReadContext``."""

    @property
    def position(self) -> Position | None:
        """Where to start."""

    @property
    def batch_size(self) -> int:
        """Records per batch, a hint."""

    @property
    def chunk_bytes(self) -> int:
        """Bytes worth reading at once."""

    @property
    def step(self) -> str:
        """Name of the place in the contract."""

    @property
    def conceals(self) -> bool:
        """No record may be quoted."""

    @property
    def defers(self) -> bool:
        """Batches may be deferred."""

    @property
    def warn(self) -> Callable[[str], None]:
        """Reports something the user should know."""


@frozen
class RecordFiles:
    """What a contract says about the files it reads.

    Attributes:
        format: A format, or ``auto``.
        compression: A compression, or ``auto``.
        fails: What is no proper record stops the run.
        options: Options of formats, by their name in the contract; None: not given.
    """

    format: str
    compression: Compression
    fails: bool
    options: Mapping[str, BaseModel | None] = field(default_factory=dict)

    def check(self, paths: Sequence[str]) -> None:
        """Make sure that paths and options go together, as far as paths without variables tell.

        Raises:
            ValueError: They do not; says what to do.
        """
        plain = [path for path in paths if "${" not in path]
        formats = [self.format_by_name(path) for path in plain]
        if self.format != "auto":
            formats = [self.format]  # type: ignore[list-item]
        known = {_OPTIONS_OF.get(name, "") for name in formats if name is not None}
        if formats and None not in formats and len(plain) == len(paths):
            for option in OPTIONS:
                if self.options.get(option) is not None and option not in known:
                    names = " and ".join(sorted(str(name) for name in set(formats)))
                    raise ValueError(f"{option} has no effect on format {names}; remove it, or set format")

    def format_by_name(self, path: str) -> Readable | None:
        """Return the format that a path or pattern tells; None when only the files can tell."""
        name = format_of(path)
        if self.format != "auto" or name is not None:
            return name
        if path == "-":
            raise ValueError(f"standard input does not tell its format; set format: {_formats()}")
        inner = PurePath(strip_suffix(path))
        archive = self.compression == "zip" or path.lower().endswith(".zip")
        if not archive and inner.suffix and not any(char in inner.suffix for char in "*?["):
            raise ValueError(_unknown(path))
        return None

    def batches(self, sources: Sequence[OpenSource], ctx: Asking) -> Iterator[Batch]:
        """Yield a batch per chunk of a file, from the context's position on.

        Args:
            sources: The files, in reading order.
            ctx: Of the run.

        Raises:
            FatalError: A file cannot be read, or is not the one any more in which the run stopped.
        """
        place = find_place(ctx.position, {source.name: source for source in sources}, ctx.warn)
        done = "".join(done_mark(source.name, trace_of(source)) for source in sources[: place.index])
        start = place.token
        for index in range(place.index, len(sources)):
            source = sources[index]
            reader = self.reader(source, ctx)
            try:
                if index == place.index:
                    check_trace(ctx.position, source)
                trace = trace_of(source)
                name = source.name if trace is not None else STDIN
                if start is None:
                    yield Batch.of_position(FilePosition(name, index, None, trace, done).to_json())
                with closing(reader.chunks(source, start)) as chunks:  # type: ignore[type-var]
                    for chunk in chunks:
                        yield self._batch(chunk, source.name, FilePosition(name, index, chunk.next, trace, done), ctx)
                        del chunk
            except OSError as error:
                raise unreadable(source.name, error) from error
            start = None
            done += done_mark(source.name, trace)

    def _batch(self, chunk: Chunk, name: str, position: FilePosition, ctx: Asking) -> Batch:
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
        if rejected and self.fails:
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

    def wanted(self, members: Sequence[str], archive: str) -> list[str]:
        """Choose the members of an archive to read: those of the format wanted, or of any format it tells.

        Raises:
            FatalError: There are none.
        """
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

    def format_of_source(self, source: OpenSource) -> Readable:
        """Return the format of a file.

        Raises:
            FatalError: Nothing tells it.
        """
        if self.format != "auto":
            return self.format  # type: ignore[return-value]
        found = format_of(source.name)
        if found is None and source.path is not None:
            found = format_of(source.path.name)  # the only member of an archive such as orders.csv.zip
        if found is None and source.archive is not None:
            found = format_of(source.archive)
        if found is None:
            raise FatalError(_unknown(source.name))
        return found

    def reader(self, source: OpenSource, ctx: Asking | None = None) -> FormatReader:
        """Return the reader of a file; without a context only to look at its columns."""
        name = self.format_of_source(source)
        given: Any = self.options.get(_OPTIONS_OF.get(name, ""))
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


def unreadable(name: str, error: OSError) -> FatalError:
    """Return the error that tells a person that a file cannot be read."""
    return FatalError(f"cannot read {name}: {error.strerror or error}", help="check that it exists and may be read")


def _formats() -> str:
    return ", ".join(dict.fromkeys(READABLE.values()))


def _unknown(path: str) -> str:
    extension = PurePath(strip_suffix(path)).suffix
    told = f"the extension {extension!r} does not tell the format" if extension else "no extension tells the format"
    return f"{path}: {told}; set format to one of: {_formats()}"
