"""A Python process of our own at the other end of two pipes: messages there and back, and how it ended.

Messages are pickled. Both ends are the same program with the same rights, the pipes have no name that anybody else
could open, and pickle keeps what a record can hold exactly: dates, decimals, integers of any size. Where the other end
runs code that must not reach this process, ``plain=True`` lets only plain values in (``loads_plain``).

The child's own stdout and stdin are not the pipes: what code there prints goes to stderr. The child ends when the
pipe closes, so it never outlives this process, however that ends.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from queue import SimpleQueue
from typing import IO, Any, cast

_LENGTH = struct.Struct("<Q")
_PATIENCE = 5.0
_START = "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); from importlib import import_module as load; load({!r}).main()"  # noqa: E501

_PLAIN = {("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")} | {
    ("decimal", "Decimal"),
    ("uuid", "UUID"),
    ("zoneinfo", "ZoneInfo._unpickle"),
    ("builtins", "bytearray"),
}


class ChildEnded(Exception):  # noqa: N818
    """The other process is gone."""


class NotPlain(Exception):  # noqa: N818
    """A message holds something else than plain values."""


class ChildProcess:
    """Starts a process and talks to it; used by one thread at a time.

    Args:
        module: What the process runs: the function ``main`` of this module, which begins with ``open_channel``.
        plain: Take only plain values from it.
    """

    def __init__(self, module: str, *, plain: bool = False) -> None:
        command = [sys.executable, "-c", _START.format(module), json.dumps(sys.path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        self._outgoing, self._incoming = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        self._loads = loads_plain if plain else pickle.loads

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, message: Any) -> None:
        """Send a message.

        Raises:
            ChildEnded: It is gone.
        """
        try:
            write_message(self._outgoing, message)
        except (OSError, ValueError) as error:
            raise ChildEnded from error

    def receive(self) -> Any:
        """Wait for the next message and return it.

        Raises:
            ChildEnded: It is gone.
            NotPlain: The message is none of plain values.
        """
        try:
            data = read_message(self._incoming)
        except (OSError, ValueError) as error:
            raise ChildEnded from error
        if data is None:
            raise ChildEnded
        return self._loads(data)

    def ending(self) -> str:
        """Wait until it is gone, and say how it ended: ``exit code 3`` or ``signal SIGSEGV``."""
        self._close_pipes()
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:  # it closed its end of the pipe and lives on
            self._process.kill()
            code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"

    def kill(self) -> None:
        """End it at once. Safe to call from any thread, and again."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """End it: it is told by the closed pipe, and killed when it does not listen."""
        self._close_pipes()
        try:
            self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _close_pipes(self) -> None:
        for pipe in (self._outgoing, self._incoming):
            with contextlib.suppress(OSError):
                pipe.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()


# --- in the child ----------------------------------------------------------------------------------------------------


class Channel:
    """The child's end: messages come through a thread that ends the process when the other end is gone."""

    def __init__(self, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
        self._messages: SimpleQueue[bytes] = SimpleQueue()
        self._outgoing = outgoing
        threading.Thread(target=self._listen, args=(incoming,), name="etlctl-parent", daemon=True).start()

    def receive(self) -> Any:
        """Wait for the next message and return it."""
        return pickle.loads(self._messages.get())  # noqa: S301 - see the module

    def send(self, message: Any) -> None:
        """Send a message at once.

        Raises:
            Exception: Whatever pickling it raises; nothing was sent.
        """
        write_message(self._outgoing, message)

    def _listen(self, incoming: IO[bytes]) -> None:
        while (data := read_message(incoming)) is not None:
            self._messages.put(data)
        os._exit(0)


def open_channel() -> Channel:
    """Take over the pipes of this process; from here on stdout is stderr, and stdin is empty.

    Signals that a terminal or a supervisor sends to the whole group are left to the parent to judge.
    """
    _have_stderr()
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr  # and at once, not when a buffer is full
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            # Not SIG_IGN: programs that this process starts would inherit that.
            signal.signal(getattr(signal, name), lambda _number, _frame: None)
    _first_to_go()
    return Channel(incoming, outgoing)


def _have_stderr() -> None:
    """Open the null device where a run without any stderr left a gap, which a pipe would fall into."""
    try:
        os.fstat(2)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_RDWR), 2)


def _first_to_go() -> None:
    """Tell Linux that this process is the one to end when memory runs out, not the run."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:  # noqa: PTH123
        score.write("1000")


# --- messages --------------------------------------------------------------------------------------------------------


def write_message(pipe: IO[bytes], message: Any) -> None:
    """Write a message and its length, in one go."""
    data = pickle.dumps(message, protocol=5)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> bytes | None:
    """Return the next message, still pickled; None at the end."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = pipe.read(length)
    return data if len(data) == length else None


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise NotPlain(f"{module}.{name}")
        return super().find_class(module, name)


def loads_plain(data: bytes) -> Any:
    """Return a message of plain values: nothing of anybody's code is imported or run for it.

    Raises:
        NotPlain: It holds something else; the text is its type.
    """
    return _PlainUnpickler(io.BytesIO(data)).load()
