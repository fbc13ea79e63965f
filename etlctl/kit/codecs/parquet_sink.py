"""A Parquet file that grows frame by frame: Polars' streaming writer on a thread, fed through a bounded queue."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etlctl.frozen import frozen
from etlctl.kit.writeback import Writeback

if TYPE_CHECKING:
    import polars as pl

PageCodec = Literal["zstd", "snappy", "lz4", "gzip", "none"]

_WAITING = 4
_POLL_SECONDS = 0.05


@frozen
class ParquetStyle:
    """How Parquet is written.

    Attributes:
        compression: Codec of the pages.
        level: Its level; None takes a fast one.
        row_group_rows: Rows in a row group; None takes about 128,000, less when they are wide.
    """

    compression: PageCodec = "zstd"
    level: int | None = None
    row_group_rows: int | None = None

    def options(self, rows: int) -> dict[str, Any]:
        """Return the arguments of ``sink_parquet``."""
        codec = {"none": "uncompressed"}.get(self.compression, self.compression)
        level = 1 if self.level is None and self.compression == "zstd" else self.level
        return {"compression": codec, "compression_level": level, "row_group_size": self.row_group_rows or rows}


class _GivenUp(Exception):  # noqa: N818
    """Ends the writing thread."""


class ParquetSink:
    """Writes frames of one schema to one file.

    Args:
        path: The file to make.
        schema: Names and types of the columns; every frame must have just these.
        style: How.
        group_rows: Rows in a row group when the style does not say.
    """

    def __init__(self, path: Path, schema: Mapping[str, pl.DataType], style: ParquetStyle, group_rows: int) -> None:
        self.path = path
        self.schema = dict(schema)
        self.rows = 0
        self._frames: queue.Queue[pl.DataFrame | None] = queue.Queue(_WAITING)
        self._error: BaseException | None = None
        self._given_up = False
        self._options = style.options(group_rows)
        self._thread = threading.Thread(target=self._run, name=f"parquet {path.name}", daemon=True)
        self._thread.start()

    def write(self, frame: pl.DataFrame) -> None:
        """Hand over a frame; an error of the writing thread is raised here or in ``finish``."""
        self.rows += frame.height
        self._hand_over(frame)

    def finish(self) -> None:
        """Wait until the file is complete."""
        self._hand_over(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """End the thread; the file is incomplete."""
        self._given_up = True
        while self._thread.is_alive():
            try:
                self._frames.put(None, timeout=_POLL_SECONDS)
            except queue.Full:
                self._drain()
            self._thread.join(_POLL_SECONDS)

    def _drain(self) -> None:
        try:
            while True:
                self._frames.get_nowait()
        except queue.Empty:
            return

    def _hand_over(self, frame: pl.DataFrame | None) -> None:
        while True:
            if self._error is not None:
                raise self._error
            try:
                self._frames.put(frame, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return

    def _run(self) -> None:
        from polars.io.plugins import register_io_source  # noqa: PLC0415

        try:
            source = register_io_source(self._source, schema=self.schema)
            source.sink_parquet(self.path, **self._options)
        except BaseException as error:  # noqa: BLE001 - a panic in Polars is no Exception, and it must not be lost
            self._error = error

    def _source(self, _columns: object, _predicate: object, _rows: object, _size: object) -> Iterator[pl.DataFrame]:
        writeback = Writeback()
        while (frame := self._frames.get()) is not None:
            yield frame
            if self.path.exists():  # Polars makes it when the first pages are ready
                with self.path.open("rb", buffering=0) as file:
                    writeback.grown(file.fileno(), file.seek(0, os.SEEK_END))
        if self._given_up:
            raise _GivenUp
