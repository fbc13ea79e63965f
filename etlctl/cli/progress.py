"""Progress on stderr: a live line on a terminal, a plain line every few seconds otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from etlctl.run import ETLProgress

PLAIN_SECONDS = 5.0

ProgressCallback = Callable[[ETLProgress], None]


@contextmanager
def progress_display(title: str, *, quiet: bool, terminal: bool) -> Iterator[ProgressCallback | None]:
    """Show progress while the block runs.

    Args:
        title: What is running.
        quiet: Show nothing.
        terminal: Somebody is watching: draw a live line.
    """
    if quiet:
        yield None
    elif terminal:
        with _live(title) as callback:
            yield callback
    else:
        yield _plain()


def _plain() -> ProgressCallback:
    last = time.monotonic()

    def show(event: ETLProgress) -> None:
        nonlocal last
        if event.stage == "load" and time.monotonic() - last >= PLAIN_SECONDS:
            last = time.monotonic()
            sys.stderr.write(f"{event}\n")
            sys.stderr.flush()

    return show


@contextmanager
def _live(title: str) -> Iterator[ProgressCallback]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress, SpinnerColumn, TextColumn  # noqa: PLC0415

    console = Console(file=sys.stderr, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, refresh_per_second=8) as shown:
        task = shown.add_task(title, total=None)

        def show(event: ETLProgress) -> None:
            if event.stage != "done":
                shown.update(task, description=f"{title} {event}")

        yield show
