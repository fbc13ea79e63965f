"""Finding and opening the files a contract names: paths, glob patterns, stdin, compressed files."""

from __future__ import annotations

import glob
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.compression import Compression, compression_of, decompress, open_member, zip_members


@frozen
class OpenSource:
    """One file (or archive member, or stdin) that can be opened, as often as its kind allows.

    Attributes:
        name: What messages call it: the path as the user wrote it, ``orders.zip/june.csv`` for an archive member.
        path: The file on disk (the compressed file or the archive when ``compressed``); None for stdin.
        compressed: ``path`` does not hold the plain content itself.
        size: Bytes of the file on disk; None when unknown.
        opener: Opens the plain content.
        archive: Name of the archive that it is a member of, when that is no file of this machine.
        mark: How it is recognised later, with ``size`` and ``ends``, when it is no file of this machine.
        room: Bytes of the plain content that may be copied to a temporary file; None: any number.
    """

    name: str
    path: Path | None
    compressed: bool
    size: int | None
    opener: Callable[[], BinaryIO]
    archive: str | None = None
    mark: Mapping[str, Any] | None = None
    room: int | None = None

    def stream(self) -> BinaryIO:
        """Open the plain (decompressed) content for buffered binary reading; the caller closes it."""
        return self.opener()

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """Give a real file with the plain content: the file itself, or a temporary copy that is removed after use."""
        if self.path is not None and not self.compressed:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="etlctl-") as folder:
            copy = Path(folder) / "content"
            with self.stream() as stream, copy.open("wb") as target:
                self._copy(stream, target)
            yield copy

    def _copy(self, stream: BinaryIO, target: BinaryIO) -> None:
        while block := stream.read(1 << 20):
            target.write(block)
            if self.room is not None and target.tell() > self.room:
                raise FatalError(
                    f"{self.name} must be copied to this machine to be read, and is larger than the {self.room:,} "
                    "bytes that are allowed",
                    help="raise max_download_mb when the disk has room for it, or keep the data in smaller files",
                )


def find_files(patterns: Sequence[str], base_dir: Path) -> list[tuple[str, Path]]:
    """Return (name, path) of the files that paths and glob patterns name: in the order given, each in name order.

    A file that several patterns name is returned once.

    Args:
        patterns: Paths, or patterns with ``*``, ``**``, ``?`` and ``[…]``; relative ones start at ``base_dir``.
        base_dir: Folder of the contract.

    Raises:
        FatalError: A path does not exist, or a pattern matches no file.
    """
    found: dict[Path, str] = {}
    for pattern in patterns:
        for path in _matches(pattern, base_dir):
            found.setdefault(path, _name(path, pattern, base_dir))
    return [(name, path) for path, name in found.items()]


def _matches(pattern: str, base_dir: Path) -> list[Path]:
    plain = base_dir / Path(pattern).expanduser()
    if plain.is_file():
        return [_absolute(plain)]
    if plain.is_dir():
        raise FatalError(
            f"{_absolute(plain)} is a folder, not a file",
            help=f"name its files with a pattern, such as {pattern}/*.csv",
        )
    if not glob.has_magic(pattern):
        raise FatalError(f"File not found: {_absolute(plain)}", help=_where(base_dir))
    expanded = str(Path(pattern).expanduser())
    full = expanded if Path(expanded).is_absolute() else str(Path(glob.escape(str(base_dir))) / expanded)
    hits = glob.glob(full, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = {_absolute(Path(hit)) for hit in hits if Path(hit).is_file()}
    if not files:
        raise FatalError(f"File not found: no file matches {_absolute(plain)}", help=_where(base_dir))
    return sorted(files, key=lambda path: path.as_posix())


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", Path.resolve follows links


def _where(base_dir: Path) -> str:
    return f"relative paths start at the contract's folder, {_absolute(base_dir)}"


def _name(path: Path, pattern: str, base_dir: Path) -> str:
    base = _absolute(base_dir)
    if not Path(pattern).expanduser().is_absolute() and path.is_relative_to(base):
        return path.relative_to(base).as_posix()
    return path.as_posix()


def open_sources(
    name: str, path: Path, compression: Compression, wanted: Callable[[list[str]], list[str]]
) -> list[OpenSource]:
    """Return what there is to read in a file: the file itself, or the members of a zip archive.

    Args:
        name: What messages call it.
        path: Where it is.
        compression: How it is compressed.
        wanted: Chooses among the members of an archive.
    """
    method = compression_of(path.name, compression)
    size = path.stat().st_size
    if method == "zip":
        members = wanted(zip_members(path, name))
        return [
            OpenSource(f"{name}/{member}", path, compressed=True, size=None, opener=_member_opener(path, member, name))
            for member in members
        ]

    def plain() -> BinaryIO:
        return decompress(path.open("rb"), method, name)

    return [OpenSource(name, path, compressed=method != "none", size=size, opener=plain)]


def _member_opener(path: Path, member: str, name: str) -> Callable[[], BinaryIO]:
    return lambda: open_member(path, member, f"{name}/{member}")


def skip_to(stream: BinaryIO, at: int, target: int, name: str) -> None:
    """Move a stream that stands at byte ``at`` on to byte ``target``.

    Raises:
        FatalError: The content ends before that.
    """
    if stream.seekable():
        at = min(stream.seek(0, io.SEEK_END), target)
        stream.seek(at)
    while at < target:
        data = stream.read(min(target - at, 1 << 20))
        if not data:
            raise FatalError(
                f"{name} is shorter than it was when this run read it: it ends before byte {target:,}",
                help="put the file back as it was, or start the run anew without its checkpoint",
            )
        at += len(data)
