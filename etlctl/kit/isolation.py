"""Calling a user's function in a process of its own, so that nothing it does can take the run down.

A slice of records goes there in one message, the answers come back one by one. When the process dies, the answers so
far are kept, the record in hand is the one to blame, a new process is started and goes on behind it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from etlctl.batch import Record
from etlctl.errors import FatalError, RetryableError, UnexpectedError
from etlctl.kit.child_process import ChildEnded, ChildProcess, NotPlain
from etlctl.kit.isolated_child import bytes_to_frame, frame_to_bytes
from etlctl.kit.raised import revived
from etlctl.kit.user_function import FunctionPlace, Outcome, Refusal

if TYPE_CHECKING:
    import polars as pl

MOST_CRASHES = 5
"""Records in a row that may end the process before the run is given up."""

_MODULE = "etlctl.kit.isolated_child"


class IsolatedFunction:
    """A function in a process of its own; started when it is first called.

    Args:
        place: Which function it is.
    """

    def __init__(self, place: FunctionPlace) -> None:
        self._place = place
        self._child: ChildProcess | None = None
        self._crashes = 0

    def each(self, records: list[Record]) -> list[Outcome]:
        """Call the function with one record after the other; return their outcomes in order.

        Raises:
            ComponentError: The function cannot be loaded, said itself that the run must end, or crashes all the time.
        """
        outcomes: list[Outcome] = []
        while len(outcomes) < len(records):
            child, watch = self._ready()
            with watch:
                crashed = self._answers(child, watch, records[len(outcomes) :], outcomes)
            if crashed:
                outcomes.append(self._blamed(watch))
            elif watch.expired:  # it was ended although its last answer had come
                self._ended()
        return outcomes

    def batch(self, records: list[Record]) -> list[Record]:
        """Call the function with all records at once.

        Raises:
            ComponentError: It raised something, took too long, crashed or returned something else than records.
        """
        return self._once("batch", records)  # type: ignore[no-any-return]

    def frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Call the function with a frame.

        Raises:
            ComponentError: It raised something, took too long, crashed or returned no frame.
        """
        return bytes_to_frame(self._once("frame", frame_to_bytes(frame)))

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _ready(self) -> tuple[ChildProcess, _Watch]:
        """Return the process, started if there is none, and a watch for the calls to come."""
        if self._child is None:
            self._child = ChildProcess(_MODULE, plain=True)
            try:
                self._child.send(self._place)
                answer = self._child.receive()
            except ChildEnded:
                ending = self._ended()
                raise FatalError(
                    f"the process for custom function {self._place.path} ended while the module was imported: {ending}",
                    help="what it printed is on stderr; import the module by hand to see",
                ) from None
            if answer[0] == "failed":
                self.close()
                raise _error(*answer[1:])
        return self._child, _Watch(self._child, self._place.timeout)

    def _answers(self, child: ChildProcess, watch: _Watch, records: list[Record], outcomes: list[Outcome]) -> bool:
        """Collect the outcomes of records; True when the process ended before the last one."""
        try:
            child.send(("each", records))
            for _ in records:
                outcomes.append(self._answer(child))
                watch.touch()
        except ChildEnded:
            return True
        return False

    def _answer(self, child: ChildProcess) -> Outcome:
        try:
            answer = child.receive()
        except NotPlain as strange:
            text = (
                f"custom function {self._place.path} returned a record with a {strange} in it, which is no plain data"
            )
            return Refusal("custom_function.result", text)
        if len(answer) > 1:
            raise _error(*answer[1:])
        self._crashes = 0
        (outcome,) = answer
        return Refusal(*outcome) if type(outcome) is tuple else outcome

    def _blamed(self, watch: _Watch) -> Refusal:
        """Return the refusal of the record that the process was at when it ended.

        Raises:
            FatalError: That happens all the time.
        """
        ending = self._ended()
        if watch.expired:
            return Refusal("custom_function.timeout", f"{self._place.late()}; its process was ended")
        self._crashes += 1
        text = f"custom function {self._place.path} ended its process: {ending}"
        if self._crashes > MOST_CRASHES:
            raise FatalError(
                f"{text}; so did the {MOST_CRASHES} records before this one",
                help="run the function on one of these records by hand: etlctl dead-letters list shows them",
            )
        return Refusal("custom_function.crashed", text)

    def _once(self, kind: str, given: Any) -> Any:
        child, watch = self._ready()
        with watch:
            try:
                child.send((kind, given))
                answer = child.receive()
            except ChildEnded:
                answer = None
            except NotPlain as strange:
                raise FatalError(
                    f"custom function {self._place.path} returned records with a {strange} in them",
                    help="records hold plain data only: text, numbers, dates, lists, objects",
                ) from None
        if answer is None or watch.expired:
            ending = self._ended()
            if watch.expired:
                raise self._place.too_late()
            raise RetryableError(
                f"custom function {self._place.path} ended its process: {ending}",
                help="in record mode only the record in hand would be rejected",
            )
        if answer[0] == "failed":
            raise _error(*answer[1:])
        return answer[1]

    def _ended(self) -> str:
        child, self._child = self._child, None
        return child.ending() if child is not None else "unknown"


class _Watch:
    """Ends a process that does not answer in time. Used as a context around the calls."""

    def __init__(self, child: ChildProcess, seconds: float | None) -> None:
        self.expired = False
        self._child = child
        self._seconds = seconds
        self._since = time.monotonic()
        self._over = threading.Event()
        self._lock = threading.Lock()

    def touch(self) -> None:
        """Note that there was an answer: the next call has begun."""
        self._since = time.monotonic()

    def __enter__(self) -> None:
        self.touch()
        if self._seconds is not None:
            threading.Thread(target=self._wait, args=(self._seconds,), name="etlctl-time-limit", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over.set()

    def _wait(self, seconds: float) -> None:
        left = seconds
        while not self._over.wait(left):
            left = self._since + seconds - time.monotonic()
            if left <= 0:
                with self._lock:
                    if not self._over.is_set():
                        self.expired = True
                        self._child.kill()
                return


def _error(retryable: bool, message: str, help_: str | None, cause: tuple[Any, str] | None) -> Exception:
    """Return the error that a process reported."""
    if retryable:
        return RetryableError(message, help=help_)
    if cause is None:
        return FatalError(message, help=help_)
    error = UnexpectedError(message, help=help_)
    error.__cause__ = revived(*cause)
    return error
