"""The proof's side of the processes that are killed: start a server of them, order attempts, end it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from etlctl.errors import EtlctlError
from etlctl.frozen import frozen


@frozen
class Ended:
    """How an attempt ended.

    Attributes:
        killed: By SIGKILL.
        code: Exit code of the process, negative for a signal.
        report: What it said at its end: ``success``, ``error``, ``counts`` and so on; None if it did not get so far.
        late: It was killed because it took too long.
        seconds: How long it took from when its contract was loaded.
    """

    killed: bool
    code: int
    report: Mapping[str, Any] | None
    late: bool
    seconds: float


class Children:
    """Starts real processes quickly, one at a time. Use it as a context manager.

    Args:
        modules: What the processes need besides the engine, to be imported once. No code of a workspace: it may start
            threads, which a fork does not survive.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        # -P: the current folder may hold modules with any name, and nothing in it is asked for.
        self._server = subprocess.Popen(  # noqa: S603 - our own interpreter, our own modules
            [sys.executable, "-P", "-m", "etlctl.orchestrator.proving_child", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def run(self, order: Mapping[str, Any], *, fault: str, patience: float, kill_after: float | None = None) -> Ended:
        """Make an attempt in a process of its own and wait for its end.

        Args:
            order: What to run: see ``proving_child``.
            fault: What shall go wrong, in the form of ``etlctl.faults``.
            patience: Seconds after which the process is killed because it hangs.
            kill_after: Seconds after its contract is loaded at which the process is killed.

        Raises:
            EtlctlError: No process could be started.
        """
        if self._server.stdin is None or self._server.stdout is None:  # pragma: no cover - both are pipes
            raise EtlctlError("the processes of the proof have no pipes")
        whole = {**order, "fault": fault, "patience": patience, "kill_after": kill_after}
        try:
            self._server.stdin.write(json.dumps(whole, default=str) + "\n")
            self._server.stdin.flush()
            line = self._server.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise EtlctlError(
                "the process that starts the attempts of the proof has ended",
                help="see whether memory or processes are limited here, then prove again",
            )
        answer = json.loads(line)
        killed = answer["code"] == -signal.SIGKILL
        return Ended(killed, answer["code"], answer["report"], answer["late"], answer["seconds"])

    def close(self) -> None:
        """End the server, and the attempt in hand if there is one."""
        if self._server.returncode is None:  # nobody has reaped it, so its number is still its own
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._server.pid, signal.SIGKILL)  # nobody else is in its group
        self._server.wait()
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
