"""Where objects are written: one object, made on this machine and uploaded at the end.

What a run has committed is safe in the bucket: the files of the format writer only grow, so a commit uploads what was
added since the last one, and any machine can put them together again.
"""

from __future__ import annotations

import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from etlctl.batch import Batch
from etlctl.errors import ComponentError, FatalError, FencedError
from etlctl.faults import fault
from etlctl.kit.codecs.writing import FormatWriter, Refusals, Target
from etlctl.kit.file_places import Job, Place
from etlctl.kit.objects.bucket import PART_BYTES, Bucket, Entry
from etlctl.kit.objects.draft import Destination, Draft, Journal
from etlctl.kit.objects.reading import BLOCK
from etlctl.kit.objects.store_errors import Conflict

RUN_META = "etlctlrun"
"""Name of the value stored beside an object that says which run has written it."""


class ObjectPlace(Place, Destination):
    """A destination in a bucket, with a draft beside it and a folder on this machine.

    Args:
        bucket: Where it is.
        key: The object, or the folder of a data set with a slash at its end.
        job: What to write and how.
    """

    def __init__(self, bucket: Bucket, key: str, job: Job) -> None:
        super().__init__(job)
        self._bucket = bucket
        self._key = key
        self._open = True
        self._home = Path(tempfile.mkdtemp(prefix="etlctl-"))
        try:
            self._draft = Draft(bucket, key, job.claim, self)
            if not bucket.conditional and bucket.keeps_meta:
                job.warn(
                    f"{bucket.url(key)}: the store does not hold to conditional writes (If-None-Match, If-Match), or "
                    "is not to be asked for them: should two attempts of a run overlap, records may be lost or doubled"
                )
            if self._draft.published is not None:
                self.records = self._draft.published["records"]
            elif self._draft.newer is None:
                self._prepare(self._draft.held)
                self.records = self._draft.held["records"] if self._draft.held is not None else 0
        except BaseException:
            self._remove_home()
            raise

    @property
    def published(self) -> bool:
        """An earlier attempt of this run has published everything."""
        return self._draft.published is not None

    def token(self) -> Mapping[str, Any] | None:
        """Return the token there is: of this run, or of a newer holder of its stream."""
        return self._draft.token()

    def lost(self) -> FencedError | None:
        """Return the error to raise when a newer holder has taken over."""
        return self._draft.lost() if self._open else None

    def commit(self, token: Mapping[str, Any], records: int) -> bool:
        """Make everything taken so far safe together with a token."""
        self._check()
        state = self._checkpoint(int(token["seq"]))
        fault("load.before_commit")
        self._draft.commit(token, state, records)
        return True

    def finish(self, info: Mapping[str, Any], *, keep: bool) -> str:
        """Publish everything; return where it is."""
        if not self.published:
            self._check()
            self._draft.published = self._publish(info)
        if not keep:
            self.close()
        return self._bucket.url(self._key)

    def suspend(self) -> None:
        """Let go; what was committed stays for a later attempt."""
        if self._open and not self._draft.holds and not self.published:
            self.abort()
            return
        self._let_go()

    def abort(self) -> None:
        """Remove the draft."""
        if self._open:
            self._let_go()
            try:
                self._draft.clear()
            except ComponentError as error:
                self._job.warn(f"what the run had prepared stays until its stream is loaded again: {error}")

    @abstractmethod
    def _prepare(self, held: Mapping[str, Any] | None) -> None:
        """Begin, or go on with what the last commit wrote."""

    @abstractmethod
    def _checkpoint(self, seq: int) -> Mapping[str, Any]:
        """Put everything taken so far in the bucket; return what ``_prepare`` needs to go on.

        Args:
            seq: Number of the last batch taken.
        """

    @abstractmethod
    def _publish(self, info: Mapping[str, Any]) -> Journal:
        """Publish everything; return the journal of it."""

    def _check(self) -> None:
        if not self._open:
            raise FatalError(f"{self._bucket.url(self._key)} is closed already")
        if (lost := self._draft.lost()) is not None:
            raise lost

    def _let_go(self) -> None:
        self._open = False
        try:
            self._abort_writer()
        finally:
            self._remove_home()

    def _abort_writer(self) -> None:
        """End what is running."""

    def _remove_home(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)


class SingleObject(ObjectPlace):
    """One object; it gets its content in one step, at the end.

    What stands there before is replaced, or comes first in the new object (``append``). The object says beside its
    content which run has written it, so that a resumed run knows whether it has happened.
    """

    def __init__(self, bucket: Bucket, key: str, job: Job) -> None:
        self._writer: FormatWriter | None = None
        self._pieces: list[list[Any]] = []
        self._safe: dict[str, int] = {}
        super().__init__(bucket, key, job)

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        return self._writing().write(batch)

    def check(self) -> None:
        """What is appended was fitted to the object as it was at the start."""
        before = self._draft.body["before"]
        now = self._bucket.head(self._key) if self._job.append else None
        if self._job.append and (now.etag if now is not None else None) != before:
            raise FatalError(
                f"cannot append to {self._bucket.url(self._key)}: something else has made, replaced or removed it "
                "since this run began",
                help="run again from the beginning (not resuming), and the records come after what is there now",
            )

    def is_published(self, journal: Journal) -> bool:
        """Tell by the object whether it is what the journal announces."""
        return object_published(self._bucket, self._key, journal)

    def undo(self, journal: Journal) -> None:
        """There is nothing to undo: the object has its content in one step."""

    def complete(self, journal: Journal) -> None:
        """There is nothing left to do."""

    def _writing(self) -> FormatWriter:
        self._check()
        if self._writer is None:
            raise FatalError(f"{self._bucket.url(self._key)} is published already")
        return self._writer

    def _prepare(self, held: Mapping[str, Any] | None) -> None:
        existing = self._existing(held)
        if held is not None:
            self._fetch_pieces(held["state"]["pieces"])
        self._writer = self._job.format.make(
            Target(
                self._bucket.url(self._key),
                path=self._home / "data",
                existing=existing,
                compression=self._job.compression,
                warn=self._job.warn,
                state=held["state"]["format"] if held is not None else None,
            )
        )

    def _existing(self, held: Mapping[str, Any] | None) -> Path | None:
        """Return a copy of what is appended to; None when nothing is there."""
        if not self._job.append:
            return None
        entry = self._bucket.head(self._key)
        if held is None:
            self._draft.note(before=entry.etag if entry is not None else None)
        else:
            self.check()
        if entry is None or not entry.size:
            return None
        path = self._home / "existing"
        with path.open("wb") as file:
            for start in range(0, entry.size, BLOCK):
                try:
                    file.write(self._bucket.fetch(self._key, start, min(start + BLOCK, entry.size), entry.etag))
                except Conflict:
                    self.check()
                    raise
        return path

    def _fetch_pieces(self, pieces: list[list[Any]]) -> None:
        """Put the files of the writer together as they were at the last commit."""
        for name, key, size in pieces:
            with (self._home / name).open("ab") as file:
                before = file.tell()
                for start in range(0, size, BLOCK):
                    file.write(self._bucket.fetch(key, start, min(start + BLOCK, size), None))
                if file.tell() - before != size:
                    raise FatalError(
                        f"{self._bucket.url(key)}, which the run had made safe, is changed",
                        help="run again from the beginning: etlctl run … --restart",
                    )
            self._safe[name] = self._safe.get(name, 0) + size
        self._pieces = [list(piece) for piece in pieces]

    def _checkpoint(self, seq: int) -> Mapping[str, Any]:
        state = self._writing().checkpoint()
        for path in sorted(self._home.iterdir()):
            grown = path.stat().st_size - self._safe.get(path.name, 0)
            if path.name == "existing" or grown <= 0:
                continue
            key = self._draft.draft_key(f"{seq:06}-{path.name}")
            self._bucket.upload(key, blocks(path, self._safe.get(path.name, 0)), grown)
            self._pieces.append([path.name, key, grown])
            self._safe[path.name] = self._safe.get(path.name, 0) + grown
        return {"format": dict(state), "pieces": self._pieces, "drafts": [piece[1] for piece in self._pieces]}

    def _publish(self, info: Mapping[str, Any]) -> Journal:
        writer = self._writing()
        writer.finish()
        self._writer = None
        parts = [writer.made or self._home / "data"]
        if (self._home / "existing").exists() and self._job.format.extends:
            parts.insert(0, self._home / "existing")
        self.check()
        size = sum(path.stat().st_size for path in parts)
        before = self._bucket.head(self._key)
        journal = {**info, "size": size, "etag": before.etag if before is not None else None}
        self._draft.begin(journal)
        fault("publish.during")
        self._upload(parts, size, before)
        fault("publish.during")
        return journal

    def _upload(self, parts: list[Path], size: int, before: Entry | None) -> None:
        """Give the object its content.

        A small one under the condition that nobody has changed it. A large one, which the library cannot write so,
        after a last look at the state when its last part has been handed over: an older attempt that sleeps between
        that and the end of its upload, while a newer one publishes, would still replace what that has published.
        """
        meta = {RUN_META: self._job.claim.holder}
        if size > PART_BYTES:
            self._bucket.upload(self._key, _checked(_all_blocks(parts), self._assure), size, meta)
            return
        data = b"".join(_all_blocks(parts))
        try:
            self._bucket.put_if(self._key, data, before.tag if before is not None else None, meta)
        except Conflict:
            self._draft.assure()
            if _run_of(self._bucket.head(self._key)) == self._job.claim.holder:
                return  # it was written, and only the answer had been lost
            self.check()
            self._bucket.put(self._key, data, meta)

    def _assure(self) -> None:
        self._draft.assure()
        self.check()

    def _abort_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abort()


def object_published(bucket: Bucket, key: str, journal: Journal) -> bool:
    """Tell whether an object is the one that a journal announces."""
    found = bucket.head(key)
    if bucket.keeps_meta:
        return _run_of(found) == str(journal["token"]["run"])
    return found is not None and found.etag != journal["etag"] and found.size == int(journal["size"])


def _run_of(entry: Entry | None) -> str | None:
    meta = (entry.meta if entry is not None else None) or {}
    return next((value for name, value in meta.items() if name.lower() == RUN_META), None)


def blocks(path: Path, start: int = 0) -> Iterator[bytes]:
    """Yield the content of a file from a byte on."""
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(PART_BYTES):
            yield block


def _all_blocks(parts: list[Path]) -> Iterator[bytes]:
    for path in parts:
        yield from blocks(path)


def _checked(blocks: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    """Yield blocks, and call ``check`` before the end is told: nothing is complete when it raises."""
    yield from blocks
    check()
