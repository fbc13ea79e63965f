"""Cassettes: what was said over HTTP, recorded as JSON lines, to be said again without a server.

A line holds a request (method, URL, a fingerprint of its body) and its response. Header fields of requests, which
carry the credentials, are left out; secrets in URLs and bodies are masked. A line of the same request again is the
next answer to it; the last one is given for ever.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
import os
import threading
import zlib
from pathlib import Path
from typing import Any, Literal

from etlctl.errors import FatalError
from etlctl.kit.http.failures import Wording
from etlctl.kit.http.message import Headers, Request, Response

_VERSION = 1
_DROPPED = {
    "set-cookie", "www-authenticate", "proxy-authenticate", "authorization", "content-encoding", "content-length",
    "transfer-encoding", "connection", "keep-alive", "date",
}  # fmt: skip
_recording: dict[Path, tuple[str, Cassette]] = {}
_recording_lock = threading.Lock()


class Cassette:
    """Records requests and responses, or replays them; make one with ``record`` or ``replay``.

    Args:
        path: The file.
        tracks: Responses by request, when it is replayed; None: it is recorded.
    """

    def __init__(self, path: Path, tracks: dict[str, list[dict[str, Any]]] | None) -> None:
        self._path = path
        self._tracks = tracks
        self._played: dict[str, int] = {}
        self._lock = threading.Lock()

    @classmethod
    def record(cls, path: Path) -> Cassette:
        """Begin a new cassette; what is there is replaced.

        Raises:
            FatalError: The file cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Answers may be confidential: only this user reads them until somebody decides otherwise.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        except OSError as error:
            raise FatalError(f"the cassette {path} cannot be written: {error.strerror}") from error
        return cls(path, None)

    @classmethod
    def replay(cls, path: Path) -> Cassette:
        """Read a cassette to be replayed.

        Raises:
            FatalError: There is none, or it is damaged.
        """
        tracks: dict[str, list[dict[str, Any]]] = {}
        try:
            with path.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    key, response = _parsed(line, path, number)
                    tracks.setdefault(key, []).append(response)
        except (OSError, UnicodeDecodeError) as error:
            told = getattr(error, "strerror", None) or str(error)
            raise FatalError(
                f"the cassette {path} cannot be read: {told}", help="make one with --record FILE"
            ) from error
        return cls(path, tracks)

    @classmethod
    def of(cls, path: Path | None, mode: Literal["record", "replay"] | None, run_id: str = "") -> Cassette | None:
        """Return the cassette of a client; None when there is to be none.

        All clients of a run record to the same one. Each client replays from the beginning, so that one that reads
        again after a failure gets the same answers.

        Args:
            path: The file.
            mode: What to do with it.
            run_id: The run; another run begins a new recording.
        """
        if path is None or mode is None:
            return None
        if mode == "replay":
            return cls.replay(path)
        with _recording_lock:
            known = _recording.get(path.resolve())
            if known is None or known[0] != run_id:
                known = _recording[path.resolve()] = (run_id, cls.record(path))
            return known[1]

    @property
    def replays(self) -> bool:
        """Tell whether it answers; otherwise it listens."""
        return self._tracks is not None

    def keep(self, request: Request, response: Response, wording: Wording) -> None:
        """Record a request and its response.

        Args:
            request: As the component sent it, without credentials.
            response: What came back in the end.
            wording: Masks secrets.
        """
        line = _line(request, response, wording)
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def play(self, request: Request, wording: Wording) -> Response:
        """Return the recorded response to a request.

        Raises:
            FatalError: The cassette does not have the request.
        """
        name, mark = _fingerprint(request, wording)
        with self._lock:
            key = f"{name} {mark}"
            tracks = (self._tracks or {}).get(key)
            if tracks is None:
                # With another key than it was recorded with, the same request is another one only by its mark.
                key = f"{name} {mark.partition(' ')[0]}"
                tracks = self._unmarked().get(key)
            if tracks is None:
                raise self._missing(request, wording)
            at = self._played.get(key, 0)
            self._played[key] = min(at + 1, len(tracks) - 1)
        told = tracks[at]
        body = told["text"].encode() if "text" in told else base64.b64decode(told["base64"])
        return Response(told["status"], told["url"], Headers.of(told["headers"]), body, replayed=True, request=request)

    def _unmarked(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for key, tracks in (self._tracks or {}).items():
            found.setdefault(" ".join(key.split(" ")[:3]), []).extend(tracks)
        return found

    def _missing(self, request: Request, wording: Wording) -> FatalError:
        wanted = wording.request(request)
        known = [" ".join(key.split(" ")[:2]) for key in self._tracks or {}]
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.0)
        why = "the same request was recorded with another body" if wanted in known else f"the nearest one is {near[0]}"
        return FatalError(
            f"the cassette {self._path} has no answer to {wanted}" + (f"; {why}" if near else "; it is empty"),
            help="record it again with --record FILE, with the same parameters and the same run date",
        )


def _fingerprint(request: Request, wording: Wording) -> tuple[str, str]:
    """Return what names a request in messages, and what tells it from others: a bit more than may be shown."""
    sent = wording.text((request.body or b"").decode("utf-8", "surrogateescape"))
    body = hashlib.sha256(sent.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    # A page token may look like a credential by its name. Sixteen bits tell pages apart and give no secret away.
    values = wording.masked_by_name(request.url)
    mark = f" {zlib.crc32(repr(values).encode()) & 0xFFFF:04x}" if values else ""
    return wording.request(request), f"{body}{mark}"


def _line(request: Request, response: Response, wording: Wording) -> str:
    headers = {name: wording.text(response.headers[name]) for name in response.headers if name.lower() not in _DROPPED}
    told: dict[str, Any] = {"status": response.status, "url": wording.url(response.url), "headers": headers}
    try:
        told["text"] = wording.text(response.body.decode())
    except UnicodeDecodeError:
        told["base64"] = base64.b64encode(response.body).decode()
    return json.dumps(
        {"version": _VERSION, "request": " ".join(_fingerprint(request, wording)), "response": told}, ensure_ascii=False
    )


def _parsed(line: str, path: Path, number: int) -> tuple[str, dict[str, Any]]:
    try:
        told = json.loads(line)
        if told["version"] != _VERSION:
            raise ValueError(f"version {told['version']} is not one this etlctl knows")
        key, response = told["request"], told["response"]
        _ = response["status"], response["url"], response["headers"], response.get("text", response.get("base64", None))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FatalError(
            f"line {number} of the cassette {path} is damaged: {error}", help="record it again with --record FILE"
        ) from error
    return key, response
