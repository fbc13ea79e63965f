"""What one evaluation may use: time, depth, items and characters; a hostile expression ends as an error."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Final

from etlctl.jsonata.values import JsonataError


@dataclass(slots=True)
class Budget:
    """What is left for the evaluation that runs in this context.

    Attributes:
        deadline: ``time.monotonic()`` value after which ``check`` fails; infinity for never.
        depth: How deep calls may nest.
        items: Most items one array may have.
        characters: Most characters one text may have.
        spent: Turns of loops since the last look at the clock.
        now: The evaluation's clock in milliseconds since the epoch, for ``$now``, ``$millis`` and dates without a year;
            None for the time of day.
    """

    deadline: float = inf
    depth: int = 200
    items: int = 10_000_000
    characters: int = 50_000_000
    spent: int = 0
    now: int | None = None

    def check(self) -> None:
        """Fail with D1012 when the time is over."""
        if monotonic() > self.deadline:
            raise timed_out()

    def spend(self, count: int) -> None:
        """Take note of so many turns of a loop that is about to run; look at the clock when it is time to."""
        self.spent += count + 1
        if self.spent > 20_000:
            self.spent = 0
            self.check()

    def seconds_left(self) -> float | None:
        """Return the seconds left, at least a millisecond; None when there is no deadline."""
        return None if self.deadline == inf else max(0.001, self.deadline - monotonic())

    def check_items(self, count: int) -> None:
        """Fail with D2015 when an array would have more than ``items`` items."""
        if count > self.items:
            msg = f"an array of {count} items is longer than the limit of {self.items}"
            raise JsonataError(msg, "D2015")

    def check_characters(self, count: int) -> None:
        """Fail with D1001 when a text would have more than ``characters`` characters."""
        if count > self.characters:
            msg = f"a text of {count} characters is longer than the limit of {self.characters}"
            raise JsonataError(msg, "D1001")


def timed_out() -> JsonataError:
    """Return the error of an evaluation that ran out of time."""
    return JsonataError("the evaluation took longer than its time limit; look for a loop that does not end", "D1012")


BUDGET: Final[ContextVar[Budget]] = ContextVar("etlctl_jsonata_budget", default=Budget())  # noqa: B039 - for all
"""The budget of the evaluation that runs in this context; without one only the sizes are limited."""
