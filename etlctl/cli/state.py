"""Where the commands find the ledger, and how they open it to read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etlctl.state.ledger import Ledger


def state_dir() -> Path:
    """Return the folder of the state of the workspace one stands in."""
    from etlctl.catalog.workspace import find_workspace  # noqa: PLC0415

    return find_workspace(Path.cwd()).state_dir


@contextmanager
def reading() -> Iterator[Ledger]:
    """Open the ledger to read; where nothing ran yet, it is empty and stays away."""
    from etlctl.state.ledger import open_ledger  # noqa: PLC0415

    with open_ledger(state_dir=state_dir(), create=False) as ledger:
        yield ledger


def instant(value: datetime | None) -> str | None:
    """Return an instant as people read it: UTC, to the second."""
    return value.strftime("%Y-%m-%d %H:%M:%S") if value is not None else None


def minute(value: datetime | None) -> str | None:
    """Return an instant for a list, where room is scarce: UTC, to the minute."""
    return value.strftime("%Y-%m-%d %H:%M") if value is not None else None
