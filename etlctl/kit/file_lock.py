"""A lock on a file that the system releases when its holder dies, and that a newer holder can take away.

The system keeps a lock as long as its holder lives, even one that is stopped or hangs. ``seize`` puts a new lock file
in the place of the old one: from then on the old holder's lock is on a file that has no name any more, and ``owned``
tells it so.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_TAKEN = {errno.EAGAIN, errno.EACCES, errno.EDEADLK, errno.EWOULDBLOCK}
_NO_FOLDER_LOCKS = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP}
_FAR = 1 << 30
"""Windows locks bytes, and locked bytes cannot be read: lock one far behind the text."""

CAN_SEIZE = sys.platform != "win32"
"""Windows removes and renames no file that is open."""

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class LockTaken(Exception):  # noqa: N818
    """Somebody else holds the lock; the text says who.

    Attributes:
        note: What the holder wrote into it; empty when that cannot be read.
    """

    def __init__(self, note: Mapping[str, Any]) -> None:
        super().__init__(_named(note))
        self.note = note


class FileLock:
    """Holds a lock file until ``release``, which also removes it.

    Taking, seizing and releasing belong inside ``folder_mutex`` of the lock's folder.

    Args:
        path: The lock file; its folder must exist.
        holder: Who to name when somebody else wants the lock, such as a run id.
        note: What else to tell them, as JSON values.

    Raises:
        LockTaken: It is held.
        FileNotFoundError: The folder is not there (any more).
    """

    def __init__(self, path: Path, holder: str, note: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self._descriptor = self._open()
        self._tell(holder, note)

    @classmethod
    def seize(cls, path: Path, holder: str, note: Mapping[str, Any] | None = None) -> FileLock:
        """Take the lock away from whoever holds it, alive or not."""
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        made = cls(fresh, holder, note)
        fresh.replace(path)
        made._path = path
        return made

    def owned(self) -> bool:
        """Tell whether nobody has seized the lock meanwhile."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _tell(self, holder: str, note: Mapping[str, Any] | None) -> None:
        told = {**(note or {}), "holder": holder, "pid": os.getpid(), "host": socket.gethostname()}
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, json.dumps(told).encode())

    def _open(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _take(descriptor)
            except OSError as error:
                os.close(descriptor)
                if error.errno in _TAKEN:
                    raise LockTaken(_note(self._path)) from error
                raise
            # The last holder may have removed the file between our opening and locking it.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    return descriptor
            os.close(descriptor)

    def release(self) -> None:
        """Let go and remove the lock file, unless it is another's by now."""
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(self._descriptor)
            with suppress(OSError):
                self._path.unlink()
        else:
            if self.owned():
                self._path.unlink()
            os.close(self._descriptor)


_PATIENCE = 5.0
_POLL = 0.005


@contextmanager
def folder_mutex(folder: Path) -> Iterator[None]:
    """Keep others out of ``folder_mutex`` of the same folder, for the moment it takes to change who holds a lock in it.

    Does nothing where folders cannot be locked (Windows, some network file systems).

    Raises:
        FileNotFoundError: The folder is not there (any more).
        LockTaken: Somebody has been in for 5 seconds.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _wait_for(descriptor)
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            _take(descriptor)
        except OSError as error:
            if error.errno in _NO_FOLDER_LOCKS:
                return
            if error.errno not in _TAKEN:
                raise
            if time.monotonic() > until:
                raise LockTaken({}) from error
            time.sleep(_POLL)
        else:
            return


def _note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _named(note: Mapping[str, Any]) -> str:
    if {"holder", "pid", "host"} <= note.keys():
        return f"{note['holder']} (process {note['pid']} on {note['host']})"
    return "another process"
