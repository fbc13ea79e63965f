"""The state store through SQLAlchemy: every store when it is read or migrated, PostgreSQL in a run, too."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from etlctl.errors import MissingExtraError
from etlctl.redact import Redactor
from etlctl.state.column_values import json_text
from etlctl.state.connection import PlainConnection
from etlctl.state.location import Location
from etlctl.state.sqlite_file import prepare
from etlctl.state.trouble import explain

_WRITING = "etlctl_writing"
_CHUNK = 5_000


def _engine(location: Location) -> Engine:
    url = location.url
    if url is not None and not location.is_sqlite:
        return _postgres(url)
    if location.file is None:
        memory = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        engine = create_engine("sqlite://", json_serializer=json_text, **memory)
    else:
        file = URL.create("sqlite", database=str(location.file.absolute()))
        engine = create_engine(url or file, json_serializer=json_text)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgres(url: URL) -> Engine:
    try:
        # Runs last for hours: a connection that the server or a firewall dropped meanwhile is noticed and replaced.
        return create_engine(url, pool_pre_ping=True, json_serializer=json_text, connect_args={"connect_timeout": 10})
    except ImportError:
        raise MissingExtraError("a state store on PostgreSQL", "postgres") from None


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    prepare(connection)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for the lock: SQLite fails it at once.
    writing = connection.get_execution_options().get(_WRITING)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


class Database:
    """A state store that SQLAlchemy talks to.

    Args:
        location: Where it is.

    Raises:
        MissingExtraError: It is on PostgreSQL and its driver is not installed.
    """

    def __init__(self, location: Location) -> None:
        self._engine = _engine(location)
        self._location = location
        password = location.url.password if location.url else None
        # Masks the store's own password in what the database says.
        self._redactor = Redactor([password] if password else [])

    @contextmanager
    def connection(self, *, writing: bool) -> Iterator[Connection]:
        """Give a connection for one transaction: all of its changes happen or none does."""
        with self._explained(), self._engine.connect() as plain:
            connection = plain.execution_options(**{_WRITING: writing})
            with connection.begin():
                yield connection

    @contextmanager
    def transaction(self, *, writing: bool) -> Iterator[PlainConnection]:
        """Give a connection for the plain statements of one transaction."""
        with self.connection(writing=writing) as connection:
            yield TextConnection(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            # Only the database's own words: SQLAlchemy's add the statement and its values.
            words = self._redactor.text(str(error.orig if isinstance(error, DBAPIError) else error))
            raise explain(words, str(self._location), is_sqlite=self._location.is_sqlite) from error


class TextConnection:
    """Runs plain statements on a connection of SQLAlchemy.

    Args:
        connection: In a transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, statement: str, values: Mapping[str, Any] | None = None) -> int:
        """Run a statement; returns how many rows it changed."""
        return self._connection.execute(text(statement), values or {}).rowcount

    def run_many(self, statement: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run a statement once for each of many rows."""
        source = iter(rows)
        while chunk := list(islice(source, _CHUNK)):
            self._connection.execute(text(statement), chunk)

    def fetch(self, statement: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the rows of a query, as the driver gives their values."""
        found = self._connection.execute(text(statement), values or {})
        return [dict(row) for row in found.mappings()]
