"""A hidden folder beside a destination where runs prepare what they will publish, and that survives their death.

``orders.csv`` has ``.orders.csv.etlctl/``. It is locked while a run lives, and holds one folder for each stream that is
not done with it:

- ``work-…`` the stream's files, ``token.json`` (its commit token and what its writer needs to go on, written after the
  files it speaks of are on disk: this is the commit) and, while and after it publishes, ``journal.json``
- ``from-…`` the same, taken from a holder that may still be alive; it is copied before it is used

What a dead run left is kept when that run is resumed, and undone and removed when its stream runs anew.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from etlctl.errors import DestinationBusy, EtlctlError, FatalError, FencedError
from etlctl.frozen import frozen
from etlctl.kit.atomic import read_sealed, sync_folder, write_sealed
from etlctl.kit.file_lock import CAN_SEIZE, FileLock, LockTaken, folder_mutex
from etlctl.kit.publication import Publication, Step, copy_tree

_LOCK = "lock"
_TOKEN = "token.json"  # noqa: S105 - the name of a file
_WORK, _FROM, _COPY = "work-", "from-", "copy-"


@frozen
class Claim:
    """Who wants to write.

    Attributes:
        holder: The run, for others to see.
        stream: Contract and parameter set.
        fence: Generation of the stream's lease; a newer one shuts out an older one.
        resume: Keep what this run had committed.
    """

    holder: str
    stream: str = ""
    fence: int = 0
    resume: bool = False

    @property
    def key(self) -> str:
        """The stream, in a file name."""
        return hashlib.sha256(self.stream.encode()).hexdigest()[:12]

    def outranks(self, note: Mapping[str, Any]) -> bool:
        """Tell whether this one may take the lock away from its holder: the same stream with an older fence."""
        fence = note.get("fence")
        return CAN_SEIZE and note.get("stream") == self.stream and isinstance(fence, int) and fence < self.fence


def held_token(final: Path, stream: str) -> Mapping[str, Any] | None:
    """Return the commit token of a stream's unfinished run, if there is one; nothing is locked or changed.

    It is visible when the run has published, and only nobody has been told yet.

    Args:
        final: The destination.
        stream: Contract and parameter set.
    """
    root, key = _root_of(final), Claim("", stream).key
    homes = [home for kind in (_WORK, _FROM) for home in sorted(root.glob(f"{kind}{key}-*"))]
    for home in homes:
        with suppress(FatalError):  # whoever opens the destination says so better
            if (step := Publication(final, home).peek()) is not None:
                return {**step["token"], "visible": True}
            if (body := read_sealed(home / _TOKEN)) is not None:
                return {**body["token"], "visible": False}
    return None


class Draft:
    """The hidden folder of one destination, locked for one run.

    Args:
        final: The destination, a file or a folder; its parent must exist.
        claim: Who wants to write.
        manifest: Where the manifest of a folder goes.

    Attributes:
        held: What the last ``commit`` of the resumed run wrote; None when there is nothing to go on from.
        published: What the resumed run gave its publication, when it has got that far already.
        newer: The token of a newer holder of the same stream: nothing may be written.
        before: What the place knows about the destination as it was at the start, kept with the token.

    Raises:
        FatalError: Another run is writing there, or what a dead run left cannot be undone.
        OSError: The folder cannot be written.
    """

    def __init__(self, final: Path, claim: Claim, manifest: Path | None = None) -> None:
        self.final = final
        self.root = _root_of(final)
        self.held: Mapping[str, Any] | None = None
        self.published: Step | None = None
        self.newer: Mapping[str, Any] | None = None
        self.before: Mapping[str, Any] | None = None
        self._claim = claim
        self._manifest = manifest
        self._home = self.root / f"{_WORK}{claim.key}-{secrets.token_hex(4)}"
        self._lock = self._locked()
        try:
            self._settle_others()
            self._begin()
        except BaseException:
            self._release()
            raise

    def path(self, name: str) -> Path:
        """Return a path in this run's folder."""
        return self._home / name

    def lost(self) -> FencedError | None:
        """Return the error to raise when a newer holder has taken over; None while nobody has."""
        if self.newer is None and self._lock.owned() and self._home.exists():
            return None
        return FencedError(
            f"{self.final} has been taken over by a newer attempt of this run; this one wrote nothing more to it",
            help="nothing: the newer attempt goes on from what this one had committed",
        )

    def commit(self, token: Mapping[str, Any], state: Mapping[str, Any], records: int) -> None:
        """Write the token; the files that ``state`` speaks of must be on disk.

        Raises:
            FencedError: A newer holder has taken over.
        """
        body = {
            "run": self._claim.holder,
            "fence": self._claim.fence,
            "token": dict(token),
            "state": dict(state),
            "records": records,
            "before": self.before,
        }
        with self.ours():
            write_sealed(self.path(_TOKEN), body, "load.before_commit")
            if self.held is None:
                sync_folder(self.root)
                sync_folder(self.root.parent)
        self.held = body

    def identity(self) -> dict[str, int] | None:
        """Return what tells whether the destination is changed by others; None when it is empty or not there."""
        try:
            now = self.final.stat()
        except FileNotFoundError:
            return None
        return {"inode": now.st_ino, "size": now.st_size, "mtime_ns": now.st_mtime_ns} if now.st_size else None

    @contextmanager
    def ours(self) -> Iterator[Publication]:
        """Give the means to publish, and say so when something fails because a newer holder has taken over."""
        if (lost := self.lost()) is not None:
            raise lost
        try:
            yield Publication(self.final, self._home, self._manifest)
        except EtlctlError:
            raise
        except Exception as error:
            if (lost := self.lost()) is not None:
                raise lost from error
            raise
        if (lost := self.lost()) is not None:
            raise lost

    def suspend(self) -> None:
        """Let go of the lock; keep what was committed or published."""
        if self.held is None and self.published is None and self.newer is None:
            self.close()
        else:
            self._release()

    def close(self) -> None:
        """Remove the run's folder and let go of the lock."""
        try:
            if self.newer is None and self._lock.owned():
                _remove(self._home)
        finally:
            self._release()

    def _locked(self) -> FileLock:
        for _ in range(100):
            self.root.mkdir(exist_ok=True)
            try:
                with folder_mutex(self.root):
                    return self._acquire()
            except LockTaken as taken:
                raise DestinationBusy(
                    f"cannot write {self.final}: {taken} is writing it now",
                    help="wait until that run has ended, or give this one another path",
                ) from taken
            except FileNotFoundError:
                continue  # its last user removed the folder in between
        raise FatalError(f"cannot write {self.final}: its folder {self.root} keeps disappearing")

    def _acquire(self) -> FileLock:
        path, claim = self.root / _LOCK, self._claim
        note = {"stream": claim.stream, "fence": claim.fence}
        try:
            return FileLock(path, claim.holder, note)
        except LockTaken as taken:
            if not claim.outranks(taken.note):
                raise
        # First the folder: from here on the old holder finds none of its files, so it can commit and publish nothing.
        for home in self._homes(_WORK):
            home.rename(self.root / home.name.replace(_WORK, _FROM, 1))
        return FileLock.seize(path, claim.holder, note)

    def _release(self) -> None:
        with suppress(FileNotFoundError, LockTaken), folder_mutex(self.root):
            self._lock.release()
            with suppress(OSError):
                self.root.rmdir()

    def _homes(self, kind: str) -> list[Path]:
        return sorted(self.root.glob(f"{kind}{self._claim.key}-*"))

    def _settle_others(self) -> None:
        """Undo what runs of other streams had published by half; their drafts stay for them."""
        for home in sorted(self.root.iterdir()):
            if home.name.startswith(_COPY) or (home.name.startswith(f"{_LOCK}.")):
                _remove(home)
            elif home.name.startswith((_WORK, _FROM)) and home.name.split("-")[1] != self._claim.key:
                live = home.name.startswith(_FROM)
                Publication(self.final, home, self._manifest).settle(forward=False, live=live)

    def _begin(self) -> None:
        """Go on with what an earlier attempt left, or make a new folder."""
        works, taken = self._homes(_WORK), self._homes(_FROM)
        left: Sequence[Path] = works or taken
        if left and self._takes_up(left[0], live=not works):
            return
        if self.newer is not None:
            return
        for home in (*works, *taken):
            _remove(home)
        self._home.mkdir()

    def _takes_up(self, home: Path, *, live: bool) -> bool:
        body = self._committed(home)
        if body is not None and body["fence"] > self._claim.fence:
            self.newer = body["token"]
            return False
        mine = self._claim.resume and body is not None and body["run"] == self._claim.holder
        inode = self._inode()
        step = Publication(self.final, home, self._manifest).settle(forward=mine, live=live)
        if step is not None and self._claim.resume and step.get("run") == self._claim.holder:
            self.published, self._home = step, home
            return True
        if not mine or body is None:
            return False
        if live:
            copy = self.root / f"{_COPY}{self._home.name}"
            copy_tree(home, copy)
            copy.rename(self._home)
            sync_folder(self.root)
            _remove(home)
        else:
            self._home = home
        self.held, self.before = body, body["before"]
        if self.before is not None and self.before["inode"] == inode:
            self.before = {**self.before, "inode": self._inode()}
        if self._claim.fence > body["fence"] or self.before != body["before"]:
            # Claims it for this fence: an attempt with an older one is shut out even when nobody holds the lock.
            self.held = {**body, "fence": self._claim.fence, "before": self.before}
            write_sealed(self.path(_TOKEN), self.held)
        return True

    def _committed(self, home: Path) -> dict[str, Any] | None:
        try:
            return read_sealed(home / _TOKEN)
        except FatalError:
            if self._claim.resume:
                raise
            return None

    def _inode(self) -> int | None:
        try:
            return self.final.stat().st_ino
        except FileNotFoundError:
            return None


def _root_of(final: Path) -> Path:
    return final.parent / f".{final.name}.etlctl"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=False)
    else:
        path.unlink(missing_ok=True)
