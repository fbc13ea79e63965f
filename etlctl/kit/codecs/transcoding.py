"""Reading text of any encoding as UTF-8, with undecodable bytes kept visible and never turned into characters."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO

from etlctl.errors import FatalError

_HANDLER = "etlctl-mark-undecodable"
_BLOCK = 1 << 18


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Turn each undecodable byte into a lone surrogate, which is no valid UTF-8 and so refuses its record later."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_HANDLER, _mark)


def encoding_problem(encoding: str) -> str | None:
    """Return what is wrong with the name of a text encoding, or None."""
    try:
        codecs.lookup(encoding)
        "".encode(encoding)
    except LookupError:
        return f"unknown text encoding {encoding!r}; take utf-8, latin-1, cp1252, utf-16, shift_jis, gb18030, …"
    return None


def is_utf8(encoding: str) -> bool:
    """Tell whether text in this encoding needs no transcoding.

    Raises:
        FatalError: There is no such text encoding.
    """
    problem = encoding_problem(encoding)
    if problem is not None:
        raise FatalError(problem)
    return codecs.lookup(encoding).name in {"utf-8", "utf-8-sig"}


def as_utf8(stream: BinaryIO, encoding: str) -> BinaryIO:
    """Return the text of a stream as UTF-8 bytes; closing the result closes the stream."""
    if is_utf8(encoding):
        return stream
    return io.BufferedReader(_Transcoded(stream, encoding), buffer_size=_BLOCK)


def show_marks(text: bytes) -> str:
    r"""Return transcoded bytes as text, undecodable source bytes as ``\xff``."""
    shown = text.decode("utf-8", "surrogatepass")
    return "".join(f"\\x{ord(char) - 0xDC00:02x}" if 0xDC00 <= ord(char) <= 0xDCFF else char for char in shown)


class _Transcoded(io.RawIOBase):
    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(_HANDLER)
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._ready and not self._ended:
            data = self._stream.read(_BLOCK)
            self._ended = not data
            self._ready = self._decoder.decode(data, final=self._ended).encode("utf-8", "surrogatepass")
        taken = min(len(view), len(self._ready))
        view[:taken] = self._ready[:taken]
        self._ready = self._ready[taken:]
        return taken

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()
