"""A paginated API of flights, for benchmarks: ``python -m benchmarks.api SOURCE.csv PAGES`` prints its address.

``GET /flights?page=N`` answers 500 records 5 ms later; pages count from 1, and the one after the last is empty. Bodies
are encoded once, so that the server costs the clients it is measured with as little as it can.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks import jobs
from benchmarks.measure import Command, CommandFailed

PER_PAGE = 500
LATENCY = 0.005
_PAGE = re.compile(rb"[?&]page=(\d+)")


@contextmanager
def serving(source: Path, pages: int) -> Iterator[str]:
    """Start the API in a process of its own; gives the address of its flights."""
    command = [sys.executable, "-m", "benchmarks.api", str(source), str(pages)]
    server = subprocess.Popen(command, cwd=jobs.HERE.parent, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip() if server.stdout is not None else ""
        if not address:
            raise CommandFailed("the API of the benchmark did not start")
        yield address
    finally:
        server.terminate()
        server.wait()


def etlctl(name: str, url: str, target: str) -> Command:
    """Write a contract that reads the API into SQLite, and return the command that runs it."""
    jobs.WORKSPACE.mkdir(parents=True, exist_ok=True)
    (jobs.WORKSPACE / "etlctl.yaml").write_text("# The workspace of the benchmarks.\n", encoding="utf-8")
    folder = jobs.WORKSPACE / "contracts" / name
    folder.mkdir(parents=True, exist_ok=True)
    pagination = "pagination: {strategy: page, start_page: 1, concurrency: 8}"
    extract = f"type: http\nurl: {url}\nresponse_path: data\n{pagination}\nprocessing_mode: streaming\n"
    (folder / "extract.yaml").write_text(extract, encoding="utf-8")
    load = f"type: sqlite\npath: {target}\ntable: flights\ncreate_table: true\n"
    (folder / "load.yaml").write_text(load, encoding="utf-8")
    return Command(
        name, [sys.executable, "-m", "etlctl", "run", str(folder), "--quiet"], jobs.WORKSPACE, folder / target
    )


def by_hand(name: str, url: str, target: str) -> Command:
    """Return the command that does it with aiohttp, eight requests in flight, and ``executemany``."""
    result = jobs.OUT / "peers" / target
    result.parent.mkdir(parents=True, exist_ok=True)
    return Command(
        name, [sys.executable, str(jobs.HERE / "peers" / "http_loop.py"), url, str(result)], jobs.OUT, result
    )


def dlt(name: str, python: Path, url: str) -> Command:
    """Return the command that does it with dlt's REST source."""
    result = jobs.OUT / "peers" / "dlt-http"
    result.parent.mkdir(parents=True, exist_ok=True)
    return Command(
        name, [str(python), str(jobs.HERE / "peers" / "dlt_http_peer.py"), url, str(result)], jobs.OUT, result
    )


def require_same_flights(*commands: Command) -> None:
    """Compare what commands have loaded.

    Raises:
        CommandFailed: It differs.
    """
    found = {command.name: _loaded(command) for command in commands}
    if len(set(found.values())) > 1:
        raise CommandFailed(f"the results differ: {found}")


def _loaded(command: Command) -> tuple[object, ...]:
    place = command.result
    if place is None:
        raise CommandFailed(f"{command.name} has no result")
    with closing(sqlite3.connect(place / "flights.db" if place.is_dir() else place)) as database:
        query = "SELECT count(*), sum(id), sum(distance), sum(flight), count(DISTINCT tailnum) FROM flights"
        return tuple(database.execute(query).fetchone())


class _Answering(asyncio.Protocol):
    """Answers each request of a connection with its page, a little later."""

    def __init__(self, bodies: list[bytes], empty: bytes) -> None:
        self._bodies = bodies
        self._empty = empty
        self._rest = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what was asked for completely."""
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in requests:
            found = _PAGE.search(request.partition(b"\r\n")[0])
            page = int(found[1]) if found else 1
            body = self._bodies[page - 1] if 0 < page <= len(self._bodies) else self._empty
            asyncio.get_running_loop().call_later(LATENCY, self._send, body)

    def _send(self, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines([_head(body), body])


def _head(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)


def pages_of(source: Path, pages: int, address: str) -> list[bytes]:
    """Return the bodies of the pages."""
    import polars as pl

    frame = pl.read_csv(source, n_rows=PER_PAGE * pages)
    made = []
    for number in range(1, pages + 1):
        after = f'"{address}?page={number + 1}"' if number < pages else "null"
        data = frame.slice((number - 1) * PER_PAGE, PER_PAGE).write_json()
        made.append(f'{{"page":{number},"total_pages":{pages},"next":{after},"data":{data}}}'.encode())
    return made


async def serve(source: Path, pages: int) -> None:
    """Serve until the process is ended."""
    bodies: list[bytes] = []
    empty = b'{"page":0,"total_pages":%d,"next":null,"data":[]}' % pages
    server = await asyncio.get_running_loop().create_server(lambda: _Answering(bodies, empty), "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/flights"
    bodies += pages_of(source, pages, address)
    print(address, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
