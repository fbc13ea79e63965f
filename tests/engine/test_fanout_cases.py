"""Several destinations, case by case: what fails in one of them, and what is refused when a run is resumed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from banking import Bank, BankLoader, BankWriter
from fanning import Modulo, dealt
from scripted import Book
from test_recovery import KilledError, following, run, run_killed

from etlctl.engine.options import Recovery
from etlctl.errors import CheckpointError, FatalError, LimitError, RetryableError
from etlctl.run import ProcessingMode, RunStatus
from etlctl.sdk import Loader, Published, Receipt, Writer
from etlctl.sdk.destinations import Destination, Destinations


async def test_a_failure_that_passes_repeats_only_what_failed() -> None:
    first, last, book = Bank(), Bank(), Book()
    last.faults["write", 3] = RetryableError("connection reset")
    last.faults["commit", 5] = RetryableError("connection reset")
    done = await run(
        dealt([10] * 6, banks=[first, last]), book, batch_size=10, recovery=Recovery(max_retries=3, backoff=0)
    )
    assert done.success, done.error
    assert [one["n"] for one in first.rows] == [one["n"] for one in last.rows] == list(range(60))
    assert (first.calls["write"], last.calls["write"]) == (6, 8)
    assert {attempt.name for attempt in book.attempts} == {"load.b"}
    assert {attempt.position for attempt in book.attempts} == {3}


async def test_a_commit_whose_outcome_was_lost_is_asked_for() -> None:
    first, last, book = Bank(), Bank(), Book()
    first.after["commit", 2] = RetryableError("the answer was lost")
    last.after["commit", 4] = RetryableError("the answer was lost")
    done = await run(dealt([10] * 6, banks=[first, last]), book, batch_size=10, recovery=Recovery(backoff=0))
    assert done.success, done.error
    assert [one["n"] for one in first.rows] == [one["n"] for one in last.rows] == list(range(60))
    assert (first.calls["write"], last.calls["write"]) == (6, 6)


async def test_a_batch_that_one_destination_does_not_take_is_lost_only_there() -> None:
    first, last, book = Bank(), Bank(), Book()
    first.faults |= {("write", number): RetryableError("it is full") for number in (3, 4)}
    recovery = Recovery(max_retries=1, backoff=0, error_threshold=0.5)
    done = await run(
        dealt([10] * 6, banks=[first, last], wheres=(Modulo(divisor=2), None)), book, batch_size=10, recovery=recovery
    )
    assert done.status is RunStatus.partial, done.error
    assert [one["n"] for one in last.rows] == [number for number in range(60) if number != 7]
    assert [one["n"] for one in first.rows] == [n for n in range(0, 60, 2) if n not in range(20, 30)]
    assert [(one.step, one.rule, one.raw["n"]) for one in book.letters if one.seq == 3] == [
        ("load.a", "load.batch_failed", n) for n in range(20, 30, 2)
    ]
    assert [(one.name, one.records, one.rejected) for one in done.by_destination] == [("a", 25, 5), ("b", 59, 0)]


async def test_a_where_that_fails_rejects_the_record_everywhere() -> None:
    banks, book = [Bank(), Bank()], Book()
    done = await run(dealt([10], banks=banks, wheres=(None, Modulo(divisor=2))), book, batch_size=10)
    assert [one["n"] for one in banks[0].rows] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert [one["n"] for one in banks[1].rows] == [0, 2, 4, 6, 8]
    (letter,) = book.letters
    assert (letter.rule, letter.step, letter.raw) == ("load.where", "load", {"n": 7})
    assert letter.message == "where of load.b cannot be decided: 7 is odd"
    counts = done.counts
    assert (counts.extracted, counts.added, counts.loaded, counts.filtered, counts.rejected) == (10, 5, 14, 0, 1)


async def test_what_no_destination_wants_is_filtered() -> None:
    banks, book = [Bank(), Bank()], Book()
    done = await run(
        dealt([10], banks=banks, wheres=(Modulo(divisor=4), Modulo(divisor=2, remainder=5))), book, batch_size=4
    )
    assert [one["n"] for one in banks[0].rows] == [0, 4, 8]
    assert (done.counts.filtered, done.counts.added, done.counts.rejected) == (6, 0, 1)


async def test_a_dry_run_deals_out_and_writes_nothing() -> None:
    banks = [Bank(), Bank()]
    done = await run(dealt([10], banks=banks, wheres=(None, Modulo(divisor=2))), Book(), batch_size=4, dry_run=True)
    assert [(one.name, one.records, one.place) for one in done.by_destination] == [("a", 9, None), ("b", 5, None)]
    assert (done.would_load, done.counts.rejected, done.counts.missing) == (14, 1, 14)
    assert [bank.log for bank in banks] == [[], []]


async def test_rows_of_one_destination_are_not_those_of_another() -> None:
    class Spoiling(BankWriter):
        async def write(self, batch):
            for record in batch.to_rows():
                record["spoilt"] = True
            return await super().write(batch)

    class SpoilingLoader(BankLoader):
        async def open(self, ctx):
            return Spoiling(self.bank, ctx)

    banks = [Bank(), Bank(), Bank()]
    made = dealt([5], banks=banks)
    items = made.loader.items
    made.loader = Destinations.of([replace(items[0], loader=SpoilingLoader(bank=banks[0])), *items[1:]])
    assert (await run(made, Book())).success
    assert [len(one) for bank in banks for one in bank.rows[:1]] == [2, 1, 1]


async def killed_between(banks, book, **options):
    """Run until the first destination has committed batch 3 and the second has not."""
    banks[1].faults["commit", 3] = KilledError()
    assert await run_killed(dealt([10] * 6, banks=banks), book, batch_size=10, **options) is None
    for bank in banks:
        bank.faults, bank.calls = {}, {}
    return following(book)


async def test_a_source_that_ends_before_what_a_destination_holds_is_refused() -> None:
    banks, book = [Bank(), Bank()], Book()
    book = await killed_between(banks, book)
    failed = await run(dealt([10, 10], banks=banks), book, batch_size=10)
    assert failed.error_type == "ResumeRefused"
    assert "it ends with batch 2, and destination a holds batch 3" in failed.error
    assert "finish" not in banks[0].calls


async def test_a_source_that_gives_another_batch_is_refused() -> None:
    banks, book = [Bank(), Bank()], Book()
    book = await killed_between(banks, book)
    failed = await run(dealt([10, 10, 4], banks=banks), book, batch_size=10)
    assert failed.error_type == "ResumeRefused"
    assert "batch 3 is another one now" in failed.error
    assert len(banks[1].rows) == 20


async def test_a_source_that_has_grown_since_goes_on_behind_what_is_there() -> None:
    banks, book = [Bank(), Bank()], Book()
    banks[1].faults["commit", 3] = KilledError()
    assert await run_killed(dealt([10, 10, 4], banks=banks), book, batch_size=10) is None
    banks[1].faults = {}
    done = await run(dealt([10, 10, 4, 20], banks=banks), following(book), batch_size=10)
    assert done.success, done.error
    assert [one["n"] for one in banks[0].rows] == [one["n"] for one in banks[1].rows] == list(range(44))


@pytest.mark.parametrize("forms", [("rows", "frame"), ("frame", "rows")])
async def test_refusals_are_told_once_whether_rows_were_encoded_before_or_not(forms) -> None:
    banks, book = [Bank(refuse=(24,)), Bank(refuse=(25,))], Book()
    banks[1].faults["commit", 3] = KilledError()
    killed = dealt([10] * 6, banks=banks, form=forms[0], encoding=True)
    assert await run_killed(killed, book, batch_size=10) is None
    banks[1].faults, banks[1].calls = {}, {}
    book = following(book)
    done = await run(dealt([10] * 6, banks=banks, form=forms[1], encoding=True), book, batch_size=10)
    assert done.status is RunStatus.partial, done.error
    assert {(one.step, one.message, one.raw["n"]) for one in book.letters} == {
        ("load.a", "no", 24), ("load.b", "no", 25),
    }  # fmt: skip
    assert [(one.records, one.rejected) for one in done.by_destination] == [(59, 1), (59, 1)]


async def test_a_destination_that_was_emptied_is_told() -> None:
    banks, book = [Bank(), Bank()], Book()
    book = await killed_between(banks, book)
    banks[0].token = None
    failed = await run(dealt([10] * 6, banks=banks), book, batch_size=10)
    assert failed.error_type == CheckpointError.__name__
    assert "destination a holds nothing of this run, and b holds batch 2" in failed.error


async def test_a_keeper_that_was_emptied_is_told() -> None:
    banks, book = [Bank(), Bank()], Book()
    book = await killed_between(banks, book)
    banks[1].token = None
    failed = await run(dealt([10] * 6, banks=banks), book, batch_size=10)
    assert failed.error_type == CheckpointError.__name__
    assert "destination b holds nothing of this run, and a holds batch 3" in failed.error


async def test_other_destinations_than_the_run_was_begun_with_are_refused() -> None:
    banks, book = [Bank(), Bank(), Bank()], Book()
    book = await killed_between(banks[:2], book)
    failed = await run(dealt([10] * 6, banks=banks), book, batch_size=10)
    assert failed.error_type == "ResumeRefused"
    assert "begun with the destinations a, b; the contract has a, b, c now" in failed.error


async def test_an_edited_contract_is_refused_when_only_the_first_batch_of_one_is_there() -> None:
    banks, book = [Bank(), Bank()], Book()
    banks[1].faults["commit", 1] = KilledError()
    assert await run_killed(dealt([10] * 3, banks=banks), book, batch_size=10) is None
    banks[1].faults = {}
    book = following(book)
    book.claim["edited"] = ("transform.yaml",)
    failed = await run(dealt([10] * 3, banks=banks), book, batch_size=10)
    assert failed.error_type == "ResumeRefused"
    assert "the contract was edited" in failed.error


async def test_a_new_run_is_refused_while_records_of_an_unfinished_one_can_be_seen() -> None:
    banks, book = [Bank(), Bank(visible=False)], Book()
    await killed_between(banks, book)
    new = Book(run_id="run_new", fence=5)
    failed = await run(dealt([10] * 6, banks=banks), new, batch_size=10)
    assert failed.error_type == "ResumeRefused"
    again = await run(dealt([10] * 6, banks=banks), Book(run_id="run_new", fence=5), batch_size=10, restart=True)
    assert again.success


async def test_an_older_lease_is_fenced_off() -> None:
    banks, book = [Bank(), Bank()], Book()
    await killed_between(banks, book)
    banks[0].token = replace(banks[0].token, fence=9)
    warned: list[str] = []
    book = following(book)
    done = await run(dealt([10] * 6, banks=banks), book, batch_size=10, warn=warned.append)
    assert done.success, done.error
    assert ("fence", 10) in book.events
    assert [one["n"] for one in banks[0].rows] == [one["n"] for one in banks[1].rows] == list(range(60))


class Volatile(Writer):
    """Keeps no tokens, and shows everything at the end."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.taken: list[Any] = []

    async def write(self, batch):
        self.bank.call("write")
        self.taken += batch.to_rows()
        return Receipt(len(batch))

    async def finish(self):
        self.bank.call("finish")
        self.bank.rows = self.taken
        return Published(("volatile",), len(self.taken))

    async def abort(self):
        self.taken = []


class VolatileLoader(Loader):
    bank: Any = None

    async def open(self, ctx):
        return Volatile(self.bank)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(("point", "number"), [("write", 3), ("commit", 3), ("finish", 1)])
@pytest.mark.parametrize("afterwards", [False, True])
async def test_beside_one_without_tokens_all_batches_are_done_again(place, point, number, afterwards) -> None:
    banks, plain, book = [Bank(refuse=(3,)), Bank(), Bank()], Bank(), Book()

    def made():
        the_plan = dealt([10] * 6, banks=banks, wheres=(None, Modulo(divisor=2)), bad=[5])
        items = list(the_plan.loader.items)
        items.insert(1, Destination("v", VolatileLoader(bank=plain)))
        the_plan.loader = Destinations.of(items)
        return the_plan

    (banks[place].after if afterwards else banks[place].faults)[point, number] = KilledError()
    assert await run_killed(made(), book, batch_size=10) is None
    for bank in banks:
        bank.after, bank.faults = {}, {}
    book = following(book)
    assert book.claim["checkpoint"].seq == 0
    done = await run(made(), book, batch_size=10)
    assert done.success, done.error
    good = [number for number in range(60) if number not in {5, 7}]
    assert [one["n"] for one in plain.rows] == good
    assert [one["n"] for one in banks[0].rows] == [number for number in good if number != 3]
    assert [one["n"] for one in banks[1].rows] == [number for number in good if number % 2 == 0]
    assert sorted(letter.step for letter in book.letters) == ["extract", "load", "load.a"]
    assert done.counts.balanced


async def test_a_destination_that_must_not_be_replaced_keeps_all_from_being_published() -> None:
    class Guarded(BankWriter):
        async def check(self):
            raise LimitError("refused to replace it")

    class GuardedLoader(BankLoader):
        async def open(self, ctx):
            return Guarded(self.bank, ctx)

    banks = [Bank(visible=False), Bank(visible=False)]
    made = dealt([10], banks=banks)
    made.loader = Destinations.of([made.loader.items[0], Destination("b", GuardedLoader(bank=banks[1]))])
    failed = await run(made, Book(), mode=ProcessingMode.full)
    assert failed.error_type == LimitError.__name__
    assert [bank.rows for bank in banks] == [[], []]


async def test_all_are_let_go_even_if_one_fails_to() -> None:
    class Stuck(BankWriter):
        async def suspend(self):
            raise FatalError("it is stuck")

    class StuckLoader(BankLoader):
        async def open(self, ctx):
            return Stuck(self.bank, ctx)

    banks, warned = [Bank(), Bank()], []
    banks[1].faults["write", 1] = FatalError("it broke")
    made = dealt([10], banks=banks)
    made.loader = Destinations.of([Destination("a", StuckLoader(bank=banks[0])), made.loader.items[1]])
    failed = await run(made, Book(), warn=warned.append)
    assert (failed.error, failed.failed_step) == ("it broke (in load.b, batch 1)", "load.b")
    assert "suspend" in banks[1].log
    assert any("it is stuck" in text for text in warned)
