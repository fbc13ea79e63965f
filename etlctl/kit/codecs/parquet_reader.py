"""Reads Parquet slice by slice, so that memory stays flat whatever the file's size. Every type is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.errors import FatalError
from etlctl.kit.codecs.reading import Chunk

if TYPE_CHECKING:
    import polars as pl

    from etlctl.kit.sources import OpenSource

_SAMPLE = 1_000
_FEWEST = 1_000
_MOST = 500_000


class ParquetReader:
    """Reads a Parquet file as frames; a compressed file or stdin goes through a temporary file.

    Args:
        chunk_bytes: Bytes in memory per chunk; decides the rows per chunk.
        chunk_rows: Not used: short slices would make reading slow, and the engine cuts anyway.
    """

    def __init__(self, *, chunk_bytes: int = 8 << 20, chunk_rows: int = 50_000) -> None:  # noqa: ARG002
        self.chunk_bytes = chunk_bytes

    def chunks(self, source: OpenSource, start: Mapping[str, Any] | None) -> Iterator[Chunk]:
        """Yield the rows from a token on; the token is the offset of the next row.

        Raises:
            FatalError: The file is no Parquet, cut off or damaged.
        """
        offset = int(start["row"]) if start else 0
        with source.on_disk() as path:
            height = self._height(path, source.name)
            if height == 0 and start is None:
                yield Chunk(None, self._slice(path, source.name, 0, 1), {"row": 0})
            rows = self._rows_at_once(path, source.name, offset) if offset < height else 0
            while offset < height:
                frame = self._slice(path, source.name, offset, rows)
                if frame.height != min(rows, height - offset):
                    raise FatalError(f"{source.name}: only {frame.height:,} rows from row {offset:,} on of {height:,}")
                offset += frame.height
                yield Chunk(None, frame, {"row": offset})

    def columns(self, source: OpenSource) -> list[str] | None:
        """Return the column names in the footer, when the file lies plainly on disk."""
        import polars as pl  # noqa: PLC0415

        if source.path is None or source.compressed:
            return None
        try:
            return list(pl.read_parquet_schema(source.path))
        except (pl.exceptions.PolarsError, OSError):
            return None

    def _height(self, path: Path, name: str) -> int:
        import polars as pl  # noqa: PLC0415

        try:
            return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _damaged(name, error) from error

    def _rows_at_once(self, path: Path, name: str, offset: int) -> int:
        sample = self._slice(path, name, offset, _SAMPLE)
        per_row = max(1, int(sample.estimated_size()) // max(1, sample.height))
        return max(_FEWEST, min(_MOST, self.chunk_bytes // per_row))

    def _slice(self, path: Path, name: str, offset: int, rows: int) -> pl.DataFrame:
        import polars as pl  # noqa: PLC0415

        try:
            return pl.scan_parquet(path, glob=False, low_memory=True).slice(offset, rows).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _damaged(name, error, offset) from error


def _damaged(name: str, error: Exception, offset: int | None = None) -> FatalError:
    where = "" if offset is None else f" from row {offset:,} on"
    reason = str(error).split("\n", 1)[0]
    return FatalError(
        f"{name} cannot be read as Parquet{where}: {reason}",
        help="the file is damaged, cut off or of another format; fetch it again, or set format to what it is",
    )
