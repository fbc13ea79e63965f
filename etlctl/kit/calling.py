"""Calling a user's function on a thread of its own.

It is always the same thread, so that what belongs to one (event loops, SQLite connections) can be kept from call to
call; and it can be left behind when a call hangs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from etlctl.batch import Record
from etlctl.errors import FatalError
from etlctl.kit.interruptible import Abandoned, CallThread, Guard, TimeIsUp
from etlctl.kit.user_function import FunctionPlace, Outcome, Refusal, UserFunction
from etlctl.kit.user_output import talking

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

LONGEST_CLOSE = 5.0
"""Seconds that what a function has left in its event loop may take to end."""

MOST_LEFT_BEHIND = 3
"""Calls of a run that may hang for good before it is given up: each leaves a thread behind."""


class CalledFunction:
    """A function on a thread of this process; imported when it is first called.

    Args:
        place: Which function it is.
    """

    def __init__(self, place: FunctionPlace) -> None:
        self._place = place
        self._thread: CallThread | None = None
        self._function: UserFunction | None = None
        self._left_behind = 0

    def each(self, records: list[Record]) -> list[Outcome]:
        """Call the function with one record after the other; return their outcomes in order.

        Raises:
            ComponentError: The function cannot be loaded, said itself that the run must end, or hangs all the time.
        """
        outcomes: list[Outcome] = []
        while len(outcomes) < len(records):
            mine: list[Outcome] = []
            try:
                self._do(partial(_each, records[len(outcomes) :], mine))
            except Abandoned:
                outcomes += mine
                outcomes.append(
                    Refusal("custom_function.timeout", f"{self._place.late()}, nor when it was interrupted")
                )
                self._leave_behind()
            else:
                outcomes += mine
        return outcomes

    def batch(self, records: list[Record]) -> list[Record]:
        """Call the function with all records at once.

        Raises:
            ComponentError: It raised something, took too long or returned something else than records.
        """
        return self._once(lambda function, guard: function.batch(records, guard))

    def frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Call the function with a frame.

        Raises:
            ComponentError: It raised something, took too long or returned no frame.
        """
        return self._once(lambda function, guard: function.frame(frame, guard))

    def close(self) -> None:
        """Let the thread end."""
        thread, function = self._thread, self._function
        self._thread = self._function = None
        if thread is None:
            return
        try:
            if function is not None:
                guard, close = thread.guard, function.close
                with suppress(TimeIsUp, Abandoned):
                    thread.do(lambda: guard.call(close, seconds=LONGEST_CLOSE), longest=LONGEST_CLOSE)
        finally:
            thread.close()

    def _once(self, call: Callable[[UserFunction, Guard], T]) -> T:
        try:
            return self._do(call)
        except Abandoned:
            self._leave_behind()
            raise self._place.too_late() from None

    def _do(self, call: Callable[[UserFunction, Guard], T]) -> T:
        """Do something with the function, on its thread."""
        if self._thread is None:
            self._thread = CallThread("etlctl-custom-function", talking)
        thread = self._thread
        if self._function is None:
            self._function = thread.do(self._place.load)
        function = self._function
        return thread.do(lambda: call(function, thread.guard), longest=self._place.timeout)

    def _leave_behind(self) -> None:
        """Go on with another thread, and an object of its own: the old ones may still be at work.

        Raises:
            FatalError: That happens all the time.
        """
        self._thread = self._function = None
        self._left_behind += 1
        if self._left_behind > MOST_LEFT_BEHIND:
            raise FatalError(
                f"{self._place.late()}, {self._left_behind} times, and could not be interrupted",
                help="set isolate: true beside timeout: a process can always be ended",
            )


def _each(records: list[Record], outcomes: list[Outcome], function: UserFunction, guard: Guard) -> None:
    function.each(records, outcomes.append, guard)
