"""A Python process of our own at the other end of two pipes: messages there and back, and how it ended.

Messages are pickled. Both ends are the same program with the same rights, the pipes have no name that anybody else
could open, and pickle keeps what a record can hold exactly: dates, decimals, integers of any size. Where the other end
runs code that must not reach this process, ``plain=True`` lets only plain values in (``loads_plain``).

The child's own stdout and stdin are not the pipes: what code there prints goes to stderr. The child ends when the
pipe closes, so it never outlives this process, however that ends; and what it has started ends with it.
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
import time
from queue import SimpleQueue
from typing import IO, Any, cast

from etlctl.kit.forks import forget_in_forks, shut_in_forks

_HEAD = struct.Struct("<4sQ")
_MARK = b"\x8eetl"
"""Begins every message: what others write into the pipe is told from it."""
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
        folders = [each for each in sys.path if isinstance(each, str)]  # whatever else was put there is of no use
        command = [sys.executable, "-c", _START.format(module), json.dumps(folders)]
        # In a group of its own, so that what it starts ends with it.
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._outgoing, self._incoming = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        self._loads = loads_plain if plain else pickle.loads
        self._garbled = False
        shut_in_forks(self._outgoing, self._incoming)

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
            ChildEnded: It is gone, or what came is no message of ours and it was ended.
            NotPlain: The message is none of plain values.
        """
        try:
            data = read_message(self._incoming)
            if data is not None:
                return self._loads(data)
        except NotPlain:
            raise
        except OSError as error:
            raise ChildEnded from error
        except Exception as error:  # garbage may be anything to pickle
            self._garbled = True
            self.kill()
            raise ChildEnded from error
        raise ChildEnded

    def ending(self) -> str:
        """Wait until it is gone, and say how it ended: ``exit code 3`` or ``signal SIGSEGV``."""
        self._close_pipes()
        self._ended_within(_PATIENCE)  # it may have closed its end of the pipe and live on
        self.kill()
        code = self._process.wait()
        if self._garbled:
            return "something it wrote into the pipe to the run"
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"

    def kill(self) -> None:
        """End it at once, with whatever it has started. Safe to call from any thread, and again."""
        with contextlib.suppress(OSError):
            if self._process.returncode is None and hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)  # its number is its own until it is waited for
            self._process.kill()

    def close(self) -> None:
        """End it: it is told by the closed pipe, and killed when it does not listen."""
        self._close_pipes()
        self._ended_within(0.2)
        self.kill()
        self._process.wait()

    def _ended_within(self, seconds: float) -> None:
        """Wait until it has ended, but leave its number to it: its group goes by that."""
        if not hasattr(os, "waitid"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            return
        deadline = time.monotonic() + seconds
        with contextlib.suppress(ChildProcessError):
            while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                if time.monotonic() > deadline:
                    return
                time.sleep(0.002)

    def _close_pipes(self) -> None:
        for pipe in (self._outgoing, self._incoming):
            with contextlib.suppress(OSError):
                pipe.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            if self._process.returncode is None:
                self.kill()
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
            Exception: Whatever pickling it raises; nothing was sent. A pipe that is shut ends this process.
        """
        data = pickle.dumps(message, protocol=5)
        try:
            _write(self._outgoing, data)
        except OSError:  # nobody is there, or code that ran here has closed the pipe
            os._exit(1)

    def _listen(self, incoming: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (data := read_message(incoming)) is not None:
                self._messages.put(data)
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)  # with whatever was started here
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
            forget_in_forks(getattr(signal, name))
    _first_to_go()
    shut_in_forks(incoming, outgoing)
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
    _write(pipe, pickle.dumps(message, protocol=5))


def _write(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_HEAD.pack(_MARK, len(data)) + data)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> bytes | None:
    """Return the next message, still pickled; None at the end.

    Raises:
        ValueError: What comes is no message.
    """
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    mark, length = _HEAD.unpack(head)
    if mark != _MARK:
        raise ValueError("this is no message")
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
