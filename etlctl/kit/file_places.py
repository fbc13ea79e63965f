"""Where files are written: one file, a folder of parts, or a stream. Nothing half-written ever has a final name."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from etlctl.batch import Batch
from etlctl.errors import FatalError, FencedError
from etlctl.frozen import frozen
from etlctl.kit.atomic import sync_file, sync_folder, write_whole
from etlctl.kit.byte_sink import ByteSink, PlainCompression
from etlctl.kit.codecs.writing import Format, FormatWriter, Refusals, Target
from etlctl.kit.drafts import Claim, Draft
from etlctl.kit.publication import MANIFEST, Publication

_DATA = "data"
_PART = re.compile(r"part-[A-Za-z0-9_.-]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


@frozen
class Job:
    """What all places need to know.

    Attributes:
        format: What to write.
        compression: Of text formats.
        append: Keep what is there and come after it; otherwise it is replaced.
        claim: Who is writing, and whether it goes on with what it had committed.
        warn: Reports something the user should know without stopping the run.
    """

    format: Format
    compression: PlainCompression
    append: bool
    claim: Claim
    warn: Callable[[str], None]


class Place(ABC):
    """A destination for one run. Synchronous; calls come one at a time.

    Attributes:
        encode: Turns records into a payload that ``write`` takes as ``batch.encoded``.
        records: Records that an earlier attempt of this run had committed.
    """

    records = 0

    def __init__(self, job: Job) -> None:
        self._job = job
        self.encode = job.format.encode

    @property
    def published(self) -> bool:
        """An earlier attempt of this run has published everything."""
        return False

    def token(self) -> Mapping[str, Any] | None:
        """Return the token there is: of this run, or of a newer holder of its stream."""
        return None

    def lost(self) -> FencedError | None:
        """Return the error to raise when a newer holder has taken over."""
        return None

    @abstractmethod
    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""

    def commit(self, token: Mapping[str, Any], records: int) -> bool:  # noqa: ARG002
        """Make everything taken so far safe together with a token; tell whether that is done."""
        return False

    def check(self) -> None:  # noqa: B027 - only what is appended to must be as it was
        """Raise what ``finish`` would raise because something else has changed the destination."""

    @abstractmethod
    def finish(self, info: Mapping[str, Any], *, keep: bool) -> str:
        """Publish everything; return where it is.

        Args:
            info: The run, its finished token and its number of records, for an attempt that comes after a crash.
            keep: Such an attempt may come: leave it what it needs until ``close``.
        """

    def suspend(self) -> None:
        """Let go; what was committed stays for a later attempt."""
        self.abort()

    @abstractmethod
    def abort(self) -> None:
        """Remove what is unfinished; published data stays as it was. May be called repeatedly."""

    def close(self) -> None:
        """Remove what was left for a later attempt."""
        self.abort()


class DraftPlace(Place):
    """A place with a hidden folder beside it, where everything is prepared.

    Args:
        draft: The folder.
        job: What to write and how.
    """

    def __init__(self, draft: Draft, job: Job) -> None:
        super().__init__(job)
        self._draft = draft
        self._writer: FormatWriter | None = None
        self._open = True
        try:
            if draft.published is not None:
                self.records = draft.published["records"]
            elif draft.newer is None:
                self._prepare(draft.held)
                self.records = draft.held["records"] if draft.held is not None else 0
        except BaseException:
            self._let_go(draft.suspend)
            raise

    @property
    def published(self) -> bool:
        """An earlier attempt of this run has published everything."""
        return self._draft.published is not None

    def token(self) -> Mapping[str, Any] | None:
        """Return the token there is: of this run, or of a newer holder of its stream."""
        if self._draft.newer is not None:
            return self._draft.newer
        held = self._draft.published or self._draft.held
        return held["token"] if held is not None else None

    def lost(self) -> FencedError | None:
        """Return the error to raise when a newer holder has taken over."""
        return self._draft.lost() if self._open else None

    def commit(self, token: Mapping[str, Any], records: int) -> bool:
        """Make everything taken so far safe together with a token."""
        self._check()
        self._draft.commit(token, self._checkpoint(), records)
        return True

    def finish(self, info: Mapping[str, Any], *, keep: bool) -> str:
        """Publish everything; return where it is."""
        if not self.published:
            self._check()
            with self._draft.ours() as publication:
                self._publish(publication, info, keep=keep)
            self._draft.published = info
        if not keep:
            self.close()
        return str(self._draft.final)

    def suspend(self) -> None:
        """Let go; what was committed stays for a later attempt."""
        self._let_go(self._draft.suspend)

    def abort(self) -> None:
        """Remove the draft."""
        self._let_go(self._draft.close)

    @abstractmethod
    def _prepare(self, held: Mapping[str, Any] | None) -> None:
        """Begin, or go on with what the last commit wrote."""

    @abstractmethod
    def _checkpoint(self) -> Mapping[str, Any]:
        """Put everything taken so far on disk; return what ``_prepare`` needs to go on."""

    @abstractmethod
    def _publish(self, publication: Publication, info: Mapping[str, Any], *, keep: bool) -> None:
        """Publish everything."""

    def _check(self) -> None:
        if not self._open:
            raise FatalError(f"{self._draft.final} is closed already")
        if (lost := self._draft.lost()) is not None:
            raise lost

    def _let_go(self, how: Callable[[], None]) -> None:
        if not self._open:
            return
        self._open = False
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.abort()
        finally:
            how()


class SingleFile(DraftPlace):
    """One file, written beside its final name and renamed, or appended, at the end.

    Args:
        final: The file; its folder must exist.
        job: What to write and how.
    """

    def __init__(self, final: Path, job: Job) -> None:
        super().__init__(Draft(final, job.claim), job)

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        if self._writer is None:
            self._check()
            raise FatalError(f"{self._draft.final} is published already")
        return self._writer.write(batch)

    def _prepare(self, held: Mapping[str, Any] | None) -> None:
        final, job = self._draft.final, self._job
        if held is None and job.append:
            self._draft.before = self._draft.identity()
        self._writer = job.format.make(
            Target(
                str(final),
                path=self._draft.path(_DATA),
                existing=final if self._draft.before is not None else None,
                compression=job.compression,
                warn=job.warn,
                state=held["state"] if held is not None else None,
            )
        )

    def _checkpoint(self) -> Mapping[str, Any]:
        if self._writer is None:
            raise FatalError(f"{self._draft.final} is published already")
        return self._writer.checkpoint()

    def _publish(self, publication: Publication, info: Mapping[str, Any], *, keep: bool) -> None:
        if self._writer is None:
            raise FatalError(f"{self._draft.final} is published already")
        self._writer.finish()
        made = (self._writer.made or self._draft.path(_DATA)).name
        self.check()
        if self._draft.before is not None and self._job.format.extends:
            publication.append(made, info)
        else:
            publication.replace(made, info if keep else None)
        self._writer = None

    def check(self) -> None:
        """What is appended was fitted to the file as it was at the start."""
        before, now = self._draft.before, self._draft.identity()
        # Undoing a half append gives the file another time, but leaves its length.
        look_at = ("inode", "size") if self._job.format.extends else ("inode", "size", "mtime_ns")
        if before is None and now is not None and self._job.append:
            raise FatalError(
                f"cannot append to {self._draft.final}: something else has made it while this run was going on",
                help="run again, and the records come after what is there now",
            )
        if before is not None and (now is None or any(before[one] != now[one] for one in look_at)):
            raise FatalError(
                f"cannot append to {self._draft.final}: something else has changed it since this run began",
                help="run again from the beginning (not resuming), and the records come after what is there now",
            )


class PartFolder(DraftPlace):
    """A folder of parts, one for each batch, with a manifest beside it.

    ``replace`` swaps the whole folder at the end; ``append`` adds parts under names with the run id. The manifest
    stands beside the folder (``.orders.manifest.json``), so that every file in the folder is data. A part is named
    after the number of its batch: a batch that is written again takes the place of its part.

    Args:
        folder: The folder; its parent must exist.
        job: What to write and how.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self._folder = folder
        self._manifest = manifest_of(folder)
        self._prefix = f"part-{_UNSAFE.sub('-', job.claim.holder)}-" if job.append else "part-"
        self._parts: dict[str, dict[str, object]] = {}
        self._last = 0
        if not job.append:
            _refuse_foreign_files(folder)
        draft = Draft(folder, job.claim, self._manifest)
        self._home = draft.path(_DATA)
        super().__init__(draft, job)

    def write(self, batch: Batch) -> Refusals:
        """Write a part."""
        self._check()
        self._last = batch.seq or self._last + 1
        name = f"{self._prefix}{self._last:06}{self._job.format.extension}"
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
            self._parts[name] = {"name": name, "records": taken, "bytes": path.stat().st_size}
        else:
            path.unlink()
        return refusals

    def _prepare(self, held: Mapping[str, Any] | None) -> None:
        if held is None:
            self._home.mkdir()
            return
        self._parts = {part["name"]: part for part in held["state"]["parts"]}
        self._last = held["state"]["last"]
        found = {path.name: path for path in self._home.iterdir()}
        for name, part in self._parts.items():
            if name not in found or found[name].stat().st_size != part["bytes"]:
                raise FatalError(
                    f"cannot go on with {self._home / name}, which the run had made safe: it is missing or changed",
                    help=f"remove {self._home.parent}, then run again from the beginning (not resuming)",
                )
        for name in found.keys() - self._parts.keys():
            found[name].unlink()

    def _checkpoint(self) -> Mapping[str, Any]:
        sync_folder(self._home)
        return {"parts": list(self._parts.values()), "last": self._last}

    def _publish(self, publication: Publication, info: Mapping[str, Any], *, keep: bool) -> None:  # noqa: ARG002
        sync_folder(self._home)
        known = self._known_parts() if self._job.append else []
        parts = [*known, *self._parts.values()]
        manifest = {"version": 1, "run": self._job.claim.holder, "parts": parts, "token": info["token"]}
        write_whole(self._draft.path(MANIFEST), json.dumps(manifest, indent=1).encode())
        if self._job.append:
            self._folder.mkdir(exist_ok=True)
            publication.add_files(_DATA, list(self._parts), info)
        else:
            publication.swap_folder(_DATA, info)

    def _known_parts(self) -> list[dict[str, object]]:
        """Return the parts that are there, with their numbers of records where the manifest tells."""
        told = manifest_parts(self._folder)
        there = sorted(self._folder.glob(f"part-*{self._job.format.extension}"))
        return [told.get(path.name, {"name": path.name, "bytes": path.stat().st_size}) for path in there]


def manifest_of(folder: Path) -> Path:
    """Return where the manifest of a folder of parts is."""
    return folder.with_name(f".{folder.name}.manifest.json")


def manifest_parts(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the manifest of a folder tells of its parts, by name; nothing when there is none."""
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return {part["name"]: part for part in json.loads(manifest_of(folder).read_bytes())["parts"]}
    return {}


def _refuse_foreign_files(folder: Path) -> None:
    """Replacing a folder removes what is in it: only do that to a folder of parts."""
    entries = list(folder.iterdir()) if folder.is_dir() else []
    foreign = [entry.name for entry in entries if entry.is_dir() or not _PART.fullmatch(entry.name)]
    if foreign:
        raise FatalError(
            f"cannot replace the folder {folder}: it holds {foreign[0]!r}, which is no part of a data set",
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

    def finish(self, info: Mapping[str, Any], *, keep: bool) -> str:  # noqa: ARG002
        """Write what is left."""
        self._writer.finish()
        return self._name

    def abort(self) -> None:
        """Leave the stream as it is."""
        self._writer.abort()
