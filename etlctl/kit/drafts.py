"""A hidden folder beside a destination where one run prepares what it will publish, and that survives its death.

``orders.csv`` has ``.orders.csv.etlctl/``. It is locked while its run lives. What a dead run left there is undone by
the next one: a half-done append is cut off again, half-moved parts are taken back, the rest is removed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from etlctl.errors import DestinationBusy, FatalError
from etlctl.kit.atomic import publish, sync_file, sync_folder, write_whole
from etlctl.kit.file_lock import FileLock, LockTaken

_JOURNAL = "journal.json"
_LOCK = "lock"
_OLD = "old"
_BLOCK = 1 << 20


class Draft:
    """The hidden folder of one destination, locked for one run.

    Args:
        final: The destination, a file or a folder; its parent must exist.
        holder: Who to name to others, such as a run id.

    Raises:
        FatalError: Another run is writing there, or what a dead run left cannot be undone.
        OSError: The folder cannot be written.
    """

    def __init__(self, final: Path, holder: str) -> None:
        self.final = final
        self.folder = final.parent / f".{final.name}.etlctl"
        self._lock = self._locked(holder)
        try:
            self._recover()
            self._empty()
        except BaseException:
            self._lock.release()
            raise

    def _locked(self, holder: str) -> FileLock:
        for _ in range(100):
            self.folder.mkdir(exist_ok=True)
            try:
                return FileLock(self.folder / _LOCK, holder)
            except LockTaken as taken:
                raise DestinationBusy(
                    f"cannot write {self.final}: {taken} is writing it now",
                    help="wait until that run has ended, or give this one another path",
                ) from taken
            except FileNotFoundError:
                continue  # its last user removed the folder in between
        raise FatalError(f"cannot write {self.final}: its folder {self.folder} keeps disappearing")

    def path(self, name: str) -> Path:
        """Return a path inside the hidden folder."""
        return self.folder / name

    def replace(self, name: str) -> None:
        """Publish a prepared file under the final name."""
        publish(self.path(name), self.final)

    def append(self, name: str) -> None:
        """Add a prepared file to the end of the final one; nothing of it stays if this fails."""
        before = self.final.stat()
        added = self.path(name).stat().st_size
        self._note({"do": "append", "length": before.st_size, "added": added, "inode": before.st_ino})
        try:
            with self.path(name).open("rb") as source, self.final.open("ab") as target:
                shutil.copyfileobj(source, target, _BLOCK)
                target.flush()
                os.fsync(target.fileno())
        except BaseException:
            self._recover()
            raise
        self._forget()

    def swap_folder(self, name: str) -> None:
        """Publish a prepared folder under the final name, in place of the one that stands there."""
        self._note({"do": "swap"})
        try:
            if self.final.exists():
                self.final.rename(self.path(_OLD))
            self.path(name).rename(self.final)
            sync_folder(self.final.parent)
        except BaseException:
            self._recover()
            raise
        self._forget()

    def add_files(self, names: Sequence[str]) -> None:
        """Move prepared files, already on disk, into the final folder, which must exist; all of them or none."""
        self._note({"do": "add", "names": [Path(name).name for name in names]})
        try:
            for name in names:
                self.path(name).rename(self.final / Path(name).name)
            sync_folder(self.final)
        except BaseException:
            self._recover()
            raise
        self._forget()

    def close(self) -> None:
        """Remove the folder and let go of the lock."""
        try:
            self._empty()
        finally:
            self._lock.release()
            with suppress(OSError):
                self.folder.rmdir()

    def _note(self, step: Mapping[str, Any]) -> None:
        write_whole(self.path(_JOURNAL), json.dumps(step).encode())
        sync_folder(self.folder.parent)

    def _forget(self) -> None:
        self.path(_JOURNAL).unlink()
        sync_folder(self.folder)

    def _empty(self) -> None:
        for entry in self.folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != _LOCK:
                entry.unlink()

    def _recover(self) -> None:
        """Undo the step that a dead or failed run had begun."""
        try:
            step = json.loads(self.path(_JOURNAL).read_bytes())
        except FileNotFoundError:
            return
        undo = {"append": self._cut_off, "swap": self._put_back, "add": self._take_back}[step["do"]]
        undo(step)
        self._forget()

    def _cut_off(self, step: Mapping[str, Any]) -> None:
        try:
            now = self.final.stat()
        except FileNotFoundError:
            return
        if now.st_ino != step["inode"] or now.st_size <= step["length"]:
            return
        if now.st_size > step["length"] + step["added"]:
            raise FatalError(
                f"cannot write {self.final}: a run died while it appended from byte {step['length']:,} on, "
                "and something else has written behind it since",
                help=f"look at the file from that byte on, repair it by hand, then remove {self.path(_JOURNAL)}",
            )
        os.truncate(self.final, step["length"])
        sync_file(self.final)

    def _put_back(self, _step: Mapping[str, Any]) -> None:
        if self.path(_OLD).exists() and not self.final.exists():
            self.path(_OLD).rename(self.final)
            sync_folder(self.final.parent)

    def _take_back(self, step: Mapping[str, Any]) -> None:
        for name in step["names"]:
            with suppress(FileNotFoundError):
                (self.final / name).unlink()
