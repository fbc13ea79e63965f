"""Several destinations: killed anywhere and resumed, each of them holds what an uninterrupted run gives it."""

from __future__ import annotations

import asyncio
from typing import Any

from banking import Bank
from fanning import dealt, wheres_of
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scripted import Backwards, Book, DropEven, RefuseTens, Twice
from test_recovery import KilledError, following, run, run_killed

from etlctl.contract.unique_check import UniqueCheck
from etlctl.run import ProcessingMode

POINTS = ["write", "commit", "finish"]
STEPS = {
    "none": list,
    "some": lambda: [RefuseTens(), DropEven(), Twice()],
    "unique": lambda: [Twice(), UniqueCheck(fields={"n": "reject"})],
    "whole": lambda: [Backwards(), DropEven()],
}


@hypothesis_settings(max_examples=250, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    batch=st.lists(st.integers(1, 12), min_size=5, max_size=5),
    other_sizes=st.booleans(),
    number=st.integers(2, 3),
    crashes=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(POINTS), st.integers(1, 6), st.booleans()), min_size=1, max_size=4
    ),
    form=st.sampled_from(["rows", "frame"]),
    mode=st.sampled_from(list(ProcessingMode)),
    visible=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    lazy=st.integers(1, 3),
    interval=st.sampled_from([1, 2, 3, None]),
    steps=st.sampled_from(list(STEPS)),
    where=st.sampled_from(["all", "parts", "some"]),
    encoding=st.booleans(),
)
def test_killed_anywhere_then_resumed_is_an_uninterrupted_run(  # noqa: C901
    sizes, batch, other_sizes, number, crashes, form, mode, visible, lazy, interval, steps, where, encoding
) -> None:
    if mode is ProcessingMode.full:
        visible = (False, False, False)  # full mode publishes once
    if steps == "whole":
        other_sizes = False  # what a batch is decides what comes of it
    lazies = lazy if not any(visible[:number]) else 1

    def banks() -> list[Bank]:
        return [
            Bank(refuse=(3, 10 + place), visible=visible[place], lazy=lazies) for place in range(number)
        ]  # fmt: skip

    def made(of):
        wheres = wheres_of(where)
        return dealt(sizes, STEPS[steps](), banks=of, wheres=wheres, form=form, bad=[5], encoding=encoding)

    def options(attempt: int) -> dict[str, Any]:
        size = batch[attempt if other_sizes else 0]
        return {"batch_size": size, "mode": mode, "commit_interval": interval}

    async def all_of_it():
        straight, plain = banks(), Book()
        wanted = await run(made(straight), plain, **options(0))
        mine, book, ended = banks(), Book(), None
        for attempt, (place, point, nth, afterwards) in enumerate(crashes):
            bank = mine[place % number]
            for one in mine:
                one.calls = {}
            (bank.after if afterwards else bank.faults)[point, nth] = KilledError()
            ended = await run_killed(made(mine), book, **options(attempt))
            bank.after, bank.faults = {}, {}
            if ended is not None:
                break
            book = following(book)
        result = ended or await run(made(mine), book, **options(4))
        return straight, plain, wanted, mine, book, result

    straight, plain, wanted, mine, book, result = asyncio.run(all_of_it())
    assert result.status is wanted.status, result.error
    assert [bank.rows for bank in mine] == [bank.rows for bank in straight]
    assert result.counts == wanted.counts
    assert result.by_destination == wanted.by_destination
    told = sorted((letter.step, letter.rule, str(letter.raw)) for letter in book.letters)
    assert told == sorted((letter.step, letter.rule, str(letter.raw)) for letter in plain.letters)
    if not other_sizes:
        assert [letter.id for letter in book.letters] == [letter.id for letter in plain.letters]
        assert result.batches == wanted.batches
        mine_steps = [{**step.to_dict(), "seconds": 0, "form": "", "why": ""} for step in result.steps]
        assert mine_steps == [{**step.to_dict(), "seconds": 0, "form": "", "why": ""} for step in wanted.steps]
