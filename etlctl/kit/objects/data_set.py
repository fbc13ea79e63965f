"""A data set: a folder of objects, one for each batch and partition, with a manifest beside it.

Every object is complete from the moment it has a key, and its key is told by run and batch: written again, it is the
same. A run keeps its objects as drafts; when it has all of them they are copied to their keys, one after the other,
then the manifest is replaced, which is the commit, and only then the objects that they replace are removed.

Who reads by the manifest sees the data set before or after the run. Who lists keys may see some of the run's objects
shortly before the manifest has them, and, when a run replaces others, both. What a run that died has left of these is
removed when its stream is opened next.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from etlctl.batch import Batch
from etlctl.errors import FatalError
from etlctl.faults import fault
from etlctl.kit.codecs.writing import FormatWriter, Refusals, Target
from etlctl.kit.file_places import Job
from etlctl.kit.objects.bucket import Bucket
from etlctl.kit.objects.draft import Journal
from etlctl.kit.objects.manifest import Part, committed, publish_manifest
from etlctl.kit.objects.partitions import Piece, split
from etlctl.kit.objects.places import ObjectPlace, blocks

_PART = re.compile(r"part-[A-Za-z0-9_.-]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_AT_ONCE = 4
_SECONDS_UNASSURED = 2.0


class DataSet(ObjectPlace):
    """A folder of objects.

    Args:
        bucket: Where it is.
        folder: Its key, with a slash at its end.
        job: What to write and how.
        fields: Whose values name folders inside it.
        most: Folders that one batch may go to.
    """

    def __init__(self, bucket: Bucket, folder: str, job: Job, fields: tuple[str, ...] = (), most: int = 1_000) -> None:
        self._fields = fields
        self._most = most
        self._prefix = f"part-{_UNSAFE.sub('-', job.claim.holder)}-"
        self._parts: dict[str, dict[str, Any]] = {}
        self._files: dict[str, Path] = {}
        self._last = self._made = 0
        self._assured = time.monotonic()
        self._writer: FormatWriter | None = None
        super().__init__(bucket, folder, job)
        if fields:
            self.encode = None

    def write(self, batch: Batch) -> Refusals:
        """Write a part for each folder that records of the batch go to."""
        self._check()
        self._last = batch.seq or self._last + 1
        for name in [name for name, part in self._parts.items() if part["seq"] == self._last]:
            self._forget(name)  # the batch comes again
        pieces, refusals = split(batch, self._fields, self._most)
        for piece in pieces:
            refusals += self._write(piece)
        return sorted(refusals, key=lambda one: one[0])

    def _write(self, piece: Piece) -> Refusals:
        folder = f"{piece.folder}/" if piece.folder else ""
        name = f"{folder}{self._prefix}{self._last:06}{self._job.format.extension}"
        self._made += 1
        path = self._home / f"{self._made}"
        self._writer = self._job.format.make(
            Target(
                self._bucket.url(self._key + name), path=path, compression=self._job.compression, warn=self._job.warn
            )
        )
        found = self._writer.write(piece.batch)
        self._writer.finish()
        made, self._writer = self._writer.made or path, None
        encoded = piece.batch.encoded
        taken = len(piece.batch) - len(found) if encoded is None else sum(part.records for part in encoded)
        if taken:
            told = {"name": name, "seq": self._last, "records": taken, "bytes": made.stat().st_size, "draft": None}
            self._parts[name] = {**told, "values": piece.values} if self._fields else told
            self._files[name] = made
        else:
            made.unlink()
        return [(piece.places[place], refused) for place, refused in found]

    def _forget(self, name: str) -> None:
        del self._parts[name]
        if (path := self._files.pop(name, None)) is not None:
            path.unlink()

    def check(self) -> None:
        """Make sure that nothing but parts would be removed."""
        if not self._job.append:
            self._replaced()

    def is_published(self, journal: Journal) -> bool:
        """Tell by the manifest."""
        return set_published(self._bucket, self._key, self._job.claim.key, journal)

    def undo(self, journal: Journal) -> None:
        """Remove the objects that have their keys already: the manifest does not have them."""
        self._bucket.delete([self._key + name for name in journal["names"]])

    def complete(self, journal: Journal) -> None:
        """Remove what was replaced."""
        self._bucket.delete(journal["old"])

    def _prepare(self, held: Mapping[str, Any] | None) -> None:
        if held is None:
            self.check()
            return
        self._last = held["state"]["last"]
        self._parts = {part["name"]: dict(part) for part in held["state"]["parts"]}

    def _checkpoint(self, seq: int) -> Mapping[str, Any]:
        keys = {name: self._draft.draft_key(f"{seq:06}-{path.name}") for name, path in self._files.items()}
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="etlctl-commit") as threads:
            list(threads.map(self._keep, keys, keys.values()))
        parts = list(self._parts.values())
        return {"parts": parts, "last": self._last, "drafts": [part["draft"] for part in parts]}

    def _keep(self, name: str, key: str) -> None:
        """Upload a part as a draft."""
        part, path = self._parts[name], self._files[name]
        self._bucket.upload(key, blocks(path), part["bytes"])
        part["draft"] = key
        path.unlink()
        del self._files[name]

    def _publish(self, info: Mapping[str, Any]) -> Journal:
        old = [] if self._job.append else self._replaced()
        journal = {**info, "names": list(self._parts), "old": old, "write": secrets.token_hex(8)}
        self._draft.begin(journal)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="etlctl-publish") as threads:
            for _ in threads.map(self._show, list(self._parts)):
                fault("publish.during")
        self._draft.assure()
        self._refuse_newer()
        commit = {"run": info["run"], "fence": self._job.claim.fence, "token": info["token"], "write": journal["write"]}
        publish_manifest(self._bucket, self._key, self._shown, self._job.claim.key, commit)
        fault("publish.during")
        self.complete(journal)
        return journal

    def _show(self, name: str) -> None:
        """Give a part its key."""
        if time.monotonic() - self._assured > _SECONDS_UNASSURED:
            self._assured = time.monotonic()
            self._draft.assure()
        part = self._parts[name]
        if part["draft"] is None:
            self._bucket.upload(self._key + name, blocks(self._files[name]), part["bytes"])
        else:
            self._bucket.copy(part["draft"], self._key + name)

    def _refuse_newer(self) -> None:
        """A manifest that a newer holder of the stream has published must not be taken back."""
        commit = committed(self._bucket, self._key, self._job.claim.key)
        if commit is not None and commit["fence"] > self._job.claim.fence and commit["run"] == self._job.claim.holder:
            raise FatalError(f"{self._bucket.url(self._key)}: a newer attempt of this run has published already")

    def _shown(self, before: Mapping[str, Any] | None) -> Iterable[Part]:
        """Return the parts that count from now on."""
        mine = [{name: part[name] for name in part if name not in {"draft", "seq"}} for part in self._parts.values()]
        if not self._job.append:
            return mine
        if before is not None:
            return [*(part for part in before["parts"] if part["name"] not in self._parts), *mine]
        found = (entry for entry in self._bucket.below(self._key) if is_part(entry.key))
        names = ((entry.key.removeprefix(self._key), entry.size) for entry in found)
        return [*({"name": name, "bytes": size} for name, size in names if name not in self._parts), *mine]

    def _replaced(self) -> list[str]:
        """Return the keys of the objects that are replaced.

        Raises:
            FatalError: There are others in the folder than parts of a data set.
        """
        keys = [entry.key for entry in self._bucket.below(self._key)]
        foreign = [key for key in keys if not is_part(key)]
        if foreign:
            raise FatalError(
                f"cannot replace {self._bucket.url(self._key)}: it holds {foreign[0].removeprefix(self._key)!r}, which "
                "is no part of a data set",
                help="add a name to the path, choose a folder of its own for the data, or empty this one",
            )
        mine = {self._key + name for name in self._parts}
        return [key for key in keys if key not in mine]

    def _abort_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abort()


def is_part(key: str) -> bool:
    """Tell whether an object is named as a part of a data set is."""
    return _PART.fullmatch(key.rpartition("/")[2]) is not None


def set_published(bucket: Bucket, folder: str, stream: str, journal: Journal) -> bool:
    """Tell by the manifest of a data set whether what a journal announces has happened.

    Args:
        bucket: Where it is.
        folder: Its key.
        stream: Short name of the stream.
        journal: Of the stream's state.
    """
    commit = committed(bucket, folder, stream)
    return commit is not None and commit["run"] == journal["token"]["run"] and commit["write"] == journal["write"]
