"""The HTTP client of a component: attempts, deadlines, authentication, cassettes and cache around plain requests.

What one attempt does (redirects, each step checked) is in ``hops``; one request to one server in ``transport``. Both
load aiohttp and are imported when a client is opened.
"""

from __future__ import annotations

import asyncio
import hashlib
from types import TracebackType
from typing import TYPE_CHECKING, Self

from etlctl.frozen import frozen
from etlctl.kit.http.auth import secrets_of, without_credentials
from etlctl.kit.http.client_context import ClientContext
from etlctl.kit.http.failures import HttpAccessDenied, HttpGaveUp, OutcomeUnknown, Trouble, Wording, is_secret_name
from etlctl.kit.http.hosts import SharedBreaker, SharedRate, breaker_of, rate_of
from etlctl.kit.http.message import Headers, Request, Response
from etlctl.kit.http.options import HttpOptions
from etlctl.kit.http.pacing import Pacing, backoff, retry_after

if TYPE_CHECKING:
    from etlctl.kit.http.cache import Cache
    from etlctl.kit.http.cassette import Cassette
    from etlctl.kit.http.hops import Hops

WORKSPACE_FILE = "etlctl.yaml"


@frozen
class _Failure:
    """A failed attempt that may be repeated: what happened, the answer if there was one, what the server asks for."""

    told: str
    response: Response | None
    asked: float | None


class Client:
    """Sends requests; one per open extractor or writer, used as ``async with``, by many tasks at once if they like.

    Args:
        options: The options of the component.
        home: The configured URL; authentication and configured headers go to its scheme, host and port only.
        ctx: The component's context.
        cassette: Records what is sent, or answers instead of a server.
        pacing: The clock; tests bring their own.
    """

    def __init__(
        self,
        options: HttpOptions,
        *,
        home: str,
        ctx: ClientContext,
        cassette: Cassette | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        self._options, self._home, self._ctx, self._cassette = options, home, ctx, cassette
        self._pacing = pacing or Pacing()
        named = [value for name, value in options.headers.items() if is_secret_name(name)]
        self._secrets = [*secrets_of(options.auth, home), *named]
        self._wording = Wording(self._secrets)
        self._hops: Hops | None = None
        self._cache: Cache | None = None
        self._rate: SharedRate | None = None
        self._breaker: SharedBreaker | None = None
        self._pause_until = float("-inf")

    async def __aenter__(self) -> Self:
        if self._cassette is not None and self._cassette.replays:
            return self
        from etlctl.kit.http.hops import Hops  # noqa: PLC0415

        options = self._options
        self._hops = Hops(options, self._home, self._ctx, self._wording, self._pacing)
        await self._hops.open()
        origin = self._hops.origin
        self._rate = rate_of(origin, options.rate_limit) if options.rate_limit else None
        self._breaker = breaker_of(origin, options.retry.circuit_breaker) if options.retry.circuit_breaker else None
        if options.cache and self._cassette is None:
            self._open_cache()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hops is not None:
            await self._hops.close()
            self._hops = None

    def clean_url(self, url: str) -> str:
        """Return a URL without user, password and the key of the options, to be kept in a position or a record."""
        return without_credentials(url, self._options.auth)

    async def send(self, request: Request) -> Response:
        """Send a request and return the response with its whole body.

        Raises:
            GaveUp: Attempts or deadline are used up (``HttpGaveUp``); ``retry_after``: seconds to wait, if told.
            FatalError: Trying again cannot help: ``HttpError`` with ``status`` and ``response``, ``HttpAccessDenied``,
                ``AddressRefused``, or ``OutcomeUnknown`` for a request that must not be repeated and got no answer.
        """
        if self._cassette is not None and self._cassette.replays:
            return self._checked(self._cassette.play(request, self._wording), request)
        try:
            response = await self._attempts(request)
        except (HttpGaveUp, HttpAccessDenied) as error:
            self._record(request, error.response)
            raise
        self._record(request, response)
        return self._checked(response, request)

    def _record(self, request: Request, response: Response | None) -> None:
        if self._cassette is not None and response is not None:
            self._cassette.keep(request, response, self._wording)

    def _checked(self, response: Response, request: Request) -> Response:
        if response.status < 300:
            return response
        if response.status in self._options.retry.retry_on_status:
            raise HttpGaveUp(self._wording.status(response, request), status=response.status, response=response)
        raise self._wording.refusal(response, request)

    async def _attempts(self, request: Request) -> Response:
        """Try until there is an answer that another attempt would not change."""
        retry, clock = self._options.retry, self._pacing.clock
        # Waiting for a place in the rate limit is not the request's own time; what follows is.
        await self._wait_for_place()
        ends = clock.monotonic() + retry.deadline
        failures = 0
        while True:
            self._check_breaker(request)
            found = await self._attempt(request, ends - clock.monotonic(), failures)
            if isinstance(found, Response):
                return found
            failures += 1
            seconds = found.asked if found.asked is not None else backoff(retry, failures, self._pacing.draw)
            left = ends - clock.monotonic()
            if failures >= retry.max_attempts:
                raise self._gave_up(found, failures)
            if seconds >= left:
                raise self._gave_up(found, failures, waits=seconds, left=left)
            if found.asked is not None:
                # The server means all of us, not only this request.
                self._pause_until = max(self._pause_until, clock.monotonic() + seconds)
            await self._pacing.sleep(seconds)
            await self._wait_for_place()

    async def _attempt(self, request: Request, seconds: float, failures: int) -> Response | _Failure:
        try:
            async with asyncio.timeout(max(seconds, 0)):
                response = await self._exchange(request)
        except Trouble as trouble:
            self._note(failed=True)
            if trouble.arrived and not self._may_repeat(request):
                raise self._unknown(request, trouble.message) from trouble
            return _Failure(f"{self._wording.request(request)}: {self._wording.text(trouble.message)}", None, None)
        except TimeoutError as error:
            self._note(failed=True)
            raise self._too_late(request, failures) from error
        self._note(failed=response.status >= 500)
        return self._judged(request, response)

    def _judged(self, request: Request, response: Response) -> Response | _Failure:
        """Tell an answer that stands from one that is worth another attempt."""
        retry = self._options.retry
        if response.status not in retry.retry_on_status:
            return response
        told = self._wording.status(response, request)
        # With these the server says that it has not done it; the others leave it open.
        if response.status not in {401, 403, 408, 425, 429, 503} and not self._may_repeat(request):
            raise self._unknown(request, told, response)
        return _Failure(told, response, retry_after(response.headers.get("Retry-After"), self._pacing.clock.now()))

    async def _exchange(self, request: Request) -> Response:
        if self._hops is None:
            raise RuntimeError("the client is not open: use it as 'async with'")
        if self._cache is None or request.method != "GET":
            return await self._hops.follow(request)
        identity = self._identity()
        kept = self._cache.find(request, identity)
        if kept is None:
            response = await self._hops.follow(request)
        else:
            headers = Headers.of(request.headers).merged(kept.conditions())
            asking = Request(request.method, request.url, headers, None, request.repeatable)
            response = await self._hops.follow(asking)
            if response.status == 304:
                return Response(200, response.url, kept.headers.merged(response.headers), kept.body, request=request)
        await asyncio.to_thread(self._cache.keep, request, identity, response)
        return response

    async def _wait_for_place(self) -> None:
        if self._rate is not None:
            seconds = self._rate.reserve(self._pacing.clock.monotonic())
            if seconds > 0:
                await self._pacing.sleep(seconds)
        seconds = self._pause_until - self._pacing.clock.monotonic()
        if seconds > 0:
            await self._pacing.sleep(seconds)

    def _may_repeat(self, request: Request) -> bool:
        return request.may_repeat or self._options.retry.repeat_unsafe

    def _note(self, *, failed: bool) -> None:
        if self._breaker is not None:
            self._breaker.record(self._pacing.clock.monotonic(), failed=failed)

    def _check_breaker(self, request: Request) -> None:
        seconds = self._breaker.wait(self._pacing.clock.monotonic()) if self._breaker is not None else 0.0
        if self._breaker is not None and seconds > 0:
            raise HttpGaveUp(
                f"{self._wording.request(request)} was not sent: the last {self._breaker.failures} requests to this "
                f"host failed, and it is left alone for another {seconds:.1f} s (retry.circuit_breaker)",
                retry_after=seconds,
                help="see whether the server is well; then run again",
            )

    def _gave_up(self, found: _Failure, failures: int, *, waits: float | None = None, left: float = 0.0) -> HttpGaveUp:
        tries = f"{failures} attempt{'s' if failures > 1 else ''}"
        deadline = self._options.retry.deadline
        why, help_ = f"gave up after {tries}", "see whether the server is well; then run again"
        if waits is not None and found.asked is not None:
            why = f"gave up after {tries}: the server asks to wait {_seconds(waits)}, and the deadline of {deadline:g} s leaves {max(left, 0):.1f} s"  # noqa: E501
            help_ = f"run again in {_seconds(waits)}, or raise retry.deadline"
        elif waits is not None:
            why = f"gave up after {tries}: the deadline of {deadline:g} s leaves no time for another"
            help_ = "see whether the server is well; or raise retry.deadline"
        status = found.response.status if found.response is not None else None
        return HttpGaveUp(
            f"{found.told} ({why})", status=status, response=found.response, retry_after=found.asked, help=help_
        )

    def _too_late(self, request: Request, failures: int) -> HttpGaveUp | OutcomeUnknown:
        told = f"no complete answer within the deadline of {self._options.retry.deadline:g} s"
        if not self._may_repeat(request):
            return self._unknown(request, told)
        return HttpGaveUp(
            f"{self._wording.request(request)}: {told} (attempt {failures + 1})",
            help="the server is slow or sends in drops: ask for smaller pages, or raise retry.deadline",
        )

    def _unknown(self, request: Request, told: str, response: Response | None = None) -> OutcomeUnknown:
        told = self._wording.text(told)
        shown = told if response is not None else f"{self._wording.request(request)}: {told}"
        return OutcomeUnknown(
            f"{shown}; nobody knows whether the server has done what was asked, so it is not asked again",
            status=response.status if response is not None else None,
            response=response,
            help="look at the server; with an Idempotency-Key header, or retry.repeat_unsafe: true where doing it "
            "twice does no harm, it would be asked again",
        )

    def _open_cache(self) -> None:
        if self._secrets and not self._options.cache_with_auth:
            self._ctx.warn(
                "cache: true does nothing here: answers to requests with credentials are kept only with "
                "cache_with_auth: true"
            )
            return
        from etlctl.kit.http.cache import Cache  # noqa: PLC0415

        folder = self._ctx.base_dir.resolve()
        home = next((each for each in (folder, *folder.parents) if (each / WORKSPACE_FILE).is_file()), folder)
        self._cache = Cache(home / ".etlctl" / "http-cache")

    def _identity(self) -> str:
        """Return a fingerprint of who asks."""
        told = (repr(sorted(self._options.headers.items())), self._home, *self._secrets)
        return hashlib.sha256("\0".join(told).encode()).hexdigest()


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 1e9 else "for ever"
