"""When to send: the clock, waits between attempts, ``Retry-After``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from etlctl.clock import Clock, SystemClock
from etlctl.frozen import frozen
from etlctl.kit.http.options import Retry


@frozen
class Pacing:
    """Where the time comes from, and how to let it pass; tests bring their own.

    Attributes:
        clock: The time.
        sleep: Waits so many seconds.
        draw: A random number between 0 and 1, for jitter.
    """

    clock: Clock = SystemClock()
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    draw: Callable[[], float] = random.random


def backoff(retry: Retry, failures: int, draw: Callable[[], float]) -> float:
    """Return the seconds to wait after so many failures (1: the first attempt failed).

    With ``jitter`` it is "full jitter": anything between 0 and that (Brooker, "Exponential Backoff And Jitter", 2015).
    """
    if retry.backoff_factor == 0:
        return 0.0
    try:
        seconds = min(retry.backoff_factor ** (failures - 1), retry.max_backoff)
    except OverflowError:
        seconds = retry.max_backoff
    return seconds * draw() if retry.jitter else seconds


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3); None when it says nothing usable.

    Args:
        value: Seconds or a date.
        now: The present instant, aware.
    """
    text = (value or "").strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        # Not an int: a number of a hundred digits is a way to say never, and fractions are seen.
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
