"""A thread of its own for code that may hang: a call past its time limit is interrupted, or the thread left behind.

Python can raise an exception in another thread, but only between two of its bytecodes: that ends ``while True``, not
a call that sleeps in C. Such a thread is left behind (it is a daemon and ends with the process), and whoever waited
goes on with another one.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

GRACE = 0.5
"""Seconds a call has to end after it was interrupted."""

_numbers = itertools.count(1)


class Interrupted(BaseException):
    """Raised in a thread from outside: the call in hand has run out of time."""


class LeftBehind(Interrupted):
    """Ends a thread that nobody waits for any more."""


class TimeIsUp(Exception):  # noqa: N818
    """A call did not end within its time limit, and was ended."""


class Abandoned(Exception):  # noqa: N818
    """A call did not even end when it was interrupted; its thread was left behind."""


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    """Raise an exception in a thread at its next bytecode; None takes back one that was not raised yet."""
    what = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)


class Guard:
    """Watches the calls of one thread. The thread makes its calls through ``call``, another one calls ``expire``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._aimed_at: float | None = None
        self._thread = 0
        self._left_behind = False

    def call(self, function: Callable[..., T], *args: Any, seconds: float) -> T:
        """Call a function with a time limit.

        Raises:
            TimeIsUp: It did not end in time; whatever it raised or returned too late does not count.
        """
        try:
            with self._lock:
                self._thread = threading.get_ident()
                self._aimed_at, self._deadline = None, time.monotonic() + seconds
            result = function(*args)
        except BaseException:
            if self._over():
                raise TimeIsUp from None
            raise
        if self._over():
            raise TimeIsUp
        return result

    def _over(self) -> bool:
        """Close the call; tell whether it was interrupted. From here on nothing is raised in this thread any more."""
        while True:
            try:
                with self._lock:
                    self._deadline = None
                    interrupted = self._aimed_at is not None
                if interrupted:  # and take it back, should it not have got here yet
                    _raise_in(threading.get_ident(), None)
            except Interrupted:
                continue
            if self._left_behind:
                raise LeftBehind
            return interrupted

    def expire(self, longest: float) -> float | None:
        """Interrupt the call in hand if its time is up; return the seconds until this must be asked again.

        Args:
            longest: Seconds to wait when no call is in hand.

        Raises:
            Abandoned: It was interrupted, and goes on nevertheless.
        """
        with self._lock:
            now = time.monotonic()
            if self._deadline is None:
                return longest
            if now < self._deadline:
                return self._deadline - now
            if self._aimed_at is None:
                self._aimed_at = now
                _raise_in(self._thread, Interrupted)
            left = self._aimed_at + GRACE - now
            if left > 0:
                return left
            self._left_behind = True
            raise Abandoned


class CallThread:
    """A daemon thread that does one piece of work after another, for one other thread that waits for each.

    Args:
        name: Name of the thread.
        around: The thread does everything inside of this.
    """

    def __init__(self, name: str, around: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self.guard = Guard()
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        # The thread does not know this object: it ends when nobody has it any more.
        weakref.finalize(self, self._work.put, None)
        arguments = (self._work, around)
        threading.Thread(target=_serve, args=arguments, name=f"{name}-{next(_numbers)}", daemon=True).start()

    def do(self, work: Callable[[], T], *, longest: float | None = None) -> T:
        """Do work in the thread and return what it returns, or raise what it raises.

        Args:
            work: What to do.
            longest: Time limit of the calls it makes through ``guard``, in seconds; None: there is none.

        Raises:
            Abandoned: A call did not end when it was interrupted; the thread is of no use any more.
        """
        item = _Work(work)
        self._work.put(item)
        wait = longest
        while not item.done.wait(wait):
            if longest is not None:
                wait = self.guard.expire(longest)
        if item.error is not None:
            raise item.error
        return item.result  # type: ignore[no-any-return]

    def close(self) -> None:
        """Let the thread end once its work is done."""
        self._work.put(None)


class _Work:
    """A piece of work, and what came of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._call = work
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._call()
        except LeftBehind:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again where the work was asked for
            self.error = error
        self.done.set()


def _serve(work: SimpleQueue[_Work | None], around: Callable[[], AbstractContextManager[None]]) -> None:
    with around(), suppress(LeftBehind):
        while (item := work.get()) is not None:
            item.run()
            del item
