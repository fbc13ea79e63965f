"""What one evaluation may use: time, depth, items and characters; a hostile expression ends as an error."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Final

from etlctl.jsonata.memory import held
from etlctl.jsonata.values import JsonataError

_GLANCE: Final = 0.01
"""Seconds between two looks at the memory."""
_LARGE: Final = 1_000_000
"""Items or characters made at once that are worth a look at the clock and the memory."""


@dataclass(slots=True)
class Budget:
    """What is left for the evaluation that runs in this context.

    Attributes:
        deadline: ``time.monotonic()`` value after which ``check`` fails; infinity for never.
        depth: How deep calls may nest.
        items: Most items one array may have.
        characters: Most characters one text may have.
        memory: Most bytes the process may grow by in one evaluation; infinity for any number.
        spent: Turns of loops since the last look at the clock.
        now: The evaluation's clock in milliseconds since the epoch, for ``$now``, ``$millis`` and dates without a year;
            None for the time of day.
        before: Bytes the process held when this evaluation was first looked at; 0 until then.
        glance: ``time.monotonic()`` value of the next look at the memory.
    """

    deadline: float = inf
    depth: int = 200
    items: int = 10_000_000
    characters: int = 50_000_000
    memory: float = inf
    spent: int = 0
    now: int | None = None
    before: int = 0
    glance: float = 0.0

    def begin(self, seconds: float) -> None:
        """Begin an evaluation that may take so many seconds."""
        self.deadline = monotonic() + seconds
        self.spent = self.before = 0

    def check(self) -> None:
        """Fail with D1012 when the time is over, with D2015 when the process has grown by too much."""
        now = monotonic()
        if now > self.deadline:
            raise timed_out()
        if now > self.glance and self.memory != inf:
            self._weigh(now)

    def _weigh(self, now: float) -> None:
        self.glance = now + _GLANCE
        bytes_ = held()
        if not self.before:
            self.before = bytes_
        elif bytes_ - self.before > self.memory:
            text = f"the evaluation needs more than {int(self.memory) >> 20} MiB of memory; let it make less at a time"
            raise JsonataError(text, "D2015")

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
        if count > _LARGE:
            self.check()

    def check_characters(self, count: int) -> None:
        """Fail with D1001 when a text would have more than ``characters`` characters."""
        if count > self.characters:
            msg = f"a text of {count} characters is longer than the limit of {self.characters}"
            raise JsonataError(msg, "D1001")
        if count > _LARGE:
            self.check()


def timed_out() -> JsonataError:
    """Return the error of an evaluation that ran out of time."""
    return JsonataError("the evaluation took longer than its time limit; look for a loop that does not end", "D1012")


BUDGET: Final[ContextVar[Budget]] = ContextVar("etlctl_jsonata_budget", default=Budget())  # noqa: B039 - for all
"""The budget of the evaluation that runs in this context; without one only the sizes are limited."""
