"""How every command talks: data to stdout, talk to stderr, errors that say what to do, no traceback unless asked."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console

    from etlctl.errors import EtlctlError
    from etlctl.run import RunResult

_NO_WIDTH = 10_000


def debugging() -> bool:
    """Tell whether tracebacks are wanted: ``--debug`` sets ETLCTL_DEBUG for the process."""
    return os.environ.get("ETLCTL_DEBUG", "") not in {"", "0"}


def data(text: str) -> None:
    """Write data to stdout."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def json_data(value: Any) -> None:
    """Write a JSON document to stdout: the machine-readable face of a reading command."""
    data(json.dumps(value, indent=2, ensure_ascii=False, default=_jsonable))


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)


def say(text: str) -> None:
    """Write talk to stderr."""
    sys.stderr.write(text + "\n")


def warn(text: str) -> None:
    """Write a warning to stderr."""
    say(f"warning: {text}")


def console() -> Console:
    """Return a rich console on stdout; it honours NO_COLOR and plain pipes by itself."""
    from rich.console import Console  # noqa: PLC0415

    # Without a terminal there is no width: what other programs read is never folded.
    width = None if sys.stdout.isatty() else _NO_WIDTH
    return Console(file=sys.stdout, highlight=False, soft_wrap=width is not None, width=width)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = (), whole: Sequence[str] = ()
) -> None:
    """Write a table to stdout.

    Args:
        columns: Headings.
        rows: One sequence of values per row; None shows as a dash.
        right: Headings of the columns to align right.
        whole: Headings of the columns never to fold, such as ids to copy.
    """
    from rich.box import SIMPLE  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(box=SIMPLE, pad_edge=False, show_edge=False)
    for name in columns:
        justify: Literal["right", "left"] = "right" if name in right else "left"
        shown.add_column(name, justify=justify, overflow="fold", no_wrap=name in whole)
    for row in rows:
        shown.add_row(*(Text("-" if value is None else str(value)) for value in row))
    console().print(shown)


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Turn errors into one clear message and the exit code of their class; the traceback only with ``--debug``."""
    import typer  # noqa: PLC0415

    from etlctl.errors import EtlctlError  # noqa: PLC0415

    try:
        yield
    except EtlctlError as error:
        if debugging():
            traceback.print_exc()
        _say_diagnostics(error)
        say(f"error: {error}")
        if error.help:
            say(f"  help: {error.help}")
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:
        # The reader of our output went away (``| head``): not our failure, and nobody is left to tell.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        raise typer.Exit(0) from None


def _say_diagnostics(error: EtlctlError) -> None:
    """Show every problem of a contract, as ``validate`` does."""
    found = getattr(error, "diagnostics", None)
    if found:
        from etlctl.contract import render  # noqa: PLC0415

        say(render.full(found))


def fail(result: RunResult) -> None:
    """Say why a run failed and leave with its exit code.

    Raises:
        typer.Exit: Always, with the result's exit code.
    """
    import typer  # noqa: PLC0415

    if debugging() and result.traceback:
        say(result.traceback)
    say(f"error: {result.error}")
    if result.error_help:
        say(f"  help: {result.error_help}")
    from etlctl.engine.report import what_next  # noqa: PLC0415

    advice = what_next(result)
    if advice:
        say(f"  {advice}")
    raise typer.Exit(result.exit_code)
