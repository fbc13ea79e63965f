"""Reading compressed files as plain streams: gzip, Zstandard and the members of zip archives.

Data that is damaged or cut short is always an error, never an early end.
"""

from __future__ import annotations

import contextlib
import io
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, cast

from etlctl.errors import FatalError

if TYPE_CHECKING:
    import zipfile

    from zstandard import ZstdDecompressionObj

Compression = Literal["auto", "none", "gzip", "zstd", "zip"]

SUFFIXES: dict[str, Literal["gzip", "zstd", "zip"]] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zip": "zip"}
"""Compression by the last suffix of a file name."""

_BLOCK = 1 << 20


def compression_of(name: str, compression: Compression) -> Literal["none", "gzip", "zstd", "zip"]:
    """Return the compression to undo: the one given, or by the file name for ``auto``."""
    if compression != "auto":
        return compression
    return SUFFIXES.get(Path(name).suffix.lower(), "none")


def strip_suffix(name: str) -> str:
    """Return a file name without its compression suffix: ``a.csv.gz`` gives ``a.csv``."""
    path = Path(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def decompress(stream: BinaryIO, compression: Literal["none", "gzip", "zstd", "zip"], name: str) -> BinaryIO:
    """Wrap a stream of compressed bytes (not a zip archive); closing the result closes the stream.

    Args:
        stream: Compressed bytes.
        compression: How they are compressed.
        name: What messages call the file.
    """
    if compression == "none":
        return stream
    if compression == "zip":
        raise FatalError(
            f"{name} is read as a zip archive, which needs a file on disk",
            help="unpack it first, or give the path of the archive",
        )
    decoder: _Decoder = _GzipDecoder() if compression == "gzip" else _ZstdDecoder()
    raw = _Decompressed(stream, decoder, name)
    return io.BufferedReader(raw, buffer_size=_BLOCK)


class _Decoder(ABC):
    """Turns compressed blocks into plain ones; knows whether it stands between two whole members."""

    label = ""
    errors: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
        self.whole = True

    @abstractmethod
    def feed(self, data: bytes) -> bytes:
        """Return what a block decodes to."""


class _GzipDecoder(_Decoder):
    label = "gzip"
    errors = (zlib.error,)

    def __init__(self) -> None:
        super().__init__()
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        while data:
            if self.whole:
                data = data.lstrip(b"\0")  # gzip allows zero padding between members
                if not data:
                    break
                self._member = zlib.decompressobj(wbits=31)
            parts.append(self._member.decompress(data))
            self.whole = self._member.eof
            data = self._member.unused_data
        return b"".join(parts)


class _ZstdDecoder(_Decoder):
    label = "Zstandard"

    def __init__(self) -> None:
        super().__init__()
        import zstandard  # noqa: PLC0415

        self.errors = (zstandard.ZstdError,)
        self._make = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj
        self._frame: ZstdDecompressionObj = self._make()

    def feed(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        while data:
            if self.whole:
                self._frame = self._make()
            parts.append(self._frame.decompress(data))
            self.whole = self._frame.eof
            data = self._frame.unused_data
        return b"".join(parts)


class _Decompressed(io.RawIOBase):
    """Plain bytes of a compressed stream."""

    _compressed_block = 1 << 16  # a small block bounds what one highly compressed block can unfold to

    def __init__(self, stream: BinaryIO, decoder: _Decoder, name: str) -> None:
        self._stream = stream
        self._decoder = decoder
        self._name = name
        self._plain = b""
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while self._at == len(self._plain):
            data = self._stream.read(self._compressed_block)
            if not data:
                self._check_whole()
                return 0
            self._plain, self._at = self._decode(data), 0
        taken = min(len(view), len(self._plain) - self._at)
        view[:taken] = self._plain[self._at : self._at + taken]
        self._at += taken
        return taken

    def _decode(self, data: bytes) -> bytes:
        try:
            return self._decoder.feed(data)
        except self._decoder.errors as error:
            raise FatalError(
                f"{self._name} is no valid {self._decoder.label} data: {error}",
                help="get the file again, or set compression: none when it is not compressed",
            ) from error

    def _check_whole(self) -> None:
        if not self._decoder.whole:
            raise FatalError(
                f"{self._name} ends in the middle of its {self._decoder.label} data: the file is cut short",
                help="get the file again; its records so far were read, the rest is missing",
            )

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


Place: TypeAlias = Path | Callable[[], BinaryIO]
"""An archive: its file, or what opens its bytes, which can be read from anywhere."""


def zip_members(place: Place, name: str) -> list[str]:
    """Return the names of the files in a zip archive, in name order.

    Raises:
        FatalError: The file is no readable zip archive.
    """
    with _zip(place, name) as archive:
        return sorted(info.filename for info in archive.infolist() if not info.is_dir())


def open_member(place: Place, member: str, name: str) -> BinaryIO:
    """Open one member of a zip archive; closing the stream closes the archive.

    Raises:
        FatalError: The member cannot be read (encrypted, damaged, an unknown method).
    """
    archive = _zip(place, name)
    try:
        return io.BufferedReader(_Member(archive, member, name), buffer_size=_BLOCK)
    except BaseException:
        archive.close()
        raise


def _zip(place: Place, name: str) -> zipfile.ZipFile:
    import zipfile  # noqa: PLC0415

    opened = None if isinstance(place, Path) else place()
    try:
        archive = zipfile.ZipFile(place if opened is None else opened)  # type: ignore[arg-type]
    except zipfile.BadZipFile as error:
        if opened is not None:
            opened.close()
        raise FatalError(f"{name} is no valid zip archive: {error}", help="get the file again") from error
    if opened is not None:
        closing = archive.close

        def close() -> None:
            closing()
            opened.close()

        archive.close = close  # type: ignore[method-assign]
    return archive


class _Member(io.RawIOBase):
    """Plain bytes of one member of a zip archive, with its checksum verified at the end."""

    def __init__(self, archive: zipfile.ZipFile, member: str, name: str) -> None:
        self._archive = archive
        self._name = name
        with self._explained():
            self._stream = cast("BinaryIO", archive.open(member))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        with self._explained():
            data = self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        import zipfile  # noqa: PLC0415

        try:
            yield
        except (zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise FatalError(f"{self._name} is damaged: {error}", help="get the archive again") from error
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or an unknown method
            raise FatalError(f"{self._name} cannot be read: {error}", help="unpack it first") from error

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(AttributeError):  # the member was never opened
                self._stream.close()
            self._archive.close()
        super().close()
