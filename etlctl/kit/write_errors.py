"""Errors of writing files, in words that say what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from etlctl.errors import EtlctlError, FencedError, OutputClosed
from etlctl.kit.atomic import write_failure


@contextmanager
def told(name: str, lost: Callable[[], FencedError | None] = lambda: None) -> Iterator[None]:
    """Turn what the system and Polars raise into an error that says what to do.

    Args:
        name: What messages call the destination.
        lost: Tells whether the files were taken away by a newer attempt, which explains any error.
    """
    try:
        yield
    except EtlctlError:
        raise
    except BrokenPipeError as error:
        _silence_stdout()
        raise OutputClosed("whoever reads standard output has closed it") from error
    except OSError as error:
        raise lost() or write_failure(error, error.filename or name) from error
    except BaseException as error:
        # Polars reports some failures as errors of its own, a panic among them is not even an Exception.
        if type(error).__module__.split(".")[0] in {"polars", "pyo3_runtime"}:
            raise lost() or write_failure(error, name) from error
        raise


def _silence_stdout() -> None:
    """Let the interpreter's last flush of a closed standard output go nowhere instead of complaining."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
