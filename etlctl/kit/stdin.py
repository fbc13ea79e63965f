"""Standard input as a source: read as it comes, and given up at once when the reader is told to stop."""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import BinaryIO, cast

from etlctl.errors import FatalError
from etlctl.kit.compression import Compression, decompress
from etlctl.kit.sources import OpenSource

NAME = "<stdin>"
_PIPE_BLOCK = 1 << 16
_POLL = 0.1  # seconds
_LINGER = 0.02  # seconds to wait for more once something has come


def stdin_source(compression: Compression, stop: threading.Event) -> OpenSource:
    """Return standard input as a source that can be opened once.

    Args:
        compression: How the bytes are compressed; ``auto`` means they are not.
        stop: Makes a waiting read return as if the input had ended.
    """
    method = "none" if compression == "auto" else compression
    return OpenSource(
        NAME, None, compressed=method != "none", size=None, opener=lambda: decompress(_open(stop), method, NAME)
    )


def _open(stop: threading.Event) -> BinaryIO:
    if sys.stdin is None:
        raise FatalError(
            "standard input is closed: there is nothing to read", help="pipe or redirect something into it"
        )
    try:
        number = sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):  # replaced by something that is no file
        return io.BytesIO(sys.stdin.buffer.read())
    return cast("BinaryIO", _Pipe(number, stop))


class _Pipe(io.RawIOBase):
    """Reads what is there, up to the size asked for, without holding the interpreter's own stdin buffer."""

    def __init__(self, number: int, stop: threading.Event) -> None:
        self._number = number
        self._stop = stop

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return some bytes, at most ``size``; nothing only at the end."""
        if size < 0:
            return self.readall()
        parts: list[bytes] = []
        have = 0
        while have < size and (not parts or self._ready(_LINGER)):
            if not self._wait():
                break
            data = os.read(self._number, min(size - have, _PIPE_BLOCK))
            if not data:
                break
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _wait(self) -> bool:
        while not self._ready(_POLL):
            if self._stop.is_set():
                return False
        return not self._stop.is_set()

    def _ready(self, seconds: float) -> bool:
        if sys.platform == "win32":  # select knows only sockets there; a waiting read cannot be interrupted
            return True
        import select  # noqa: PLC0415

        poll = select.poll()  # unlike select.select it has no limit on the number of the descriptor
        poll.register(self._number, select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(seconds * 1000))
