"""A page: what one response holds, and how messages speak of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from etlctl.frozen import frozen
from etlctl.kit.codecs.reading import Chunk
from etlctl.kit.http.message import Response

WHOLE = "$"
"""The path of an answer that is itself the records, or the one record."""
SHOWN = 300
"""Characters of a body that a message shows."""
MISSING: Any = object()
"""What ``lookup`` returns where there is nothing."""


@frozen
class Shape:
    """How to read the bodies of one kind of request.

    Attributes:
        format: The format; ``auto`` goes by what the server says.
        path: Fields on the way to the records, joined by dots; None: where they usually are.
        paged: The body is one page of several: an object without records is no record itself then.
        chunk_bytes: Bytes of CSV or XML to read at once.
        chunk_rows: Records to read at once at most.
        conceals: Messages must not quote the body.
    """

    format: Literal["auto", "json", "jsonl", "csv", "xml", "text"] = "auto"
    path: str | None = None
    paged: bool = False
    chunk_bytes: int = 8 << 20
    chunk_rows: int = 50_000
    conceals: bool = False

    def quoted(self, body: bytes) -> str:
        """Return the beginning of a body for a message."""
        return "(its text is not shown: the contract masks data)" if self.conceals else beginning(body)

    def shown(self, value: Any) -> str:
        """Return a JSON value for a message."""
        return self.quoted(json.dumps(value, default=repr, ensure_ascii=False).encode("utf-8", "replace"))


@dataclass(slots=True)
class Page:
    """What one response holds.

    Attributes:
        response: Headers, address and status; its body is let go.
        chunks: The records, and what is none.
        document: The JSON it came from; None for other formats.
        key: Field that the records were found under when nobody said where they are.
        count: Records, unreadable ones included.
        size: Bytes of the body.
        mark: Fingerprint of some of the records; pages with different ones differ.
        again: Reads the records once more.
        plain: They are all records, in one chunk, and reading them once more is quick.
    """

    response: Response
    chunks: list[Chunk] = field(default_factory=list)
    document: Any = None
    key: str | None = None
    count: int = 0
    size: int = 0
    mark: str = ""
    again: Callable[[], Any] | None = None
    plain: bool = False

    @property
    def name(self) -> str:
        """What messages call it."""
        return name_of(self.response)

    def same_records(self, other: Page) -> bool:
        """Tell whether another page holds exactly the same records, as they were read."""
        if self.mark != other.mark or self.count != other.count or self.again is None or other.again is None:
            return False
        return bool(self.again() == other.again())

    def without_records(self) -> Page:
        """Return the page without its records, still to be compared with another one."""
        return Page(self.response, [], None, self.key, self.count, self.size, self.mark, self.again)


def name_of(response: Response) -> str:
    """Return what messages call a response: method and address without its query, where secrets may stand."""
    parts = urlsplit(response.url)
    method = response.request.method if response.request is not None else "GET"
    return f"{method} {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def lookup(document: Any, path: str) -> Any:
    """Return what stands at a path such as ``data.items`` or ``data.-1.id``; ``MISSING`` when nothing does."""
    value = document
    if path == WHOLE:
        return value
    if isinstance(value, dict) and path in value:
        return value[path]
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part, MISSING)
        elif isinstance(value, list) and part.lstrip("-").isdecimal():
            index = int(part)
            value = value[index] if -len(value) <= index < len(value) else MISSING
        else:
            return MISSING
        if value is MISSING:
            return MISSING
    return value


def beginning(body: bytes) -> str:
    """Return the beginning of a body for a message, on one line."""
    text = " ".join(body[: 4 * SHOWN].decode("utf-8", "replace").split())
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")


def mark_of_bytes(data: bytes) -> str:
    """Return a fingerprint of bytes, short enough to be kept in positions."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()
