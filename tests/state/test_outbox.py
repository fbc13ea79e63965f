"""The outbox in the state store, on every store: what is kept comes back byte for byte, and only for whom it may."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from etlctl.errors import FatalError, FencedError, StateError
from etlctl.redact import Redactor
from etlctl.sdk.loader import CommitToken
from etlctl.sdk.outbox import Outcome, Parcel, Pledge, Refused, Sender, SourceRecord, content_of
from etlctl.state import outbox as module
from etlctl.state import outbox_statements as statements
from etlctl.state.ledger import Ledger
from etlctl.state.outbox import StateOutbox

SENDER = Sender("people", "run_1", 3)
BODY = bytes(range(1, 256)) + "é\ud800".encode("utf-8", "surrogatepass")
PARCELS = [
    Parcel(0, "key 0", "POST", "http://x/é?a=1", {"Content-Type": "a/b"}, BODY, [0, 2], ((1, 4), (5, 9)), 7),
    Parcel(1, "", "DELETE", "http://x/1", {}, None, [1]),
    Parcel(2, "", "", "", {}, None, [3]),
]
PLEDGE = Pledge(4, {"at": 1}, {"n": [1]}, [SourceRecord(5, {"d": Decimal("1.10"), "t": "\ud800"}, "in.csv:7")])


@pytest.fixture
def outbox(ledger: Ledger, redactor: Redactor) -> StateOutbox:
    return StateOutbox(ledger.store, redactor=redactor)


def token(seq: int, sender: Sender = SENDER, **more: object) -> CommitToken:
    return replace(CommitToken(sender.stream, sender.run, seq, sender.fence, {"at": seq}, {"a": 1}), **more)


def test_what_is_kept_comes_back_as_it_was(outbox: StateOutbox) -> None:
    refused = Outcome(0, [Refused(3, "load.url", "ünd")])
    outbox.keep(SENDER, 4, PARCELS, {2: refused}, PLEDGE)
    assert outbox.pending(SENDER, 4) == PARCELS[:2]
    held = outbox.claim(SENDER)
    assert held is not None
    assert (held.run, held.fence, held.token, held.seq, held.content) == ("run_1", 3, None, 4, content_of(PARCELS))
    assert held.pledge == PLEDGE
    outbox.settle(SENDER, 4, {0: Outcome(201, [Refused(2, "load.refused", "no")], moved=1)})
    assert [one.index for one in outbox.pending(SENDER, 4)] == [1]
    outcomes = outbox.outcomes(SENDER, 4)
    assert outcomes == {0: ([0, 2], Outcome(201, [Refused(2, "load.refused", "no")], moved=1)), 2: ([3], refused)}


def test_a_commit_moves_the_token_and_forgets_the_requests(outbox: StateOutbox) -> None:
    outbox.keep(SENDER, 1, PARCELS, {}, PLEDGE)
    outbox.commit(SENDER, token(1), 3)
    held = outbox.claim(SENDER)
    assert held is not None
    assert (held.token, held.records, held.seq, held.pledge) == (token(1), 3, None, None)
    assert outbox.pending(SENDER, 1) == []
    outbox.keep(SENDER, 2, PARCELS[:1], {}, None)
    held = outbox.claim(SENDER)
    assert held is not None
    assert (held.token, held.seq, held.pledge) == (token(1), 2, None)
    outbox.forget(SENDER)
    assert outbox.claim(SENDER) is None
    assert outbox.pending(SENDER, 2) == []


def test_a_request_is_split_in_one_step(outbox: StateOutbox) -> None:
    outbox.keep(SENDER, 1, PARCELS, {2: Outcome(0)}, None)
    made = outbox.split(SENDER, 1, 0, Outcome(422, moved=2), [PARCELS[0], PARCELS[0]])
    assert [one.index for one in made] == [3, 4]
    assert [one.index for one in outbox.pending(SENDER, 1)] == [1, 3, 4]


def test_an_older_sender_can_do_nothing_any_more(outbox: StateOutbox) -> None:
    outbox.keep(SENDER, 1, PARCELS, {}, None)
    newer = replace(SENDER, fence=4)
    assert outbox.claim(newer) is not None
    for call in (
        lambda: outbox.keep(SENDER, 2, PARCELS, {}, None),
        lambda: outbox.settle(SENDER, 1, {0: Outcome(200)}),
        lambda: outbox.split(SENDER, 1, 0, Outcome(200), []),
        lambda: outbox.commit(SENDER, token(1), 1),
    ):
        with pytest.raises(FencedError):
            call()
    held = outbox.claim(SENDER)
    assert held is not None
    assert (held.fence, held.token, held.seq) == (4, None, 1)
    outbox.discard(["people"], 3)
    assert len(outbox.pending(newer, 1)) == 3
    outbox.discard(["people"], 4)
    assert outbox.claim(newer) is None


def test_another_run_begins_with_nothing_and_other_streams_stay(outbox: StateOutbox) -> None:
    beside = Sender("people>eu", "run_1", 3)
    other = Sender("people_2", "run_1", 3)
    for sender in (SENDER, beside, other):
        outbox.keep(sender, 1, PARCELS, {}, None)
        outbox.commit(sender, token(1, sender), 2)
        outbox.keep(sender, 2, PARCELS, {}, None)
    assert [(one.stream, one.seq, one.visible) for one in outbox.tokens("people")] == [
        ("people", 2, True), ("people>eu", 2, True),
    ]  # fmt: skip
    outbox.keep(replace(SENDER, run="run_2"), 1, PARCELS[:1], {}, None)
    held = outbox.claim(SENDER)
    assert held is not None
    assert (held.run, held.token, held.records, held.seq) == ("run_2", None, 0, 1)
    assert len(outbox.pending(beside, 2)) == 3


def test_no_secret_is_stored_and_each_comes_back(ledger: Ledger, outbox: StateOutbox, redactor: Redactor) -> None:
    for secret in ("hunter2-long", 'q"uo\\te', "etlctl-secret"):
        redactor.add(secret)
    parcel = Parcel(
        0, "k", "POST", "http://x/hunter2-long", {}, b'{"a":"hunter2-long q\\"uo\\\\te etlctl-secret"}', [0]
    )
    pledge = Pledge(1, {"p": "hunter2-long"}, {}, [SourceRecord(0, {"s": "hunter2-long"}, None)])
    outbox.keep(SENDER, 1, [parcel], {0: Outcome(422, [Refused(0, "r", "you sent hunter2-long")])}, pledge)
    outbox.keep(SENDER, 1, [parcel], {}, pledge)
    stored = b""
    for table in (statements.OUTBOXES, statements.REQUESTS):
        with ledger.store.transaction(writing=False) as connection:
            for value in (value for row in connection.fetch(f"SELECT * FROM {table}") for value in row.values()):
                stored += bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
    assert b"hunter2" not in stored
    assert b"uo" not in stored
    assert outbox.pending(SENDER, 1) == [parcel]
    held = outbox.claim(SENDER)
    assert held is not None
    assert held.pledge == pledge
    with pytest.raises(StateError, match="does not know any more"):
        StateOutbox(ledger.store).pending(SENDER, 1)


def test_a_damaged_request_is_not_sent(ledger: Ledger, outbox: StateOutbox) -> None:
    outbox.keep(SENDER, 1, PARCELS, {}, None)
    with ledger.store.transaction() as connection:
        connection.run(f"UPDATE {statements.REQUESTS} SET body = :body WHERE number = 0", {"body": b"other"})
    with pytest.raises(StateError, match="its checksum differs"):
        outbox.pending(SENDER, 1)


def test_too_much_is_refused_before_anything_is_kept(outbox: StateOutbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    with pytest.raises(FatalError, match="the outbox keeps the requests of a batch"):
        outbox.keep(SENDER, 1, PARCELS, {}, None)
    assert outbox.claim(SENDER) is None
