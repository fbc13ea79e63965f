"""One request to one server over aiohttp: where it may connect, how long, how much; what went wrong in plain words."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from etlctl import __version__
from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.http.addresses import Reach
from etlctl.kit.http.body import ACCEPTED, Body
from etlctl.kit.http.failures import HttpError, HttpNotTrusted, Trouble
from etlctl.kit.http.message import Headers
from etlctl.kit.http.options import HttpOptions

_LINE = 1 << 16  # Link headers with long cursors are longer than aiohttp's 8 kB
_DEFAULT_HEADERS = Headers.of({"Accept": "*/*", "Accept-Encoding": ACCEPTED, "User-Agent": f"etlctl/{__version__}"})
_REDIRECTS = {301, 302, 303, 307, 308}


@frozen
class Answer:
    """What one server answered to one request.

    Attributes:
        status: HTTP status.
        headers: Header fields.
        body: The body, decompressed; empty for a redirect.
    """

    status: int
    headers: Headers
    body: bytes


class Transport:
    """Sends one request at a time to where it says, without redirects, retries or authentication.

    Args:
        options: Limits and timeouts.
        environ: Environment variables, for the proxy.
        base_dir: Folder that ``ca_file`` starts at.
    """

    def __init__(self, options: HttpOptions, environ: Mapping[str, str], base_dir: Path) -> None:
        self._options = options
        self._proxies = {name.lower(): value for name, value in environ.items() if name.lower().endswith("_proxy")}
        if "REQUEST_METHOD" in environ:
            self._proxies.pop("http_proxy", None)  # under CGI, a header of whoever asks would be taken for it
        self._base_dir = base_dir
        self.reach = Reach(options.allow_hosts, public_only=options.public_only)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the session; connections are made when they are needed."""
        times = self._options.timeouts
        connector = aiohttp.TCPConnector(limit=0, resolver=_GuardedResolver(self.reach), ssl=self._tls())
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, connect=times.connect, sock_read=times.read),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_line_size=_LINE,
            max_field_size=_LINE,
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, method: str, url: URL, headers: Headers, body: bytes | None) -> Answer:
        """Send one request and read the whole answer.

        Raises:
            Trouble: Another attempt may do better.
            FatalError: It would not.
        """
        if self._session is None:
            raise RuntimeError("the client is not open: use it as 'async with'")
        self.reach.check_url(url)
        sent = _DEFAULT_HEADERS.merged(headers)
        try:
            async with self._session.request(
                method, url, headers=dict(sent), data=body, allow_redirects=False, proxy=self._proxy(url)
            ) as response:
                return await self._read(method, response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Not "from error": the library's errors quote the URL, with the key that may be in it.
            raise _told(error, url, self._options) from None
        except ValueError as error:
            # aiohttp's word for what HTTP cannot carry, such as a line break in a header.
            raise FatalError(f"the request cannot be sent: {error}", help="check url, headers and method") from error

    async def _read(self, method: str, response: aiohttp.ClientResponse) -> Answer:
        headers = Headers(response.headers.items())
        if response.status in _REDIRECTS or method == "HEAD":
            return Answer(response.status, headers, b"")
        announced = None if response.status in {204, 304} else response.content_length
        encoding = headers.get("Content-Encoding", "")
        body = Body(self._options.max_body_bytes, encoding=encoding, length=announced)
        try:
            return Answer(response.status, headers, await body.read(response.content.iter_any()))
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise Trouble(body.cut_off(), arrived=True) from error

    def _tls(self) -> ssl.SSLContext | bool:
        if not self._options.verify_tls:
            return False
        if self._options.ca_file is None:
            return True
        path = self._base_dir / Path(self._options.ca_file).expanduser()
        context = ssl.create_default_context()
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise FatalError(
                f"ca_file {path} cannot be read: {error}", help="give a PEM file with the certificates to trust"
            ) from error
        return context

    def _proxy(self, url: URL) -> str | None:
        """Return the proxy that ``HTTPS_PROXY`` and ``NO_PROXY`` ask for; none when only public addresses may be reached."""  # noqa: E501
        told = self._proxies
        proxy = told.get(f"{url.scheme}_proxy") or told.get("all_proxy") if told else None
        if not proxy or self._options.public_only or _passed_by(url, told.get("no_proxy", "")):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"


def _passed_by(url: URL, no_proxy: str) -> bool:
    host = (url.host or "").lower()
    names = [name.strip().lower().lstrip("*").lstrip(".") for name in no_proxy.split(",") if name.strip()]
    return any(not name or host == name or host.endswith(f".{name}") or url.authority == name for name in names)


class _GuardedResolver(AbstractResolver):
    """Looks names up and gives out only addresses that may be reached: these are what the connection is made to.

    Nothing is looked up a second time between the check and the connection.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look a name up.

        Raises:
            AddressRefused: One of its addresses must not be reached.
        """
        found = await self._inner.resolve(host, port, family)
        for each in found:
            self._reach.check(host, ipaddress.ip_address(each["host"].partition("%")[0]))
        return found

    async def close(self) -> None:
        """Close the inner resolver."""
        await self._inner.close()


def _told(error: Exception, url: URL, options: HttpOptions) -> Exception:
    """Return what an error of the library means."""
    place = f"{url.host}:{url.port}" if url.explicit_port else str(url.host)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientSSLError | ssl.SSLError):
        return _not_connected(error, place)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return HttpError(f"the proxy refused the connection to {place}: HTTP error {error.status}", status=error.status)
    if isinstance(error, aiohttp.InvalidURL):
        return FatalError(f"the URL is not one that can be reached: {error}", help="check url")
    arrived = True
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        text, arrived = f"no connection to {place} within {options.timeouts.connect:g} s", False
    elif isinstance(error, TimeoutError):
        text = f"{place} sent nothing for {options.timeouts.read:g} s"
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        text = f"{place} closed the connection without an answer"
    elif isinstance(error, aiohttp.ClientResponseError):
        text = f"{place} answered what is not HTTP ({' '.join(error.message.split())[:200]})"
    else:
        text = f"the connection to {place} broke: {_reason(error)}"
    return Trouble(text, arrived=arrived)


def _not_connected(error: Exception, place: str) -> Exception:
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return HttpNotTrusted(
            f"the certificate of {place} is not trusted: {inner.verify_message or inner}",
            help="if it is signed by your own authority, give its certificate with ca_file; "
            "verify_tls: false accepts anyone who answers under this name",
        )
    if isinstance(inner, ssl.SSLError):
        return HttpNotTrusted(
            f"{place} does not speak TLS as we do: {_reason(inner)}",
            help="check scheme and port: http:// for a server without TLS",
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(inner, socket.gaierror):
        return Trouble(f"the host name {place} cannot be resolved: {_reason(inner)}", arrived=False)
    if isinstance(inner, ConnectionRefusedError):
        return Trouble(f"{place} refuses connections: is the server running, and the port right?", arrived=False)
    return Trouble(f"no connection to {place}: {_reason(inner)}", arrived=False)


def _reason(error: Any) -> str:
    return str(getattr(error, "strerror", None) or getattr(error, "reason", None) or error or type(error).__name__)
