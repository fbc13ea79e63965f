"""The clock: the one place that asks for the time, so that tests and runs can hold it still."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from etlctl.frozen import frozen


class Clock(Protocol):
    """What the engine and the ledger need of a clock."""

    def now(self) -> datetime:
        """Return the current instant in UTC, aware."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""


@frozen
class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current instant in UTC, aware."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return time.monotonic()


@dataclass(slots=True)
class FixedClock:
    """A clock that stands still until it is told to move; for tests and replays."""

    instant: datetime

    def now(self) -> datetime:
        """Return the instant the clock was set to."""
        return self.instant

    def monotonic(self) -> float:
        """Return the instant in seconds since the epoch."""
        return self.instant.timestamp()
