"""A lock on a file that the system releases when its holder dies."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

_TAKEN = {errno.EAGAIN, errno.EACCES, errno.EDEADLK, errno.EWOULDBLOCK}
_FAR = 1 << 30
"""Windows locks bytes, and locked bytes cannot be read: lock one far behind the text."""

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
    """Somebody else holds the lock; the text says who."""


class FileLock:
    """Holds a lock file until ``release``, which also removes it.

    Args:
        path: The lock file; its folder must exist.
        holder: Who to name when somebody else wants the lock, such as a run id.

    Raises:
        LockTaken: It is held.
        FileNotFoundError: The folder is not there (any more).
    """

    def __init__(self, path: Path, holder: str) -> None:
        self._path = path
        self._descriptor = self._open()
        note = {"holder": holder, "pid": os.getpid(), "host": socket.gethostname()}
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, json.dumps(note).encode())

    def _open(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _take(descriptor)
            except OSError as error:
                os.close(descriptor)
                if error.errno in _TAKEN:
                    raise LockTaken(_named(self._path)) from error
                raise
            # The last holder may have removed the file between our opening and locking it.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    return descriptor
            os.close(descriptor)

    def release(self) -> None:
        """Let go and remove the lock file."""
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(self._descriptor)
            with suppress(OSError):
                self._path.unlink()
        else:
            with suppress(FileNotFoundError):
                self._path.unlink()
            os.close(self._descriptor)


def _named(path: Path) -> str:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        return f"{note['holder']} (process {note['pid']} on {note['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
