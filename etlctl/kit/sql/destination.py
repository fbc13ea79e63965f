"""What a transfer needs of a database and of the ways into its tables, whichever database it is."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from etlctl.batch import Batch
from etlctl.frozen import frozen
from etlctl.kit.sql.blocks import Refusals
from etlctl.kit.sql.tokens import Answer

Guard = Callable[[int, int], None]
"""Refuses to replace so many records by so many; the first number is only sure to be 0 or not."""


class Database(Protocol):
    """One connection. Calls come one at a time, from any thread."""

    @property
    def place(self) -> str:
        """The database, for people: a path, or a server and a database."""

    @property
    def tokens(self) -> str:
        """The table of commit tokens as SQL names it; a schema and quotes may be part of it."""

    @property
    def mark(self) -> str:
        """What stands for a value in a statement: ``?`` or ``%s``."""

    @property
    def row_lock(self) -> str:
        """What makes a SELECT wait for a transaction that is changing the row: ``FOR UPDATE``; empty for nothing."""

    @property
    def trouble(self) -> type[Exception]:
        """What the driver raises."""

    @property
    def writing(self) -> bool:
        """A transaction is open."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Answer:
        """Run a statement, in the open transaction if there is one."""

    def begin(self) -> None:
        """Begin a transaction, unless one is open; a connection that was lost is opened anew."""

    def commit(self) -> None:
        """Commit the open transaction."""

    def rollback(self) -> None:
        """Undo what is not committed; never fails."""

    def close(self) -> None:
        """Undo what is not committed and let go. May be called repeatedly; never fails."""

    def told(self) -> AbstractContextManager[None]:
        """Turn what the driver raises into an error that says what to do."""

    def refused(self, error: Exception) -> str | None:
        """Return what the database says of data that break a constraint; None for any other error."""

    def has_table(self, name: str) -> bool:
        """Tell whether there is a table of a name in the schema that is loaded."""

    def drop_table(self, name: str) -> None:
        """Remove a table of that schema with all that belongs to it, if it is there."""

    def create_tokens(self) -> None:
        """Make the table of commit tokens, if it is not there."""


@frozen
class Lease:
    """On whose behalf records are loaded.

    Attributes:
        stream: Contract and parameter set; empty when no token is kept.
        run: The run.
        fence: Generation of its lease.
        resume: Go on with what the run has committed.
    """

    stream: str
    run: str
    fence: int
    resume: bool


class Sink(ABC):
    """Where the batches of a run go. Every method runs inside the caller's transaction."""

    visible = False
    """What is committed can be seen at once."""

    @abstractmethod
    def write(self, batch: Batch) -> Refusals:
        """Take a batch; return the records that cannot be taken."""

    def check(self, guard: Guard, *, counted: bool) -> None:  # noqa: B027 - most replace nothing
        """Ask the guard what ``publish`` will ask it.

        Args:
            guard: Asked before records are replaced.
            counted: The guard needs to know how many there were.
        """

    @abstractmethod
    def publish(self, guard: Guard, *, counted: bool) -> None:
        """Make everything visible.

        Args:
            guard: Asked before records are replaced.
            counted: The guard needs to know how many there were.
        """

    @abstractmethod
    def note_lost(self) -> None:
        """Report columns of the table, if it was there before, that no record had a field for."""

    @abstractmethod
    def refresh(self) -> None:
        """Look at the tables again: a transaction that changed them was undone."""

    @abstractmethod
    def take_unmatched(self) -> int:
        """Return how many records had a key that no row has, since the last time this was asked."""


def stage_name(stream: str, table: str) -> str:
    """Return the name of the table that a stream's records wait in."""
    return f"_etlctl_stage_{hashlib.sha256((stream or table).encode()).hexdigest()[:16]}"
