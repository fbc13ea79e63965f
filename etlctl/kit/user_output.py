"""What a user's function prints goes to stderr: stdout belongs to the data.

``sys.stdout`` is a process-wide thing, so it is not exchanged but replaced by a switch that looks at which thread is
writing. Threads that run a user's code say so; everybody else writes where they always did.

What goes past ``sys.stdout`` (programs that code starts, libraries in C) goes to the file descriptor 1: the command
line keeps a private copy of it for ``sys.stdout`` and lets 1 be stderr.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

_lock = threading.Lock()
_speakers: set[int] = set()
_switch: _Switch | None = None


class _Switch:
    """Looks like stdout to most threads, and like stderr to those that run a user's code."""

    def __init__(self, stdout: Any) -> None:
        self._stdout = stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)

    @property
    def _stream(self) -> Any:
        return sys.stderr if threading.get_ident() in _speakers else self._stdout

    @property
    def replaced(self) -> Any:
        return self._stdout


def keep_stdout() -> None:
    """Let nobody but ``sys.stdout`` write to standard output: what others write to its descriptor goes to stderr."""
    with suppress(OSError, ValueError, AttributeError):  # one of them is closed, or no file
        if (sys.stdout.fileno(), sys.stderr.fileno()) != (1, 2):
            return
        own = os.dup(1)
        sys.stdout.flush()
        stream = os.fdopen(
            own, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, newline=sys.stdout.newlines
        )
        stream.reconfigure(line_buffering=bool(sys.stdout.line_buffering))
        os.dup2(2, 1)
        sys.stdout = stream


@contextmanager
def talking() -> Iterator[None]:
    """Send what this thread prints to stderr; when no thread does that any more, stdout is what it was."""
    global _switch  # noqa: PLW0603 - there is one stdout
    me = threading.get_ident()
    with _lock:
        _speakers.add(me)
        if sys.stdout is not None and not isinstance(sys.stdout, _Switch):
            _switch = _Switch(sys.stdout)
            sys.stdout = cast("TextIO", _switch)
    try:
        yield
    finally:
        with _lock:
            _speakers.discard(me)
            if not _speakers and _switch is not None and cast("object", sys.stdout) is _switch:
                sys.stdout, _switch = _switch.replaced, None
