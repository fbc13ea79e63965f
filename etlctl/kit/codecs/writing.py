"""The interface of every file format writer: batches go in, refused records come out, a file stands at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from etlctl.batch import Batch, Encoded, Record, Rejection, frame_to_rows
from etlctl.errors import RecordRejected
from etlctl.frozen import frozen
from etlctl.kit.byte_sink import ByteSink, PlainCompression

if TYPE_CHECKING:
    import polars as pl

HELD_ROWS = 50_000
HELD_BYTES = 8 << 20

Refusals = list[tuple[int, RecordRejected]]
"""Records that a format cannot hold: place in the batch (0-based) and why."""

State: TypeAlias = Mapping[str, Any]
"""What a format writer must know to go on with its files, as JSON values."""


@frozen
class Target:
    """What a format writer writes to.

    Attributes:
        name: What messages call the destination.
        path: The file to make; None for a stream.
        stream: Where to write when there is no file.
        existing: A file whose content the new records come after; it is never touched.
        compression: How bytes are compressed, for text formats.
        warn: Reports something the user should know without stopping the run.
        state: What ``FormatWriter.checkpoint`` returned, to go on from there; None to begin.
        declared: Type names of the fields that are declared, for columns without any value.
    """

    name: str
    path: Path | None = None
    stream: ByteSink | None = None
    existing: Path | None = None
    compression: PlainCompression = "none"
    warn: Callable[[str], None] = lambda _message: None
    state: State | None = None
    declared: Mapping[str, str] = field(default_factory=dict)

    def sink(self) -> ByteSink:
        """Open the file, where a checkpoint left it if there was one, or give the stream."""
        if self.stream is not None:
            return self.stream
        if self.state is not None:
            return ByteSink.resume(self.file, self.compression, self.state["length"])
        return ByteSink.create(self.file, self.compression)

    @property
    def file(self) -> Path:
        """The file to make, for formats that cannot be streamed."""
        if self.path is None:
            raise TypeError(f"{self.name} is a stream, and this format needs a file")
        return self.path

    def scratch(self, number: int) -> Path:
        """Return a name beside the file for something that is only needed until ``finish``."""
        return self.file.with_name(f"{self.file.name}.{number}")


class FormatWriter(ABC):
    """Writes one file of one format. Synchronous; calls come one at a time.

    Nothing is complete before ``finish``. After an error only ``abort`` may be called.

    Attributes:
        made: Where the finished file is when that is not the target's file, which then still is as at the checkpoint.
    """

    made: Path | None = None

    @abstractmethod
    def write(self, batch: Batch) -> Refusals:
        """Take a batch.

        Raises:
            FatalError: The format cannot hold it (too many rows, a new column on a stream, …).
            ConversionError: A column mixes kinds of values that the format keeps apart.
            OSError: The system refused.
        """

    @abstractmethod
    def checkpoint(self) -> State:
        """Put everything taken so far on disk; return the state a writer made with it goes on from.

        From then on the files of that state only grow: whatever is added to them later, ``finish`` included, a writer
        made with the state cuts off again.
        """

    @abstractmethod
    def finish(self) -> None:
        """Write what is left and close the file."""

    @abstractmethod
    def abort(self) -> None:
        """Close what is open and end what is running; files may stay behind. May be called at any time, repeatedly."""


@frozen
class Format:
    """A format with its options, ready to write files.

    Attributes:
        name: ``csv``, ``jsonl``, …
        extension: Of file names, with its dot and that of the compression.
        make: Begins a file.
        extends: What is written is to be added behind ``Target.existing``; otherwise it contains its records.
        encode: Turns records into a payload that the writer takes as ``batch.encoded``.
    """

    name: str
    extension: str
    make: Callable[[Target], FormatWriter]
    extends: bool = False
    encode: Callable[[list[Record]], Encoded] | None = None

    def declaring(self, types: Mapping[str, str]) -> Format:
        """Return the format for records whose fields are declared, as names of types."""
        return replace(self, make=lambda target: self.make(replace(target, declared=types)))


def as_rejections(refusals: Refusals) -> list[Rejection]:
    """Return refusals as an encoder reports them; step and raw record are added by who knows them."""
    return [
        Rejection(place, "load", "load", refused.rule, refused.message, None, refused.field)
        for place, refused in refusals
    ]


def rejections_of(batch: Batch, refusals: Refusals, step: str) -> list[Rejection]:
    """Return refusals as a receipt reports them, with the raw record and where it came from.

    Args:
        batch: As it was written, in rows or frame form if anything was refused.
        refusals: What was refused.
        step: Name of the place in the contract.
    """
    made = []
    for place, refused in refusals:
        where = batch.locate(place) if batch.locate is not None else None
        raw = _record(batch, place)
        made.append(Rejection(place, "load", step, refused.rule, refused.message, raw, refused.field, where))
    return made


def _record(batch: Batch, place: int) -> Record:
    if batch.frame is not None:
        return frame_to_rows(batch.frame.slice(place, 1))[0]
    return (batch.records or [])[place]


class FrameHold:
    """Joins small frames of equal columns, because many small writes cost much more than one large one.

    Args:
        rows: Give frames of at least so many rows, or of about 8 MB.
    """

    def __init__(self, rows: int = HELD_ROWS) -> None:
        self._least = rows
        self._frames: list[pl.DataFrame] = []
        self._schema: dict[str, pl.DataType] = {}
        self._rows = 0
        self._bytes = 0

    def add(self, frame: pl.DataFrame) -> list[pl.DataFrame]:
        """Take a frame; return what is ready to be written, in order."""
        ready = [] if self._joins(frame) else self.take()
        if not self._frames:
            self._schema = dict(frame.schema)
        self._frames.append(frame)
        self._rows += frame.height
        self._bytes += int(frame.estimated_size())
        return ready + self.take() if self._rows >= self._least or self._bytes >= HELD_BYTES else ready

    def _joins(self, frame: pl.DataFrame) -> bool:
        """Tell whether a frame has the columns of those held; a column without a value goes with any type."""
        import polars as pl  # noqa: PLC0415

        if not self._frames:
            return True
        if frame.columns != list(self._schema):
            return False
        for name, dtype in frame.schema.items():
            known = self._schema[name]
            if known != dtype and not isinstance(known, pl.Null) and not isinstance(dtype, pl.Null):
                return False
        self._schema.update((name, dtype) for name, dtype in frame.schema.items() if not isinstance(dtype, pl.Null))
        return True

    def take(self) -> list[pl.DataFrame]:
        """Return everything held, as one frame if there is any."""
        import polars as pl  # noqa: PLC0415

        frames, self._frames, self._rows, self._bytes = self._frames, [], 0, 0
        if len(frames) < 2:
            return frames
        typed = [frame if frame.schema == self._schema else self._typed(frame) for frame in frames]
        return [pl.concat(typed, how="vertical", rechunk=False)]

    def _typed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Give the columns without a value their type."""
        import polars as pl  # noqa: PLC0415

        return pl.DataFrame({column.name: column.cast(self._schema[column.name]) for column in frame.get_columns()})
