"""Requests for each record of another request: in order, several in flight, resumed inside a parent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from etlctl.extractors.http import Http
from http_reading import batches, read_until_it_fails, records

from etlctl.errors import FatalError

if TYPE_CHECKING:
    from hostile_server import HostileServer

ORDERS = {number: [{"order": number * 100 + place} for place in range(number % 4)] for number in range(25)}
FLAT = [{**order, "customer": number} for number in ORDERS for order in ORDERS[number]]


@pytest.fixture
def shop(hostile: HostileServer) -> Iterator[HostileServer]:
    """Give a server with 25 customers, ten a page, and the orders of each, two a page."""
    from hostile_server import Answer

    for number, own in ORDERS.items():
        hostile.script(f"/customers/{number}/orders", Answer(json=own))
    return hostile


def orders(shop: HostileServer, **child: Any) -> Http:
    child = {"url": "/customers/{i}/orders", "include": {"customer": "i"}, **child}
    return Http(url=shop.url + "/page", pagination={"strategy": "page", "page_size": 10}, children=child)


def children_asked(shop: HostileServer) -> list[str]:
    return [hit.path for hit in shop.hits if hit.path.startswith("/customers")]


async def test_children_come_in_the_order_of_their_parents(shop: HostileServer) -> None:
    assert await records(orders(shop, concurrency=8)) == FLAT
    assert sorted(children_asked(shop)) == sorted(f"/customers/{number}/orders" for number in ORDERS)


async def test_reading_from_any_position_gives_the_rest(shop: HostileServer) -> None:
    whole = await batches(orders(shop), batch_size=1)
    assert len(whole) > 15
    for number, batch in enumerate(whole):
        rest = [record for later in whole[number + 1 :] for record in later.to_rows()]
        position = json.loads(json.dumps(dict(batch.position)))
        asked = len(shop.hits)
        assert await records(orders(shop), position) == rest
        done = {f"/customers/{record['customer']}/orders" for past in whole[:number] for record in past.to_rows()}
        assert not done & {hit.path for hit in shop.hits[asked:]}


async def test_a_position_inside_the_pages_of_a_parent(hostile: HostileServer) -> None:
    from hostile_server import Answer

    hostile.script("/customers", Answer(json=[{"id": "a/../b", "at": hostile.url + "/off?limit=10"}]))
    way = {"strategy": "offset", "page_size": 10}
    source = Http(url=hostile.url + "/customers", children={"url": "{at}", "pagination": way, "include": ["id"]})
    whole = await batches(source, batch_size=1)
    assert [len(batch) for batch in whole if len(batch)] == [10, 10, 5]
    assert whole[0].to_rows()[0] == {"i": 0, "id": "a/../b"}
    assert [record["i"] for record in await records(source, dict(whole[0].position))] == list(range(10, 25))
    assert hostile.last.query["offset"] == "20"


async def test_a_parent_that_is_gone_is_not_passed_over(hostile: HostileServer) -> None:
    from hostile_server import Answer

    hostile.script("/customers", Answer(json=[{"i": 1}, {"i": 2}]))
    source = Http(url=hostile.url + "/customers", children={"url": "/customers/{i}/orders", "include": {"c": "i"}})
    whole = await batches(source, batch_size=1)
    hostile.script("/customers", Answer(json=[{"i": 1}, {"i": 3}]))
    with pytest.raises(FatalError, match="parents were changed"):
        await records(source, dict(whole[0].position))


@pytest.mark.parametrize("value", ["a/b", "a?x=1", "a#b", "../../admin", "ä ö", "%2e%2e", "a;b"])
async def test_a_value_cannot_leave_its_segment(value: str, hostile: HostileServer) -> None:
    from urllib.parse import unquote

    from hostile_server import Answer

    hostile.script("/customers", Answer(json=[{"id": value}]))
    await records(Http(url=hostile.url + "/customers", children={"url": "/customers/{id}/orders"}))
    raw = hostile.last.raw_path
    assert raw.count("/") == 3
    assert unquote(raw.split("/")[2]) == value


@pytest.mark.parametrize("value", ["", ".", "..", None, {"a": 1}])
async def test_a_value_that_is_no_segment_is_refused(value: Any, hostile: HostileServer) -> None:
    from hostile_server import Answer

    hostile.script("/customers", Answer(json=[{"id": value}]))
    with pytest.raises(FatalError, match="the address"):
        await records(Http(url=hostile.url + "/customers", children={"url": "/customers/{id}/orders"}))
    assert len(hostile.hits) == 1


async def test_the_host_of_a_child_is_checked(hostile: HostileServer) -> None:
    from hostile_server import Answer

    hostile.script("/customers", Answer(json=[{"at": hostile.other_url + "/obj"}]))
    _, _, error = await read_until_it_fails(Http(url=hostile.url + "/customers", children={"url": "{at}"}))
    assert "not followed" in str(error)
    assert len(hostile.hits) == 1


async def test_a_field_of_the_parent_never_replaces_one_of_the_child(hostile: HostileServer) -> None:
    from hostile_server import Answer

    hostile.script("/customers", Answer(json=[{"id": 1}]))
    hostile.script("/customers/1/orders", Answer(json=[{"id": 7}]))
    source = Http(url=hostile.url + "/customers", children={"url": "/customers/{id}/orders", "include": ["id"]})
    with pytest.raises(FatalError, match="have a field 'id' of their own"):
        await records(source)


async def test_fields_of_the_parent_stand_in_parameters_and_bodies(hostile: HostileServer) -> None:
    from hostile_server import Answer

    hostile.script("/customers", Answer(json=[{"id": 1, "name": {"first": "Ann"}}]))
    child = {
        "url": "/search",
        "method": "POST",
        "params": {"customer": "{id}"},
        "body": {"who": "{name.first} ({id})", "number": "{id}"},
    }
    await records(Http(url=hostile.url + "/customers", children=child))
    assert hostile.last.query == {"customer": "1"}
    assert json.loads(hostile.last.body) == {"who": "Ann (1)", "number": 1}
