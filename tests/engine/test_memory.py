"""The memory budget: less is read at once, reading waits when memory is scarce, and past the limit a holder is named."""

from __future__ import annotations

import asyncio

import pytest
from scripted import Book, CountAll, Keep, Kept, Plan, Scripted, Step, settings

from etlctl.batch import Batch
from etlctl.engine import progress
from etlctl.engine.memory import MemoryBudget, size_of
from etlctl.engine.runner import Surroundings, execute
from etlctl.errors import LimitError
from etlctl.run import ProcessingMode

MIB = 1 << 20


class Watched(Scripted):
    """Counts how many chunks are read ahead of what is loaded."""

    kept: object = None
    ahead: object = None

    async def read(self, ctx):
        given = 0
        async for batch in super().read(ctx):
            given += 1
            self.ahead.append(given - len(self.kept.batches))
            yield batch
            await asyncio.sleep(0)


class Slow(Keep):
    async def open(self, ctx):
        writer = await super().open(ctx)
        plain = writer.write

        async def write(batch):
            await asyncio.sleep(0.01)
            return await plain(batch)

        writer.write = write
        return writer


async def ahead_of(monkeypatch, used_mb: int, limit: int | None) -> int:
    monkeypatch.setattr(progress, "resident_bytes", lambda: used_mb * MIB)
    kept, ahead = Kept(), []
    plan = Plan(Watched(sizes=[5] * 20, kept=kept, ahead=ahead), [], Slow(kept=kept))
    around = Surroundings(open_ledger=Book)
    result = await execute(
        plan, settings(batch_size=5, max_memory_mb=limit, queue_depth=8, mode=ProcessingMode.hybrid), around
    )
    assert result.success, result.error
    assert len(kept.records) == 100
    return max(ahead)


async def test_reading_waits_for_the_other_stages_when_memory_is_scarce(monkeypatch):
    assert await ahead_of(monkeypatch, 500, None) > 3
    assert await ahead_of(monkeypatch, 90, 100) == 1
    assert await ahead_of(monkeypatch, 50, 100) > 1


async def test_past_the_limit_the_step_that_holds_everything_is_named(monkeypatch):
    monkeypatch.setattr(progress, "resident_bytes", lambda: 2 * MIB)
    steps = [Step("transform[0].count", CountAll())]
    plan = Plan(Scripted(sizes=[5000] * 4), steps, Keep(kept=Kept()))
    result = await execute(plan, settings(batch_size=5000, max_memory_mb=1), Surroundings(open_ledger=Book))
    assert result.exit_code == 5
    assert "over its limit of 1 MiB (max_memory_mb), after batch 1" in result.error
    assert "lower batch_size" in result.error_help


def test_what_holds_most_is_named():
    budget = MemoryBudget(10, lambda: 20.0)
    budget.watch("the small one", lambda: MIB)
    budget.watch("the large one", lambda: 15 * MIB)
    with pytest.raises(LimitError, match=r"the largest part is the large one, about 15 MiB$"):
        budget.check("after batch 3")


def test_a_small_budget_reads_less_at_once():
    assert MemoryBudget(None, lambda: 0).chunk_bytes(8 * MIB) == 8 * MIB
    assert MemoryBudget(256, lambda: 0).chunk_bytes(8 * MIB) == 4 * MIB
    assert MemoryBudget(1, lambda: 0).chunk_bytes(8 * MIB) == 256 << 10
    assert (MemoryBudget(256, lambda: 0).depth(8), MemoryBudget(None, lambda: 0).depth(8)) == (1, 8)


def test_sizes_are_about_right():
    rows = Batch.of_rows([{"text": "x" * 1000, "n": i} for i in range(1000)], {})
    assert MIB < size_of(rows) < 2 * MIB
    assert size_of(Batch.of_rows([], {})) == 0
