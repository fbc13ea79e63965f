"""Cassettes: recorded once, replayed without a server, no secret in them; and the cache of answers on the disk."""

from __future__ import annotations

import json
import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile_server import Answer, HostileServer
from http_client_driving import Driver

from etlctl.errors import FatalError, GaveUp
from etlctl.kit.http.cache import Cache
from etlctl.kit.http.cassette import Cassette
from etlctl.kit.http.failures import HttpError
from etlctl.kit.http.message import Headers, Request, Response

SECRET = "c4nary-value"
KEY = {"type": "api_key", "key": SECRET, "name": "k", "location": "query"}


async def play(driver: Driver, cassette: Cassette, *urls: str) -> list[Response]:
    driver.cassette = cassette
    async with driver.client() as client:
        return [await client.send(Request("GET", url)) for url in urls]


async def test_what_was_recorded_is_said_again(
    hostile: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile.script("/p", Answer(json={"n": 1}), Answer(json={"n": 2}))
    hostile.script("/binary", Answer(body=b"\xff\x00", headers={"Set-Cookie": SECRET, "X-A": "1"}))
    urls = [f"{hostile.url}{path}" for path in ("/p", "/p", "/binary", "/flaky")]
    driver, path = Driver(hostile.url, auth=KEY), tmp_path / "deep" / "cassette.jsonl"
    recorded = await play(driver, Cassette.record(path), *urls)
    arrived = len(hostile.hits)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", None)
        replayed = await play(driver, Cassette.replay(path), *urls, urls[0])
    assert len(hostile.hits) == arrived == 6  # /flaky three times
    assert [found.body for found in replayed] == [*(found.body for found in recorded), b'{"n": 2}']
    assert [found.status for found in replayed] == [200] * 5
    assert all(found.replayed for found in replayed)
    assert replayed[2].headers["x-a"] == "1"
    assert "Set-Cookie" not in replayed[2].headers
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_cassette_holds_no_secret(hostile: HostileServer, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    home = hostile.url.replace("//", f"//u:{SECRET}-too@")
    hostile.script("/e", Answer(json={"next": f"/e?k={SECRET}"}, headers={"X-Echo": SECRET}))
    driver = Driver(home, auth=KEY)
    driver.cassette = Cassette.record(path)
    async with driver.client() as client:
        await client.send(Request("POST", f"{home}/e?k={SECRET}", {"Authorization": SECRET}, f"p={SECRET}".encode()))
    assert hostile.last.query == {"k": SECRET}
    assert "c4nary" not in path.read_text()
    # Replayed by somebody who has another key.
    other = Driver(hostile.url, auth={**KEY, "key": "other-value"})
    other.cassette = Cassette.replay(path)
    async with other.client() as client:
        await client.send(Request("POST", f"{hostile.url}/e?k=other-value", {}, b"p=other-value"))


async def test_page_tokens_tell_pages_apart(hostile: HostileServer, tmp_path: Path) -> None:
    path, driver = tmp_path / "c.jsonl", Driver(hostile.url)
    urls = [f"{hostile.url}/x?token={name}" for name in ("one", "two", "three")]
    await play(driver, Cassette.record(path), *urls)
    (answer,) = await play(driver, Cassette.replay(path), urls[1])
    assert json.loads(answer.body)[0]["path"] == "/x?token=two"
    # With a token that was never recorded they come in their order.
    answers = await play(driver, Cassette.replay(path), *[f"{hostile.url}/x?token=dummy"] * 3)
    assert [json.loads(answer.body)[0]["path"][9:] for answer in answers] == ["one", "two", "three"]


async def test_failures_are_recorded_too(hostile: HostileServer, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    driver = Driver(hostile.url, retry={"backoff_factor": 0})
    for mode in (Cassette.record, Cassette.replay):
        cassette = mode(path)
        with pytest.raises(HttpError, match=r"HTTP error 404 .*no such thing") as caught:
            await play(driver, cassette, hostile.url + "/nf")
        assert caught.value.status == 404
        with pytest.raises(GaveUp, match="HTTP error 503"):
            await play(driver, cassette, hostile.url + "/always503")
    assert len(hostile.hits) == 4


async def test_what_a_cassette_does_not_have(hostile: HostileServer, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    await play(Driver(hostile.url), Cassette.record(path), hostile.url + "/x?page=1", hostile.url + "/y")
    driver = Driver(hostile.url)
    with pytest.raises(FatalError, match=r"no answer to GET .*/x\?page=2; the nearest one is GET .*/x\?page=1"):
        await play(driver, Cassette.replay(path), hostile.url + "/x?page=2")
    driver.cassette = Cassette.replay(path)
    with pytest.raises(FatalError, match=r"no answer to GET .*/y; the same request was recorded with another body"):
        await driver.send(hostile.url + "/y", body=b"another")
    assert len(hostile.hits) == 2


@pytest.mark.parametrize(
    "content", ["{", "[]\n", '{"version": 2}\n', '{"version": 1, "request": "r", "response": {}}\n', "\xff"]
)
def test_a_damaged_cassette(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(FatalError, match=r"(line 1 of the cassette .* is damaged|cannot be read)"):
        Cassette.replay(path)


def test_a_cassette_is_shared_by_the_clients_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    assert Cassette.of(None, "record") is None
    one = Cassette.of(path, "record", "run-1")
    assert one is Cassette.of(path, "record", "run-1") is not None
    assert one is not Cassette.of(path, "record", "run-2")
    assert Cassette.of(path, "replay") is not Cassette.of(path, "replay")  # each begins at the beginning
    with pytest.raises(FatalError, match="cannot be read"):
        Cassette.of(tmp_path / "none.jsonl", "replay")


# The cache.


@pytest.mark.parametrize("route", ["/etag", "/last-modified"])
async def test_what_did_not_change_is_not_sent_again(hostile: HostileServer, tmp_path: Path, route: str) -> None:
    (tmp_path / "etlctl.yaml").touch()
    driver = Driver(hostile.url + route, tmp_path / "contracts" / "x", cache=True)
    bodies = [json.loads((await driver.send()).body) for _ in range(2)]
    hostile.version = 2
    bodies += [json.loads((await driver.send()).body) for _ in range(2)]
    assert bodies == [[{"version": version}] for version in (1, 1, 2, 2)]
    asked = [{"If-None-Match", "If-Modified-Since"} & set(hit.headers) for hit in hostile.hits]
    assert [bool(each) for each in asked] == [False, True, True, True]
    files = list((tmp_path / ".etlctl" / "http-cache").iterdir())
    assert len(files) == 1
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    files[0].write_bytes(files[0].read_bytes()[:-3])  # damaged: as if it were not there
    assert json.loads((await driver.send()).body) == [{"version": 2}]
    assert "If-None-Match" not in hostile.last.headers


async def test_answers_to_requests_with_credentials_are_kept_only_when_told(
    hostile: HostileServer, tmp_path: Path
) -> None:
    auth = {"type": "bearer", "token": SECRET}
    for more in ({"auth": auth}, {"headers": {"X-Api-Key": SECRET}}):
        driver = Driver(hostile.url + "/etag", tmp_path, cache=True, **more)
        await driver.send()
        assert "cache_with_auth" in driver.warned[0]
    assert not (tmp_path / ".etlctl").exists()
    for token in (SECRET, "another-token"):
        driver = Driver(
            hostile.url + "/etag", tmp_path, cache=True, cache_with_auth=True, auth={**auth, "token": token}
        )
        for _ in range(2):
            await driver.send()
    # Each account has its own answers.
    assert ["If-None-Match" in hit.headers for hit in hostile.hits] == [False, False, False, True, False, True]
    for file in (tmp_path / ".etlctl" / "http-cache").iterdir():
        assert b"c4nary" not in file.read_bytes()


@pytest.mark.parametrize(
    "headers", [{}, {"ETag": "x", "Cache-Control": "private, no-store"}, {"ETag": "x", "Vary": "*"}]
)
async def test_what_is_not_kept(hostile: HostileServer, tmp_path: Path, headers: dict[str, str]) -> None:
    hostile.script("/x", Answer(json=[], headers=headers))
    await Driver(hostile.url + "/x", tmp_path, cache=True).send()
    assert not (tmp_path / ".etlctl").exists()


def test_the_cache_stays_within_its_bounds(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=10_000)
    for number in range(20):
        request = Request("GET", f"http://h/{number}")
        cache.keep(request, "", Response(200, request.url, Headers([("ETag", "x")]), b"x" * 1000))
        path = cache._path(request, "")
        os.utime(path, (number, number))
        assert cache.find(Request("GET", "http://h/0"), "") is not None  # used all the time
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10_000
    kept = [number for number in range(20) if cache.find(Request("GET", f"http://h/{number}"), "") is not None]
    assert 0 in kept
    assert 5 < len(kept) < 10
    cache.keep(Request("GET", "http://h/large"), "", Response(200, "", Headers([("ETag", "x")]), b"x" * 5000))
    assert cache.find(Request("GET", "http://h/large"), "") is None


def test_many_writers_of_one_answer(tmp_path: Path) -> None:
    """Whoever reads while others write finds a whole answer or none."""
    one, other = Cache(tmp_path), Cache(tmp_path)
    request, bodies = Request("GET", "http://h/"), [bytes([65 + n]) * 50_000 for n in range(4)]

    def write(cache: Cache, body: bytes) -> None:
        for _ in range(15):
            cache.keep(request, "", Response(200, request.url, Headers([("ETag", "x")]), body))

    def read() -> list[bytes]:
        return [kept.body for _ in range(60) if (kept := other.find(request, "")) is not None]

    write(one, bodies[0])
    with ThreadPoolExecutor(5) as threads:
        writers = [threads.submit(write, cache, body) for cache, body in zip((one, other) * 2, bodies, strict=True)]
        found = threads.submit(read).result()
        for writer in writers:
            writer.result()
    assert len(found) == 60
    assert set(found) <= set(bodies)
    assert [path.suffix for path in tmp_path.iterdir()] == [".response"]


def test_a_writer_that_died_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, request = Cache(tmp_path), Request("GET", "http://h/")

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    response = Response(200, request.url, Headers([("ETag", "x")]), b"one")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            cache.keep(request, "", response)
    assert cache.find(request, "") is None
    cache.keep(request, "", Response(200, request.url, Headers([("ETag", "x")]), b"two"))
    kept = cache.find(request, "")
    assert kept is not None
    assert kept.body == b"two"


async def test_a_disk_that_cannot_be_written_is_no_failure(hostile: HostileServer, tmp_path: Path) -> None:
    (tmp_path / ".etlctl").write_text("a file where a folder should be")
    assert (await Driver(hostile.url + "/etag", tmp_path, cache=True).send()).status == 200
