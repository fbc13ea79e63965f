"""Pages of the http extractor: in order, exactly once, to the end and no further, from any position on."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from etlctl.extractors.http import Http
from http_reading import batches, read_until_it_fails, records
from pydantic import ValidationError

from etlctl.errors import FatalError
from etlctl.sdk import ReadContext
from etlctl.testing import check_extractor

if TYPE_CHECKING:
    from hostile_server import HostileServer

ALL = [{"i": number} for number in range(25)]
WAYS = {
    "page": ("/page", {"limit": 4}, {"strategy": "page"}),
    "page-from-1": ("/page1", {}, {"strategy": "page", "page": {"start": 1}, "page_size": 4}),
    "offset": ("/off", {"limit": "4"}, {"strategy": "offset", "offset_param": "offset"}),
    "cursor": ("/cur", {}, {"strategy": "cursor", "cursor_path": "meta.next"}),
    "next_url": ("/next", {"limit": 10}, {"strategy": "next_url"}),
    "link_header": ("/link", {}, {"strategy": "link_header"}),
}


def source(hostile: HostileServer, path: str, pagination: Any = None, **options: Any) -> Http:
    return Http(url=hostile.url + path, pagination=pagination, **options)


def pages_asked(hostile: HostileServer, name: str = "page") -> list[int]:
    return [int(hit.query[name]) for hit in hostile.hits]


@pytest.mark.parametrize("way", WAYS)
def test_reading_from_any_position_gives_the_rest(way: str, hostile: HostileServer) -> None:
    path, params, pagination = WAYS[way]
    tested = source(hostile, path, pagination, params=params)
    assert asyncio.run(records(tested, batch_size=1)) == ALL
    assert len(asyncio.run(batches(tested, batch_size=1))) > 2
    check_extractor(tested, ReadContext(batch_size=1))


async def test_a_position_inside_a_page_of_text_is_exact(hostile: HostileServer) -> None:
    text = "a,b\n" + "".join(f"{number},x{number}\n" for number in range(300))
    hostile.script("/csv", *[_csv(text)] * 1)
    tested = source(hostile, "/csv")
    small = {"chunk_bytes": 256, "batch_size": 50}
    whole = await batches(tested, **small)
    assert len(whole) > 3
    assert sum(len(batch) for batch in whole) == 300
    for number, batch in enumerate(whole):
        rest = [record for later in whole[number + 1 :] for record in later.to_rows()]
        assert await records(tested, json.loads(json.dumps(dict(batch.position))), **small) == rest


def _csv(text: str) -> Any:
    from hostile_server import Answer

    return Answer(body=text.encode(), headers={"Content-Type": "text/csv"})


async def test_pages_in_flight_stay_in_order_and_none_is_loaded_twice(hostile: HostileServer) -> None:
    pagination = {"strategy": "page", "page_size": 1, "concurrency": 8}
    assert await records(source(hostile, "/page", pagination)) == ALL
    asked = pages_asked(hostile)
    assert sorted(asked) == sorted(set(asked))  # each once
    assert asked[:4] == [0, 1, 2, 3]  # the first ones one by one
    assert 26 <= len(asked) <= 25 + 8


async def test_a_stated_total_keeps_from_asking_past_the_end(hostile: HostileServer) -> None:
    pagination = {"strategy": "offset", "page_size": 10, "concurrency": 8}
    assert await records(source(hostile, "/total?says=25", pagination)) == ALL
    assert pages_asked(hostile, "offset") == [0, 10, 20]


async def test_an_api_that_gives_fewer_than_asked_for_is_read_to_the_end(hostile: HostileServer) -> None:
    # /total gives 10 at most; 500 are asked for, so the first page looks like the last one.
    pagination = {"strategy": "offset", "page_size": 500}
    assert await records(source(hostile, "/total?says=25", pagination)) == ALL


async def test_pages_counted_from_1_are_found_without_being_told(hostile: HostileServer) -> None:
    from hostile_server import Answer

    hostile.script("/one", Answer(json=[]), Answer(json=[{"i": 1}]), Answer(json=[]))
    assert await records(source(hostile, "/one", {"strategy": "page"})) == [{"i": 1}]
    assert pages_asked(hostile) == [0, 1, 2]


@pytest.mark.parametrize(
    ("stop", "count", "requests"),
    [
        ({"max_pages": 2}, 20, 2),
        ({"max_records": 15}, 15, 2),
        ({"stop_conditions": [{"type": "max_records", "value": 20}]}, 20, 2),
        ({"stop_conditions": ["empty_response"]}, 25, 4),
        ({"stop_conditions": [{"type": "fewer_records"}]}, 25, 3),
        ({"stop_when": "$count(data) < 10"}, 25, 3),
        ({"stop_conditions": [{"type": "custom", "value": "data[0].i = 10"}]}, 20, 2),
        ({"enabled": False}, 10, 1),
    ],
    ids=str,
)
async def test_stop(stop: dict[str, Any], count: int, requests: int, hostile: HostileServer) -> None:
    found = await records(source(hostile, "/page", {"strategy": "page", "page_size": 10, **stop}, params={"limit": 10}))
    assert found == ALL[:count]
    assert len(hostile.hits) == requests


async def test_a_status_may_mean_that_there_is_no_such_page(hostile: HostileServer) -> None:
    from hostile_server import Answer

    hostile.script("/last", Answer(json=[{"i": 0}]), Answer(status=404))
    assert await records(source(hostile, "/last", {"strategy": "page", "stop_on_status": [404]})) == [{"i": 0}]
    hostile.script("/last", Answer(status=404))
    with pytest.raises(FatalError, match="404"):
        await records(source(hostile, "/last", {"strategy": "page", "stop_on_status": [404]}))


async def test_the_page_may_be_asked_for_in_the_body(hostile: HostileServer) -> None:
    from hostile_server import Answer

    hostile.script("/search", Answer(json=[{"i": 0}, {"i": 1}]), Answer(json=[{"i": 2}]))
    pagination = {"strategy": "offset", "page_size": 2, "param_in": "body"}
    found = await records(source(hostile, "/search", pagination, method="POST", body={"q": 1}))
    assert [record["i"] for record in found] == [0, 1, 2]
    assert [json.loads(hit.body) for hit in hostile.hits] == [
        {"q": 1, "limit": 2, "offset": 0},
        {"q": 1, "limit": 2, "offset": 2},
    ]


async def test_the_query_of_a_next_page_is_its_own(hostile: HostileServer) -> None:
    await records(source(hostile, "/next", {"strategy": "next_url"}, params={"since": "x"}))
    assert [sorted(hit.query) for hit in hostile.hits] == [["since"], ["c"], ["c"]]


# --- guards ------------------------------------------------------------------------------------------------------


async def test_the_same_page_for_ever_ends_before_the_repeat(hostile: HostileServer) -> None:
    seen, _, error = await read_until_it_fails(source(hostile, "/same-page", {"strategy": "page"}))
    assert seen == ALL[:10]
    assert "same 10 records" in str(error)
    assert "start_page: 1" in (error.help or "")


async def test_a_repeat_is_recognised_after_a_resume_and_when_the_address_changes(hostile: HostileServer) -> None:
    tested = source(hostile, "/same-page", {"strategy": "next_url"})
    _, position, _ = await read_until_it_fails(tested)
    again, _, error = await read_until_it_fails(tested, position=position)
    assert again == []
    assert "same 10 records" in str(error)


async def test_a_repeat_may_be_the_end_or_nothing_special(hostile: HostileServer) -> None:
    stop = {"strategy": "page", "on_repeated_page": "stop"}
    assert await records(source(hostile, "/same-page", stop)) == ALL[:10]
    allow = {"strategy": "page", "on_repeated_page": "allow", "max_pages": 3}
    assert await records(source(hostile, "/same-page", allow)) == ALL[:10] * 3


async def test_pages_that_differ_in_the_middle_only_are_no_repeat(hostile: HostileServer) -> None:
    from hostile_server import Answer

    pages = [[{"i": place if place != 33 else number + 1000} for place in range(100)] for number in range(2)]
    hostile.script("/p", *(Answer(json=page) for page in pages), Answer(json=[]))
    assert await records(source(hostile, "/p", {"strategy": "page"})) == [*pages[0], *pages[1]]


async def test_a_token_that_leads_in_a_circle_ends(hostile: HostileServer) -> None:
    from hostile_server import Answer

    answers = [Answer(json={"items": [{"i": number}], "next": "ab"[number % 2]}) for number in range(6)]
    hostile.script("/circle", *answers)
    pagination = {"strategy": "cursor", "cursor_path": "next"}
    with pytest.raises(FatalError, match="points back"):
        await records(source(hostile, "/circle", pagination))
    assert len(hostile.hits) == 3


@pytest.mark.parametrize("resumed", [False, True])
async def test_fewer_records_than_the_source_says(hostile: HostileServer, *, resumed: bool) -> None:
    tested = source(hostile, "/total?says=30", {"strategy": "offset", "page_size": 10})
    seen, position, error = await read_until_it_fails(tested)
    assert seen == ALL
    if resumed:
        _, _, error = await read_until_it_fails(tested, position=position)
    assert "says that there are 30 records, and 25 were read" in str(error)


async def test_a_total_may_only_be_warned_about_and_an_unpaged_request_is_guarded_too(hostile: HostileServer) -> None:
    said: list[str] = []
    tested = source(hostile, "/total?says=30", {"strategy": "offset", "page_size": 10}, on_total_mismatch="warn")
    assert await records(tested, warn=said.append) == ALL
    assert "30" in said[0]
    with pytest.raises(FatalError, match="says that there are 25 records, and 10 were read"):
        await records(source(hostile, "/total?says=25"))
    assert len(await records(source(hostile, "/total?says=25", {"strategy": "offset", "max_pages": 1}))) == 10


async def test_a_link_to_a_next_page_nobody_follows_is_told(hostile: HostileServer) -> None:
    said: list[str] = []
    assert len(await records(source(hostile, "/link"), warn=said.append)) == 10
    assert "another page follows" in said[0]


@pytest.mark.parametrize(
    ("path", "options", "told"),
    [
        ("/error-json", {}, "an error where records were expected.*quota exceeded"),
        ("/error-json", {"response_path": "data"}, "quota exceeded"),
        ("/html", {}, "HTML page where JSON was expected.*Please log in"),
        ("/wrap", {"response_path": "payload.items"}, "without the records.*'payload.items'.*rows"),
        ("/obj", {"pagination": {"strategy": "page"}}, "no array of records.*response_path|no array of records"),
        ("/text", {}, "nothing tells the format"),
        ("/text", {"response_format": "json"}, "no JSON.*hello"),
        ("/deep", {}, "no JSON|too deeply"),
    ],
    ids=str,
)
async def test_an_answer_that_is_not_what_was_asked_for(
    path: str, options: dict[str, Any], told: str, hostile: HostileServer
) -> None:
    with pytest.raises(FatalError, match=told):
        await records(Http(url=hostile.url + path, **options))


async def test_a_later_page_without_the_records_is_no_end(hostile: HostileServer) -> None:
    from hostile_server import Answer

    hostile.script("/p", Answer(json={"items": [{"i": 0}]}), Answer(json={"message": "slow down"}))
    with pytest.raises(FatalError, match="without the records: nothing stands at 'items'"):
        await records(source(hostile, "/p", {"strategy": "page"}))


@pytest.mark.parametrize("link", ["http://169.254.169.254/latest", "file:///etc/passwd", "{other}/next"])
async def test_a_next_page_elsewhere_is_refused(link: str, hostile: HostileServer) -> None:
    link = link.replace("{other}", hostile.other_url)
    tested = source(hostile, "/next-to", {"strategy": "next_url"}, params={"url": link})
    with pytest.raises(FatalError, match="not followed"):
        await records(tested)
    assert len(hostile.hits) == 1


async def test_an_allowed_host_is_followed_without_credentials(hostile: HostileServer) -> None:
    tested = source(
        hostile,
        "/next-to",
        {"strategy": "next_url"},
        params={"url": hostile.other_url + "/next?c=10"},
        allow_hosts=["127.0.0.1"],
        auth={"type": "bearer", "token": "canary-token"},
        headers={"X-K": "canary-header"},
    )
    assert await records(tested) == ALL
    home, *others = hostile.hits
    assert home.headers["Authorization"] == "Bearer canary-token"
    assert [hit.port for hit in others] == [int(hostile.other_url.rpartition(":")[2])] * 2
    assert not any("canary" in value for hit in others for value in hit.headers.values())


# --- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"url": "http://x/y", "base_url": "http://x"}, "url is the whole address"),
        ({"api_endpoint": "/y"}, "base_url before api_endpoint"),
        ({"url": "ftp://x/y"}, "http:// or https://"),
        ({"url": "http://{host}/y"}, "choose where requests go"),
        ({"url": "http://x", "body": {"a": 1}}, "a GET request has no body"),
        ({"url": "http://x", "method": "POST", "body": {}, "form": {}}, "body and form"),
        ({"url": "http://x", "pagination": {"strategy": "cursor"}}, "needs cursor_path"),
        ({"url": "http://x", "pagination": {"strategy": "page", "cursor_path": "a"}}, "cursor_path has no effect"),
        ({"url": "http://x", "pagination": {"strategy": "page", "offset": {"start": 1}}}, "offset has no effect"),
        ({"url": "http://x", "pagination": {"strategy": "cursor", "cursor_path": "a", "concurrency": 3}}, "each page"),
        ({"url": "http://x", "pagination": {"strategy": "page", "page_param": "p", "page": {}}}, "the same twice"),
        ({"url": "http://x", "pagination": {"strategy": "page", "stop_conditions": ["max_pages"]}}, "needs a value"),
        ({"url": "http://x", "pagination": {"strategy": "page", "stop_when": "a ="}}, "JSONata cannot be read"),
        ({"url": "http://x", "response_format": "csv", "pagination": {"strategy": "next_url"}}, "looks into JSON"),
        ({"url": "http://x", "children": {"url": "orders/{id}"}}, "must begin with /"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_together(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Http(**options)
