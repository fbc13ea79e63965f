"""Named places where a test or a proof can break a run on purpose. Off unless ``ETLCTL_FAULT`` is set.

``ETLCTL_FAULT=POINT[:N]=ACTION[,…]``: at the N-th time (1 by default) the run comes to POINT, do ACTION:

- ``kill``: SIGKILL this process, as a power cut would
- ``stop``: SIGSTOP this process until somebody sends SIGCONT
- ``retry``: raise a RetryableError · ``fail``: raise a FatalError · ``error``: raise a ValueError
- ``full``: raise the error of a full disk

``*N`` instead of ``:N`` does it every time from the first to the N-th. Points are in ``POINTS``.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable

from etlctl.errors import FatalError, RetryableError

VARIABLE = "ETLCTL_FAULT"

POINTS = {
    "read.before": "before the first read",
    "read.chunk": "after a chunk was read, before it is handed on",
    "apply.batch": "after the steps of a chunk",
    "letters.before": "before dead letters are written",
    "letters.after": "after dead letters were written, before the batch is",
    "load.write": "inside the destination's transaction, rows written",
    "load.before_commit": "before the destination commits rows and token",
    "load.after_commit": "after the destination has committed, before the checkpoint",
    "checkpoint.after": "after the checkpoint",
    "outbox.kept": "after requests were kept in the outbox, before the first is sent",
    "outbox.sent": "after a request was answered, before its outcome is noted",
    "outbox.noted": "after the outcome of a request was noted",
    "publish.before": "before the destination publishes",
    "publish.during": "between two steps of the publication (swap, rename, append)",
    "publish.after": "after the destination has published, before the ledger knows",
    "ledger.finish": "before the ledger records the end of the run",
    "report.write": "while the report is written",
}
"""Every point, with what it means."""


def _full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _retry() -> None:
    raise RetryableError("connection reset (a fault that was asked for)")


def _fail() -> None:
    raise FatalError("a fault that was asked for")


def _error() -> None:
    raise ValueError("a fault that was asked for")


_ACTIONS: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    # To this thread: sent to the process, it may reach another one first while this one goes on for a moment.
    "stop": lambda: signal.pthread_kill(threading.get_ident(), signal.SIGSTOP),
    "retry": _retry,
    "fail": _fail,
    "error": _error,
    "full": _full,
}


class _Plan:
    """What was asked for, and how often the run has come to each point."""

    def __init__(self, text: str) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}
        self._wanted: list[tuple[str, int, int, str]] = []
        for item in filter(None, (one.strip() for one in text.split(","))):
            place, _, action = item.partition("=")
            every = "*" in place
            point, _, number = place.replace("*", ":").partition(":")
            if point not in POINTS or action not in _ACTIONS or (number and not number.isdigit()):
                raise ValueError(
                    f"{VARIABLE}: {item!r} is no fault; it is POINT[:N]=ACTION with POINT one of "
                    f"{', '.join(POINTS)} and ACTION one of {', '.join(_ACTIONS)}"
                )
            last = int(number or 1)
            self._wanted.append((point, 1 if every else last, last, action))

    def reach(self, point: str) -> None:
        with self._lock:
            self._seen[point] = seen = self._seen.get(point, 0) + 1
        for wanted, first, last, action in self._wanted:
            if wanted == point and first <= seen <= last:
                _ACTIONS[action]()

    def seen(self) -> dict[str, int]:
        with self._lock:
            return dict(self._seen)


_plan: _Plan | None = None


def arm(text: str | None) -> None:
    """Set what shall go wrong in this process, in the form of the variable; None: nothing."""
    global _plan  # noqa: PLW0603 - faults are of the process
    _plan = _Plan(text) if text else None


try:
    arm(os.environ.get(VARIABLE))
except ValueError as _wrong:
    raise SystemExit(f"error: {_wrong}") from None


def reached() -> dict[str, int]:
    """Return how often each point was reached since ``arm``; nothing unless something was asked for, even if blank."""
    return _plan.seen() if _plan is not None else {}


def fault(point: str) -> None:
    """Break here if that was asked for; costs nothing otherwise.

    Args:
        point: One of ``POINTS``.
    """
    if _plan is not None:
        _plan.reach(point)
