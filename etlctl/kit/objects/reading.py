"""Reading objects as streams: block after block by ranged requests, the next one ahead, in constant memory.

Every block is asked for with the object's etag: what is read is one version of it from end to end. A body that breaks
off is asked for again, and is never an early end.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, cast

from etlctl.errors import FatalError, RetryableError, SourceUnavailable
from etlctl.kit.compression import Compression, compression_of, decompress, open_member, zip_members
from etlctl.kit.objects.bucket import Bucket, Entry
from etlctl.kit.objects.store_errors import Conflict, Gone
from etlctl.kit.sources import OpenSource

BLOCK = 8 << 20
_ATTEMPTS = 5
_FIRST_WAIT = 0.25


class ObjectReader(io.RawIOBase):
    """The bytes of one object; seeking is free.

    Args:
        bucket: Where it is.
        entry: The object; another version of it is never read.
        stop: Ends waiting between attempts.
        block: Bytes of one request.
    """

    def __init__(self, bucket: Bucket, entry: Entry, stop: threading.Event, block: int = BLOCK) -> None:
        self._bucket = bucket
        self._entry = entry
        self._stop = stop
        self._block = block
        self._at = 0
        self._start, self._data = 0, b""
        self._ahead: tuple[int, Future[bytes]] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; nothing is sent."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._entry.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: object) -> int:
        """Read into a buffer as much as is at hand, at least a byte before the end."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        if self._at >= self._entry.size or not view:
            return 0
        if not self._start <= self._at < self._start + len(self._data):
            self._data = b""  # before the next one is there: one block and one ahead is what is held
            self._start, self._data = self._at, self._next()
        offset = self._at - self._start
        taken = min(len(view), len(self._data) - offset)
        view[:taken] = self._data[offset : offset + taken]
        self._at += taken
        return taken

    def close(self) -> None:
        """End reading ahead."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None
        self._ahead = None
        super().close()

    def _next(self) -> bytes:
        """Return the block at the present place, and begin to fetch the one behind it."""
        ahead, self._ahead = self._ahead, None
        sequential = ahead is not None and ahead[0] == self._at
        data = ahead[1].result() if ahead is not None and sequential else self._fetch(self._at)
        behind = self._at + len(data)
        if behind < self._entry.size and (sequential or self._at == 0):
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="etlctl-object")
            self._ahead = (behind, self._thread.submit(self._fetch, behind))
        return data

    def _fetch(self, start: int) -> bytes:
        end, wait = min(start + self._block, self._entry.size), _FIRST_WAIT
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                data = self._bucket.fetch(self._entry.key, start, end, self._entry.etag)
            except (Conflict, Gone):
                raise self._changed() from None
            except RetryableError:
                if attempt == _ATTEMPTS or self._stop.is_set():
                    raise
            else:
                if len(data) == end - start:
                    return data
            self._stop.wait(wait)
            wait *= 2
        raise RetryableError(
            f"{self._bucket.url(self._entry.key)}: bytes {start:,} to {end:,} came cut short {_ATTEMPTS} times"
        )

    def _changed(self) -> FatalError:
        return SourceUnavailable(
            f"{self._bucket.url(self._entry.key)} was replaced or removed while it was being read",
            help="resume when the old object is back, or begin anew: etlctl run … --restart (what was loaded stays)",
        )


def object_sources(
    bucket: Bucket,
    entry: Entry,
    compression: Compression,
    wanted: Callable[[Sequence[str], str], list[str]],
    *,
    stop: threading.Event | None = None,
    room: int | None = None,
) -> list[OpenSource]:
    """Return what there is to read in an object: its content, or the members of a zip archive.

    Args:
        bucket: Where it is.
        entry: The object.
        compression: How it is compressed.
        wanted: Chooses among the members of an archive, whose name it is also given.
        stop: Ends waiting.
        room: Bytes that may be copied to this machine for formats that need a file.
    """
    name, stopping = bucket.url(entry.key), stop or threading.Event()
    mark = {"size": entry.size, "ends": entry.etag}
    method = compression_of(entry.key, compression)

    def raw() -> BinaryIO:
        return cast("BinaryIO", io.BufferedReader(ObjectReader(bucket, entry, stopping), buffer_size=1 << 20))

    def plain() -> BinaryIO:
        return decompress(raw(), method, name)

    def member_opener(member: str) -> Callable[[], BinaryIO]:
        return lambda: open_member(raw, member, f"{name}/{member}")

    if method == "zip":
        return [
            OpenSource(f"{name}/{member}", None, True, None, member_opener(member), name, mark, room)
            for member in wanted(zip_members(raw, name), name)
        ]
    return [OpenSource(name, None, method != "none", entry.size, plain, None, mark, room)]
