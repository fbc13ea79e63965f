"""Making a prepared file or folder visible so that a death at any instant leaves something that can be settled.

Before the first change a journal in the draft folder says what is to be done. Whoever finds it later tells from it and
from what stands on disk whether it happened: not begun, half (it is completed or undone), or done.

Every file that gets a final name is renamed out of the draft folder. So a process whose draft folder was moved away by
a newer one cannot publish any more, wherever it stopped. Only ``append`` writes through an open file; when its writer
may still be alive, it is undone by giving the destination a new file, which the old writer does not have open.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from etlctl.errors import FatalError
from etlctl.faults import fault
from etlctl.kit.atomic import exchange, publish, read_sealed, sync_file, sync_folder, write_sealed

MANIFEST = "manifest.json"
"""Name of a manifest prepared in the draft folder; it gets its final name in the last step."""

_JOURNAL = "journal.json"
_OLD = "old"
_BLOCK = 1 << 20

Step = Mapping[str, Any]


class Publication:
    """Publishes what a draft folder holds.

    Args:
        final: The destination, a file or a folder.
        home: The draft folder, on the same file system.
        manifest: Where the manifest of a folder goes.
    """

    def __init__(self, final: Path, home: Path, manifest: Path | None = None) -> None:
        self._final = final
        self._home = home
        self._manifest = manifest

    def replace(self, made: str, info: Step | None) -> None:
        """Give a prepared file the final name.

        Args:
            made: The file's name in the draft folder.
            info: What ``settle`` is to return once this is done; None: nobody will ask.
        """
        if info is not None:
            self._begin({**info, "do": "replace", "made": made, "inode": self._inode(made)})
        fault("publish.during")
        try:
            publish(self._home / made, self._final)
        except BaseException:
            self._undo()
            raise

    def append(self, made: str, info: Step) -> None:
        """Add a prepared file to the end of the final one; nothing of it stays if this fails.

        A reader may see a part of it while it is copied.
        """
        with (self._home / made).open("rb") as source, self._final.open("ab", buffering=0) as target:
            before = os.fstat(target.fileno())
            added = os.fstat(source.fileno()).st_size
            step = {
                **info,
                "do": "append",
                "made": made,
                "length": before.st_size,
                "added": added,
                "inode": before.st_ino,
            }
            self._begin(step)
            try:
                for size in (added // 2, added - added // 2):
                    _copy(source, target, size)
                    fault("publish.during")
                os.fsync(target.fileno())
            except BaseException:
                self._undo()
                raise
        self._begin({**step, "done": True})

    def swap_folder(self, made: str, info: Step) -> None:
        """Give a prepared folder the final name, in place of the one that stands there, then publish the manifest.

        On Linux the two change names in one step; elsewhere there is no folder for an instant.
        """
        self._begin({**info, "do": "swap", "made": made, "inode": self._inode(made)})
        try:
            fault("publish.during")
            if not (self._final.exists() and exchange(self._home / made, self._final)):
                if self._final.exists():
                    self._final.rename(self._home / _OLD)
                    fault("publish.during")
                (self._home / made).rename(self._final)
            sync_folder(self._final.parent)
        except BaseException:
            self._undo()
            raise
        self._show_manifest()

    def add_files(self, made: str, names: Sequence[str], info: Step) -> None:
        """Move prepared files, already on disk, into the final folder, which must exist, then publish the manifest.

        Args:
            made: The folder they are in.
            names: Of the files.
            info: What ``settle`` is to return once this is done.
        """
        self._begin({**info, "do": "add", "made": made, "names": list(names)})
        try:
            self._move(made, names)
            self._show_manifest()
        except BaseException:
            self._undo()
            raise

    def peek(self) -> Step | None:
        """Return the journal when all of it is published now, as ``settle`` would; nothing is changed."""
        step = read_sealed(self._home / _JOURNAL)
        if step is None:
            return None
        if step["do"] == "append":
            return step if step.get("done") else None
        if step["do"] == "add":
            left = [name for name in step["names"] if (self._home / step["made"] / name).exists()]
            return None if left or (self._home / MANIFEST).exists() else step
        return None if self._inode(step["made"]) == step["inode"] else step

    def settle(self, *, forward: bool, live: bool = False) -> Step | None:
        """Bring a publication that a dead or failed run had begun to an end.

        Args:
            forward: Complete it when half of it is done and that is possible; otherwise undo it.
            live: Whoever began it may still be alive, with open files.

        Returns:
            The journal when all of it is published now; None when nothing is.

        Raises:
            FatalError: It can be neither completed nor undone.
        """
        step = read_sealed(self._home / _JOURNAL)
        if step is None:
            return None
        if self._settled(step, forward=forward, live=live):
            return step
        self._forget()
        return None

    def _settled(self, step: Step, *, forward: bool, live: bool) -> bool:
        """Tell whether it is published; otherwise nothing of it is any more."""
        if step["do"] == "append":
            if not step.get("done"):
                self._cut_off(step, live=live)
            return bool(step.get("done"))
        if step["do"] == "add":
            return self._all_moved(step, forward=forward)
        if self._inode(step["made"]) == step["inode"]:
            self._put_back()
            return False
        self._show_manifest()
        return True

    def _undo(self) -> None:
        """Undo a step that has just failed, unless a newer holder has moved the draft folder away."""
        with suppress(FileNotFoundError):
            self.settle(forward=False)

    def _begin(self, step: Step) -> None:
        write_sealed(self._home / _JOURNAL, step)
        sync_folder(self._home.parent)
        sync_folder(self._home.parent.parent)

    def _forget(self) -> None:
        (self._home / _JOURNAL).unlink()
        sync_folder(self._home)

    def _inode(self, made: str) -> int | None:
        try:
            return (self._home / made).stat().st_ino
        except FileNotFoundError:
            return None

    def _cut_off(self, step: Step, *, live: bool) -> None:
        try:
            # Opened before anything is looked at: should a newer holder take over now, this is not its file.
            file = self._final.open("r+b", buffering=0)
        except FileNotFoundError:
            return
        with file:
            now = os.fstat(file.fileno())
            if now.st_ino != step["inode"] or not (self._home / _JOURNAL).exists():
                return
            if now.st_size > step["length"] + step["added"] or not self._is_ours(file, step):
                raise FatalError(
                    f"cannot write {self._final}: a run died while it appended from byte {step['length']:,} on, "
                    "and something else has written behind it since",
                    help=f"look at the file from that byte on, repair it by hand, then remove {self._home / _JOURNAL}",
                )
            if live:
                file.seek(0)
                self._renew(file, step["length"])
            elif now.st_size > step["length"]:
                file.truncate(step["length"])
                os.fsync(file.fileno())

    def _is_ours(self, file: BinaryIO, step: Step) -> bool:
        """Tell whether what stands behind the old end of the destination is the beginning of what was being added."""
        with suppress(FileNotFoundError), (self._home / step["made"]).open("rb") as draft:
            file.seek(step["length"])
            while written := file.read(_BLOCK):
                if written != draft.read(len(written)):
                    return False
        return True

    def _renew(self, file: BinaryIO, length: int) -> None:
        """Put a copy in the place of the destination: what is still written to the old file is lost."""
        fresh = self._home / "renewed"
        with fresh.open("wb", buffering=0) as copy:
            _copy(file, copy, length)
        publish(fresh, self._final)

    def _put_back(self) -> None:
        old = self._home / _OLD
        if old.exists() and not self._final.exists():
            old.rename(self._final)
            sync_folder(self._final.parent)

    def _all_moved(self, step: Step, *, forward: bool) -> bool:
        home = self._home / step["made"]
        left = [name for name in step["names"] if (home / name).exists()]
        if not left and not (self._home / MANIFEST).exists():
            return True
        if forward:
            self._final.mkdir(exist_ok=True)
            self._move(step["made"], left)
            self._show_manifest()
            return True
        for name in set(step["names"]) - set(left):
            with suppress(FileNotFoundError):
                (self._final / name).rename(home / name)
        return False

    def _move(self, made: str, names: Sequence[str]) -> None:
        for name in names:
            (self._home / made / name).rename(self._final / name)
            fault("publish.during")
        sync_folder(self._final)

    def _show_manifest(self) -> None:
        prepared = self._home / MANIFEST
        if self._manifest is not None and prepared.exists():
            fault("publish.during")
            prepared.replace(self._manifest)
            sync_folder(self._manifest.parent)


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """Copy so many bytes from where both stand."""
    while size:
        block = source.read(min(size, _BLOCK))
        if not block:
            return
        size -= len(block)
        rest = memoryview(block)
        while rest:  # an unbuffered file may take only a part at a time
            rest = rest[target.write(rest) :]


def sync_tree(folder: Path) -> None:
    """Wait until everything in a folder is on disk."""
    for path, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(path) / name)
        sync_folder(Path(path))


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder, durably; every file of the copy is a new one."""
    shutil.copytree(source, target)
    sync_tree(target)
