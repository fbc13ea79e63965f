"""Where files are written: one file, a folder of parts, or a stream. Nothing half-written ever has a final name."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from etlctl.batch import Batch
from etlctl.errors import FatalError
from etlctl.kit.atomic import sync_file, sync_folder, write_whole
from etlctl.kit.byte_sink import ByteSink, PlainCompression
from etlctl.kit.codecs.writing import Format, FormatWriter, Refusals, Target
from etlctl.kit.drafts import Draft

_DATA = "data"
_PART = re.compile(r"part-[A-Za-z0-9_.-]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Job:
    """What all places need to know.

    Attributes:
        format: What to write.
        compression: Of text formats.
        append: Keep what is there and come after it; otherwise it is replaced.
        holder: Who is writing, for other runs to see: a run id.
        warn: Reports something the user should know without stopping the run.
    """

    format: Format
    compression: PlainCompression
    append: bool
    holder: str
    warn: Callable[[str], None]


class Place(ABC):
    """A destination for one run. Synchronous; calls come one at a time.

    Attributes:
        encode: Turns records into a payload that ``write`` takes as ``batch.encoded``.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.encode = job.format.encode

    @abstractmethod
    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""

    @abstractmethod
    def finish(self) -> str:
        """Publish everything; return where it is."""

    @abstractmethod
    def abort(self) -> None:
        """Remove what is unfinished; published data stays as it was. Does nothing after ``finish``."""


class SingleFile(Place):
    """One file, written beside its final name and renamed, or appended, at the end.

    Args:
        final: The file; its folder must exist.
        job: What to write and how.
    """

    def __init__(self, final: Path, job: Job) -> None:
        super().__init__(job)
        self._final = final
        self._draft = Draft(final, job.holder)
        self._writer: FormatWriter | None = None
        try:
            self._existing = final if job.append and final.exists() and final.stat().st_size else None
            self._writer = job.format.make(
                Target(
                    str(final),
                    path=self._draft.path(_DATA),
                    existing=self._existing,
                    compression=job.compression,
                    warn=job.warn,
                )
            )
        except BaseException:
            self._draft.close()
            raise

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        return self._open_writer().write(batch)

    def finish(self) -> str:
        """Rename or append."""
        self._open_writer().finish()
        if self._existing is not None and self._job.format.extends:
            self._draft.append(_DATA)
        elif self._existing is None and self._job.append and self._final.exists() and self._final.stat().st_size:
            raise FatalError(
                f"cannot append to {self._final}: something else has made it while this run was going on",
                help="run again, and the records come after what is there now",
            )
        else:
            self._draft.replace(_DATA)
        self._writer = None
        self._draft.close()
        return str(self._final)

    def abort(self) -> None:
        """Remove the draft."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.abort()
        finally:
            self._draft.close()

    def _open_writer(self) -> FormatWriter:
        if self._writer is None:
            raise FatalError(f"{self._final} is closed already")
        return self._writer


class PartFolder(Place):
    """A folder of parts, one for each batch, with a manifest beside it.

    ``replace`` swaps the whole folder at the end; ``append`` adds parts under names with the run id. The manifest
    stands beside the folder (``.orders.manifest.json``), so that every file in the folder is data.

    Args:
        folder: The folder; its parent must exist.
        job: What to write and how.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        super().__init__(job)
        self._folder = folder
        self._prefix = f"part-{_UNSAFE.sub('-', job.holder)}-" if job.append else "part-"
        if not job.append:
            self._refuse_foreign_files()
        self._draft = Draft(folder, job.holder)
        self._open = True
        self._home = self._draft.path(_DATA)
        self._parts: list[dict[str, object]] = []
        self._writer: FormatWriter | None = None
        try:
            self._home.mkdir()
        except BaseException:
            self._draft.close()
            raise

    def write(self, batch: Batch) -> Refusals:
        """Write a part."""
        name = f"{self._prefix}{len(self._parts) + 1:06}{self._job.format.extension}"
        path = self._home / name
        self._writer = self._job.format.make(
            Target(str(self._folder / name), path=path, compression=self._job.compression, warn=self._job.warn)
        )
        refusals = self._writer.write(batch)
        self._writer.finish()
        self._writer = None
        taken = sum(part.records for part in batch.encoded) if batch.encoded is not None else len(batch) - len(refusals)
        if taken:
            sync_file(path)
            self._parts.append({"name": name, "records": taken, "bytes": path.stat().st_size})
        else:
            path.unlink()
        return refusals

    def finish(self) -> str:
        """Swap the folder, or move the parts into it, then write the manifest."""
        sync_folder(self._home)
        known: list[dict[str, object]] = []
        if self._job.append:
            known = self._known_parts()
            self._folder.mkdir(exist_ok=True)
            self._draft.add_files([f"{_DATA}/{part['name']}" for part in self._parts])
        else:
            self._draft.swap_folder(_DATA)
        manifest = {"version": 1, "run": self._job.holder, "parts": known + self._parts}
        write_whole(self._manifest, json.dumps(manifest, indent=1).encode())
        self._open = False
        self._draft.close()
        return str(self._folder)

    def abort(self) -> None:
        """Remove the draft."""
        if not self._open:
            return
        self._open = False
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.abort()
        finally:
            self._draft.close()

    @property
    def _manifest(self) -> Path:
        return self._folder.with_name(f".{self._folder.name}.manifest.json")

    def _known_parts(self) -> list[dict[str, object]]:
        """Return the parts that are there, with their numbers of records where the manifest tells."""
        told: dict[object, dict[str, object]] = {}
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            told = {part["name"]: part for part in json.loads(self._manifest.read_bytes())["parts"]}
        there = sorted(self._folder.glob(f"part-*{self._job.format.extension}"))
        return [told.get(path.name, {"name": path.name, "bytes": path.stat().st_size}) for path in there]

    def _refuse_foreign_files(self) -> None:
        """Replacing a folder removes what is in it: only do that to a folder of parts."""
        entries = list(self._folder.iterdir()) if self._folder.is_dir() else []
        foreign = [entry.name for entry in entries if entry.is_dir() or not _PART.fullmatch(entry.name)]
        if foreign:
            raise FatalError(
                f"cannot replace the folder {self._folder}: it holds {foreign[0]!r}, which is no part of a data set",
                help="add a file name to the path, choose a folder of its own for the data, or empty this one",
            )


class Stream(Place):
    """A stream such as standard output; what was written cannot be taken back.

    Args:
        stream: Where to.
        name: What messages call it.
        job: What to write and how.
    """

    def __init__(self, stream: BinaryIO, name: str, job: Job) -> None:
        super().__init__(job)
        self._name = name
        sink = ByteSink(stream, job.compression, prompt=True)
        self._writer = job.format.make(Target(name, stream=sink, warn=job.warn))

    def write(self, batch: Batch) -> Refusals:
        """Write a batch."""
        return self._writer.write(batch)

    def finish(self) -> str:
        """Write what is left."""
        self._writer.finish()
        return self._name

    def abort(self) -> None:
        """Leave the stream as it is."""
        self._writer.abort()
