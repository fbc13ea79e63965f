"""Running a synchronous iterator on a thread of its own, a little ahead of the code that takes its items."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_JOIN_SECONDS = 5.0


class _Ended:
    """Marks the end of the items, or carries the error that ended them."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Producer(Generic[T]):
    def __init__(self, make: Callable[[], Iterator[T]], depth: int, stop: threading.Event) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._stop = stop
        self._room = threading.Semaphore(depth)
        self._items: asyncio.Queue[T | _Ended] = asyncio.Queue()
        # A daemon: a read that nothing can interrupt (Windows stdin) must not keep the process from ending.
        self._thread = threading.Thread(target=self._produce, name="etlctl-read-ahead", daemon=True)
        self._thread.start()

    def _produce(self) -> None:
        end = _Ended()
        try:
            items = self._make()
            try:
                self._forward(items)
            finally:
                if (close := getattr(items, "close", None)) is not None:
                    close()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the consumer's to raise
            end = _Ended(error)
        self._put(end)

    def _forward(self, items: Iterator[T]) -> None:
        while True:
            self._room.acquire()
            if self._stop.is_set():
                return
            try:
                item = next(items)
            except StopIteration:
                return
            self._put(item)
            del item  # or this thread would keep it alive while it waits for room

    def _put(self, item: T | _Ended) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)

    async def take(self) -> T | _Ended:
        item = await self._items.get()
        self._room.release()
        return item

    async def close(self) -> None:
        self._stop.set()
        self._room.release()
        await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)


async def read_ahead(
    make: Callable[[], Iterator[T]], *, depth: int = 1, stop: threading.Event | None = None
) -> AsyncGenerator[T, None]:
    """Yield the items of an iterator that is made and run on a thread, up to ``depth`` items ahead.

    When the consumer stops, the thread ends after the item in hand and the iterator is closed on it.

    Args:
        make: Makes the iterator; called on the thread.
        depth: Items to have ready before they are asked for.
        stop: Set when the consumer stops, for sources that wait without end.
    """
    producer = _Producer(make, depth, stop or threading.Event())
    try:
        while True:
            item = await producer.take()
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise item.error
                return
            yield item
            del item
    finally:
        await producer.close()
