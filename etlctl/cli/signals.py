"""Ctrl-C and SIGTERM cancel a run cleanly: nothing half-written is published, and the exit code tells.

A second one ends the process at once, for code that does not come back; the next run cleans up after it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

from etlctl.cli import output

T = TypeVar("T")


def run_until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; SIGINT and SIGTERM cancel it, a second one ends the process at once.

    Raises:
        typer.Exit: 130 after SIGINT, 143 after SIGTERM, once the run has cleaned up.
    """
    caught: list[int] = []

    async def supervised() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def stop(number: int) -> None:
            name = signal.Signals(number).name
            if caught:
                output.say(f"{name} again: stopping at once; the next run cleans up what is left over")
                os._exit(128 + number)
            output.say(f"{name}: stopping cleanly; nothing new is published (once more: stop at once)")
            caught.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, stop, number)
            except (NotImplementedError, RuntimeError):  # Windows: Python's own handling of Ctrl-C stays
                break
        return await task

    try:
        return asyncio.run(supervised())
    except asyncio.CancelledError:
        raise typer.Exit(128 + (caught[0] if caught else signal.SIGINT)) from None
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
