"""The state store: SQLite by default, PostgreSQL by URL. A run on SQLite reaches it without SQLAlchemy."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from etlctl.errors import StateError
from etlctl.state.connection import PlainConnection
from etlctl.state.sqlite_file import SqliteFile, create_file
from etlctl.state.trouble import URL_VARIABLE

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

    from etlctl.state.database import Database

DATABASE_NAME = "state.db"
_FILE_URL = "sqlite:///"
_WANTED = f"give {URL_VARIABLE} as postgresql://user:password@host:5432/database or sqlite:///path/to/state.db"


class Location:
    """Where a state store is.

    Args:
        file: The SQLite file, if it is one.
        url: The URL that only SQLAlchemy can open; None for a plain file.
    """

    __slots__ = ("file", "url")

    def __init__(self, file: Path | None, url: URL | None = None) -> None:
        self.file = file
        self.url = url

    @property
    def is_sqlite(self) -> bool:
        """Tell whether it is SQLite, in a file or in memory."""
        return self.url is None or self.url.drivername == "sqlite"

    def __str__(self) -> str:
        if self.is_sqlite:
            return str(self.file or "memory")
        return self.url.render_as_string(hide_password=True) if self.url else ""


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


def state_url(url: str | None = None, state_dir: Path | None = None) -> Location:
    """Return where the state store is.

    Args:
        url: Database URL; by default ``ETLCTL_STATE_URL``, else SQLite at ``state_dir/state.db``.
        state_dir: Folder of the state, by default ``.etlctl`` in the current one.

    Raises:
        StateError: The URL cannot be read, or names a database that cannot hold the state.
    """
    text = url or os.environ.get(URL_VARIABLE)
    if not text:
        return Location((state_dir or Path(".etlctl")).absolute() / DATABASE_NAME)
    path = text.removeprefix(_FILE_URL)
    if path not in {text, "", ":memory:"} and not {"?", "%"} & set(path):
        return Location(Path(path))
    return _parsed(text)


def _parsed(text: str) -> Location:
    """Read a URL with SQLAlchemy, which knows its every spelling."""
    from sqlalchemy import make_url  # noqa: PLC0415
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError):
        raise StateError("the URL of the state store cannot be read", help=_WANTED) from None
    kind = parsed.drivername.partition("+")[0]
    if kind in {"postgres", "postgresql"}:
        return Location(None, parsed.set(drivername="postgresql+psycopg"))
    if kind != "sqlite":
        raise StateError(
            f"the state store cannot be kept in {kind!r}: only SQLite and PostgreSQL hold it", help=_WANTED
        )
    parsed = parsed.set(drivername="sqlite")
    if parsed.database in {None, "", ":memory:"}:
        return Location(None, parsed)
    return Location(Path(str(parsed.database)), parsed if parsed.query or parsed.host else None)


def database_file(location: Location) -> Path | None:
    """Return the file of a SQLite store, None for any other store."""
    return location.file


def connect(location: Location) -> Store:
    """Open the state store without looking at its revision; a missing SQLite file is created, empty.

    Raises:
        StateError: The file cannot be created.
        MissingExtraError: PostgreSQL is asked for and its driver is not installed.
    """
    if location.file is not None:
        create_file(location.file)
    return Store(location)
