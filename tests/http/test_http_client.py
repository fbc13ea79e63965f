"""Attempts, waits, deadlines and what is said at the end (H1–H3), against a real server."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import format_datetime

import pytest
from hostile_server import ITEMS, Answer, HostileServer
from http_client_driving import Driver, Waits, fetch

from etlctl.engine.options import Recovery
from etlctl.engine.retrying import Retrying
from etlctl.errors import FatalError, GaveUp, RetryableError
from etlctl.kit.http.failures import HttpAccessDenied, HttpError, HttpGaveUp, OutcomeUnknown
from etlctl.kit.http.hosts import SharedBreaker, SharedRate, forget, rate_of
from etlctl.kit.http.message import Headers, Request
from etlctl.kit.http.options import CircuitBreaker, RateLimit, Retry
from etlctl.kit.http.pacing import backoff, retry_after


async def test_a_response_is_whole(hostile: HostileServer) -> None:
    driver = Driver(hostile.url, headers={"X-K": "v", "accept": "text/csv"})
    response = await driver.send(hostile.url + "/echo?a=1&b=%2F", headers={"x-own": "1"})
    told = json.loads(response.body)
    assert (response.status, response.url, response.replayed) == (200, hostile.url + "/echo?a=1&b=/", False)
    assert response.headers["CONTENT-type"].startswith("application/json")
    headers = Headers.of(told["headers"])
    assert (headers["X-K"], headers["X-Own"], headers["Accept"]) == ("v", "1", "text/csv")
    assert headers["User-Agent"].startswith("etlctl/")


@pytest.mark.parametrize("route", ["gzip", "deflate", "raw-deflate", "gzip-members"])
async def test_bodies_are_unpacked(hostile: HostileServer, route: str) -> None:
    assert json.loads((await fetch(f"{hostile.url}/{route}")).body) == ITEMS


async def test_a_burst_of_503_is_survived_with_exact_waits(hostile: HostileServer) -> None:
    driver = Driver(hostile.url + "/flaky")
    assert json.loads((await driver.send()).body) == [{"ok": 3}]
    assert (hostile.count("/flaky"), driver.waits.slept) == (3, [1, 2])


@pytest.mark.parametrize(("attempts", "requests"), [(1, 1), (2, 2)])
async def test_attempts_used_up(hostile: HostileServer, attempts: int, requests: int) -> None:
    retry = {"max_attempts": attempts, "backoff_factor": 0}
    with pytest.raises(GaveUp, match=r"HTTP error 503 \(Service Unavailable\) from GET .*: out of order") as caught:
        await fetch(hostile.url + "/always503", retry=retry)
    assert (hostile.count("/always503"), caught.value.exit_code) == (requests, 6)
    assert isinstance(caught.value, RetryableError)
    assert isinstance(caught.value, HttpGaveUp)
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (404, HttpError, 1),
        (400, HttpError, 1),
        (401, HttpAccessDenied, 6),
        (403, HttpAccessDenied, 6),
        (501, HttpError, 1),
        (304, HttpError, 1),
    ],
)
async def test_what_is_permanent_is_not_repeated(hostile: HostileServer, status: int, kind: type, code: int) -> None:
    with pytest.raises(FatalError, match=f"HTTP error {status}") as caught:
        await fetch(f"{hostile.url}/status/{status}")
    assert type(caught.value) is kind
    assert (caught.value.exit_code, caught.value.status, len(hostile.hits)) == (code, status, 1)


async def test_a_permanent_500_ends_after_its_attempts(hostile: HostileServer) -> None:
    driver = Driver(f"{hostile.url}/status/500")
    with pytest.raises(GaveUp, match=r"HTTP error 500 .*gave up after 3 attempts"):
        await driver.send()
    assert (len(hostile.hits), driver.waits.slept) == (3, [1, 2])


async def test_the_statuses_worth_another_attempt_are_an_option(hostile: HostileServer) -> None:
    await fetch(hostile.url + "/status/404?times=1", retry={"retry_on_status": [404], "backoff_factor": 0})
    with pytest.raises(HttpError, match="HTTP error 503"):
        await fetch(hostile.url + "/always503", retry={"retry_on_status": [404]})
    assert (hostile.count("/status/404"), hostile.count("/always503")) == (2, 1)


async def test_the_body_in_a_message_is_short(hostile: HostileServer) -> None:
    url = hostile.script("/long", Answer(400, body=b"reason\n \x00" + b"x" * 5000))
    with pytest.raises(HttpError) as caught:
        await fetch(url)
    assert "reason �xxx" in caught.value.message
    assert caught.value.message.endswith("x…")
    assert len(caught.value.message) < 620
    assert caught.value.response is not None
    assert len(caught.value.response.body) > 5000


# Retry-After (H1).


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("value", "waits"), [("7", [7]), ("0", [0]), ("nonsense", [1]), ("-5", [1]), ("1.5", [1.5])])
async def test_retry_after_is_obeyed(hostile: HostileServer, status: int, value: str, waits: list[float]) -> None:
    driver = Driver(f"{hostile.url}/retry-after?value={value}&status={status}&times=1")
    await driver.send()
    assert (driver.waits.slept, len(hostile.hits)) == (waits, 2)


@pytest.mark.parametrize(("ahead", "waits"), [(90, 90), (-90, 0)])
async def test_retry_after_may_be_a_date(hostile: HostileServer, ahead: int, waits: float) -> None:
    driver = Driver(hostile.url + "/dated")
    at = format_datetime(driver.waits.now() + timedelta(seconds=ahead), usegmt=True)
    hostile.script("/dated", Answer(429, headers={"Retry-After": at}), Answer(json=[]))
    await driver.send()
    assert driver.waits.slept == [waits]


@pytest.mark.parametrize("value", ["400", "999999999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_retry_after_past_the_deadline_ends_at_once(hostile: HostileServer, value: str) -> None:
    hostile.script("/later", Answer(429, headers={"Retry-After": value}))
    driver = Driver(hostile.url + "/later")
    with pytest.raises(GaveUp, match=r"the server asks to wait .*deadline of 300 s leaves 300\.0 s") as caught:
        await driver.send()
    assert (driver.waits.slept, len(hostile.hits)) == ([], 1)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 400


async def test_the_deadline_counts_all_attempts(hostile: HostileServer) -> None:
    driver = Driver(hostile.url + "/always503", retry={"max_attempts": 100, "deadline": 10})
    with pytest.raises(GaveUp, match="the deadline of 10 s leaves no time for another"):
        await driver.send()
    assert driver.waits.slept == [1, 2, 4]  # another 8 would be 15


async def test_what_one_request_is_told_holds_for_the_others(hostile: HostileServer) -> None:
    hostile.script("/a", Answer(429, headers={"Retry-After": "50"}), Answer(json=[]))
    driver = Driver(hostile.url)
    turn = asyncio.Event()
    sleep = driver.waits.sleep

    async def sleeping(seconds: float) -> None:
        turn.set()
        await asyncio.sleep(0)
        await sleep(seconds)

    driver.waits.sleep = sleeping
    async with driver.client() as client:
        first = asyncio.create_task(client.send(Request("GET", hostile.url + "/a")))
        await turn.wait()
        await client.send(Request("GET", hostile.url + "/b"))
        await first
    assert driver.waits.slept == [50, 50]
    assert [hit.path for hit in hostile.hits].count("/a") == 2


def test_backoff() -> None:
    gaps = [backoff(Retry(max_backoff=5), failures, lambda: 0.5) for failures in (1, 2, 3, 4, 2000)]
    assert gaps == [1, 2, 4, 5, 5]
    assert [backoff(Retry(jitter=True), failures, lambda: 0.25) for failures in (1, 2, 3)] == [0.25, 0.5, 1]
    assert backoff(Retry(backoff_factor=0), 1, lambda: 1) == 0
    assert retry_after("Thu, 01 Jan 2026 00:01:00", Waits().now()) == 60


# Requests that must not be repeated.


async def test_a_post_without_an_answer_is_not_repeated(hostile: HostileServer) -> None:
    for path in ("/disconnect", "/status/500", "/status/504", "/truncated"):
        hostile.reset()
        with pytest.raises(OutcomeUnknown, match="nobody knows whether"):
            await Driver(hostile.url).send(hostile.url + path, "POST", body=b"{}")
        assert len(hostile.hits) == 1, path


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        ({"method": "PUT"}, {}),
        ({"method": "POST", "headers": {"idempotency-key": "1"}}, {}),
        ({"method": "POST", "repeatable": True}, {}),
        ({"method": "POST"}, {"repeat_unsafe": True}),
    ],
)
async def test_what_may_be_repeated_is(hostile: HostileServer, request_: dict, options: dict) -> None:
    driver = Driver(hostile.url, retry={"backoff_factor": 0, **options})
    for path in ("/disconnect?times=1", "/status/500?times=1"):
        await driver.send(hostile.url + path, body=b"{}", **request_)
    assert [hit.body for hit in hostile.hits] == [b"{}"] * 4


async def test_a_post_is_repeated_when_the_server_says_it_did_nothing(hostile: HostileServer) -> None:
    driver = Driver(hostile.url)
    await driver.send(hostile.url + "/status/429?times=1", "POST", body=b"x")
    await driver.send(hostile.url + "/status/503?times=1", "POST", body=b"x")
    assert len(hostile.hits) == 4


async def test_a_post_that_reached_nobody_is_repeated() -> None:
    driver = Driver("http://127.0.0.1:1/")
    with pytest.raises(GaveUp, match=r"POST http://127.0.0.1:1/: 127.0.0.1:1 refuses connections.*after 3 attempts"):
        await driver.send(method="POST", body=b"x")
    assert driver.waits.slept == [1, 2]


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(GaveUp, match=r"the host name no-such-host.invalid cannot be resolved"):
        await fetch("http://no-such-host.invalid/", retry={"max_attempts": 1})


# The host as all clients see it.


async def test_the_rate_is_shared_by_all_clients(hostile: HostileServer) -> None:
    limit = {"requests": 2, "per": 10}
    one, other = Driver(hostile.url, rate_limit=limit), Driver(hostile.url + "/x", rate_limit=limit)
    other.waits = one.waits
    for driver in (one, other, one, other, one):
        await driver.send()
    assert one.waits.slept == [10, 10]
    stranger = Driver(hostile.other_url, rate_limit=limit)
    await stranger.send()
    assert stranger.waits.slept == []


async def test_attempts_count_for_the_rate(hostile: HostileServer) -> None:
    driver = Driver(hostile.url + "/flaky", rate_limit={"requests": 1, "per": 5}, retry={"backoff_factor": 0})
    await driver.send()
    assert [seconds for seconds in driver.waits.slept if seconds] == [5, 5]


async def test_waiting_for_the_rate_is_not_the_requests_time(hostile: HostileServer) -> None:
    driver = Driver(hostile.url, rate_limit={"requests": 1, "per": 1000}, retry={"deadline": 10})
    await driver.send()
    await driver.send()
    assert driver.waits.slept == [1000]


async def test_a_host_that_fails_is_left_alone(hostile: HostileServer) -> None:
    retry = {"max_attempts": 2, "backoff_factor": 0, "circuit_breaker": {"failures": 3, "cooldown": 60}}
    one, other = Driver(hostile.url + "/always503", retry=retry), Driver(hostile.url, retry=retry)
    other.waits = one.waits
    for _ in range(2):
        with pytest.raises(GaveUp):
            await one.send()
    assert len(hostile.hits) == 3  # the fourth was not sent
    with pytest.raises(
        GaveUp, match=r"was not sent: the last 3 requests to this host failed.*another 60\.0 s"
    ) as caught:
        await other.send()
    assert caught.value.retry_after == 60
    await one.waits.sleep(60)
    await other.send()  # one may try; it works, and all may again
    await other.send()
    assert len(hostile.hits) == 5


async def test_one_try_after_the_cooldown_only(hostile: HostileServer) -> None:
    retry = {"max_attempts": 1, "circuit_breaker": {"failures": 1, "cooldown": 60}}
    driver = Driver(hostile.url + "/always503", retry=retry)
    for wait in (0, 60, 0):
        await driver.waits.sleep(wait)
        with pytest.raises(GaveUp):
            await driver.send()
    assert len(hostile.hits) == 2


def test_one_asks_for_all_after_the_cooldown() -> None:
    breaker = SharedBreaker(CircuitBreaker(failures=1, cooldown=60))
    breaker.record(0, failed=True)
    assert [breaker.wait(now) for now in (0, 59, 60, 60, 61)] == [60, 1, 0, 60, 59]
    breaker.record(61, failed=False)
    assert breaker.wait(61) == 0


@pytest.mark.parametrize(("asked", "tries"), [(None, 1), (0, 1), (2, 3)])
async def test_the_engine_does_not_multiply_attempts(hostile: HostileServer, asked: int | None, tries: int) -> None:
    driver = Driver(hostile.url + "/always503", retry={"max_attempts": 2})
    waits = Waits()

    async def record(_attempt: object) -> None: ...

    retrying = Retrying(Recovery(max_retries=asked), record, print, waits, sleep=waits.sleep)
    with pytest.raises(GaveUp):
        await retrying.call(driver.send, step="extract")
    assert len(hostile.hits) == 2 * tries


def test_the_rate_holds_over_threads() -> None:
    """Runs of one process have event loops of their own."""
    with ThreadPoolExecutor(4) as threads:
        rates = threads.map(lambda _: rate_of("http://h:80", RateLimit(requests=10, per=2)).reserve(0.0), range(40))
        waits = Counter(rates)
    forget()
    assert waits == {0: 10, 2: 10, 4: 10, 6: 10}
    rate = SharedRate(RateLimit(requests=2, per=10))
    assert [now + rate.reserve(now) for now in (0, 1, 2, 3, 30)] == [0, 1, 10, 11, 30]
