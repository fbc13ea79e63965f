"""Authentication: what is added to a request, and tokens that are fetched, kept and renewed."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from urllib.parse import quote_plus, urlencode

from yarl import URL

from etlctl.frozen import frozen
from etlctl.kit.http.failures import HttpAccessDenied, HttpError, Trouble, Wording
from etlctl.kit.http.message import Headers, Request, Response
from etlctl.kit.http.options import (
    ApiKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    ClientCredentialsAuth,
    RefreshTokenAuth,
)
from etlctl.kit.http.pacing import Pacing

_EARLY = 30.0  # a token is renewed so many seconds before it ends, a short-lived one at half of its life
_HALF = 0.5

Send = Callable[[Request], Awaitable[Response]]


@frozen
class _Token:
    text: str
    ends: float  # by the monotonic clock


class Authenticator:
    """Adds credentials to requests.

    Args:
        auth: What the contract says; None adds nothing.
        send: Sends a token request; no retries, no credentials, redirects only within the same server.
        wording: Learns every token, so that it is never shown.
        pacing: The clock.
        warn: Reports something the user should know.
    """

    def __init__(
        self, auth: Auth | None, *, send: Send, wording: Wording, pacing: Pacing, warn: Callable[[str], None]
    ) -> None:
        self._auth = auth
        self._send = send
        self._wording = wording
        self._pacing = pacing
        self._warn = warn
        self._token: _Token | None = None
        self._refresh_token = auth.refresh_token if isinstance(auth, RefreshTokenAuth) else ""
        self._lock = asyncio.Lock()

    @property
    def active(self) -> bool:
        """Tell whether anything is added."""
        return self._auth is not None

    @property
    def renewable(self) -> bool:
        """Tell whether another token can be had when one is refused."""
        return isinstance(self._auth, ClientCredentialsAuth | RefreshTokenAuth)

    async def apply(self, url: URL, headers: Headers) -> tuple[URL, Headers, str]:
        """Return URL and headers with the credentials, and the token that was used, if it is one of ours.

        Raises:
            Trouble: A token could not be fetched now.
            HttpAccessDenied: There will be none.
        """
        auth = self._auth
        if isinstance(auth, ApiKeyAuth):
            if auth.location == "query":
                return url.update_query({auth.name: auth.key}), headers, ""
            return url, headers.merged({auth.name: auth.key}), ""
        if isinstance(auth, BearerAuth):
            return url, headers.merged({"Authorization": f"Bearer {auth.token}"}), ""
        if isinstance(auth, BasicAuth):
            return url, headers.merged({"Authorization": basic(auth.username, auth.password)}), ""
        if auth is None:
            return url, headers, ""
        token = await self._current(auth)
        return url, headers.merged({"Authorization": f"Bearer {token}"}), token

    def refused(self, token: str) -> None:
        """Forget a token that the server did not take, unless there is a newer one already."""
        if self._token is not None and self._token.text == token:
            self._token = None

    async def _current(self, auth: ClientCredentialsAuth | RefreshTokenAuth) -> str:
        # One fetches, the others wait for it and find its token here.
        async with self._lock:
            if self._token is None or self._pacing.clock.monotonic() >= self._token.ends:
                self._token = await self._fetch(auth)
            return self._token.text

    async def _fetch(self, auth: ClientCredentialsAuth | RefreshTokenAuth) -> _Token:
        request = self._token_request(auth)
        try:
            response = await self._send(request)
        except Trouble as trouble:
            # The token request did not get through, so the request itself was never sent.
            raise Trouble(
                f"no token from {self._wording.url(auth.token_url)}: {trouble.message}", arrived=False
            ) from trouble
        if response.status == 429 or response.status >= 500:
            told = self._wording.status(response, request)
            raise Trouble(f"no token: {told}", arrived=False)
        return self._taken(auth, response, request)

    def _token_request(self, auth: ClientCredentialsAuth | RefreshTokenAuth) -> Request:
        form = {"grant_type": "client_credentials"}
        if isinstance(auth, RefreshTokenAuth):
            form = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        if auth.scope is not None:
            form["scope"] = auth.scope
        form |= auth.token_params
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if auth.client_auth == "body" or auth.client_secret is None:
            form["client_id"] = auth.client_id
            if auth.client_secret is not None:
                form["client_secret"] = auth.client_secret
        else:
            # RFC 6749, 2.3.1: both are form-encoded before they are joined.
            headers["Authorization"] = basic(quote_plus(auth.client_id), quote_plus(auth.client_secret))
        return Request("POST", auth.token_url, headers, urlencode(form).encode())

    def _taken(self, auth: ClientCredentialsAuth | RefreshTokenAuth, response: Response, request: Request) -> _Token:
        where = self._wording.request(request)
        if response.status != 200:
            raise HttpAccessDenied(
                f"no token: {self._wording.status(response, request)}",
                status=response.status,
                help="check token_url, client_id, the secret and scope; a refresh token may be used up",
            )
        try:
            told = json.loads(response.body)
            text, life = told["access_token"], told.get("expires_in")
            seconds = float(life) if life is not None else float("inf")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            # Not quoted: it may hold a token all the same.
            raise HttpError(
                f"{where} answered no token", help="check token_url: the answer must be JSON with access_token"
            ) from error
        if not isinstance(text, str) or not text or str(told.get("token_type", "bearer")).lower() != "bearer":
            raise HttpError(f"{where} answered no bearer token", help="only bearer tokens are understood (RFC 6750)")
        self._wording.learn(text)
        self._rotate(auth, told.get("refresh_token"))
        return _Token(text, self._pacing.clock.monotonic() + max(seconds - _EARLY, seconds * _HALF))

    def _rotate(self, auth: ClientCredentialsAuth | RefreshTokenAuth, renewed: object) -> None:
        if not isinstance(auth, RefreshTokenAuth) or not isinstance(renewed, str) or renewed == self._refresh_token:
            return
        self._wording.learn(renewed)
        if self._refresh_token == auth.refresh_token:
            self._warn(
                f"{self._wording.url(auth.token_url)} gave a new refresh token, which is used for the rest of this "
                "run and not kept; if the old one is used up now, the next run needs another one"
            )
        self._refresh_token = renewed


def basic(username: str, password: str) -> str:
    """Return the value of an ``Authorization`` header for user name and password (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def secrets_of(auth: Auth | None, home: str = "") -> list[str]:
    """Return what must never be shown of the authentication options and of a URL with user and password."""
    found = url_secrets(home)
    if isinstance(auth, BearerAuth):
        found += [auth.token]
    elif isinstance(auth, BasicAuth):
        found += [auth.password, f"{auth.username}:{auth.password}"]
    elif isinstance(auth, ApiKeyAuth):
        found += [auth.key]
    elif auth is not None and auth.client_secret:
        encoded = quote_plus(auth.client_secret)
        found += [auth.client_secret, encoded, f"{quote_plus(auth.client_id)}:{encoded}"]
    return [*found, auth.refresh_token] if isinstance(auth, RefreshTokenAuth) else found


def url_secrets(url: str) -> list[str]:
    """Return the password in a URL, raw and as it goes into the ``Authorization`` header."""
    try:
        parts = URL(url)
    except ValueError:
        return []
    if not parts.password:
        return []
    return [parts.password, parts.raw_password or "", f"{parts.user or ''}:{parts.password}"]


def without_credentials(url: str, auth: Auth | None) -> str:
    """Return a URL without user and password, and without the key that the options put into the query."""
    parts = URL(url)
    if parts.user is not None or parts.password is not None:
        parts = parts.with_user(None)
    if isinstance(auth, ApiKeyAuth) and auth.location == "query" and auth.name in parts.query:
        parts = parts.without_query_params(auth.name)
    return str(parts)
