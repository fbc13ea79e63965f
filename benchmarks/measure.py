"""Time whole processes, taking turns, so that a slow minute of the machine hits every competitor alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class CommandFailed(RuntimeError):  # noqa: N818
    """A benchmarked command ended with an error."""


@dataclass
class Command:
    """A process to time.

    Attributes:
        name: How the table calls it.
        arguments: Program and arguments.
        folder: Where it runs.
        result: File or folder it writes; removed before each run.
        prepare: Called before each run, and not timed.
    """

    name: str
    arguments: Sequence[str]
    folder: Path
    result: Path | None = None
    prepare: Callable[[], None] | None = None
    seconds: list[float] = field(default_factory=list)
    peaks_mb: list[float] = field(default_factory=list)

    @property
    def median_seconds(self) -> float:
        """Median wall time of a run."""
        return statistics.median(self.seconds)

    @property
    def peak_mb(self) -> float:
        """Median of the runs' peak resident memory in MiB; not a number where the system does not tell."""
        return statistics.median(self.peaks_mb) if self.peaks_mb else float("nan")


def run_once(command: Command) -> tuple[float, float | None]:
    """Run a command; return its wall time in seconds and its peak resident memory in MiB.

    Raises:
        CommandFailed: It exited with an error; the message ends with what it said.
    """
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(command.arguments, cwd=command.folder, stdout=output, stderr=output)
        if sys.platform == "win32":
            code, peak = process.wait(), None
        else:
            _, status, usage = os.wait4(process.pid, 0)
            code = process.returncode = os.waitstatus_to_exitcode(status)
            peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        seconds = time.perf_counter() - began
        if code != 0:
            output.seek(0)
            said = output.read().decode(errors="replace")[-2000:]
            raise CommandFailed(f"{command.name} ended with exit code {code}:\n{' '.join(command.arguments)}\n{said}")
    return seconds, peak


def take_turns(commands: Sequence[Command], rounds: int) -> None:
    """Run every command once per round, in an order that changes from round to round; fill in their measurements."""
    for turn in range(rounds):
        for command in commands if turn % 2 == 0 else reversed(commands):
            clear(command.result)
            if command.prepare is not None:
                command.prepare()
            seconds, peak = run_once(command)
            command.seconds.append(seconds)
            if peak is not None:
                command.peaks_mb.append(peak)


def clear(result: Path | None) -> None:
    """Remove a former result, so that no run profits from it."""
    import shutil

    if result is None or not result.exists():
        return
    if result.is_dir():
        shutil.rmtree(result)
    else:
        result.unlink()
