"""Where text formats put their bytes: a file or a stream, plain or compressed."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from etlctl.errors import FatalError
from etlctl.kit.writeback import Writeback

PlainCompression = Literal["none", "gzip", "zstd"]

_BLOCK = 1 << 20


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class ByteSink:
    """Collects bytes and writes them a megabyte at a time.

    Args:
        stream: A file opened for unbuffered binary writing, or any binary stream.
        compression: How to compress.
        prompt: Hand on every piece at once instead of collecting (for a person or a pipe at the other end).
    """

    def __init__(self, stream: BinaryIO, compression: PlainCompression = "none", *, prompt: bool = False) -> None:
        self._stream = stream
        self._compression = compression
        self._compressor = _compressor(compression)
        self._begun = True
        self._prompt = prompt
        self._writeback = Writeback()
        self._held: list[bytes] = []
        self._size = 0

    @classmethod
    def create(cls, path: Path, compression: PlainCompression = "none") -> ByteSink:
        """Make a new file."""
        return cls(path.open("wb", buffering=0), compression)

    @classmethod
    def resume(cls, path: Path, compression: PlainCompression, length: int) -> ByteSink:
        """Go on with a file that stood at a checkpoint; what came behind it is cut off.

        Args:
            path: The file.
            compression: As before.
            length: What ``checkpoint`` returned, in bytes.

        Raises:
            FatalError: The file is shorter than that.
        """
        file = path.open("r+b", buffering=0)
        found = file.seek(0, os.SEEK_END)
        if found < length:
            file.close()
            raise FatalError(
                f"cannot go on with {path}: it has {found:,} bytes, the run had made {length:,} safe",
                help=f"remove {path.parent}, then run again from the beginning (not resuming)",
            )
        file.truncate(length)
        file.seek(length)
        sink = cls(file, compression)
        sink._begun = length == 0
        return sink

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._held.append(data)
        self._size += len(data)
        if self._prompt or self._size >= _BLOCK:
            self.flush()

    def direct(self) -> BinaryIO | None:
        """Return the file itself, for a library that writes to it faster than through us; None when compressed.

        ``wrote`` is to be called afterwards.
        """
        if self._compressor is not None or self._prompt:
            return None
        self.flush()
        return self._stream

    def wrote(self) -> None:
        """Take note that the file has grown."""
        if not self._prompt:
            self._writeback.grown(self._stream.fileno(), self._stream.tell())

    def flush(self) -> None:
        """Hand everything collected to the file or stream."""
        data, self._held, self._size = b"".join(self._held), [], 0
        if self._compressor is not None and data:  # even nothing at all would begin a member
            self._begun = True
            data = self._compressor.compress(data)
        self._write_all(data)
        if self._prompt:
            self._stream.flush()
        else:
            self.wrote()

    def end(self) -> None:
        """Write what is left, end of the compressed data included; the stream stays open."""
        self.flush()
        if self._compressor is not None:
            self._end_member()
            self._compressor = None
        self._stream.flush()

    def checkpoint(self) -> int:
        """Put everything written so far on disk, as data that is complete if nothing more comes.

        Compressed data is ended, and what follows is put behind it as a member (gzip) or frame (Zstandard) of its own,
        which every reader joins.

        Returns:
            The length of the file in bytes, for ``resume``.
        """
        self.flush()
        if self._compressor is not None:
            self._end_member()
            self._compressor = _compressor(self._compression)
            self._begun = False
        os.fsync(self._stream.fileno())
        return self._stream.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file, without writing anything more; a stream that others use stays open."""
        if not self._prompt:
            self._stream.close()

    def _end_member(self) -> None:
        """End the compressed data, if any was begun behind the last checkpoint."""
        if self._compressor is not None and self._begun:
            self._write_all(self._compressor.flush())

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:  # an unbuffered file may take only a part at a time
            rest = rest[self._stream.write(rest) :]


def _compressor(compression: PlainCompression) -> _Compressor | None:
    if compression == "gzip":
        return zlib.compressobj(6, zlib.DEFLATED, 31)
    if compression == "zstd":
        import zstandard  # noqa: PLC0415

        return zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
    return None
