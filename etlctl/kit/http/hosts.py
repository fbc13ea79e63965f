"""What all clients of the process share about a host: the pace of requests, and whether to leave it alone.

Runs of one process may have event loops of their own, on threads of their own; the libraries for this (aiolimiter,
purgatory) belong to one event loop. Nobody waits in here: whoever asks is told how long to wait.
"""

from __future__ import annotations

import threading
from collections import deque

from etlctl.kit.http.options import CircuitBreaker, RateLimit

_lock = threading.Lock()
_rates: dict[tuple[str, int, float], SharedRate] = {}
_breakers: dict[tuple[str, int, float], SharedBreaker] = {}


class SharedRate:
    """Gives out the instants at which requests may start: never more than so many in any such span.

    Args:
        limit: How many, in which time.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._per = limit.per
        self._starts: deque[float] = deque(maxlen=limit.requests)
        self._lock = threading.Lock()

    def reserve(self, now: float) -> float:
        """Take the next place and return the seconds until it comes."""
        with self._lock:
            full = len(self._starts) == self._starts.maxlen
            start = max(now, self._starts[0] + self._per) if full else now
            # Never before one given out already: the oldest must stay the oldest.
            start = max(start, self._starts[-1]) if self._starts else start
            self._starts.append(start)
            return start - now


class SharedBreaker:
    """Counts failures in a row; after so many nobody asks until the cooldown is over, and then only one.

    Args:
        options: How many failures, and how long to wait.
    """

    def __init__(self, options: CircuitBreaker) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_from = float("-inf")

    def wait(self, now: float) -> float:
        """Return 0 when a request may be sent; otherwise the seconds until one may."""
        with self._lock:
            if self._failures < self._options.failures:
                return 0.0
            if now >= self._closed_from:
                # The one that asks now tries for all; the others wait for what it finds.
                self._closed_from = now + self._options.cooldown
                return 0.0
            return self._closed_from - now

    def record(self, now: float, *, failed: bool) -> None:
        """Tell how a request ended."""
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            if self._failures >= self._options.failures:
                self._closed_from = now + self._options.cooldown

    @property
    def failures(self) -> int:
        """Failures in a row up to now."""
        return self._failures


def rate_of(origin: str, limit: RateLimit) -> SharedRate:
    """Return the pace of a host; the same one for all that give the same limit.

    Args:
        origin: Scheme, host and port.
        limit: The limit.
    """
    with _lock:
        return _rates.setdefault((origin, limit.requests, limit.per), SharedRate(limit))


def breaker_of(origin: str, options: CircuitBreaker) -> SharedBreaker:
    """Return the circuit breaker of a host; the same one for all that give the same options.

    Args:
        origin: Scheme, host and port.
        options: The options.
    """
    with _lock:
        return _breakers.setdefault((origin, options.failures, options.cooldown), SharedBreaker(options))


def forget() -> None:
    """Forget every host; for tests."""
    with _lock:
        _rates.clear()
        _breakers.clear()
