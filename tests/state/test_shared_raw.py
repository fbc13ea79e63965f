"""A large source record of which many parts are rejected is stored once, and no letter of it ever loses it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ledger_samples import letter, start

from etlctl.state import statements
from etlctl.state.ledger import Ledger

DOCUMENT = {"items": [{"n": number, "text": "x" * 50} for number in range(200)]}
PARTS = 30


@pytest.fixture
def stored(ledger: Ledger) -> Ledger:
    ledger.start_run(start())
    # Equal, not the same: a step that masks fields makes a copy for each letter.
    ledger.add_dead_letters([letter(part=part, raw=dict(DOCUMENT)) for part in range(PARTS)])
    return ledger


def _characters(ledger: Ledger) -> int:
    with ledger.store.transaction(writing=False) as connection:
        query = f"SELECT raw FROM {statements.DEAD_LETTERS}"
        return sum(len(row["raw"]) for row in connection.fetch(query))


def _raws(ledger: Ledger) -> list[object]:
    return [one.raw for one in ledger.each_dead_letter("run_1")]


def test_it_is_stored_once_and_told_with_every_letter(stored: Ledger) -> None:
    assert _characters(stored) < 2 * len(str(DOCUMENT))
    assert _raws(stored) == [DOCUMENT] * PARTS
    listed = stored.dead_letters(run_id="run_1")
    assert [one.raw for one in listed] == [DOCUMENT] * PARTS
    assert {one.raw_of for one in listed} == {None, listed[0].id}
    assert all(one.raw is listed[0].raw for one in listed), "in memory it is there once as well"
    assert stored.dead_letter(listed[7].id).raw == DOCUMENT
    (summary,) = stored.count_dead_letters(run_id="run_1", examples=3)
    assert [one.raw for one in summary.examples] == [DOCUMENT] * 3


def test_a_short_one_is_stored_with_every_letter(ledger: Ledger) -> None:
    ledger.start_run(start())
    ledger.add_dead_letters([letter(part=part) for part in range(3)])
    assert [one.raw_of for one in ledger.each_dead_letter("run_1")] == [None] * 3


def test_records_that_differ_are_not_shared(ledger: Ledger) -> None:
    ledger.start_run(start())
    other = {**DOCUMENT, "more": 1}
    ledger.add_dead_letters([letter(raw=DOCUMENT), letter(part=1, raw=other), letter(index=1, raw=DOCUMENT)])
    assert _raws(ledger) == [DOCUMENT, other, DOCUMENT]
    assert [one.raw_of for one in ledger.each_dead_letter("run_1")] == [None] * 3


@pytest.mark.parametrize("settled", ["discarded", "replayed"])
def test_settling_the_first_loses_nothing(stored: Ledger, settled: str) -> None:
    stored.set_letter_status(["dl_1_1_0"], settled)
    assert stored.clear_dead_letters("run_1", 0) == PARTS - 1
    assert _raws(stored) == [DOCUMENT]


def test_settled_letters_outlive_the_open_one_that_holds_their_record(stored: Ledger) -> None:
    # Stored again in another order, so that letters point to one that points on.
    every = stored.dead_letters(run_id="run_1")
    stored.add_dead_letters([every[5], every[0]])
    assert _raws(stored) == [DOCUMENT] * PARTS
    assert {one.raw_of for one in stored.each_dead_letter("run_1")} == {None, every[5].id}
    stored.set_letter_status([every[9].id], "discarded")
    assert stored.clear_dead_letters("run_1", 0) == PARTS - 1
    (left,) = stored.each_dead_letter("run_1")
    assert (left.id, left.raw, left.raw_of) == (every[9].id, DOCUMENT, None)


def test_a_secret_in_it_is_told_of_every_letter(stored: Ledger) -> None:
    stored._redactor.add("x" * 50)
    every = [replace(one, seq=2, id=f"{one.id}_b") for one in stored.dead_letters(run_id="run_1")]
    stored.add_dead_letters(every)
    assert {one.redacted for one in stored.each_dead_letter("run_1") if one.seq == 2} == {True}
