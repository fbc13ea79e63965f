"""One attempt: the request, its credentials, and the redirects that follow, each of them checked."""

from __future__ import annotations

from yarl import URL

from etlctl.errors import FatalError
from etlctl.kit.http.auth import Authenticator, basic
from etlctl.kit.http.client_context import ClientContext
from etlctl.kit.http.failures import AddressRefused, HttpError, Wording
from etlctl.kit.http.message import Headers, Request, Response
from etlctl.kit.http.options import HttpOptions
from etlctl.kit.http.pacing import Pacing
from etlctl.kit.http.transport import Answer, Transport

_REDIRECTS = {301, 302, 303, 307, 308}
# What another server may see of the headers: nothing that could be a credential, whatever it is called.
_HARMLESS = {
    "accept", "accept-encoding", "accept-language", "cache-control", "content-type", "if-match", "if-modified-since",
    "if-none-match", "range", "user-agent",
}  # fmt: skip
_OF_THE_BODY = {"content-type", "content-encoding", "content-language", "content-location", "content-length"}


class Hops:
    """Sends requests and follows redirects; credentials go to the server of the configured URL only.

    Args:
        options: The options of the component.
        home: The configured URL.
        ctx: The component's context.
        wording: Masks secrets.
        pacing: The clock.
    """

    def __init__(self, options: HttpOptions, home: str, ctx: ClientContext, wording: Wording, pacing: Pacing) -> None:
        self._options = options
        self._headers = Headers.of(options.headers)
        self._wording = wording
        self._transport = Transport(options, ctx.environ, ctx.base_dir)
        url = _parsed(home)
        self._home = _origin(url)
        self._userinfo = basic(url.user or "", url.password or "") if url.user or url.password else None
        self._auth = Authenticator(options.auth, send=self._token, wording=wording, pacing=pacing, warn=ctx.warn)

    async def open(self) -> None:
        """Open the session."""
        await self._transport.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    @property
    def origin(self) -> str:
        """Return scheme, host and port of the configured URL."""
        return self._home

    async def follow(self, request: Request) -> Response:
        """Send a request, with its redirects; a token that is refused is renewed once.

        Raises:
            Trouble: Another attempt may do better.
            FatalError: It would not.
        """
        response, token = await self._walk(request)
        if response.status == 401 and token and self._auth.renewable:
            self._auth.refused(token)
            response, _ = await self._walk(request)
        return response

    async def _walk(self, request: Request) -> tuple[Response, str]:
        method, body = request.method, request.body
        url = _bare(_parsed(request.url))
        headers, passed, token = Headers.of(request.headers), [url], ""
        while True:
            answer, used = await self._hop(method, url, headers, body, passed)
            token = used or token
            target = answer.headers.get("Location") if answer.status in _REDIRECTS else None
            if target is None:
                return Response(answer.status, str(url), answer.headers, answer.body, request=request), token
            onward = self._target(url, target, passed)
            if answer.status == 303 or (answer.status in {301, 302} and method == "POST"):
                # RFC 9110, 15.4: after 303 always; after 301 and 302 what everybody does with a POST.
                method, body = "HEAD" if method == "HEAD" else "GET", None
                headers = Headers.of({name: headers[name] for name in headers if name.lower() not in _OF_THE_BODY})
            self._check_body(body, url, onward)
            url = onward
            passed.append(url)

    async def _hop(
        self, method: str, url: URL, headers: Headers, body: bytes | None, passed: list[URL]
    ) -> tuple[Answer, str]:
        # Addresses are checked before a token is fetched for them, and again by the transport.
        try:
            self._transport.reach.check_url(url)
            if _origin(url) != self._home:
                harmless = {name: headers[name] for name in headers if name.lower() in _HARMLESS}
                return await self._transport.send(method, url, Headers.of(harmless), body), ""
            headers = self._headers.merged(headers)
            if self._userinfo is not None and not self._auth.active:
                headers = headers.merged({"Authorization": self._userinfo})
            sent, headers, token = await self._auth.apply(url, headers)
            return await self._transport.send(method, sent, headers, body), token
        except FatalError as error:
            # The layers below do not know which request they work for.
            whence = f" (redirected from {self._wording.url(passed[-2])})" if len(passed) > 1 else ""
            error.message = f"{method} {self._wording.url(url)}{whence}: {self._wording.text(error.message)}"
            raise

    def _target(self, url: URL, target: str, passed: list[URL]) -> URL:
        if len(passed) > self._options.max_redirects:
            ways = [self._wording.url(each) for each in (passed[0], *passed[-3:])]
            raise HttpError(
                f"{ways[0]} redirects more than {self._options.max_redirects} times: {' → '.join(ways[1:])}",
                help="a redirect that comes back to itself often means that the server wants to be logged in to; "
                "otherwise raise max_redirects",
            )
        try:
            return _bare(url.join(URL(target)))
        except ValueError as error:
            told = self._wording.text(target[:200])
            raise AddressRefused(f"{self._wording.url(url)} redirects to what is no URL: {told!r}") from error

    def _check_body(self, body: bytes | None, url: URL, onward: URL) -> None:
        if not body or _origin(onward) == _origin(url) or self._transport.reach.allows(onward.host or ""):
            return
        raise AddressRefused(
            f"{self._wording.url(url)} redirects a request with a body to another server, {self._wording.url(onward)}: "
            "refused, so that no data goes where nobody meant it to",
            help=f"set url to the new address, or add allow_hosts: [{onward.host!r}]",
        )

    async def _token(self, request: Request) -> Response:
        url = _parsed(request.url)
        answer = await self._transport.send(request.method, url, Headers.of(request.headers), request.body)
        return Response(answer.status, str(url), answer.headers, answer.body, request=request)


def _parsed(url: str) -> URL:
    try:
        return URL(url)
    except ValueError as error:
        raise FatalError(f"not a URL: {error}", help="write it as https://host/path") from error


def _bare(url: URL) -> URL:
    """Return a URL without user, password and fragment; one without a host has none."""
    return url.with_user(None).with_fragment(None) if url.raw_host else url


def _origin(url: URL) -> str:
    """Return scheme, host and port: what credentials are bound to (RFC 6454)."""
    return f"{url.scheme}://{(url.host or '').lower().rstrip('.')}:{url.port}"
