"""A real HTTP server that takes records, honours idempotency keys, and breaks connections when it is told to.

A key is remembered with the bytes it came with: the same again is answered from memory and not applied, others are
answered 422. Each test has an inbox of its own, at an address of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web


@dataclass
class Inbox:
    """What one test sends to.

    Attributes:
        url: Its address.
        applied: Records that were taken, in order.
        arrivals: Requests that came, as (key, body).
        answered: Requests that were answered from memory.
        keys: Bytes and answer by key.
        refuses: Says what is wrong with a record, None when nothing is.
        cuts: Numbers of requests, from 1, after whose processing the connection is broken instead of answered.
        early: Answers for the next requests before anything is looked at: (status, headers, body).
        uneven: Some requests take longer than those that come after them.
        results: Answers batches with a result for each record.
        busy: Requests in hand now, and the most there were at once.
        headers: Of the last request.
        paths: Method and path of each request.
    """

    url: str
    applied: list[dict[str, Any]] = field(default_factory=list)
    arrivals: list[tuple[str, bytes]] = field(default_factory=list)
    answered: int = 0
    keys: dict[str, tuple[str, int, Any]] = field(default_factory=dict)
    refuses: Callable[[dict[str, Any]], str | None] = lambda _record: None
    cuts: set[int] = field(default_factory=set)
    early: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    uneven: bool = False
    results: bool = False
    busy: tuple[int, int] = (0, 0)
    headers: dict[str, str] = field(default_factory=dict)
    paths: list[tuple[str, str]] = field(default_factory=list)

    def ids(self) -> Counter[int]:
        """Return how often each id was taken."""
        return Counter(int(one["id"]) for one in self.applied)

    def doubled(self) -> dict[str, int]:
        """Return keys that came with more than one content."""
        contents: dict[str, set[bytes]] = {}
        for key, body in self.arrivals:
            contents.setdefault(key, set()).add(body)
        return {key: len(found) for key, found in contents.items() if len(found) > 1}


class Receiver:
    """The server, in a thread of its own."""

    def __init__(self) -> None:
        self._inboxes: dict[str, Inbox] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    def inbox(self, **options: Any) -> Inbox:
        """Return a new inbox."""
        name = uuid4().hex
        made = self._inboxes[name] = Inbox(f"http://127.0.0.1:{self.port}/{name}", **options)
        return made

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{inbox}{rest:.*}", self._take)
        runner = web.AppRunner(app, access_log=None)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=512)
        self._loop.run_until_complete(site.start())
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        inbox = self._inboxes[request.match_info["inbox"]]
        body = await request.read()
        key = request.headers.get("Idempotency-Key", "")
        inbox.arrivals.append((key, body))
        number = len(inbox.arrivals)
        inbox.headers = dict(request.headers)
        inbox.paths.append((request.method, request.raw_path.partition(request.match_info["inbox"])[2]))
        now, most = inbox.busy
        inbox.busy = (now + 1, max(most, now + 1))
        try:
            await asyncio.sleep(0.01 * (3 - number % 4) if inbox.uneven else 0)
            if inbox.early:
                status, headers, said = inbox.early.pop(0)
                return web.json_response(said, status=status, headers=headers)
            status, said = self._answer(inbox, request, key, body)
            if number in inbox.cuts:
                assert request.transport is not None
                request.transport.abort()
            return web.json_response(said, status=status)
        finally:
            inbox.busy = (inbox.busy[0] - 1, inbox.busy[1])

    def _answer(self, inbox: Inbox, request: web.Request, key: str, body: bytes) -> tuple[int, Any]:
        digest = hashlib.sha256(request.method.encode() + request.raw_path.encode() + body).hexdigest()
        if key in inbox.keys and key:
            known, status, said = inbox.keys[key]
            if known != digest:
                return 422, {"error": "this idempotency key came with other bytes"}
            inbox.answered += 1
            return status, said
        status, said = self._apply(inbox, json.loads(body) if body else {"id": request.path.rpartition("/")[2]})
        if key:
            inbox.keys[key] = (digest, status, said)
        return status, said

    def _apply(self, inbox: Inbox, content: Any) -> tuple[int, Any]:
        if isinstance(content, dict) and "records" in content:
            content = content["records"]
        records = content if isinstance(content, list) else [content]
        problems = [inbox.refuses(record) for record in records]
        if inbox.results:
            inbox.applied += [record for record, problem in zip(records, problems, strict=True) if problem is None]
            return 207, {"results": [{"status": 422 if one else 201, "error": one} for one in problems]}
        if any(problems):
            return 422, {"error": next(filter(None, problems))}
        inbox.applied += records
        return 201, {"ok": True}
