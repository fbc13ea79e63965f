"""Loads blocks into a table; the records that the database refuses are found by halving what failed.

A statement that fails undoes itself (a savepoint sees to that where it takes several), so the good records of a batch
are loaded in few statements, and each bad one is refused with the server's own words. Only what the server says of data
counts as that: a lost connection, a deadlock or a missing right is never put down to a record.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from etlctl.errors import FatalError, RecordRejected
from etlctl.kit.sql.blocks import Block, Refusals
from etlctl.kit.sql.database_server import Server
from etlctl.kit.sql.database_table import Table
from etlctl.kit.sql.methods import Method


class Loading(ABC):
    """Applies a write method to a table; of records with one key the last wins.

    Args:
        server: The open connection, in a transaction.
        method: What a record does; replacing counts as inserting.
        key: Columns that find a row.
        shown: The table's name for messages, where that is not the name of the table loaded.
    """

    def __init__(self, server: Server, method: Method, key: Sequence[str], shown: str) -> None:
        self._server = server
        self._method = method
        self._key = tuple(key)
        self._shown = shown
        self._unmatched = 0

    def take(self, table: Table, block: Block, extra: Sequence[tuple[str, list[Any]]] = ()) -> Refusals:
        """Load a block; return the records that the database refuses.

        Args:
            table: The table as it is now.
            block: Values under the table's own column names.
            extra: Further columns, and their values.
        """
        refusals: Refusals = []
        if not len(block):
            return refusals
        names = [*block.columns, *(name for name, _ in extra)]
        way = self._prepared(table, names, [*block.columns.values(), *(values for _, values in extra)], len(block))
        waiting = list(reversed(list(way.pieces())))
        while waiting:
            start, end = waiting.pop()
            error = self._tried(way, start, end)
            if error is None:
                continue
            if end - start > 1:
                middle = (start + end) // 2
                waiting += [(middle, end), (start, middle)]
                continue
            refusals.append((block.places[start], self._refusal(table, error)))
        way.done()
        return refusals

    def _tried(self, way: Way, start: int, end: int) -> str | None:
        """Load some records; return what the database says of their data when it refuses them."""
        server = self._server
        # After a deadlock there is no savepoint to go back to, and the error to tell is the deadlock.
        point = None if way.single else server.connection.begin_nested()
        try:
            unmatched = way.load(start, end)
        except server.trouble as error:
            said = server.refused(error)
            if said is None:
                raise
        except TooBig as error:
            said = str(error)
        else:
            if point is not None:
                point.commit()
            self._unmatched += unmatched
            return None
        if point is not None:
            point.rollback()
        return said

    def _refusal(self, table: Table, said: str) -> RecordRejected:
        said = said.replace(table.name, self._shown)
        named = [column.name for column in table.columns if f"'{column.name}'" in said]
        rule = "load.too_big" if "max_allowed_packet" in said else "load.constraint"
        return RecordRejected(
            rule, f"table {self._shown!r} refuses the record: {said}", field=named[0] if len(named) == 1 else None
        )

    def replay(self, table: Table, names: Sequence[str], log: Table, first: int, last: int) -> None:
        """Load a stretch of a log, every record of which was tried before.

        Args:
            table: The table.
            names: Columns of the records.
            log: Where they are.
            first: Number of the first one.
            last: Number of the last one.

        Raises:
            FatalError: A record is refused all the same.
        """
        try:
            self._unmatched += self._replayed(table, names, log, first, last)
        except self._server.trouble as error:
            said = self._server.refused(error)
            if said is None:
                raise
            raise FatalError(
                f"{self._refusal(table, said).message}; nothing was published, the table is as it was",
                help="the record only fails together with others of the run, or with changes made to the table "
                "meanwhile; processing_mode: streaming finds it and puts it into the dead letters",
            ) from error

    def take_unmatched(self) -> int:
        """Return how many records had a key that no row has, since the last time this was asked."""
        count, self._unmatched = self._unmatched, 0
        return count

    def names_of_key(self, table: Table) -> list[str]:
        """Return the key as the table spells it."""
        return [table.the(name).name for name in self._key]

    @abstractmethod
    def _prepared(self, table: Table, names: Sequence[str], columns: Sequence[list[Any]], records: int) -> Way:
        """Return the way that records take into the table."""

    @abstractmethod
    def _replayed(self, table: Table, names: Sequence[str], log: Table, first: int, last: int) -> int:
        """Load a stretch of a log; return how many records matched no row."""


class Way(ABC):
    """How the records of a block get into a table."""

    single = False
    """It is a single statement, which undoes itself when it fails."""

    @abstractmethod
    def pieces(self) -> Iterator[tuple[int, int]]:
        """Yield stretches of records that are loaded together, as first and one behind the last."""

    @abstractmethod
    def load(self, start: int, end: int) -> int:
        """Load a stretch of records; return how many matched no row."""

    def done(self) -> None:  # noqa: B027 - most have nothing to clean up
        """All are loaded."""


class TooBig(Exception):  # noqa: N818
    """A record does not fit into a statement."""
