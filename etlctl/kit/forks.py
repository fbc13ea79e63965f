"""What a process that is forked off must not have of this one: its pipes, and its ways with signals.

A user's code may fork (``multiprocessing`` does, on Linux). A copy of a pipe keeps its ends from seeing that the other
one is gone. A copied handler makes a pool's workers deaf to the SIGTERM that is to end them, or hands that signal on to
the event loop of this process, which takes it for its own.
"""

from __future__ import annotations

import os
import signal
import weakref
from contextlib import suppress
from typing import IO

_pipes: weakref.WeakSet[IO[bytes]] = weakref.WeakSet()
_signals: set[int] = set()

generation = [0]
"""How often this process was forked off; a list, because reading it must cost next to nothing."""


def shut_in_forks(*pipes: IO[bytes]) -> None:
    """Keep pipes from processes that are forked off."""
    _pipes.update(pipes)


def forget_in_forks(*signals: int) -> None:
    """Let processes that are forked off treat signals as any program does."""
    _signals.update(signals)


def _forked() -> None:
    generation[0] += 1
    nothing = os.open(os.devnull, os.O_RDWR)
    for pipe in list(_pipes):
        with suppress(OSError, ValueError):
            # Exchanged and not closed, so that the number is not given to another file meanwhile.
            os.dup2(nothing, pipe.fileno(), inheritable=False)
    os.close(nothing)
    if _signals:
        with suppress(ValueError):
            signal.set_wakeup_fd(-1)
            for number in _signals:
                default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, default)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
