"""The HTTP loader against a real server: what is sent, in which order, and what its answers make of the records."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from etlctl.loaders.http import Http
from pydantic import ValidationError
from receiving_server import Inbox, Receiver

from etlctl.batch import Batch
from etlctl.errors import FatalError, GaveUp, ResumeRefused, RetryableError
from etlctl.sdk import Delivery, Receipt, WriteContext
from etlctl.sdk.outgoing import sending
from etlctl.state import open_ledger
from etlctl.state.outbox import StateOutbox

QUICK = {"max_attempts": 2, "backoff_factor": 0}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def people(count: int = 6) -> list[dict[str, Any]]:
    return [{"id": number, "name": f"näme {number}", "qty": number} for number in range(count)]


def batch(records: list[dict[str, Any]], seq: int = 1) -> Batch:
    made = Batch.of_rows(records, {"next": seq})
    made.seq = seq
    return made


def load(records: list[dict[str, Any]], inbox: Inbox, path: str = "", **options: Any) -> Receipt:
    """Send records as one batch, without an outbox."""

    async def send() -> Receipt:
        loader = Http.model_validate({"url": inbox.url + path, "retry": QUICK, **options})
        writer = await loader.open(WriteContext(base_dir=Path("/"), run_id="run_1", stream="people"))
        try:
            receipt = await writer.write(batch(records))
            published = await writer.finish()
            assert published.records == receipt.records
            return receipt
        finally:
            await writer.suspend()

    return asyncio.run(send())


def refused(receipt: Receipt) -> dict[int, str]:
    return {one.index: f"{one.rule}: {one.message}" for one in receipt.rejected}


def test_each_record_is_a_request_with_exact_values(receiver: Receiver) -> None:
    inbox = receiver.inbox()
    record = {"id": 1, "price": Decimal("1.10"), "big": 2**70, "none": None}
    assert load([record], inbox, "/x").records == 1
    ((key, body),) = inbox.arrivals
    assert body == b'{"id":1,"price":1.10,"big":1180591620717411303424,"none":null}'
    assert re.fullmatch(r"etlctl-[0-9a-f]{40}", key)
    assert inbox.headers["Content-Type"] == "application/json"
    assert inbox.paths == [("POST", "/x")]


def test_templates_keep_types_and_values_stay_in_their_place(receiver: Receiver) -> None:
    inbox = receiver.inbox()
    body = {"n": "${qty}", "text": "<${name}/${none}>", "deep": [{"all": "${tags}"}], "fix": 1, "lit": "$${x}",
            "or": "${none:-nobody}", "in": "${at.city}"}  # fmt: skip
    record = {"id": "a/b?c&d=../é", "qty": 2.5, "name": "x&y=z+#? /", "none": None, "tags": [1], "at": {"city": "Bonn"}}
    load([record], inbox, "/p/${id}?q=${name}", method="PUT", body=body, headers={"content-type": "application/vnd.x"})
    ((method, path),) = inbox.paths
    before, _, query = path.partition("?")
    assert (method, before.count("/"), unquote(before)) == ("PUT", 2, "/p/a/b?c&d=../é")
    assert parse_qs(query) == {"q": ["x&y=z+#? /"]}
    assert json.loads(inbox.arrivals[0][1]) == {
        "n": 2.5, "text": "<x&y=z+#? //>", "deep": [{"all": [1]}], "fix": 1, "lit": "${x}", "or": "nobody", "in": "Bonn",
    }  # fmt: skip
    assert inbox.headers["Content-Type"] == "application/vnd.x"


def test_records_that_have_no_request_are_refused_and_the_others_sent(receiver: Receiver) -> None:
    inbox = receiver.inbox()
    ids = [1, "..", None, ".", "", [1], "\ud800", 7]
    receipt = load([{"id": one} for one in ids], inbox, "/p/${id}/x", method="PUT")
    assert receipt.records == 2
    found = refused(receipt)
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    assert found[1] == "load.url: field 'id' makes a part of the address '..': it would lead elsewhere"
    assert found[2] == "load.url: the address needs field 'id', which is missing or null"
    assert sorted(path for _, path in inbox.paths) == ["/p/1/x", "/p/7/x"]


def test_the_server_refuses_records_with_its_own_words(receiver: Receiver) -> None:
    inbox = receiver.inbox(refuses=lambda record: "no twos" if record["id"] == 2 else None)
    receipt = load(people(), inbox, response={"message_path": "error"})
    assert (receipt.records, refused(receipt)) == (5, {2: "load.refused: the destination answered 422: no twos"})
    for status in (400, 404, 409):
        inbox = receiver.inbox(early=[(status, {}, {"why": "gone"})])
        assert refused(load(people(1), inbox)) == {
            0: f'load.refused: the destination answered {status}: {{"why": "gone"}}'
        }


@pytest.mark.parametrize("status", [401, 403, 405, 415])
def test_what_says_nothing_of_the_record_ends_the_run(receiver: Receiver, status: int) -> None:
    inbox = receiver.inbox(early=[(status, {}, {"why": "no"})] * 20)
    with pytest.raises(FatalError, match=str(status)):
        load(people(), inbox, concurrency=1)
    assert len(inbox.arrivals) == 1


def test_trouble_is_waited_for_and_then_ends_the_run(receiver: Receiver) -> None:
    inbox = receiver.inbox(early=[(429, {"Retry-After": "0"}, {}), (503, {}, {})])
    assert load(people(2), inbox, retry={"max_attempts": 3, "backoff_factor": 0}).records == 2
    assert len({key for key, _ in inbox.arrivals}) == 2
    with pytest.raises(GaveUp):
        load(people(2), receiver.inbox(early=[(503, {}, {})] * 9))
    assert load(people(1), receiver.inbox(early=[(404, {}, {})]), response={"success": [200, 404]}).records == 1


def test_batches_have_their_records_in_order_and_in_their_place(receiver: Receiver) -> None:
    inbox = receiver.inbox()
    options = {"mode": "batch", "records_per_request": 4, "concurrency": 1}
    load(people(), inbox, **options, body={"id": "${id}"}, batch_body={"a": [1], "records": "${records}", "z": "$${y}"})
    assert [json.loads(body) for _, body in inbox.arrivals] == [
        {"a": [1], "records": [{"id": n} for n in group], "z": "${y}"} for group in (range(4), range(4, 6))
    ]
    inbox = receiver.inbox()
    load(people(3), inbox, mode="batch")
    assert [json.loads(body) for _, body in inbox.arrivals] == [people(3)]


def test_a_batch_that_is_refused_as_a_whole_is_halved_until_the_culprits_are_found(receiver: Receiver) -> None:
    inbox = receiver.inbox(refuses=lambda record: f"bad {record['id']}" if record["id"] in {3, 17} else None)
    receipt = load(people(20), inbox, mode="batch", records_key="records", response={"message_path": "error"})
    assert receipt.records == 18
    assert refused(receipt) == {n: f"load.refused: the destination answered 422: bad {n}" for n in (3, 17)}
    assert sorted(inbox.ids()) == [n for n in range(20) if n not in {3, 17}]
    assert len(inbox.keys) == len(inbox.arrivals), "every part has a key of its own"


def test_results_tell_of_each_record(receiver: Receiver) -> None:
    batches = {"mode": "batch", "records_key": "records"}
    for judge in ({"status_path": "status"}, {"ok_when": "status < 300"}, {"status_path": "status", "ok": [201]}):
        inbox = receiver.inbox(refuses=lambda record: "odd" if record["id"] % 2 else None, results=True)
        rules = {"results_path": "results", "message_path": "error", **judge}
        receipt = load(people(4), inbox, **batches, response=rules)
        assert (receipt.records, refused(receipt)) == (
            2, dict.fromkeys((1, 3), "load.refused: the destination refused it: odd"),
        )  # fmt: skip
    inbox = receiver.inbox(early=[(200, {}, {"errors": [{"i": 2, "m": "late"}]})])
    rules = {"results_path": "errors", "index_path": "i", "message_path": "m"}
    receipt = load(people(4), inbox, **batches, response=rules)
    assert refused(receipt) == {2: "load.refused: the destination refused it: late"}
    # A refusal that names its culprits: the others were not taken, and go in a request of their own.
    inbox = receiver.inbox(early=[(422, {}, {"errors": [{"i": 2, "m": "late"}]}), (200, {}, {"errors": []})])
    receipt = load(people(4), inbox, **batches, response=rules)
    assert (receipt.records, sorted(refused(receipt))) == (3, [2])
    assert [one["id"] for one in json.loads(inbox.arrivals[1][1])["records"]] == [0, 1, 3]


def test_a_status_in_words_and_one_that_wants_time(receiver: Receiver) -> None:
    inbox = receiver.inbox(early=[(200, {}, {"status": "OK"}), (200, {}, {"status": "bad"})])
    receipt = load(people(2), inbox, concurrency=1, response={"status_path": "status"})
    assert refused(receipt) == {1: 'load.refused: the destination refused it: {"status": "bad"}'}
    inbox = receiver.inbox(early=[(207, {}, {"r": [{"s": 200}, {"s": 503}]})])
    with pytest.raises(RetryableError, match="503 for a record of a batch"):
        load(people(2), inbox, mode="batch", response={"results_path": "r", "status_path": "s"})
    inbox = receiver.inbox(early=[(207, {}, {"r": [{"s": 200}, {"s": 401}]})])
    with pytest.raises(FatalError, match="401 for a record of a batch"):
        load(people(2), inbox, mode="batch", response={"results_path": "r", "status_path": "s"})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"r": [{"s": 200}]}, "with 1 results for 2 records; nobody knows which records were taken"),
        ({"x": 1}, r'without a list at results_path \(r\): {"x": 1}'),
    ],
)
def test_an_answer_that_does_not_tell_ends_the_run(receiver: Receiver, answer: Any, said: str) -> None:
    with pytest.raises(FatalError, match=said):
        load(people(2), receiver.inbox(early=[(200, {}, answer)]), mode="batch",
             response={"results_path": "r", "status_path": "s"})  # fmt: skip


def test_several_requests_are_on_their_way_and_those_of_a_record_keep_their_order(receiver: Receiver) -> None:
    inbox = receiver.inbox()
    load(people(60), inbox, concurrency=5)
    assert 1 < inbox.busy[1] <= 5
    inbox = receiver.inbox(uneven=True)
    records = [{"id": number % 3, "step": number} for number in range(60)]
    load(records, inbox, concurrency=6, idempotency={"fields": "id"})
    for one in range(3):
        assert [r["step"] for r in inbox.applied if r["id"] == one] == list(range(one, 60, 3))
    inbox = receiver.inbox(uneven=True)
    load(records, inbox, concurrency=6, mode="batch", records_per_request=2, idempotency={"fields": ["id"]})
    assert [r["step"] for r in inbox.applied] == list(range(60))


def test_keys_name_the_place_or_the_record(receiver: Receiver) -> None:
    same = [{"id": 1, "v": 1}, {"id": 1, "v": 1}]
    inbox = receiver.inbox()
    load(same, inbox)
    assert len({key for key, _ in inbox.arrivals}) == 2
    assert len(inbox.applied) == 2
    inbox = receiver.inbox()
    load([*same, {"id": 1, "v": 2}], inbox, idempotency={"fields": "id"})
    assert len({key for key, _ in inbox.arrivals}) == 2
    assert [one["v"] for one in inbox.applied] == [1, 2]
    inbox = receiver.inbox()
    load(same, inbox, idempotency=False)
    assert {key for key, _ in inbox.arrivals} == {""}
    inbox = receiver.inbox()
    receipt = load([{"id": None}], inbox, idempotency={"fields": "id"})
    assert "is to name the record (idempotency.fields), and it is missing or null" in refused(receipt)[0]


def test_the_delivery_is_told() -> None:
    assert Http(url="http://x/").delivery() is Delivery.idempotent_with_key
    assert Http(url="http://x/", idempotency=False).delivery() is Delivery.at_least_once


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "ftp://x/"}, "is no address that begins with http"),
        ({"url": "http://${host}/x"}, "not in the host"),
        ({"url": "http://x${id}/x"}, "not in the host"),
        ({"url": "http://a:b@x/"}, "auth: {type: basic"),
        ({"url": "http://x/${id"}, "not closed"),
        ({"url": "http://x/", "records_key": "r"}, "add mode: batch"),
        ({"url": "http://x/${id}", "mode": "batch"}, "no|cannot stand in url"),
        ({"url": "http://x/", "mode": "batch", "batch_body": {"a": 1}}, "exactly once"),
        ({"url": "http://x/", "mode": "batch", "batch_body": {"a": "${records}", "b": "${id}"}}, "put it into body"),
        ({"url": "http://x/", "response": {"results_path": "r", "status_path": "s"}}, "add mode: batch"),
        ({"url": "http://x/", "response": {"ok_when": "a ="}}, "JSONata cannot be read"),
        ({"url": "http://x/", "response": {"ok": [1]}}, "say where that is"),
        ({"url": "http://x/", "response": {"success": [404], "reject": [404]}}, "cannot both mean"),
        ({"url": "http://x/", "idempotency": {"header": "a b"}}, "no name of a header"),
        ({"url": "http://x/", "idempotency": {"fields": []}}, "names no field"),
        ({"url": "http://x/", "method": "GET"}, "method"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Http.model_validate(options)


async def test_with_an_outbox_another_batch_does_not_take_the_place_of_a_half_sent_one(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = receiver.inbox(early=[(503, {}, {})] * 2)
    loader = Http.model_validate({"url": inbox.url, "retry": QUICK, "concurrency": 1})
    with open_ledger(state_dir=tmp_path) as ledger:
        outbox = StateOutbox(ledger.store)
        ctx = WriteContext(base_dir=tmp_path, run_id="run_1", stream="people", fence=1, outbox=outbox)
        writer = await loader.open(ctx)
        assert await writer.committed() is None
        with pytest.raises(GaveUp):
            await writer.write(batch(people(3)))
        await writer.suspend()
        again = await loader.open(WriteContext(**{**vars_of(ctx), "resume": True, "fence": 2}))
        assert await again.committed() is None
        with pytest.raises(ResumeRefused, match="another one now") as raised:
            await again.write(batch([{**one, "name": "edited"} for one in people(3)]))
        assert "--restart" in str(raised.value.help)
        # The server is still busy with what was sent before: that is no conflict yet.
        monkeypatch.setattr(sending, "PAUSES", (0, 0))
        inbox.early = [(409, {}, {"why": "in hand"})]
        receipt = await again.write(batch(people(3)))
        assert (receipt.records, receipt.rejected) == (3, [])
        await again.suspend()
    assert inbox.ids() == {0: 1, 1: 1, 2: 1}


def vars_of(ctx: WriteContext) -> dict[str, Any]:
    return {name: getattr(ctx, name) for name in ctx.__dataclass_fields__}
