"""A client for tests: short times, a clock that moves only when somebody waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from etlctl.kit.http.client import Client
from etlctl.kit.http.message import Request, Response
from etlctl.kit.http.options import HttpOptions
from etlctl.kit.http.pacing import Pacing
from etlctl.sdk import ReadContext


class Waits:
    """A clock and the waits that moved it."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.start = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.start + timedelta(seconds=sum(self.slept))

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    @property
    def pacing(self) -> Pacing:
        return Pacing(clock=self, sleep=self.sleep, draw=lambda: 0.25)


class Driver:
    """Sends requests with the options given."""

    def __init__(self, home: str, base_dir: Path | None = None, **options: Any) -> None:
        self.home = home
        self.waits = Waits()
        self.warned: list[str] = []
        self.environ: dict[str, str] = {}
        self.base_dir = base_dir or Path.cwd()
        self.options = HttpOptions.model_validate(options)
        self.cassette: Any = None

    def client(self) -> Client:
        ctx = ReadContext(base_dir=self.base_dir, environ=self.environ, warn=self.warned.append)
        return Client(self.options, home=self.home, ctx=ctx, cassette=self.cassette, pacing=self.waits.pacing)

    async def send(self, url: str | None = None, method: str = "GET", **request: Any) -> Response:
        async with self.client() as client:
            return await client.send(Request(method, url or self.home, **request))


async def fetch(url: str, method: str = "GET", *, home: str | None = None, **options: Any) -> Response:
    """Send one request with a client of its own; its home is the URL itself unless told."""
    return await Driver(home or url, **options).send(url, method)
