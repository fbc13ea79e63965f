"""The engine end to end on scripted components: order, counts, cutting, limits, failures."""

from __future__ import annotations

import asyncio
import threading

import pytest
from scripted import (
    Backwards,
    Book,
    Boom,
    CountAll,
    DropEven,
    Keep,
    Kept,
    Once,
    Plan,
    RefuseTens,
    Scripted,
    Step,
    Twice,
    plan,
    settings,
)

from etlctl.contract.sections import DeadLetterBudget
from etlctl.engine.runner import Surroundings, execute
from etlctl.run import ProcessingMode, RunStatus


async def go(the_plan, book=None, **options):
    book = book or Book()
    return await execute(the_plan, settings(**options), Surroundings(open_ledger=lambda: book)), book


@pytest.mark.parametrize("form", ["rows", "frame"])
@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 1000])
async def test_batches_have_the_asked_size_and_order(form, batch_size):
    kept = Kept()
    result, _ = await go(plan([4, 0, 9, 1, 20], kept=kept, form=form), batch_size=batch_size)
    assert [record["n"] for record in kept.records] == list(range(34))
    sizes = [len(batch) for batch in kept.batches]
    assert all(size == batch_size for size in sizes[:-1])
    assert 0 < sizes[-1] <= batch_size
    assert [batch.seq for batch in kept.batches] == list(range(1, len(sizes) + 1))
    assert kept.published
    assert result.counts.to_dict() == {
        "extracted": 34, "added": 0, "filtered": 0, "rejected": 0, "deduplicated": 0, "loaded": 34,
    }  # fmt: skip
    assert result.status is RunStatus.succeeded


@pytest.mark.parametrize("form", ["rows", "frame"])
@pytest.mark.parametrize("batch_size", [1, 4, 6, 100])
async def test_every_batch_position_resumes_to_exactly_the_rest(form, batch_size):
    kept = Kept()
    operations = [DropEven(), RefuseTens(), Twice()]
    whole, book = await go(
        plan([5, 11, 0, 7, 13], operations, kept=kept, form=form, bad=[6, 17]), batch_size=batch_size
    )
    assert whole.counts.balanced
    for done in range(len(kept.batches)):
        rest, rest_book = Kept(), Book()
        again = plan([5, 11, 0, 7, 13], operations, kept=rest, form=form, bad=[6, 17])
        position = kept.batches[done].position
        await go(again, rest_book, batch_size=batch_size, position=position)
        head = [record for batch in kept.batches[: done + 1] for record in batch.to_rows()]
        assert head + rest.records == kept.records
        head_letters = [letter.raw for letter in book.letters if letter.seq <= done + 1]
        assert head_letters + [letter.raw for letter in rest_book.letters] == [letter.raw for letter in book.letters]


@pytest.mark.parametrize("form", ["rows", "frame"])
async def test_counts_balance_step_by_step(form):
    kept = Kept()
    result, book = await go(
        plan([10, 10, 10], [RefuseTens(), DropEven(), Twice()], kept=kept, form=form, bad=[3, 29]), batch_size=8
    )
    by_name = {step.name: step for step in result.steps}
    assert by_name["extract"].rejected == 2
    assert by_name["transform[0].RefuseTens"].rejected == 3
    assert by_name["transform[1].DropEven"].filtered == 12
    assert by_name["transform[2].Twice"].added == 13
    assert result.counts.loaded == 26
    assert result.counts.rejected == 5
    assert all(step.balanced for step in result.steps)
    raws = [letter.raw for letter in book.letters]
    assert sorted(map(str, raws)) == sorted(["raw 3", "raw 29", "{'n': 0}", "{'n': 10}", "{'n': 20}"])
    ten = next(letter for letter in book.letters if letter.raw == {"n": 10})
    assert (ten.rule, ten.field, ten.location, ten.seq, ten.index) == ("test.ten", "n", "src:10", 2, 2)
    assert result.status is RunStatus.partial
    assert result.exit_code == 4


async def test_rows_and_frame_give_the_same():
    outcomes = []
    for form in ("rows", "frame"):
        kept, book = Kept(), Book()
        await go(plan([30, 30], [RefuseTens(), DropEven()], kept=kept, form=form), book, batch_size=7)
        outcomes.append((kept.records, [(one.seq, one.index, one.rule, one.raw) for one in book.letters]))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("form", ["rows", "frame"])
async def test_screening_sees_the_whole_run(form):
    kept = Kept()
    result, _ = await go(plan([5, 5], [Once()], kept=kept, form=form), batch_size=3)
    assert [record["n"] for record in kept.records] == [0, 1, 2, 3, 4, 5, 6]
    assert result.counts.rejected == 3


@pytest.mark.parametrize(("mode", "seen"), [(ProcessingMode.full, {10}), (ProcessingMode.streaming, {4, 2})])
async def test_batch_scope_sees_one_batch_or_everything(mode, seen):
    kept = Kept()
    result, _ = await go(plan([3, 7], [DropEven(), Twice(), CountAll()], kept=kept, bad=[]), batch_size=4, mode=mode)
    assert {record["seen"] for record in kept.records} == seen
    assert result.counts.loaded == 10


@pytest.mark.parametrize("mode", [ProcessingMode.full, ProcessingMode.streaming])
async def test_a_batch_step_may_reorder_and_later_refusals_still_name_their_source(mode):
    kept = Kept()
    result, book = await go(plan([12], [Backwards(), RefuseTens()], kept=kept), batch_size=5, mode=mode)
    assert result.counts.balanced
    expected = [*range(10, -1, -1)] if mode is ProcessingMode.full else [3, 2, 1, 0, 8, 7, 6, 5, 10]
    assert [record["n"] for record in kept.records] == [n for n in expected if n % 10]
    assert [letter.raw["n"] for letter in book.letters] == [n for n in (0, 10) if n in expected]
    assert all(letter.message.startswith(f"{letter.raw['n']} ") for letter in book.letters)
    assert all((letter.seq - 1) * 5 + letter.index == letter.raw["n"] for letter in book.letters)


async def test_batch_scope_positions_resume():
    kept = Kept()
    await go(plan([3, 7, 5], [CountAll()], kept=kept), batch_size=4, mode=ProcessingMode.streaming)
    for done in range(len(kept.batches)):
        rest = Kept()
        again = plan([3, 7, 5], [CountAll()], kept=rest)
        await go(again, batch_size=4, mode=ProcessingMode.streaming, position=kept.batches[done].position)
        assert kept.records[: 4 * (done + 1)] + rest.records == kept.records


@pytest.mark.parametrize("limit", [0, 1, 9, 10, 11, 500])
async def test_max_records_counts_source_records(limit):
    kept = Kept()
    result, _ = await go(plan([4, 8, 8], kept=kept, bad=[2]), batch_size=6, max_records=limit)
    expected = min(limit, 20)
    assert result.counts.extracted == expected
    assert [record["n"] for record in kept.records] == [n for n in range(expected) if n != 2]


async def test_refusals_of_the_destination_are_dead_letters():
    kept = Kept()
    result, book = await go(plan([5], kept=kept, refuse=(2,)))
    assert result.counts.to_dict()["loaded"] == 4
    assert [letter.stage for letter in book.letters] == ["load"]
    assert result.status is RunStatus.partial


@pytest.mark.parametrize("encoding", [True, False])
@pytest.mark.parametrize("batch_size", [2, 5, 100])
async def test_refusals_of_the_destination_carry_the_source_record(encoding, batch_size):
    kept = Kept()
    chain = [RefuseTens(), DropEven(), Twice()]
    result, book = await go(
        plan([8, 0, 4], chain, kept=kept, refuse=(3, 9), bad=[1], encoding=encoding), batch_size=batch_size
    )
    late = [letter for letter in book.letters if letter.stage == "load"]
    assert [(letter.raw, letter.location) for letter in late] == [({"n": 3}, "src:3")] * 2 + [({"n": 9}, "src:9")] * 2
    assert [(letter.seq - 1) * batch_size + letter.index for letter in late] == [3, 3, 9, 9]
    assert [letter.part for letter in late] == [0, 1, 0, 1]
    assert result.counts.balanced
    assert result.counts.loaded == 6
    if encoding:
        written = [text for batch in kept.batches for part in batch.encoded for text in part.payload]
        assert written == ["5", "5", "7", "7", "11", "11"]


async def test_dry_run_writes_nothing():
    kept = Kept()
    result, _ = await go(plan([5], [DropEven()], kept=kept), dry_run=True)
    assert (kept.batches, kept.published, result.counts.loaded, result.would_load) == ([], False, 0, 2)


@pytest.mark.parametrize("form", ["rows", "frame"])
async def test_a_failing_source_publishes_nothing(form):
    kept = Kept()
    result, book = await go(_broken(kept, form), batch_size=5)
    assert result.status is RunStatus.failed
    assert "the source broke (in extract)" in result.error
    assert kept.aborted
    assert not kept.published
    assert book.result is result


def _broken(kept, form):
    return Plan(Scripted(sizes=[5, 5, 5], form=form, fail_at=2), [], Keep(kept=kept))


async def test_a_failing_step_names_itself_and_keeps_the_type():
    kept = Kept()
    result, _ = await go(Plan(Scripted(sizes=[5]), [Step("transform.boom", Boom())], Keep(kept=kept)))
    assert result.error_type == "KeyError"
    assert "zap" in result.error
    assert "transform.boom" in result.error
    assert kept.aborted


async def test_a_failing_destination_names_the_batch():
    kept = Kept()
    result, _ = await go(Plan(Scripted(sizes=[2] * 50), [], Keep(kept=kept, fail_at=3)), batch_size=2)
    assert "the disk is gone (in load, batch 3)" in result.error
    assert result.counts.loaded == 4
    assert kept.aborted


async def test_a_broken_ledger_stops_before_the_first_write():
    kept = Kept()

    def broken():
        raise OSError("no ledger")

    result = await execute(plan([5], kept=kept), settings(), Surroundings(open_ledger=broken))
    assert result.status is RunStatus.failed
    assert "no ledger" in result.error
    assert kept.batches == []


async def test_budget_stops_the_run_with_exit_5():
    kept = Kept()
    budget = DeadLetterBudget(max=1)
    result, _ = await go(plan([50] * 4, [RefuseTens()], kept=kept), batch_size=50, budget=budget)
    assert (result.status, result.exit_code, kept.published) == (RunStatus.failed, 5, False)
    result, _ = await go(plan([50], [RefuseTens()], kept=Kept()), budget=DeadLetterBudget(max=5))
    assert (result.status, result.exit_code) == (RunStatus.succeeded, 0)


async def test_budget_share_is_judged_at_the_end():
    result, _ = await go(plan([50], [RefuseTens()]), budget=DeadLetterBudget(max_percent=9.9))
    assert result.exit_code == 5
    result, _ = await go(plan([50], [RefuseTens()]), budget=DeadLetterBudget(max_percent=10))
    assert result.exit_code == 0


async def test_progress_events_and_a_callback_that_raises():
    events, warnings = [], []
    the_plan = plan([10] * 10)
    around = Surroundings(progress=events.append)
    await execute(the_plan, settings(batch_size=10), around)
    for stage in ("extract", "transform", "load"):
        mine = [event for event in events if event.stage == stage]
        assert len(mine) == 10
        assert (mine[-1].batch_num, mine[-1].records_processed) == (10, 100)

    def bad(event):
        raise RuntimeError("no")

    result = await execute(plan([10]), settings(), Surroundings(progress=bad, warn=warnings.append))
    assert result.success
    assert len(warnings) == 1


async def test_cancellation_aborts_and_is_recorded():
    kept, book = Kept(), Book()

    class Slow(Scripted):
        async def read(self, ctx):
            async for batch in super().read(ctx):
                yield batch
                await asyncio.sleep(30)

    the_plan = Plan(Slow(sizes=[5, 5]), [], Keep(kept=kept))
    task = asyncio.create_task(go(the_plan, book, batch_size=5))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kept.aborted
    assert not kept.published
    assert book.result.status is RunStatus.canceled


async def test_the_event_loop_stays_free_while_steps_compute():
    seen = []

    class Where(DropEven):
        def rows(self, rows, ctx):
            seen.append(threading.current_thread())

    await go(plan([5], [Where()]))
    assert seen
    assert threading.main_thread() not in seen


async def test_nothing_read_still_publishes():
    kept = Kept()
    result, _ = await go(plan([], kept=kept))
    assert kept.published
    assert result.counts.extracted == 0
    assert result.status is RunStatus.succeeded


async def test_a_run_that_would_write_where_it_reads_is_refused(tmp_path):
    source = tmp_path / "in.csv"

    class Reads(Scripted):
        def places(self, base_dir):
            return (source,)

    class Writes(Keep):
        to: str = ""

        def places(self, base_dir):
            return (tmp_path / self.to,)

    for to, refused in (("in.csv", True), ("", True), ("out.csv", False)):
        kept = Kept()
        result, _ = await go(Plan(Reads(sizes=[3]), [], Writes(kept=kept, to=to)))
        assert ("would write where it reads" in (result.error or "")) is refused
        assert kept.published is not refused
