"""However a run ends, its steps are closed: once, and after their last call."""

from __future__ import annotations

import pytest
from scripted import Book, Boom, plan, settings

from etlctl.engine.runner import Surroundings, execute
from etlctl.sdk import Operation, RowSlice

LOG: list[str] = []


class Holds(Operation):
    """Notes when it is called and when it is closed."""

    fails: bool = False

    def rows(self, rows: RowSlice, ctx):
        LOG.append("rows")

    def close(self):
        LOG.append("close")
        if self.fails:
            raise OSError("stuck")


@pytest.mark.parametrize("others", [[], [Boom()]])
async def test_steps_are_closed(others):
    LOG.clear()
    book = Book()
    await execute(plan([3, 3], [Holds(), *others]), settings(), Surroundings(open_ledger=lambda: book))
    assert LOG.count("close") == 1
    assert LOG[-1] == "close"
    assert "rows" in LOG


async def test_a_step_that_cannot_be_closed_does_not_matter_any_more():
    LOG.clear()
    book, warned = Book(), []
    around = Surroundings(open_ledger=lambda: book, warn=warned.append)
    result = await execute(plan([3], [Holds(fails=True), Holds()]), settings(), around)
    assert result.success
    assert LOG.count("close") == 2
    assert warned == ["transform[0].Holds was not closed cleanly: OSError: stuck"]
