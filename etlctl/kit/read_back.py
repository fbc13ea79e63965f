"""Reading back what a file destination holds: how many records, whether any, and which."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, cast

from etlctl.batch import Record, frame_to_rows
from etlctl.frozen import frozen
from etlctl.kit.byte_sink import PlainCompression
from etlctl.kit.codecs import Readable, reader_for
from etlctl.kit.codecs.reading import Chunk
from etlctl.kit.file_places import manifest_of, manifest_parts
from etlctl.kit.sources import open_sources
from etlctl.types import Unparsable, to_text


@frozen
class Written:
    """A file, or a folder of parts, that a file destination wrote.

    Attributes:
        path: Where it is; it need not exist.
        format: Its format.
        extension: Of the names of parts.
        compression: How it is compressed.
        options: Options of the format's reader.
    """

    path: Path
    format: str
    extension: str
    compression: PlainCompression
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """What messages call it."""
        return str(self.path)

    def count(self) -> int:
        """Return the number of records, without reading them where the manifest or the format tells.

        Raises:
            FatalError: It cannot be read.
        """
        told = manifest_parts(self.path) if self.path.is_dir() else {}
        return sum(_told(path, told) or self._count(path) for path in self._files())

    def any(self) -> bool:
        """Tell whether there is a record, by reading no more than needed."""
        return any(_size(chunk) for path in self._files() for chunk in self._chunks(path))

    def contents(self) -> Counter[str]:
        """Return how often each record is there, as JSON text with sorted keys; a null is as good as no field."""
        found: Counter[str] = Counter()
        for path in self._files():
            for chunk in self._chunks(path):
                records = frame_to_rows(chunk.frame) if chunk.frame is not None else chunk.records or []
                found.update(map(canonical, records))
                found.update(f"unreadable: {one.raw}" for one in chunk.unreadable)
        return found

    def records(self) -> Iterator[Mapping[str, Any]]:
        """Yield every record; what cannot be read is a record with the field ``unreadable``."""
        for path in self._files():
            for chunk in self._chunks(path):
                yield from frame_to_rows(chunk.frame) if chunk.frame is not None else chunk.records or []
                yield from ({"unreadable": one.raw} for one in chunk.unreadable)

    def _files(self) -> list[Path]:
        if self.path.is_dir():
            return sorted(self.path.glob(f"part-*{self.extension}"))
        return [self.path] if self.path.is_file() and self.path.stat().st_size else []

    def _count(self, path: Path) -> int:
        if self.format == "parquet":
            import polars as pl  # noqa: PLC0415

            return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
        return sum(_size(chunk) for chunk in self._chunks(path))

    def _chunks(self, path: Path) -> Iterator[Chunk]:
        reader = reader_for(cast("Readable", self.format), self.options)
        (source,) = open_sources(str(path), path, self.compression, list)
        return reader.chunks(source, None)


def copy_written(real: Path, copy: Path) -> None:
    """Copy a file, or a folder of parts with its manifest, if it exists; make the folder it goes to."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    if real.is_dir():
        shutil.copytree(real, copy)
    elif real.exists():
        shutil.copy2(real, copy)
    manifest = manifest_of(real)
    if manifest.exists():
        shutil.copy2(manifest, manifest_of(copy))


def _told(path: Path, told: Mapping[str, Mapping[str, Any]]) -> int | None:
    """Return what the manifest says of a part that is still the one it knew."""
    part = told.get(path.name, {})
    records = part.get("records")
    return records if isinstance(records, int) and part.get("bytes") == path.stat().st_size else None


def _size(chunk: Chunk) -> int:
    return len(chunk) + len(chunk.unreadable)


def canonical(record: Record) -> str:
    """Return a record as JSON text with sorted keys; a null is as good as no field."""
    there = {name: value for name, value in record.items() if value is not None}
    return json.dumps(there, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_text)


def _text(value: Any) -> str:
    try:
        return to_text(value)
    except Unparsable:
        return repr(value)
