"""The memory budget of a run: at 80 % reading waits for the other stages, past the limit the run stops cleanly."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Callable
from typing import Any

from etlctl.batch import Batch
from etlctl.errors import LimitError

_MIB = 1 << 20
_HIGH = 0.8
_LEAST_CHUNK = 256 << 10
_SAMPLE = 50
_GUESS = 100
_GIVE_SECONDS = 1.0


class MemoryBudget:
    """Watches the resident memory of the process.

    Args:
        limit_mb: MiB the process may hold; None: any number.
        used_mb: Returns the MiB it holds now.
    """

    def __init__(self, limit_mb: int | None, used_mb: Callable[[], float]) -> None:
        self._limit = limit_mb
        self._used = used_mb
        self._given = 0.0
        self._holders: dict[str, Callable[[], int]] = {}

    def watch(self, name: str, size: Callable[[], int]) -> None:
        """Name something that may hold a lot.

        Args:
            name: What it is, as it reads after "the largest part is".
            size: Returns about how many bytes it holds now.
        """
        self._holders[name] = size

    def chunk_bytes(self, wanted: int) -> int:
        """Return how much to read at once: less under a small budget."""
        return wanted if self._limit is None else max(_LEAST_CHUNK, min(wanted, self._limit * _MIB // 64))

    def depth(self, wanted: int) -> int:
        """Return how many chunks or batches may wait between two stages: one under a budget."""
        return wanted if self._limit is None else 1

    @property
    def scarce(self) -> bool:
        """Tell whether 80 % of the budget is used."""
        return self._limit is not None and self._used() > _HIGH * self._limit

    async def room(self, idle: asyncio.Event) -> None:
        """When memory is scarce, wait until everything that was read is dealt with, and give memory back to the system.

        Args:
            idle: Is set while nothing is being dealt with.
        """
        if not self.scarce:
            return
        await idle.wait()
        if time.monotonic() - self._given > _GIVE_SECONDS:
            await asyncio.to_thread(_give_back)
            self._given = time.monotonic()

    def check(self, after: str) -> None:
        """Stop the run when the process holds more than the limit.

        Args:
            after: What was done last, for the message.

        Raises:
            LimitError: It does; the message names what holds most.
        """
        if self._limit is None or self._used() <= self._limit:
            return
        gc.collect()
        used = self._used()
        if used <= self._limit:
            return
        name, size = max(((name, size()) for name, size in self._holders.items()), key=lambda one: one[1])
        largest = f"the largest part is {name}, about {size / _MIB:,.0f} MiB"
        if size < used * _MIB / 10:
            largest = f"{largest}; most of it is the process itself, its libraries and what the destination holds"
        raise LimitError(
            f"the run holds {used:,.0f} MiB, over its limit of {self._limit:,} MiB (max_memory_mb), {after}; {largest}",
            help="raise max_memory_mb, lower batch_size, or use processing_mode: streaming",
        )


def size_of(batch: Batch) -> int:
    """Return about how many bytes a batch holds; rows are estimated from a few of them."""
    if batch.frame is not None:
        return int(batch.frame.estimated_size())
    if batch.deferred is not None:
        return batch.deferred.size
    if batch.encoded is not None:
        return sum(
            len(part.payload) if isinstance(part.payload, bytes) else 100 * part.records for part in batch.encoded
        )
    records = batch.records or []
    if not records:
        return 0
    some = records[:: max(1, len(records) // _SAMPLE)]
    return sum(_deep_size(record) for record in some) * len(records) // len(some)


def _deep_size(value: Any) -> int:
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(_deep_size(one) for one in value.values())
    if isinstance(value, list | tuple):
        return size + sum(_deep_size(one) for one in value)
    return size


def _give_back() -> None:
    """Return freed memory to the system, where the C library can."""
    gc.collect()
    try:
        import ctypes  # noqa: PLC0415

        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return  # not glibc
