"""A run that stopped anywhere and is resumed gives what an uninterrupted one gives: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from banking import Bank, BankLoader
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scripted import Backwards, Book, DropEven, Plan, RefuseTens, Scripted, Step, Twice, settings

from etlctl.checkpoint import Checkpoint
from etlctl.clock import SystemClock
from etlctl.contract.unique_check import UniqueCheck
from etlctl.engine.options import Recovery
from etlctl.engine.retrying import Retrying
from etlctl.engine.runner import Surroundings, execute
from etlctl.engine.services import StopRequest
from etlctl.errors import FatalError, RetryableError, RunBusyError
from etlctl.run import ProcessingMode, RunStatus

STREAMING = ProcessingMode.streaming


def banked(sizes, operations=(), *, bank, form="rows", bad=()):
    steps = [Step(f"transform[{i}].{type(op).__name__}", op) for i, op in enumerate(operations)]
    return Plan(Scripted(sizes=sizes, form=form, bad=tuple(bad)), steps, BankLoader(bank=bank))


def checkpoint_of(book, **values):
    token = book.tokens[-1] if book.tokens else None
    known = {"seq": token.seq, "position": token.position, "account": token.account} if token else {}
    return Checkpoint(
        id="run_test", run_id="run_test", stream="scripted", contract="scripted", contract_path="x",
        started_at=datetime.now(UTC), mode=book.mode, **{**known, **values},
    )  # fmt: skip


async def run(the_plan, book, *, stop=None, warn=lambda _text: None, **options):
    options.setdefault("mode", STREAMING)
    options.setdefault("checkpoint_id", "run_test")
    resumed = book.claim["checkpoint"] is not None
    book.mode = str(options["mode"])
    around = Surroundings(open_ledger=lambda: book, stop=stop, warn=warn)
    return await execute(the_plan, settings(claim_first=resumed, run_id=book.claim["run_id"], **options), around)


def numbers(bank):
    return [record["n"] for record in bank.rows]


def following(book):
    """The ledger at the next attempt: it has kept the dead letters and the checkpoint."""
    after = Book(checkpoint_of(book), fence=book.claim["fence"] + 1, attempt=2)
    after.letters = list(book.letters)
    return after


POINTS = ["write", "commit", "finish"]


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    batch=st.integers(1, 12),
    crashes=st.lists(st.tuples(st.sampled_from(POINTS), st.integers(1, 8), st.booleans()), min_size=1, max_size=4),
    form=st.sampled_from(["rows", "frame"]),
    mode=st.sampled_from(list(ProcessingMode)),
    visible=st.booleans(),
    lazy=st.integers(1, 3),
    steps=st.sampled_from(["none", "some", "unique", "whole"]),
)
def test_crash_anywhere_then_resume_is_an_uninterrupted_run(
    sizes, batch, crashes, form, mode, visible, lazy, steps
) -> None:
    operations = {
        "none": [],
        "some": [RefuseTens(), DropEven(), Twice()],
        "unique": [Twice(), UniqueCheck(fields={"n": "reject"})],
        "whole": [Backwards(), DropEven()],
    }[steps]
    if steps == "whole" and mode is ProcessingMode.full:
        visible = False  # full mode publishes once: nothing can be seen before
    options = {"batch_size": batch, "mode": mode}

    async def all_of_it():
        straight, plain = Bank(refuse=(3,)), Book()
        wanted = await run(banked(sizes, operations, bank=straight, form=form, bad=[5]), plain, **options)
        bank, book, killed = Bank(refuse=(3,), visible=visible, lazy=lazy), Book(), None
        for point, number, afterwards in crashes:
            bank.calls = {}
            (bank.after if afterwards else bank.faults)[point, number] = KilledError()
            killed = await run_killed(banked(sizes, operations, bank=bank, form=form, bad=[5]), book, **options)
            bank.after, bank.faults = {}, {}
            if killed is not None:
                break
            book = following(book)
        result = killed or await run(banked(sizes, operations, bank=bank, form=form, bad=[5]), book, **options)
        return straight, plain, wanted, bank, book, result

    straight, plain, wanted, bank, book, result = asyncio.run(all_of_it())
    assert result.status is wanted.status, result.error
    assert bank.rows == straight.rows
    assert [letter.id for letter in book.letters] == [letter.id for letter in plain.letters]
    assert [letter.raw for letter in book.letters] == [letter.raw for letter in plain.letters]
    assert result.counts == wanted.counts
    assert result.batches == wanted.batches
    # How a step ran may differ: the rest of a chunk is another chunk.
    mine = [{**step.to_dict(), "seconds": 0, "form": ""} for step in result.steps]
    assert mine == [{**step.to_dict(), "seconds": 0, "form": ""} for step in wanted.steps]


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    batches=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    form=st.sampled_from(["rows", "frame"]),
    unique=st.booleans(),
)
def test_attempts_may_have_other_batch_sizes(sizes, batches, form, unique) -> None:
    operations = [Twice(), UniqueCheck(fields={"n": "reject"})] if unique else [RefuseTens(), DropEven()]

    async def all_of_it():
        straight, plain = Bank(refuse=(3,)), Book()
        wanted = await run(banked(sizes, operations, bank=straight, form=form, bad=[5]), plain, batch_size=4)
        bank, book, result = Bank(refuse=(3,)), Book(), None
        for batch in batches:
            bank.calls = {}
            bank.after["commit", 2] = KilledError()
            the_plan = banked(sizes, operations, bank=bank, form=form, bad=[5])
            result = await run_killed(the_plan, book, batch_size=batch)
            bank.after = {}
            if result is not None:
                break
            book = following(book)
        if result is None:
            result = await run(banked(sizes, operations, bank=bank, form=form, bad=[5]), book, batch_size=3)
        return straight, plain, wanted, bank, book, result

    straight, plain, wanted, bank, book, result = asyncio.run(all_of_it())
    assert result.status is wanted.status, result.error
    assert bank.rows == straight.rows
    # Ordinals are those of the batches; letters of one batch are kept stage by stage.
    assert sorted(str(letter.raw) for letter in book.letters) == sorted(str(letter.raw) for letter in plain.letters)
    assert result.counts == wanted.counts


class KilledError(BaseException):
    """Stands for a kill: no handler of the engine gets to say anything to the ledger."""


async def run_killed(the_plan, book, **options):
    """Run until killed; None then. Whatever the engine does on its way out must not matter: it is not told to the ledger."""
    try:
        return await run(the_plan, book, **options)
    except KilledError:
        return None


async def test_a_graceful_failure_can_be_resumed_from_the_last_batch():
    bank, book = Bank(lazy=100), Book()
    bank.faults["write", 4] = FatalError("the server is gone")
    failed = await run(banked([10] * 10, bank=bank), book, batch_size=10)
    assert failed.status is RunStatus.failed
    assert failed.resume_command == "etlctl resume --checkpoint run_test"
    assert bank.token is None, "a batch that failed half-way must not be committed by the clean-up"
    bank, book = Bank(lazy=100), Book()
    result = await run(banked([10] * 10, bank=bank), book, batch_size=10, budget=None)
    assert result.success
    assert numbers(bank) == list(range(100))


async def test_a_source_that_fails_leaves_what_was_loaded_durable():
    bank, book = Bank(lazy=100), Book()
    source = banked([10] * 10, bank=bank)
    source.extractor = Scripted(sizes=[10] * 10, fail_at=5)
    failed = await run(source, book, batch_size=10)
    assert "the source broke" in failed.error
    assert bank.token is not None
    assert book.tokens[-1].seq == bank.token.seq
    done = await run(banked([10] * 10, bank=bank), following(book), batch_size=10)
    assert done.success
    assert numbers(bank) == list(range(100))


async def test_a_stop_request_finishes_the_batch_in_hand():
    bank, book, stop = Bank(), Book(), StopRequest()

    class Stopping(BankLoader):
        async def open(self, ctx):
            writer = await super().open(ctx)
            plain = writer.write

            async def write(batch):
                if batch.seq == 3:
                    stop.request("SIGTERM", 143)
                    await asyncio.sleep(0.05)
                return await plain(batch)

            writer.write = write
            return writer

    the_plan = banked([10] * 10, bank=bank)
    the_plan.loader = Stopping(bank=bank)
    result = await run(the_plan, book, batch_size=10, stop=stop)
    assert (result.status, result.exit_code) == (RunStatus.canceled, 143)
    assert "SIGTERM after batch 3" in result.error
    assert numbers(bank) == list(range(30))
    assert bank.token.seq == book.tokens[-1].seq == 3
    done = await run(banked([10] * 10, bank=bank), following(book), batch_size=10)
    assert done.success
    assert numbers(bank) == list(range(100))


async def test_a_run_that_had_published_is_only_recorded():
    bank, book = Bank(), Book()
    bank.after["finish", 1] = FatalError("the machine died")
    await run(banked([10, 10], bank=bank), book, batch_size=10)
    assert bank.token.finished
    done = await run(banked([10, 10], bank=bank), following(book), batch_size=10)
    assert done.success
    assert done.counts.loaded == 20
    assert numbers(bank) == list(range(20))


async def test_the_destination_is_believed_when_it_is_ahead_and_refused_when_it_is_behind():
    bank, book = Bank(), Book()
    bank.faults["write", 4] = FatalError("gone")
    await run(banked([10] * 6, bank=bank), book, batch_size=10)
    behind = Book(checkpoint_of(book, seq=1, position=None, account={}), fence=2)
    done = await run(banked([10] * 6, bank=bank), behind, batch_size=10)
    assert done.success
    assert numbers(bank) == list(range(60))
    bank, book = Bank(), Book()
    ahead = Book(checkpoint_of(book, seq=4, position={"at": {"next": 4}, "skip": 0}), fence=2)
    lost = await run(banked([10] * 6, bank=bank), ahead, batch_size=10)
    assert lost.exit_code == 7
    assert "holds nothing of this run" in lost.error
    assert bank.rows == []


async def test_a_new_run_does_not_double_what_an_unfinished_one_left():
    bank, book = Bank(), Book()
    bank.faults["write", 3] = FatalError("gone")
    await run(banked([10] * 5, bank=bank), book, batch_size=10)
    other = Book(run_id="run_other", fence=2)
    refused = await run(banked([10] * 5, bank=bank), other, batch_size=10)
    assert refused.exit_code == 7
    assert "resume --checkpoint run_test" in refused.error_help
    assert numbers(bank) == list(range(20))
    allowed = await run(banked([10] * 5, bank=bank), Book(run_id="run_other", fence=3), batch_size=10, restart=True)
    assert allowed.success
    assert len(bank.rows) == 70


async def test_a_newer_fence_in_the_destination_raises_ours():
    bank, book = Bank(), Book(fence=1)
    await run(banked([10], bank=bank), Book(fence=7), batch_size=10)
    said = []
    result = await run(banked([10], bank=bank), book, batch_size=10, warn=said.append)
    assert result.success
    assert ("fence", 8) in book.events
    assert "the ledger was replaced or restored" in said[0]


@pytest.mark.parametrize("point", ["write", "commit"])
async def test_the_same_batch_is_tried_again(point):
    bank, book, said = Bank(), Book(), []
    bank.faults[point, 3] = RetryableError("connection reset")
    recovery = Recovery(backoff=0.01)
    result = await run(banked([10] * 10, bank=bank, bad=[22]), book, batch_size=10, recovery=recovery, warn=said.append)
    assert result.status is RunStatus.partial
    assert numbers(bank) == [n for n in range(100) if n != 22]
    assert [(one.name, one.batch, one.error) for one in book.attempts] == [
        ("load", 3, "connection reset (in load, batch 3)")
    ]
    assert len(said) == 1


async def test_a_commit_of_unknown_outcome_is_decided_by_the_token():
    bank, book = Bank(), Book()
    bank.after["commit", 3] = RetryableError("the connection was lost on COMMIT")
    result = await run(banked([10] * 5, bank=bank), book, batch_size=10, recovery=Recovery(backoff=0))
    assert result.success
    assert numbers(bank) == list(range(50))
    assert bank.calls["write"] == 5


async def test_failures_of_unknown_kind_are_retried_only_when_asked():
    for retries, success in ((None, False), (3, True)):
        bank = Bank()
        bank.faults["write", 3] = ValueError("odd")
        recovery = Recovery(max_retries=retries, backoff=0)
        result = await run(banked([10] * 10, bank=bank), Book(), batch_size=10, recovery=recovery)
        assert result.success is success


async def test_backoff_grows_and_the_attempts_are_counted():
    slept, book = [], []

    async def sleep(seconds):
        slept.append(seconds)

    async def record(attempt):
        book.append(attempt)

    async def always():
        raise RetryableError("always")

    again = Retrying(Recovery(max_retries=3, backoff=2), record, lambda _text: None, SystemClock(), sleep=sleep)
    with pytest.raises(RetryableError):
        await again.call(always, step="transform")
    assert len(book) == 3, "the fourth ends the run and is recorded with it"
    assert [int(seconds) for seconds in slept] == [2, 4, 6]
    assert all(2 * n <= seconds <= 2.2 * n for n, seconds in enumerate(slept, start=1))


@pytest.mark.parametrize(("threshold", "success"), [(0.1, False), (0.2, True)])
async def test_a_batch_that_fails_for_good_goes_to_the_dead_letters(threshold, success):
    bank, book = Bank(), Book()
    for number in range(10, 13):
        bank.faults["write", number] = RetryableError("always")
    recovery = Recovery(max_retries=2, backoff=0, error_threshold=threshold)
    result = await run(banked([10] * 10, bank=bank, form="frame"), book, batch_size=10, recovery=recovery)
    assert result.counts.balanced
    assert result.counts.rejected == 10
    assert [letter.raw["n"] for letter in book.letters] == list(range(90, 100))
    assert {letter.rule for letter in book.letters} == {"load.batch_failed"}
    assert numbers(bank) == list(range(90))
    assert result.success is success
    assert success or result.exit_code == 5


async def test_too_many_failed_batches_end_the_run():
    bank = Bank()
    for number in range(1, 100):
        bank.faults["write", number] = RetryableError("always") if number % 2 else RetryableError("again")
    recovery = Recovery(max_retries=0, error_threshold=0.5)
    result = await run(banked([10] * 10, bank=bank), Book(), batch_size=10, recovery=recovery)
    assert result.exit_code in {1, 5}
    assert result.batches <= 4


async def test_an_empty_source_is_a_success_whatever_the_threshold():
    result = await run(banked([], bank=Bank()), Book(), recovery=Recovery(error_threshold=0.1))
    assert result.success


async def test_a_source_is_read_on_after_a_failure_that_may_pass():
    fails = {3: RetryableError("timeout"), 7: ConnectionError("reset")}

    class Flaky(Scripted):
        async def read(self, ctx):
            begin = ctx.position["next"] if ctx.position else 0
            async for batch in super().read(ctx):
                error = fails.pop(begin, None)
                if error is not None:
                    raise error
                begin += 1
                yield batch

    bank, book = Bank(), Book()
    the_plan = banked([5] * 10, bank=bank)
    the_plan.extractor = Flaky(sizes=[5] * 10)
    result = await run(the_plan, book, batch_size=7, recovery=Recovery(backoff=0))
    assert result.success, result.error
    assert numbers(bank) == list(range(50))
    assert [one.name for one in book.attempts] == ["extract", "extract"]


async def test_a_busy_stream_opens_nothing():
    class Busy(Book):
        def begin(self, started_at):
            raise RunBusyError("run_x holds it")

    bank = Bank()
    result = await run(banked([5], bank=bank), Busy())
    assert (result.exit_code, result.resume_command) == (75, None)
    assert bank.log == []
