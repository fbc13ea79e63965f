"""Reads bodies that may be too large, cut off, or bombs."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator

from etlctl.kit.http.failures import HttpError, Trouble

ACCEPTED = "gzip, deflate"  # what zlib can stop in the middle of; a server sends others only unasked

_GZIP = zlib.MAX_WBITS | 16
_STEP = 1 << 16


class Body:
    """Collects a body; ends as soon as there is too much of it.

    Args:
        limit: Most bytes, both as sent and decompressed.
        encoding: The ``Content-Encoding`` header.
        length: The ``Content-Length`` header, if any.
    """

    def __init__(self, limit: int, *, encoding: str = "", length: int | None = None) -> None:
        self._limit = limit
        self._length = length
        self._parts: list[bytes] = []
        self._sent = self._size = 0
        self._inflater = _inflater(encoding)
        if length is not None and length > limit:
            raise _too_large(f"is {length:,} bytes long", limit)

    async def read(self, pieces: AsyncIterator[bytes]) -> bytes:
        """Return the whole body, decompressed.

        Raises:
            HttpError: It is too large, or compressed in a way we did not ask for.
            Trouble: It is shorter than announced, or damaged.
        """
        async for piece in pieces:
            self._sent += len(piece)
            if self._sent > self._limit:
                raise _too_large("has more bytes than that", self._limit)
            if self._inflater is None:
                self._parts.append(piece)
            else:
                self._inflate(self._inflater, piece)
        if self._length is not None and self._sent < self._length:
            raise Trouble(self.cut_off(), arrived=True)
        if self._inflater is not None and self._sent and not self._inflater.ended:
            raise Trouble(f"the compressed body was cut off after {self._sent:,} bytes", arrived=True)
        return b"".join(self._parts)

    def cut_off(self) -> str:
        """Say that the body ended too early, and where."""
        whole = f"{self._sent:,} of {self._length:,}" if self._length is not None else f"{self._sent:,}"
        return f"the body was cut off after {whole} bytes"

    def _inflate(self, inflater: _Inflater, piece: bytes) -> None:
        try:
            for part in inflater.pieces(piece):
                self._size += len(part)
                if self._size > self._limit:
                    raise _too_large(f"unpacks to more than that from {self._sent:,} bytes", self._limit)
                self._parts.append(part)
        except zlib.error as error:
            raise Trouble(f"the compressed body is damaged ({error})", arrived=True) from error


class _Inflater:
    """Unpacks gzip, also of several members, and deflate, never more than a step at once."""

    def __init__(self, kind: str) -> None:
        self._gzip = kind == "gzip"
        self._engine = zlib.decompressobj(_GZIP) if self._gzip else None

    @property
    def ended(self) -> bool:
        """Tell whether the compressed data came to its end."""
        return self._engine is not None and self._engine.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what comes out, in steps, so that whoever takes it can stop a bomb."""
        while data:
            if self._engine is None:
                # "deflate" is meant to have zlib's header, and often has none.
                self._engine = zlib.decompressobj(zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS)
            elif self._engine.eof:
                if not self._gzip:
                    return
                self._engine = zlib.decompressobj(_GZIP)
            part = self._engine.decompress(data, _STEP)
            if part:
                yield part
            data = self._engine.unused_data if self._engine.eof else self._engine.unconsumed_tail


def _inflater(encoding: str) -> _Inflater | None:
    kind = encoding.strip().lower()
    if kind in {"", "identity"}:
        return None
    if kind in {"gzip", "x-gzip"}:
        return _Inflater("gzip")
    if kind == "deflate":
        return _Inflater("deflate")
    raise HttpError(
        f"the body is compressed as {encoding!r}, which was not asked for",
        help=f"this server ignores Accept-Encoding ({ACCEPTED}); set the header Accept-Encoding: identity",
    )


def _too_large(what: str, limit: int) -> HttpError:
    return HttpError(
        f"the body {what}; the limit is {limit:,} bytes",
        help="ask for smaller pages, or raise max_body_bytes if this machine has the memory",
    )
