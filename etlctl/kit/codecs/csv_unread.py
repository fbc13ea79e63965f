"""Bytes of a CSV file that were read and belong to no record yet, in one buffer that is used again and again.

Memory that was never touched costs more than the copy out of it, so a block is read into the same place every time.
"""

from __future__ import annotations

from typing import BinaryIO, Protocol, cast

from etlctl.kit.codecs.csv_grammar import Grammar


class _ReadsInto(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


class Unread:
    """The bytes between the last record and how far the stream was read.

    Args:
        stream: Where more comes from.
        held: What was read of it already.
    """

    def __init__(self, stream: BinaryIO, held: bytes) -> None:
        self._stream = cast("_ReadsInto", stream)
        self._buffer = bytearray(held)
        self._start = 0
        self._end = len(held)

    def __len__(self) -> int:
        return self._end - self._start

    def fill(self, size: int) -> bool:
        """Read up to ``size`` bytes more; False when the stream has ended."""
        self._make_room(size)
        with memoryview(self._buffer) as view, view[self._end : self._end + size] as free:
            got = self._stream.readinto(free) or 0
        self._end += got
        return got > 0

    def end_line(self) -> bool:
        """Add the line end that the last line lacks; False when it has one or there is no line."""
        if not len(self) or self._buffer[self._end - 1 : self._end] == b"\n":
            return False
        self._make_room(1)
        self._buffer[self._end : self._end + 1] = b"\n"
        self._end += 1
        return True

    def has_line(self) -> bool:
        """Tell whether a whole line is held."""
        return self._buffer.find(b"\n", self._start, self._end) >= 0

    def cut(self, grammar: Grammar) -> int:
        """Return the length of what likely are whole records; 0 when there is none."""
        return grammar.cut(self._buffer, self._start, self._end) - self._start

    def first(self, length: int) -> bytes:
        """Return the first bytes, as many as there are at most."""
        with memoryview(self._buffer) as view:
            return bytes(view[self._start : min(self._start + length, self._end)])

    def drop(self, length: int) -> None:
        """Be done with the first bytes."""
        self._start += min(length, len(self))
        if self._start == self._end:
            self._start = self._end = 0

    def drop_line(self) -> int:
        """Drop the rest of a line, or all that is held when it does not end there; return how many bytes that was."""
        end = self._buffer.find(b"\n", self._start, self._end) + 1
        length = end - self._start if end else len(self)
        self.drop(length)
        return length

    def _make_room(self, size: int) -> None:
        """Move what is held to the front and make the buffer large enough."""
        held = len(self)
        if held + size > len(self._buffer):
            larger = bytearray(held + size)
            larger[:held] = self.first(held)
            self._buffer = larger
        elif self._start:
            self._buffer[:held] = self.first(held)
        self._start, self._end = 0, held
