"""The state store: SQLite by default, PostgreSQL by URL. A run on SQLite reaches it without SQLAlchemy."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from etlctl.state.connection import PlainConnection
from etlctl.state.location import Location
from etlctl.state.sqlite_file import SqliteFile, create_file

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from etlctl.state.database import Database


class Store:
    """An open state store. Runs are recorded in a ``transaction``; ``read`` and ``write`` load SQLAlchemy.

    Args:
        location: Where it is; a SQLite file is there already.

    Raises:
        MissingExtraError: It is on PostgreSQL and its driver is not installed.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self.where = str(location)
        self.is_sqlite = location.is_sqlite
        plain = location.file is not None and location.url is None
        self._file = SqliteFile(location.file, self.where) if location.file and plain else None
        self._opened: Database | None = None
        if not plain:
            self._database()

    def transaction(self, *, writing: bool = True) -> AbstractContextManager[PlainConnection]:
        """Give a connection for plain statements: all of their changes happen or none does.

        Args:
            writing: Take the write lock at once.
        """
        return (self._file or self._database()).transaction(writing=writing)

    def read(self) -> AbstractContextManager[Connection]:
        """Give a connection of SQLAlchemy that sees one state of the store."""
        return self._database().connection(writing=False)

    def write(self) -> AbstractContextManager[Connection]:
        """Give a connection of SQLAlchemy whose changes all happen or none does."""
        return self._database().connection(writing=True)

    def close(self) -> None:
        """Close all connections."""
        if self._file is not None:
            self._file.close()
        if self._opened is not None:
            self._opened.close()

    def _database(self) -> Database:
        if self._opened is None:
            from etlctl.state.database import Database  # noqa: PLC0415

            self._opened = Database(self.location)
        return self._opened


def connect(location: Location) -> Store:
    """Open the state store without looking at its revision; a missing SQLite file is created, empty.

    Raises:
        StateError: The file cannot be created.
        MissingExtraError: PostgreSQL is asked for and its driver is not installed.
    """
    if location.file is not None:
        create_file(location.file)
    return Store(location)
