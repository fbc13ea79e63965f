"""Whatever a component raises leaves the engine as one kind of error that says where it happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from etlctl.errors import ComponentError, EtlctlError, UnexpectedError


@contextmanager
def attributed(step: str, batch: int | None = None) -> Iterator[None]:
    """Attach the step (and batch) to errors of the block; what is not ours becomes an ``UnexpectedError``.

    Args:
        step: Where in the contract.
        batch: Number of the batch, from 1.
    """
    try:
        yield
    except ComponentError as error:
        error.at(step=step, batch=batch)
        raise
    except EtlctlError:
        raise
    except Exception as error:
        raise UnexpectedError(f"{type(error).__name__}: {error}").at(step=step, batch=batch) from error
