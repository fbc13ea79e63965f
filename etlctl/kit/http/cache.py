"""Responses kept on the disk with what the server calls them, so that what did not change is not sent again.

Only answers to ``GET`` with status 200 and an ``ETag`` or ``Last-Modified`` are kept, and each is asked for again with
``If-None-Match``: nothing is ever taken from here without the server's word that it still holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from etlctl.frozen import frozen
from etlctl.kit.http.message import Headers, Request, Response
from etlctl.kit.http.transport import Answer

MAX_BYTES = 256 << 20
_LARGEST_SHARE = 4  # no answer takes more than a quarter of the whole
_SUFFIX = ".response"
_STALE_DRAFT = ".draft"


@frozen
class Kept:
    """An answer that is kept.

    Attributes:
        headers: Its header fields.
        body: Its body.
    """

    headers: Headers
    body: bytes

    def conditions(self) -> dict[str, str]:
        """Return the header fields that ask whether it still holds."""
        asked = {"If-None-Match": self.headers.get("ETag"), "If-Modified-Since": self.headers.get("Last-Modified")}
        return {name: value for name, value in asked.items() if value}


class Cache:
    """A folder of answers, used by several processes at once: each file is written whole under its final name.

    Args:
        folder: Where they are; made when needed.
        max_bytes: Most bytes of all files; those not used for longest go first.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def find(self, request: Request, identity: str) -> Kept | None:
        """Return what is kept for a request; a damaged file is the same as none.

        Args:
            request: The request, all its headers in it.
            identity: Who asks: answers to one account are never given to another.
        """
        path = self._path(request, identity)
        try:
            head, body = path.read_bytes().split(b"\n", 1)
            told = json.loads(head)
            if told["sha256"] != hashlib.sha256(body).hexdigest():
                return None
            kept = Kept(Headers.of(told["headers"]), body)
            os.utime(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return kept

    def keep(self, request: Request, identity: str, response: Response) -> None:
        """Keep an answer, if it is one to keep. A full or read-only disk is no reason to fail."""
        if request.method != "GET" or response.status != 200 or not _keepable(response.headers):
            return
        told = {"sha256": hashlib.sha256(response.body).hexdigest(), "headers": dict(response.headers)}
        content = json.dumps(told).encode() + b"\n" + response.body
        if len(content) > self._max_bytes // _LARGEST_SHARE:
            return
        path = self._path(request, identity)
        draft = path.with_name(f"{path.stem}.{uuid.uuid4().hex}{_STALE_DRAFT}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            draft.replace(path)  # without fsync: a checksum tells a damaged file, and losing one costs a request
        except OSError:
            with suppress(OSError):
                draft.unlink()
            return
        self._shrink()

    def _shrink(self) -> None:
        found = []
        with suppress(OSError):
            for entry in os.scandir(self._folder):
                with suppress(OSError):
                    about = entry.stat()
                    found.append((about.st_mtime_ns, about.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        # Drafts of processes that died count and go like all others.
        for _, size, path in sorted(found):
            if total <= self._max_bytes:
                return
            with suppress(OSError):
                Path(path).unlink()
            total -= size

    def _path(self, request: Request, identity: str) -> Path:
        headers = Headers.of(request.headers)
        parts = [identity, request.method, request.url, *sorted(f"{name.lower()}: {headers[name]}" for name in headers)]
        return self._folder / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}{_SUFFIX}"


def renewed(kept: Kept, answer: Answer) -> Answer:
    """Return what a ``304 Not Modified`` stands for (RFC 9111, 4.3.4)."""
    return Answer(200, kept.headers.merged(answer.headers), kept.body)


def _keepable(headers: Mapping[str, str]) -> bool:
    if not (headers.get("ETag") or headers.get("Last-Modified")):
        return False
    told = {part.strip().lower().partition("=")[0] for part in headers.get("Cache-Control", "").split(",")}
    return "no-store" not in told and headers.get("Vary", "").strip() != "*"
