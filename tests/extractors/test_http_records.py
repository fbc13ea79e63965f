"""What the http extractor makes of bodies and options of requests."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from etlctl.extractors.http import Http
from http_reading import batches, records

from etlctl.errors import FatalError

if TYPE_CHECKING:
    from hostile_server import HostileServer

JSON = "application/json"


def answers(hostile: HostileServer, body: bytes | str, media: str, *, path: str = "/x", **options: Any) -> Http:
    from hostile_server import Answer

    content = body.encode() if isinstance(body, str) else body
    return Http(url=hostile.script(path, Answer(body=content, headers={"Content-Type": media})), **options)


@pytest.mark.parametrize(
    ("body", "media", "options", "expected"),
    [
        ('[{"a": 1}]', JSON, {}, [{"a": 1}]),
        ('{"data": [{"a": 1}], "next": null}', "application/vnd.api+json", {}, [{"a": 1}]),
        ('{"a": {"b": [{"c": [{"x": 1}]}]}}', JSON, {"response_path": "a.b.0.c"}, [{"x": 1}]),
        ('{"a.b": [{"x": 1}]}', JSON, {"response_path": "a.b"}, [{"x": 1}]),
        ('{"data": {"x": 1}}', JSON, {"response_path": "data"}, [{"x": 1}]),
        ('{"error": "none"}', JSON, {"response_path": "$"}, [{"error": "none"}]),
        ('{"data": null}', JSON, {"response_path": "data"}, []),
        ('{"a": 1}\n{"a": 2}\n', "application/x-ndjson", {}, [{"a": 1}, {"a": 2}]),
        ("zip,n\n00123,\n", "text/csv; charset=utf-8", {}, [{"zip": "00123", "n": None}]),
        ("n\nä\n".encode("latin-1"), "text/csv; charset=iso-8859-1", {}, [{"n": "ä"}]),
        ('[{"n": "ä"}]'.encode("latin-1"), "application/json; charset=latin-1", {}, [{"n": "ä"}]),
        (b'\xef\xbb\xbf[{"a": 1}]', JSON, {}, [{"a": 1}]),
        ("<r><b><t>x</t></b></r>", "application/xml", {"response_path": "b"}, [{"t": "x"}]),
        ("hello", "text/plain", {"response_format": "text"}, [{"text": "hello"}]),
        ("<html>", "text/html", {"response_format": "text"}, [{"text": "<html>"}]),
        ('[{"a": 1}]', "text/plain", {}, [{"a": 1}]),
        ('{"i": 1}\n', "application/octet-stream", {"path": "/x.jsonl"}, [{"i": 1}]),
        ("", JSON, {"response_format": "csv"}, []),
    ],
)
async def test_body(
    body: bytes | str, media: str, options: dict[str, Any], expected: list[Any], hostile: HostileServer
) -> None:
    if body == "":
        media = "text/csv"
    assert await records(answers(hostile, body, media, **options)) == expected


async def test_numbers_stay_exact(hostile: HostileServer) -> None:
    body = '{"items": [{"a": 18446744073709551616, "b": 0.12345678901234567891, "c": 0.1}]}'
    (record,) = await records(answers(hostile, body, JSON))
    assert record == {"a": 18446744073709551616, "b": Decimal("0.12345678901234567891"), "c": 0.1}


async def test_what_is_no_record_is_kept_as_a_dead_letter(hostile: HostileServer) -> None:
    body = b'[{"a": 1}, 7, {"a": NaN}, "x", {"a": "\\ud800"}, {"a": "\xff"}, {"a": 2}]'
    (batch,) = await batches(answers(hostile, body, JSON))
    assert batch.to_rows() == [{"a": 1}, {"a": 2}]
    assert [(one.index, one.rule) for one in batch.rejected] == [
        (1, "json.not_an_object"),
        (2, "json.constant"),
        (3, "json.not_an_object"),
        (4, "json.text"),
        (5, "json.text"),
    ]
    assert batch.rejected[0].raw == "7"
    assert batch.rejected[0].location.endswith("/x, record 2")
    assert batch.locate is not None
    with pytest.raises(FatalError, match=r"record 2.*json\.not_an_object"):
        await records(answers(hostile, body, JSON, on_bad_record="fail"))


async def test_pages_with_bad_records_are_put_together_in_order(hostile: HostileServer) -> None:
    from hostile_server import Answer

    pages = ([{"a": 0}], [1, {"a": 1}], [{"a": 2}, 2, {"a": 3}], [])
    hostile.script("/x", *(Answer(json=page) for page in pages))
    first, batch, end = await batches(Http(url=hostile.url + "/x", pagination={"strategy": "page", "start_page": 1}))
    assert first.to_rows() == [{"a": 0}]  # the first page goes on at once
    assert batch.to_rows() == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert [(one.index, one.raw) for one in batch.rejected] == [(0, "1"), (3, "2")]
    assert batch.locate is not None
    assert [batch.locate(number).rpartition(" ")[2] for number in range(3)] == ["2", "1", "3"]
    assert end.is_position


async def test_two_arrays_are_no_guess(hostile: HostileServer) -> None:
    with pytest.raises(FatalError, match=r"'results' and 'data'.*could be the records"):
        await records(answers(hostile, '{"data": [{"a": 1}], "results": [{"b": 1}]}', JSON))


async def test_masked_data_is_not_quoted(hostile: HostileServer) -> None:
    with pytest.raises(FatalError, match="not shown") as caught:
        await records(answers(hostile, '[{"name": "Ann"', JSON), conceals=True)
    assert "Ann" not in str(caught.value)


async def test_query_form_and_headers(hostile: HostileServer) -> None:
    options = {"params": {"a": [1, 2], "b": None, "c": True, "d": "x y&z"}, "headers": {"X-K": "k"}}
    (record,) = await records(Http(url=hostile.url + "/q?a=9&e=5", **options))
    assert record == {"path": "/q?e=5&a=1&a=2&c=true&d=x%20y%26z", "h": "k"}
    await records(Http(url=hostile.url + "/q", method="POST", form={"a": 1, "b": "x y"}))
    assert hostile.last.form == {"a": "1", "b": "x y"}


async def test_parameters_of_the_contract_fill_the_path(hostile: HostileServer) -> None:
    source = Http(base_url=hostile.url + "/v1/", api_endpoint="orders/{account}?day={day}", path_fields=True)
    (record,) = await records(source, params={"account": "a/1", "day": "1&2"})
    assert record["path"] == "/v1/orders/a%2F1?day=1%262"
    assert (record["account"], record["day"]) == ("a/1", "1&2")
    with pytest.raises(FatalError, match=r"needs a value for \{account\}"):
        await records(source, params={"day": 1})


async def test_a_page_that_did_not_change_comes_from_the_cache(hostile: HostileServer, tmp_path: Any) -> None:
    (tmp_path / "etlctl.yaml").write_text("# a workspace\n")
    source = Http(url=hostile.url + "/etag", cache=True)
    for _ in range(2):
        assert await records(source, base_dir=tmp_path) == [{"version": 1}]
    assert "If-None-Match" in hostile.last.headers
    hostile.version = 2
    assert await records(source, base_dir=tmp_path) == [{"version": 2}]


async def test_numbers_on_lines_of_their_own_stay_exact(hostile: HostileServer) -> None:
    body = '[{"a": [\n18446744073709551616,\n0.12345678901234567891\n]}]'
    (record,) = await records(answers(hostile, body, JSON))
    assert record == {"a": [18446744073709551616, Decimal("0.12345678901234567891")]}


async def test_deferred_records_are_read_again_as_they_were(hostile: HostileServer) -> None:
    from hostile_server import Answer

    hostile.script("/x", *(Answer(json=[{"i": number}, {"i": number + 1}]) for number in (0, 2, 4)), Answer(json=[]))
    source = Http(url=hostile.url + "/x", pagination={"strategy": "page", "start_page": 1})
    _, batch = await batches(source, defers=True)
    assert batch.deferred is not None
    assert len(batch) == 4
    first = batch.deferred.read(0, 3)
    assert first == [{"i": 2}, {"i": 3}, {"i": 4}]
    first[0]["i"] = "changed by a step"
    assert batch.deferred.one(0) == {"i": 2}
    assert batch.deferred.read(1, 4) == [{"i": 3}, {"i": 4}, {"i": 5}]
    assert batch.settled().to_rows() == [{"i": 2}, {"i": 3}, {"i": 4}, {"i": 5}]
