"""A server in front of the S3 server that breaks things on request: cut bodies, lost answers, deaf ears, refusals."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONDITIONS = frozenset({"if-none-match", "if-match"})


@dataclass
class Proxy:
    """What goes wrong, asked for each request by method and path; and what was asked for.

    Attributes:
        url: Where it listens.
        cut: Tells whether only the first half of an answer's body is sent.
        short: Tells whether the body is half as long as it should be, and announced so.
        drop: Tells whether the answer is lost after the request was carried out.
        refuse: Returns a status and the body of an error instead of passing a request on.
        deaf: Conditions of writes are not passed on.
        ask: Changes the headers of a request.
        answer: Changes the headers of an answer.
        requests: Method and path of every request.
    """

    url: str = ""
    cut: Callable[[str, str], bool] = lambda _method, _path: False
    short: Callable[[str, str], bool] = lambda _method, _path: False
    drop: Callable[[str, str], bool] = lambda _method, _path: False
    refuse: Callable[[str, str], tuple[int, str] | None] = lambda _method, _path: None
    deaf: bool = False
    ask: Callable[[dict[str, str]], dict[str, str]] = lambda headers: headers
    answer: Callable[[dict[str, str]], dict[str, str]] = lambda headers: headers
    requests: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def s3_proxy(server: str) -> Iterator[Proxy]:
    """Run a proxy before a server."""
    proxy, target = Proxy(), server.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            proxy.requests.append((self.command, self.path))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            refused = proxy.refuse(self.command, self.path)
            if refused is not None:
                self._answer(refused[0], {"Content-Type": "application/xml"}, refused[1].encode())
                return
            headers = {k: v for k, v in self.headers.items() if not (proxy.deaf and k.lower() in CONDITIONS)}
            connection = http.client.HTTPConnection(target, timeout=30)
            try:
                connection.request(self.command, self.path, body, proxy.ask(headers))
                answer = connection.getresponse()
                data = answer.read()
            finally:
                connection.close()
            if proxy.drop(self.command, self.path):
                self.close_connection = True
                return
            if proxy.short(self.command, self.path):
                data = data[: len(data) // 2]
            self._answer(
                answer.status, proxy.answer(dict(answer.getheaders())), data, cut=proxy.cut(self.command, self.path)
            )

        def _answer(self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False) -> None:
            self.send_response_only(status)
            length = headers.pop("Content-Length", None) if self.command == "HEAD" else str(len(data))
            for name, value in headers.items():
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)
            self.close_connection = cut

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _any  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        proxy.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listening.shutdown()
            thread.join(10)
