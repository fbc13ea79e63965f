"""Joining pieces of CSV whose later pieces have more columns: earlier records get empty cells at their end."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from etlctl.kit.byte_sink import ByteSink, PlainCompression
from etlctl.kit.compression import decompress

_BLOCK = 1 << 20


def copy_padded(source: Path, compression: PlainCompression, skip: int, padding: bytes, sink: ByteSink) -> None:
    """Copy the records of a piece, adding ``padding`` at the end of each.

    Args:
        source: A piece of CSV that this house wrote, so every quote in it is part of a quoted cell.
        compression: How it is compressed.
        skip: Bytes of plain text to leave out at the beginning (its header).
        padding: The delimiters to add.
        sink: Where to.
    """
    with decompress(source.open("rb"), compression, str(source)) as stream:
        _discard(stream, skip)
        quoted = False
        while block := stream.read(_BLOCK):
            if not padding:
                sink.write(block)
                continue
            pieces = block.split(b'"')
            outside = range(1 if quoted else 0, len(pieces), 2)
            for place in outside:
                pieces[place] = pieces[place].replace(b"\n", padding + b"\n")
            quoted ^= len(pieces) % 2 == 0
            sink.write(b'"'.join(pieces))


def _discard(stream: BinaryIO, size: int) -> None:
    while size:
        size -= len(stream.read(min(size, _BLOCK)))
