"""A bounded channel between two stages that can be closed by the sender and abandoned by anybody.

Abandoning ends both sides at their next call, so that a failing stage stops the others without cancelling
a thread that is in the middle of a write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class AbandonedError(Exception):
    """The other side has given up."""


class Channel(Generic[T]):
    """At most ``depth`` items wait in it; sending blocks while it is full.

    Args:
        depth: Items that may wait.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = asyncio.Condition()
        self._closed = False
        self._abandoned = False

    @property
    def waiting(self) -> tuple[T, ...]:
        """The items that wait now."""
        return tuple(self._items)

    async def send(self, item: T) -> None:
        """Wait for room, then put an item in.

        Raises:
            AbandonedError: Nobody will read it.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._abandoned or len(self._items) < self._depth)
            if self._abandoned:
                raise AbandonedError
            self._items.append(item)
            self._changed.notify_all()

    async def close(self) -> None:
        """Say that nothing more will come."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def abandon(self) -> None:
        """Give up: whatever waits is thrown away, and both sides end."""
        async with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield items until the channel is closed and empty.

        Raises:
            AbandonedError: The sender has given up.
        """
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._abandoned or self._closed or bool(self._items))
                if self._abandoned:
                    raise AbandonedError
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
