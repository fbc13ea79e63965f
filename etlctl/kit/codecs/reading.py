"""The interface of every file format reader: chunks of records, what could not be read, where to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from etlctl.batch import Record
from etlctl.deferred import Deferred
from etlctl.frozen import frozen

if TYPE_CHECKING:
    import polars as pl

    from etlctl.kit.sources import OpenSource

RAW_LIMIT = 10_000
"""Most characters of raw text kept of something unreadable."""


@frozen
class Unreadable:
    r"""A piece of the source that is no record.

    Attributes:
        index: 0-based ordinal among the source records of the chunk, good and bad together.
        rule: Stable dotted name: ``csv.short_row``, ``text.utf8``, ``jsonl.malformed``, …
        message: What is wrong with it.
        raw: Its text, bad bytes shown as ``\xff``, at most about 10 kB.
        line: 1-based physical line in the decompressed file, when the format has lines.
    """

    index: int
    rule: str
    message: str
    raw: str
    line: int | None = None


@dataclass(slots=True)
class Chunk:
    """Some records of a file in a row, in rows or in frame form or still as text (exactly one of the three is set).

    Attributes:
        records: Rows form.
        frame: Frame form.
        next: JSON token: where in this file to go on after this chunk.
        unreadable: What could not be read, in order of ``index``.
        line_of: Tells the physical line of the n-th *good* record (0-based); None when the format has no lines.
        deferred: Text that nobody has read yet.
    """

    records: list[Record] | None
    frame: pl.DataFrame | None
    next: Mapping[str, Any]
    unreadable: list[Unreadable] = field(default_factory=list)
    line_of: Callable[[int], int] | None = None
    deferred: Deferred[Chunk] | None = None

    def __len__(self) -> int:
        """Return the number of good records."""
        if self.frame is not None:
            return self.frame.height
        return self.deferred.count if self.deferred is not None else len(self.records or ())


class FormatReader(Protocol):
    """Reads one format. Synchronous: the ``file`` extractor runs it on a thread.

    A reader is made by its class's keyword arguments (the options of the format in a contract, flattened, plus
    ``chunk_bytes`` and ``chunk_rows``: how much to give at once) and holds no state of a particular file.
    """

    def chunks(self, source: OpenSource, start: Mapping[str, Any] | None) -> Iterator[Chunk]:
        """Yield the records of one file from a token on (None: the beginning), in order.

        The law of tokens: going on at any yielded ``next`` gives exactly the records after that chunk.
        The generator releases what it holds when it is closed early.

        Raises:
            FatalError: The file as a whole cannot be read in this format; the message names it.
        """
        ...

    def columns(self, source: OpenSource) -> list[str] | None:
        """Return the field names when a cheap look (a header line, a footer) tells them; None when in doubt."""
        ...


def raw_text(data: bytes, length: int | None = None) -> str:
    r"""Return raw bytes as text for a dead letter: bad bytes as ``\xff``, cut at ``RAW_LIMIT``.

    Args:
        data: The bytes, or as many of them as are at hand.
        length: How many there are in all, when ``data`` is only their beginning.
    """
    length = len(data) if length is None else length
    if length <= RAW_LIMIT:
        return data.decode("utf-8", "backslashreplace")
    head = data[:RAW_LIMIT].decode("utf-8", "backslashreplace")
    return f"{head}… ({length:,} bytes in all)"
