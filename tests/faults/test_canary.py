"""Every stage fails once, at debug level, against a server that repeats what it is told: no secret is left anywhere."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from harness import Shop

CANARY = "c4n/ary+tok?en&1=2"
IN_URL = quote(CANARY, safe="")

EXTRACTS = {
    "http-bearer": "type: http\nurl: {server}/x\nauth: {{type: bearer, token: '${{env:CANARY}}'}}\n",
    "http-basic": "type: http\nurl: {server}/x\nauth: {{type: basic, username: me, password: '${{secret:CANARY}}'}}\n",
    "http-key": "type: http\nurl: {server}/x\n"
    "auth: {{type: api_key, key: '${{env:CANARY}}', name: k, location: query}}\n",
    "http-params": "type: http\nurl: {server}/x\nparams: {{api_key: '${{secret:CANARY}}'}}\n",
    "http-oauth": "type: http\nurl: {server}/x\nauth:\n  type: oauth2_client_credentials\n  token_url: {server}/token\n"
    "  client_id: me\n  client_secret: '${{env:CANARY}}'\n",
    "postgres": "type: database\nurl: 'postgresql://me:${{env:CANARY_URL}}@127.0.0.1:1/x'\ntable: t\n",
    "mysql": "type: database\nurl: 'mysql://me:${{env:CANARY_URL}}@127.0.0.1:1/x'\ntable: t\n",
    "s3": "type: cloud_storage\nurl: s3://bucket/x.jsonl\nendpoint: {server}\nallow_http: true\nregion: eu-central-1\n"
    "access_key_id: me\nsecret_access_key: '${{env:CANARY}}'\n",
}
LOADS = {
    "http": "type: http\nurl: {server}/x?k=${{env:CANARY_URL}}\nauth: {{type: bearer, token: '${{env:CANARY}}'}}\n",
    "http-body": "type: http\nurl: {server}/x\nbody: {{id: '${{id}}', key: '${{secret:CANARY}}'}}\n",
    "postgres": "type: postgres\nurl: 'postgresql://me:${{env:CANARY_URL}}@127.0.0.1:1/x'\ntable: t\n",
    "mysql": "type: database\nurl: 'mysql://me:${{env:CANARY_URL}}@127.0.0.1:1/x'\ntable: t\n",
    "s3": "type: cloud_storage\nurl: s3://bucket/x.jsonl\nendpoint: {server}\nallow_http: true\nregion: eu-central-1\n"
    "access_key_id: me\nsecret_access_key: '${{env:CANARY}}'\n",
}
STEPS = {
    "function": "custom_function: {module: leaky, function: fails, mode: record}\n",
    "isolated": "custom_function: {module: leaky, function: fails, mode: record, isolate: true}\n",
    "batch": "custom_function: {module: leaky, function: fails, mode: batch}\n",
    "workers": "workers: 2\ncustom_function: {module: leaky, function: fails, mode: record}\n",
}


class Echo(BaseHTTPRequestHandler):
    """Refuses everything, and says back all it was told."""

    def _refuse(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        told = f"{self.path} {dict(self.headers)}".encode() + body
        for value in self.headers.values():
            if value.startswith("Basic "):
                told += base64.b64decode(value[6:])
        self.send_response(401 if self.command == "GET" else 400)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(told)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _refuse  # noqa: N815 - names of the standard library

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()


def contract(folder: Path, extract: str, transform: str, load: str) -> None:
    made = folder / "c"
    made.mkdir()
    (folder / "etlctl.yaml").write_text("")
    (made / "extract.yaml").write_text(extract)
    if transform:
        (made / "transform.yaml").write_text(transform)
    (made / "load.yaml").write_text(load)
    (made / "in.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    (made / "leaky.py").write_text(
        "import os\n\ndef fails(record):\n    raise ValueError(os.environ['CANARY'], record)\n"
    )


def leaks(folder: Path, *streams: str) -> list[str]:
    """Return where the canary, in any form, was left behind."""
    forms = {CANARY, IN_URL, quote(CANARY), quote(CANARY, safe="/?"), base64.b64encode(CANARY.encode()).decode()}
    found = [f"stream: {text[:400]}" for text in streams if any(form in text for form in forms)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    found += [
        str(path.relative_to(folder)) for path in files if any(one.encode() in path.read_bytes() for one in forms)
    ]
    return found


IN, OUT = "type: file\npath: in.jsonl\n", "type: file\npath: out.jsonl\n"
CASES = [
    *((f"extract-{name}", (text, "", OUT)) for name, text in EXTRACTS.items()),
    *((f"load-{name}", (IN, "", text)) for name, text in LOADS.items()),
    *((f"step-{name}", (IN, text, LOADS["http"])) for name, text in STEPS.items()),
]


@pytest.mark.parametrize("parts", [parts for _, parts in CASES], ids=[name for name, _ in CASES])
def test_nothing_a_failure_leaves_behind_tells_a_secret(
    shop: Shop, server: str, tmp_path: Path, parts: tuple[str, str, str]
) -> None:
    extract, transform, load = parts
    if extract != IN:
        extract = extract.format(server=server)
    if load != OUT:
        load = load.format(server=server)
    contract(tmp_path, extract, transform, load)
    secrets = {"CANARY": CANARY, "CANARY_URL": IN_URL, "ETLCTL_SECRET_CANARY": CANARY}
    ended = shop.run(tmp_path, "--debug", "run", "c", **secrets)
    assert ended.code not in {0, 2, 3}, ended.err
    assert leaks(tmp_path, ended.out, ended.err) == []
    shown = shop.run(tmp_path, "dead-letters", "list", "--json", **secrets)
    runs = shop.run(tmp_path, "runs", "list", "--json", **secrets)
    assert leaks(tmp_path, shown.out, shown.err, runs.out, runs.err) == []
