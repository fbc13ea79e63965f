"""Ctrl-C and SIGTERM let a run finish the batch in hand and remember where it is; the exit code tells.

A second one ends the process at once, for code that does not come back; the next attempt cleans up after it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from etlctl.cli import output
from etlctl.kit.forks import forget_in_forks

if TYPE_CHECKING:
    from etlctl.engine.services import StopRequest

T = TypeVar("T")


def run_until_signal(work: Callable[[StopRequest], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine; SIGINT and SIGTERM ask it to stop, a second one ends the process at once.

    Args:
        work: Makes the coroutine, given what a signal will ask.

    Raises:
        typer.Exit: 130 after SIGINT, 143 after SIGTERM, when the coroutine was canceled instead.
    """
    caught: list[int] = []

    async def supervised() -> T:
        from etlctl.engine.services import StopRequest  # noqa: PLC0415

        loop, request = asyncio.get_running_loop(), StopRequest()
        task = asyncio.ensure_future(work(request))

        def stop(number: int) -> None:
            name = signal.Signals(number).name
            if caught:
                output.say(f"{name} again: stopping at once; the next attempt cleans up what is left over")
                os._exit(128 + number)
            output.say(f"{name}: stopping after the batch in hand (once more: stop at once)")
            caught.append(number)
            request.request(name, 128 + number)

        forget_in_forks(signal.SIGINT, signal.SIGTERM)
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
