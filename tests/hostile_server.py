"""A real HTTP server that misbehaves on request (RELIABILITY.md, H1–H12), and behaves like the seeds' fixture otherwise.

How to use it: the fixture ``hostile`` (tests/conftest.py) gives a ``HostileServer`` whose counters are reset.

    hostile.url + "/flaky"        an origin; ``hostile.other_url`` is another one (same routes, other port),
                                  ``hostile.tls_url`` has a certificate nobody trusts (``hostile.ca_file`` makes it trusted)
    hostile.hits                  every request in order: method, path, query (dict), headers, body, port, at (monotonic)
    hostile.count("/flaky")       requests of this path
    hostile.last                  the newest request
    hostile.script("/x", Answer(503), Answer(429, headers={"Retry-After": "0"}), Answer(json=[{"a": 1}]))
                                  what a path answers, one after another, the last one for ever; every path can be scripted
    hostile.revoke()              tokens given out so far are refused with 401
    hostile.gate / hostile.held   ``/held`` answers only after ``hostile.gate.set()``; ``held`` counts who waits there

Routes (``times=N``: so often, then well; left out: for ever):

    paging, 25 items i=0..24, limit 10:  /page /page1 /off /cur /next /link  (as seed_cases.yaml fixtures.http_server)
    /wrap /obj /text /flaky /always503 /ra /nf /echo; anything else answers [{"path": …, "h": X-K header}]
    /many?page=N&pages=60&per=20&hold=N (records id, v; also next; pages from ``hold`` on wait for the gate;
    ``hostile.faults[N]`` is what page N answers instead: an Answer, or the function of another route)
    /status/CODE?times=N&body=…          /retry-after?value=…&status=429&times=N
    /truncated?times=N  /truncated-chunked?times=N  /truncated-gzip?times=N  /damaged-gzip?times=N
    /trickle (a byte every 20 ms, for ever)  /stall (half a body, then nothing)  /silent (no answer)
    /disconnect?times=N (the connection is closed without an answer)  /not-http
    /html (200)  /error-json (200)  /same-page (page 1 whatever is asked)  /total?says=30 (25 items)
    /next-to?url=… (the first page, then that next link)   /redirect?to=…&status=302   /loop
    /huge?bytes=N (chunked)  /huge-announced?bytes=N  /bomb?bytes=N (gzip)  /deep?depth=N
    /gzip /deflate /raw-deflate /gzip-members /brotli
    /secured (bearer: a token of /oauth/token)  /bearer?token=…  /basic?user=…&password=…  /key?name=…&value=…&in=header
    /oauth/token?expires_in=…&rotate=1&status=…   /etag /last-modified (304 while hostile.version stays)
"""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import tempfile
import threading
import time
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

ITEMS = [{"i": number} for number in range(25)]


@dataclass
class Answer:
    """One scripted answer."""

    status: int = 200
    json: Any = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        headers = {"Content-Type": "application/json", **self.headers}
        content = self.body if self.body is not None else json.dumps(self.json).encode()
        return web.Response(status=self.status, body=content, headers=headers)


@dataclass
class Hit:
    """One request that arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    port: int
    at: float
    raw_path: str

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


class Gate:
    """Lets requests wait in the server until a test opens it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.passed = asyncio.Event()
        self._loop = loop

    def set(self) -> None:
        self._loop.call_soon_threadsafe(self.passed.set)


class HostileServer:
    """The server, on a thread and event loop of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.hits: list[Hit] = []
        self.scripts: dict[str, list[Answer]] = {}
        self.faults: dict[int, Any] = {}
        self.gate = Gate(self._loop)
        self._seen: Counter[str] = Counter()
        self._tokens: list[str] = []
        self._issued = 0
        self.held = 0
        self.version = 1
        self.url = self.other_url = self.tls_url = ""
        self.ca_file = Path()

    def reset(self) -> None:
        self.gate.set()
        self.gate = Gate(self._loop)
        self.hits.clear()
        self.scripts.clear()
        self.faults.clear()
        self._seen.clear()
        self._tokens.clear()
        self._issued, self.version, self.held = 0, 1, 0

    def count(self, path: str) -> int:
        return sum(hit.path == path for hit in list(self.hits))

    @property
    def last(self) -> Hit:
        return self.hits[-1]

    def gaps(self) -> list[float]:
        """Seconds between one request and the next."""
        return [later.at - earlier.at for earlier, later in zip(self.hits, self.hits[1:], strict=False)]

    def script(self, path: str, *answers: Answer) -> str:
        self.scripts[path] = list(answers)
        return self.url + path

    def revoke(self) -> None:
        self._tokens.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        port = request.transport.get_extra_info("sockname")[1] if request.transport else 0
        headers = dict(request.headers)
        query = dict(request.query)
        self.hits.append(
            Hit(request.method, request.path, query, headers, body, port, time.monotonic(), request.raw_path)
        )
        scripted = self.scripts.get(request.path)
        if scripted:
            return (scripted.pop(0) if len(scripted) > 1 else scripted[0]).response()
        first = "/" + request.path.strip("/").partition("/")[0]
        route = _ROUTES.get(request.path) or _ROUTES.get(first)
        if route is None:
            return web.json_response([{"path": request.raw_path, "h": headers.get("X-K")}])
        return await route(self, request)

    def still(self, request: web.Request) -> bool:
        """Tell whether a fault is still to happen, by ``times``."""
        times = int(request.query.get("times", "0"))
        self._seen[request.path_qs] += 1
        return times == 0 or self._seen[request.path_qs] <= times

    def token(self) -> str:
        self._issued += 1
        self._tokens = [f"granted-token-{self._issued}"]
        return self._tokens[0]

    def knows(self, authorization: str) -> bool:
        return authorization.removeprefix("Bearer ") in self._tokens

    async def wait_at_gate(self) -> None:
        self.held += 1
        await self.gate.passed.wait()


Route = Callable[[HostileServer, web.Request], Awaitable[web.StreamResponse]]
_ROUTES: dict[str, Route] = {}


def _route(path: str) -> Callable[[Route], Route]:
    def keep(function: Route) -> Route:
        _ROUTES[path] = function
        return function

    return keep


def _number(request: web.Request, name: str, otherwise: int) -> int:
    return int(request.query.get(name, otherwise))


def _ok(value: Any = None) -> web.Response:
    return web.json_response([{"ok": 1}] if value is None else value)


def _drop(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort() if "reset" in request.query else request.transport.close()


# Paging, as the seeds' fixture.


@_route("/page")
async def _page(server: HostileServer, request: web.Request) -> web.Response:
    start = _number(request, "page", 0) * _number(request, "limit", 10)
    return _ok({"data": ITEMS[start : start + _number(request, "limit", 10)]})


@_route("/page1")
async def _page1(server: HostileServer, request: web.Request) -> web.Response:
    start = (_number(request, "page", 1) - 1) * _number(request, "limit", 10)
    return _ok({"data": ITEMS[start : start + _number(request, "limit", 10)]})


@_route("/off")
async def _off(server: HostileServer, request: web.Request) -> web.Response:
    start = _number(request, "offset", 0)
    return _ok(ITEMS[start : start + _number(request, "limit", 10)])


@_route("/cur")
async def _cur(server: HostileServer, request: web.Request) -> web.Response:
    start = int(request.query.get("cursor", "c0")[1:])
    return _ok({"items": ITEMS[start : start + 10], "meta": {"next": f"c{start + 10}" if start < 20 else None}})


@_route("/next")
async def _next(server: HostileServer, request: web.Request) -> web.Response:
    start = _number(request, "c", 0)
    onward = str(request.url.with_query(c=start + 10)) if start < 20 else None
    return _ok({"results": ITEMS[start : start + 10], "next": onward})


@_route("/link")
async def _link(server: HostileServer, request: web.Request) -> web.Response:
    start = _number(request, "c", 0)
    found = _ok(ITEMS[start : start + 10])
    if start < 20:
        found.headers["Link"] = f'<{request.url.with_query(c=start + 10)}>; rel="next", <{request.url}>; rel="self"'
    return found


def many(page: int, pages: int = 60, per: int = 20) -> list[dict[str, Any]]:
    """Records of a page of ``/many``."""
    return [{"id": number, "v": f"x{number}"} for number in range(page * per, (page + 1) * per) if page < pages]


@_route("/many")
async def _many(server: HostileServer, request: web.Request) -> web.StreamResponse:
    page, pages, per = _number(request, "page", 0), _number(request, "pages", 60), _number(request, "per", 20)
    if page >= _number(request, "hold", pages + 1):
        await server.wait_at_gate()
    fault = server.faults.get(page)
    if fault is not None:
        return fault.response() if isinstance(fault, Answer) else await fault(server, request)
    onward = str(request.url.update_query(page=page + 1)) if page + 1 < pages else None
    return _ok({"data": many(page, pages, per), "next": onward})


@_route("/wrap")
async def _wrap(server: HostileServer, request: web.Request) -> web.Response:
    return _ok({"payload": {"rows": [{"a": 1}]}})


@_route("/obj")
async def _obj(server: HostileServer, request: web.Request) -> web.Response:
    return _ok({"a": 1})


@_route("/text")
async def _text(server: HostileServer, request: web.Request) -> web.Response:
    return web.Response(text="hello")


@_route("/echo")
async def _echo(server: HostileServer, request: web.Request) -> web.Response:
    hit = server.last
    told = {"method": hit.method, "path": hit.raw_path, "headers": hit.headers, "body": hit.body.decode()}
    return _ok(told)


# Statuses.


@_route("/flaky")
async def _flaky(server: HostileServer, request: web.Request) -> web.Response:
    server._seen["/flaky"] += 1
    return web.Response(status=503) if server._seen["/flaky"] <= 2 else _ok([{"ok": 3}])


@_route("/always503")
async def _always503(server: HostileServer, request: web.Request) -> web.Response:
    return web.Response(status=503, text="out of order")


@_route("/nf")
async def _nf(server: HostileServer, request: web.Request) -> web.Response:
    return web.Response(status=404, text="no such thing")


@_route("/ra")
async def _ra(server: HostileServer, request: web.Request) -> web.Response:
    server._seen["/ra"] += 1
    return web.Response(status=429, headers={"Retry-After": "0"}) if server._seen["/ra"] == 1 else _ok()


@_route("/status")
async def _status(server: HostileServer, request: web.Request) -> web.Response:
    if not server.still(request):
        return _ok()
    return web.Response(status=int(request.path.rpartition("/")[2]), text=request.query.get("body", "told so"))


@_route("/retry-after")
async def _retry_after(server: HostileServer, request: web.Request) -> web.Response:
    if not server.still(request):
        return _ok()
    return web.Response(status=_number(request, "status", 429), headers={"Retry-After": request.query["value"]})


# Bodies that end too early, or never.


async def _begin(request: web.Request, headers: Mapping[str, str], content: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", **headers})
    await response.prepare(request)
    await response.write(content)
    return response


@_route("/truncated")
async def _truncated(server: HostileServer, request: web.Request) -> web.StreamResponse:
    if not server.still(request):
        return _ok(ITEMS)
    response = await _begin(request, {"Content-Length": "1000"}, b'[{"i": 0}, {"i": 1}')
    _drop(request)
    return response


@_route("/truncated-chunked")
async def _truncated_chunked(server: HostileServer, request: web.Request) -> web.StreamResponse:
    if not server.still(request):
        return _ok(ITEMS)
    response = await _begin(request, {"Transfer-Encoding": "chunked"}, b'[{"i": 0}, {"i": 1}')
    _drop(request)
    return response


def _encoded(content: bytes, encoding: str = "gzip") -> web.Response:
    return web.Response(body=content, headers={"Content-Type": "application/json", "Content-Encoding": encoding})


@_route("/truncated-gzip")
async def _truncated_gzip(server: HostileServer, request: web.Request) -> web.StreamResponse:
    whole = gzip.compress(json.dumps(ITEMS).encode())
    return _encoded(whole[: len(whole) // 2] if server.still(request) else whole)


@_route("/damaged-gzip")
async def _damaged_gzip(server: HostileServer, request: web.Request) -> web.StreamResponse:
    whole = bytearray(gzip.compress(json.dumps(ITEMS).encode()))
    if server.still(request):
        whole[-6] ^= 0xFF
    return _encoded(bytes(whole))


@_route("/trickle")
async def _trickle(server: HostileServer, request: web.Request) -> web.StreamResponse:
    response = await _begin(request, {"Content-Length": "1000000"}, b"[")
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


@_route("/stall")
async def _stall(server: HostileServer, request: web.Request) -> web.StreamResponse:
    await _begin(request, {"Content-Length": "1000"}, b'[{"i": 0}')
    await asyncio.sleep(3600)
    raise AssertionError


@_route("/silent")
async def _silent(server: HostileServer, request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise AssertionError


@_route("/held")
async def _held(server: HostileServer, request: web.Request) -> web.StreamResponse:
    await server.wait_at_gate()
    return _ok()


@_route("/disconnect")
async def _disconnect(server: HostileServer, request: web.Request) -> web.StreamResponse:
    if not server.still(request):
        return _ok()
    _drop(request)
    return web.Response()


@_route("/not-http")
async def _not_http(server: HostileServer, request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    _drop(request)
    return web.Response()


# Answers that are well formed and wrong.


@_route("/html")
async def _html(server: HostileServer, request: web.Request) -> web.Response:
    return web.Response(text="<html><body>Please log in</body></html>", content_type="text/html")


@_route("/error-json")
async def _error_json(server: HostileServer, request: web.Request) -> web.Response:
    return _ok({"error": {"code": 17, "message": "quota exceeded"}})


@_route("/same-page")
async def _same_page(server: HostileServer, request: web.Request) -> web.Response:
    return _ok({"data": ITEMS[:10], "next": str(request.url.with_query(c=len(server.hits)))})


@_route("/total")
async def _total(server: HostileServer, request: web.Request) -> web.Response:
    start = _number(request, "offset", 0)
    return _ok({"total": _number(request, "says", 30), "data": ITEMS[start : start + 10]})


@_route("/next-to")
async def _next_to(server: HostileServer, request: web.Request) -> web.Response:
    return _ok({"results": ITEMS[:10], "next": request.query["url"]})


@_route("/redirect")
async def _redirect(server: HostileServer, request: web.Request) -> web.Response:
    return web.Response(status=_number(request, "status", 302), headers={"Location": request.query["to"]})


@_route("/loop")
async def _loop(server: HostileServer, request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": f"/loop?n={_number(request, 'n', 0) + 1}"})


# Too much.


@_route("/huge")
async def _huge(server: HostileServer, request: web.Request) -> web.StreamResponse:
    response = await _begin(request, {"Transfer-Encoding": "chunked"}, b"[")
    left = _number(request, "bytes", 1 << 20)
    while left > 0:
        await response.write(b" " * min(left, 65536))
        left -= 65536
    await response.write(b"]")
    return response


@_route("/huge-announced")
async def _huge_announced(server: HostileServer, request: web.Request) -> web.StreamResponse:
    response = await _begin(request, {"Content-Length": request.query["bytes"]}, b"[")
    await asyncio.sleep(3600)
    return response


@_route("/bomb")
async def _bomb(server: HostileServer, request: web.Request) -> web.Response:
    return _encoded(gzip.compress(b" " * _number(request, "bytes", 64 << 20), 1))


@_route("/deep")
async def _deep(server: HostileServer, request: web.Request) -> web.Response:
    depth = _number(request, "depth", 100_000)
    return web.Response(body=b'[{"a":' + b"[" * depth + b"]" * depth + b"}]", content_type="application/json")


@_route("/gzip")
async def _gzip(server: HostileServer, request: web.Request) -> web.Response:
    return _encoded(gzip.compress(json.dumps(ITEMS).encode()))


@_route("/gzip-members")
async def _gzip_members(server: HostileServer, request: web.Request) -> web.Response:
    text = json.dumps(ITEMS).encode()
    return _encoded(gzip.compress(text[:100]) + gzip.compress(text[100:]))


@_route("/deflate")
async def _deflate(server: HostileServer, request: web.Request) -> web.Response:
    return _encoded(zlib.compress(json.dumps(ITEMS).encode()), "deflate")


@_route("/raw-deflate")
async def _raw_deflate(server: HostileServer, request: web.Request) -> web.Response:
    return _encoded(zlib.compress(json.dumps(ITEMS).encode())[2:-4], "deflate")


@_route("/brotli")
async def _brotli(server: HostileServer, request: web.Request) -> web.Response:
    return _encoded(b"\x0b\x00\x80[]\x03", "br")


# Who may come in.


def _let_in(good: bool) -> web.Response:
    return _ok(ITEMS) if good else web.Response(status=401, text="who are you?")


@_route("/secured")
async def _secured(server: HostileServer, request: web.Request) -> web.Response:
    return _let_in(server.knows(request.headers.get("Authorization", "")))


@_route("/bearer")
async def _bearer(server: HostileServer, request: web.Request) -> web.Response:
    return _let_in(request.headers.get("Authorization") == f"Bearer {request.query['token']}")


@_route("/basic")
async def _basic(server: HostileServer, request: web.Request) -> web.Response:
    pair = f"{request.query['user']}:{request.query['password']}".encode()
    return _let_in(request.headers.get("Authorization") == f"Basic {b64encode(pair).decode()}")


@_route("/key")
async def _key(server: HostileServer, request: web.Request) -> web.Response:
    given = request.headers if request.query.get("in", "header") == "header" else request.query
    return _let_in(given.get(request.query["name"]) == request.query["value"])


@_route("/oauth/token")
async def _oauth(server: HostileServer, request: web.Request) -> web.Response:
    await asyncio.sleep(0)
    status = _number(request, "status", 200)
    if status != 200:
        return web.json_response({"error": "invalid_client", "error_description": "no such client"}, status=status)
    told: dict[str, Any] = {"access_token": server.token(), "token_type": "Bearer"}
    if "expires_in" in request.query:
        told["expires_in"] = float(request.query["expires_in"])
    if "rotate" in request.query:
        told["refresh_token"] = f"refresh-token-{server._issued}"
    return _ok(told)


@_route("/etag")
async def _etag(server: HostileServer, request: web.Request) -> web.Response:
    tag = f'"v{server.version}"'
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers={"ETag": tag})
    return web.json_response([{"version": server.version}], headers={"ETag": tag})


@_route("/last-modified")
async def _last_modified(server: HostileServer, request: web.Request) -> web.Response:
    at = f"Mon, 0{server.version} Jan 2024 00:00:00 GMT"
    if request.headers.get("If-Modified-Since") == at:
        return web.Response(status=304)
    return web.json_response([{"version": server.version}], headers={"Last-Modified": at})


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for localhost that signs itself, and its key."""
    import datetime as dt
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    crt, pem = folder / "server.crt", folder / "server.key"
    crt.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return crt, pem


async def _stop(runner: web.AppRunner) -> None:
    await runner.cleanup()
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@contextmanager
def running() -> Iterator[HostileServer]:
    """Start the server; it stops with the block."""
    loop = asyncio.new_event_loop()
    server = HostileServer(loop)
    with tempfile.TemporaryDirectory(prefix="etlctl-hostile-") as folder:
        crt, pem = certificate(Path(folder))
        server.ca_file = crt
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(crt, pem)

        async def start() -> web.AppRunner:
            application = web.Application(client_max_size=64 << 20)
            application.router.add_route("*", "/{path:.*}", server.handle)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
            await runner.setup()
            for tls in (None, None, context):
                await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            ports = [address[1] for address in runner.addresses]
            server.url, server.other_url, server.tls_url = (
                f"{scheme}://127.0.0.1:{port}" for scheme, port in zip(("http", "http", "https"), ports, strict=True)
            )
            return runner

        runner = loop.run_until_complete(start())
        thread = threading.Thread(target=loop.run_forever, name="hostile-server", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.gate.set()
            asyncio.run_coroutine_threadsafe(_stop(runner), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()
