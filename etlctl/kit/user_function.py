"""A user's function as the engine calls it: bound once, its results judged, its errors told with their line.

The same code runs on a thread of the run's own process and in a process of its own (``etlctl.kit.isolation``).
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from etlctl.batch import Record
from etlctl.errors import ComponentError, FatalError, RecordRejected, RetryableError, UnexpectedError
from etlctl.frozen import frozen
from etlctl.kit.forks import generation
from etlctl.kit.function_binding import bound
from etlctl.kit.interruptible import GRACE, Guard, Interrupted, TimeIsUp
from etlctl.kit.raised import told
from etlctl.kit.user_code import load_callable
from etlctl.types import kind_of

if TYPE_CHECKING:
    import polars as pl

_TEXT = frozenset({str})
_NESTED = frozenset({dict, list})


@frozen
class Refusal:
    """The function could not handle a record: the rule it broke, and what happened."""

    rule: str
    message: str


Outcome: TypeAlias = Record | list[Record] | Refusal | None
"""What became of a record: one record, several, none (dropped on purpose), or a refusal."""


@frozen
class FunctionPlace:
    """Which function to call, and how; everything another process needs to know to do the same.

    Attributes:
        path: Dotted path of the function or class.
        kwargs: Keyword arguments.
        base_dir: The contract's folder.
        timeout: Seconds that one call may take; None: any.
    """

    path: str
    kwargs: dict[str, Any]
    base_dir: Path
    timeout: float | None = None

    def load(self) -> UserFunction:
        """Import the function; of a class, make the object.

        Raises:
            FatalError: It cannot be found, imported or called.
        """
        module, _, name = self.path.rpartition(".")
        found = load_callable(module, name, self.base_dir)
        return UserFunction(self, *bound(found, self.path, copy.deepcopy(self.kwargs)))

    def late(self) -> str:
        """Say that a call took too long."""
        return f"custom function {self.path} did not return within {self.timeout:g} s"

    def too_late(self) -> RetryableError:
        """Return the error of a call for many records that took too long."""
        return RetryableError(self.late(), help="raise timeout: in the contract, or find out what it waits for")


class UserFunction:
    """A function that was imported and can be called. Everything happens on one thread.

    Args:
        place: Which function it is.
        function: What to call.
        kwargs: What to call it with, besides the records.
    """

    def __init__(self, place: FunctionPlace, function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        self.place = place
        self._function = partial(function, **kwargs) if kwargs else function
        self._async = inspect.iscoroutinefunction(function)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._going: object = None
        self._home = generation[0]

    def each(self, records: list[Record], put: Callable[[Outcome], object], guard: Guard | None = None) -> None:
        """Call the function with one record after the other.

        Args:
            records: The records; the function may change them, their nested values are copied before.
            put: Takes the outcome of each record as soon as it is known.
            guard: Keeps the time of each call; None: somebody else does.

        Raises:
            ComponentError: The function itself said that the run must end, or the records be tried again.
        """
        if guard is not None and self.place.timeout is not None:
            self._each_guarded(records, put, guard)
        elif self._async:
            self._each_on_loop(records, put)
        else:
            self._each_plain(records, put)

    def batch(self, records: list[Record], guard: Guard | None = None) -> list[Record]:
        """Call the function with all records at once.

        Raises:
            ComponentError: It raised something, took too long or returned something else than records.
        """
        own_nested(records)
        result = self._whole(list(records), guard)
        if result is None:
            return []
        if isinstance(result, list | tuple) and all(map(_is_record, result)):
            return list(result)
        raise FatalError(
            f"custom function {self.place.path} returned {_described(result)}, not a list of records",
            help="in batch mode it must return a list of records (dict), or None for none",
        )

    def frame(self, frame: pl.DataFrame, guard: Guard | None = None) -> pl.DataFrame:
        """Call the function with a frame.

        Raises:
            ComponentError: It raised something, took too long or returned no frame.
        """
        import polars as pl  # noqa: PLC0415

        result = self._whole(frame.clone(), guard)
        if result is None:
            return frame.clear()
        if not isinstance(result, pl.DataFrame):
            raise FatalError(
                f"custom function {self.place.path} returned {_described(result)}, not a Polars frame",
                help="in frame mode it gets a polars.DataFrame and must return one (or a LazyFrame, or None for none)",
            )
        strange = [name for name, dtype in result.schema.items() if dtype == pl.Object]
        if strange:
            raise FatalError(
                f"custom function {self.place.path} returned a frame whose column {strange[0]!r} holds Python objects",
                help="give the column a Polars type",
            )
        return result

    def close(self) -> None:
        """Let go of the event loop, and of what still runs in it."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:  # one that does not want to go is not waited for
            loop.run_until_complete(asyncio.wait(left, timeout=GRACE))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    # --- one record ---------------------------------------------------------------------------------------------------

    def _each_plain(self, records: list[Record], put: Callable[[Outcome], object]) -> None:
        function, home = self._function, self._home
        for record in records:
            try:
                if not _NESTED.isdisjoint(map(type, record.values())):
                    own_nested((record,))
                result = function(record)
            except BaseException as error:  # noqa: BLE001 - a user's code may raise anything
                put(self._refused(error))
                continue
            if generation[0] != home:
                self._end_a_twin()
            # The plain case, a record of its own, is settled right here.
            if type(result) is dict and _TEXT.issuperset(map(type, result)):
                put(result.copy())  # whatever the function does to its own later
            else:
                put(self._judged(result))

    def _each_on_loop(self, records: list[Record], put: Callable[[Outcome], object]) -> None:
        """Await one call after the other; what stops the loop itself refuses the record in hand.

        That may be ``loop.stop()``, or a task of the function's own that raises KeyboardInterrupt.
        """
        done = 0

        def count(outcome: Outcome) -> None:
            nonlocal done
            put(outcome)
            done += 1

        while done < len(records):
            self._going = going = object()
            try:
                self._on_loop(self._each_async(records[done:], count, going))
            except (ComponentError, Interrupted):
                raise
            except BaseException as error:  # noqa: BLE001
                self._going = None
                count(self._refused(error))

    async def _each_async(self, records: list[Record], put: Callable[[Outcome], object], going: object) -> None:
        for record in records:
            try:
                own_nested((record,))
                result = await self._function(record)
                if self._going is not going:
                    return  # others go on: the loop had stopped under this call
                outcome = self._settled(result)
            except BaseException as error:
                if self._going is not going:
                    raise
                outcome = self._refused(error)
            put(outcome)

    def _each_guarded(self, records: list[Record], put: Callable[[Outcome], object], guard: Guard) -> None:
        seconds = self._limit
        for record in records:
            try:
                own_nested((record,))
                outcome = self._settled(guard.call(self._complete, record, seconds=seconds))
            except BaseException as error:  # noqa: BLE001
                outcome = self._refused(error)
            put(outcome)

    def _judged(self, result: Any) -> Outcome:
        try:
            return self._settled(self._completed(result))
        except BaseException as error:  # noqa: BLE001
            return self._refused(error)

    def _settled(self, result: Any) -> Outcome:
        """Return what a complete result means for its record."""
        self._end_a_twin()
        if result is None:
            return None
        if _is_record(result):
            return dict(result)
        if isinstance(result, list | tuple) and all(map(_is_record, result)):
            return [dict(each) for each in result]  # copies: one object must not be two records
        what = f"custom function {self.place.path} returned {_described(result)}, not a record, list of records or None"
        return Refusal("custom_function.result", what)

    def _refused(self, error: BaseException) -> Refusal:
        """Return the refusal of a record that made the function raise something."""
        self._end_a_twin()
        if isinstance(error, Interrupted):
            raise error
        if isinstance(error, TimeIsUp):
            return Refusal("custom_function.timeout", self.place.late())
        if isinstance(error, RecordRejected):
            return Refusal(error.rule, error.message)
        if isinstance(error, ComponentError):
            raise error
        return Refusal("custom_function.raised", told(error, self.place.path, self.place.base_dir))

    def _end_a_twin(self) -> None:
        """End this process if the function has forked it off: two of us would do the rest of the work."""
        if generation[0] != self._home:
            os._exit(0)

    # --- calls --------------------------------------------------------------------------------------------------------

    @property
    def _limit(self) -> float:
        """Time limit of a call on this thread; what waits in an event loop is ended by the loop, a little before."""
        return (self.place.timeout or 0.0) + (GRACE if self._async else 0.0)

    def _whole(self, given: Any, guard: Guard | None) -> Any:
        try:
            if guard is not None and self.place.timeout is not None:
                return guard.call(self._complete, given, seconds=self._limit)
            return self._complete(given)
        except TimeIsUp:
            raise self.place.too_late() from None
        except (ComponentError, Interrupted):
            raise
        except BaseException as error:
            self._end_a_twin()
            raise UnexpectedError(told(error, self.place.path, self.place.base_dir)) from error

    def _complete(self, given: Any) -> Any:
        result = self._completed(self._function(given))
        self._end_a_twin()
        return result

    def _completed(self, result: Any) -> Any:
        """Return what a call gives in the end: awaited, and a generator run to its end."""
        if inspect.isawaitable(result):
            result = self._on_loop(self._within_limit(result))
        if isinstance(result, AsyncIterator):
            result = self._on_loop(self._within_limit(_all(result)))
        if isinstance(result, Iterator):
            return list(result)
        collect = getattr(result, "collect", None)
        return collect() if callable(collect) and type(result).__name__ == "LazyFrame" else result

    async def _within_limit(self, result: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self.place.timeout) as limit:
                return await result
        except TimeoutError:
            if limit.expired():
                raise TimeIsUp from None
            raise

    def _on_loop(self, work: Any) -> Any:
        """Run a coroutine to its end. One loop serves all calls, so that clients and pools of the user can live on."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        task = self._loop.create_task(work)
        try:
            return self._loop.run_until_complete(task)
        except Interrupted:
            self._loop = None  # in the middle of something: of no use any more
            raise
        except BaseException:
            task.cancel()  # the loop may have stopped without it
            raise


async def _all(result: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in result]


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and _TEXT.issuperset(map(type, value))


def own_nested(records: list[Record] | tuple[Record, ...]) -> None:
    """Give the function nested values of its own: those in the record still belong to the source."""
    for record in records:
        for name, value in record.items():
            if type(value) is dict or type(value) is list:
                record[name] = _copied(value)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _described(result: Any) -> str:
    if isinstance(result, list | tuple):
        wrong = [item for item in result if not _is_record(item)]
        return f"a list with {_described(wrong[0])} in it" if wrong else "a list of records"
    if isinstance(result, dict):
        names = [name for name in result if type(name) is not str]
        return f"an object with a field name that is {_named_kind(names[0])}" if names else "an object"
    return "None" if result is None else f"a {kind_of(result)}"


def _named_kind(name: Any) -> str:
    """Say of what kind a field name is; one of a class of its own is named, since it may look like text."""
    if name is None:
        return "None"
    return f"a {type(name).__name__}" if isinstance(name, str) else f"a {kind_of(name)}"
