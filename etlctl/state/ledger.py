"""The ledger: what ran and runs, how it went, where it stands, and every record that was rejected.

All methods block; the engine calls them from a thread. Every change is one transaction.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from etlctl.clock import Clock
from etlctl.redact import Redactor
from etlctl.state.checkpoint_rows import CheckpointRows
from etlctl.state.claims import Claims
from etlctl.state.cursors import Cursors
from etlctl.state.drift_book import DriftBook
from etlctl.state.lease import LEASE_SECONDS
from etlctl.state.leases import Leases
from etlctl.state.letter_book import LetterBook
from etlctl.state.location import database_file, state_url
from etlctl.state.run_book import RunBook
from etlctl.state.run_recorder import RunRecorder
from etlctl.state.store import connect
from etlctl.state.upgrade import ensure_head

if TYPE_CHECKING:
    from etlctl.state.checkpoint_store import CheckpointStore
    from etlctl.state.records import RunStart

__all__ = ["Ledger", "RunRecorder", "open_ledger"]


def open_ledger(
    url: str | None = None,
    state_dir: Path | None = None,
    *,
    redactor: Redactor | None = None,
    create: bool = True,
    clock: Clock | None = None,
) -> Ledger:
    """Open the ledger, upgrading a SQLite one that is behind.

    Args:
        url: Database URL; by default ``ETLCTL_STATE_URL``, else SQLite at ``state_dir/state.db``.
        state_dir: Folder of the state, by default ``.etlctl`` in the current one.
        redactor: Masks secrets in everything that is stored. Secrets it learns later count too.
        create: Make a SQLite file that is missing; otherwise the ledger is an empty one in memory. For reading.
        clock: Tells the time.

    Raises:
        StateError: The state store is out of reach, read-only, damaged, behind or too new.
        MissingExtraError: PostgreSQL is asked for and its driver is not installed.
    """
    where = state_url(url, state_dir)
    file = database_file(where)
    if not create and file is not None and not file.exists():
        where = state_url("sqlite://")
    store = connect(where)
    if file is not None and where.file is None:
        store.where = f"{file}, which is not there: nothing ran in this workspace yet"
    try:
        ensure_head(store)
    except BaseException:
        store.close()
        raise
    return Ledger(store, redactor=redactor, clock=clock)


class Ledger(RunBook, LetterBook, Claims, Leases, CheckpointRows, Cursors, DriftBook):
    """All that is known of runs, in the state store. Close it, or use it as a context manager.

    Args:
        store: The open state store.
        redactor: Masks secrets in everything that is stored.
        clock: Tells the time.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.store.close()

    @property
    def description(self) -> str:
        """Which database this is, for people."""
        return f"{'SQLite' if self.store.is_sqlite else 'PostgreSQL'} at {self.store.where}"

    def recorder(
        self,
        start: RunStart,
        *,
        resume: bool = False,
        ttl: float = LEASE_SECONDS,
        checkpoints: CheckpointStore | None = None,
    ) -> RunRecorder:
        """Return the ledger as one run sees it; ``RunRecorder`` tells what the arguments mean."""
        return RunRecorder(self, start, resume=resume, ttl=ttl, checkpoints=checkpoints)
