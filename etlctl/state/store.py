"""The connection to the state store: SQLite by default, PostgreSQL by URL, and clear words when it does not work."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import StaticPool

from etlctl.errors import MissingExtraError, StateError
from etlctl.redact import Redactor

URL_VARIABLE = "ETLCTL_STATE_URL"
DATABASE_NAME = "state.db"
BUSY_SECONDS = 30
_WRITING = "etlctl_writing"


class Store:
    """An open state store.

    Args:
        engine: The database.
        where: How to name it to a person: a path, or a URL without its password.
        redactor: Masks the store's own password in error messages.
    """

    def __init__(self, engine: Engine, where: str, redactor: Redactor) -> None:
        self.engine = engine
        self.where = where
        self.redactor = redactor

    @property
    def is_sqlite(self) -> bool:
        """Tell whether the store is SQLite."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the store."""
        with self._explained(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection whose changes all happen or none does."""
        with self._explained(), self.engine.connect() as plain:
            connection = plain.execution_options(**{_WRITING: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            # Only the database's own words: SQLAlchemy's add the statement and its values.
            words = str(error.orig if isinstance(error, DBAPIError) else error)
            raise _explain(self.redactor.text(words), self.where, is_sqlite=self.is_sqlite) from error


def state_url(url: str | None = None, state_dir: Path | None = None) -> URL:
    """Return where the state store is.

    Args:
        url: Database URL; by default ``ETLCTL_STATE_URL``, else SQLite at ``state_dir/state.db``.
        state_dir: Folder of the state, by default ``.etlctl`` in the current one.

    Raises:
        StateError: The URL cannot be read, or names a database that cannot hold the state.
    """
    text = url or os.environ.get(URL_VARIABLE)
    if not text:
        path = (state_dir or Path(".etlctl")).absolute() / DATABASE_NAME
        return URL.create("sqlite", database=str(path))
    wanted = f"give {URL_VARIABLE} as postgresql://user:password@host:5432/database or sqlite:///path/to/state.db"
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError):
        raise StateError("the URL of the state store cannot be read", help=wanted) from None
    kind = parsed.drivername.partition("+")[0]
    if kind in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    if kind == "sqlite":
        return parsed.set(drivername="sqlite")
    raise StateError(f"the state store cannot be kept in {kind!r}: only SQLite and PostgreSQL hold it", help=wanted)


def database_file(url: URL) -> Path | None:
    """Return the file of a SQLite store, None for any other store."""
    if url.drivername != "sqlite" or url.database in {None, "", ":memory:"}:
        return None
    return Path(str(url.database))


def connect(url: URL) -> Store:
    """Open the state store without looking at its revision; a missing SQLite file is created, empty.

    Raises:
        StateError: The file cannot be created.
        MissingExtraError: PostgreSQL is asked for and its driver is not installed.
    """
    redactor = Redactor([url.password] if url.password else [])
    if url.drivername != "sqlite":
        return Store(_postgres(url), url.render_as_string(hide_password=True), redactor)
    path = database_file(url)
    if path is None:
        engine = create_engine(
            "sqlite://", poolclass=StaticPool, json_serializer=_json, connect_args={"check_same_thread": False}
        )
    else:
        _create_file(path)
        engine = create_engine(url, json_serializer=_json, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Store(engine, str(path or "memory"), redactor)


def _json(value: Any) -> str:
    return json.dumps(value, default=str)


def _postgres(url: URL) -> Engine:
    try:
        # Runs last for hours: a connection that the server or a firewall dropped meanwhile is noticed and replaced.
        return create_engine(url, pool_pre_ping=True, json_serializer=_json, connect_args={"connect_timeout": 10})
    except ImportError:
        raise MissingExtraError("a state store on PostgreSQL", "postgres") from None


def _create_file(path: Path) -> None:
    journal = path.with_name(path.name + "-wal")
    orphaned = journal.exists()
    if path.exists():
        return
    if orphaned:
        raise StateError(
            f"the state store {path} is gone, but its journal {journal.name} is still there",
            help=f"put {path.name} back from a backup, or delete {journal.name} as well to start an empty ledger",
        )
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Raw records must not slip into a commit.
            (path.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StateError(
            f"the state store {path} cannot be created: {error.strerror or error}",
            help=f"make {path.parent} a writable folder, or point {URL_VARIABLE} somewhere else",
        ) from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy's "begin" event starts transactions, so that writers can take the lock at once (_begin_sqlite).
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    _use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL; while another process does the same, SQLite refuses at once instead of waiting."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for the lock: SQLite fails it at once.
    writing = connection.get_execution_options().get(_WRITING)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


_SQLITE_TROUBLE = (
    (
        ("unable to open",),
        "cannot be opened",
        "check that the file and its folder exist and are yours to read and write, or set {variable}",
    ),
    (
        ("readonly", "read-only"),
        "is read-only",
        "make the file and its folder writable for this user, or point {variable} somewhere else",
    ),
    (
        ("disk is full", "disk i/o"),
        "cannot be written: the disk is full or fails",
        "free some space on that disk and run the same command again",
    ),
    (
        ("locked", "busy"),
        "has been locked by another process for over {seconds} seconds",
        "see which process holds it; for many writers at once use PostgreSQL ({variable})",
    ),
    (
        ("malformed", "not a database", "encrypted"),
        "is damaged",
        (
            "put it back from a backup, or rescue it with: sqlite3 {name} .recover | sqlite3 rescued.db; "
            "moving it away starts an empty ledger: data at the destinations is not touched"
        ),
    ),
)


def _explain(text: str, where: str, *, is_sqlite: bool) -> StateError:
    reason = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    if not is_sqlite:
        return StateError(
            f"the state store {where} does not work: {reason}",
            help=f"check that the server runs and that {URL_VARIABLE} names host, database, user and password",
        )
    words = {"variable": URL_VARIABLE, "seconds": BUSY_SECONDS, "name": Path(where).name}
    for needles, what, todo in _SQLITE_TROUBLE:
        if any(needle in text.lower() for needle in needles):
            return StateError(f"the state store {where} {what.format(**words)} ({reason})", help=todo.format(**words))
    return StateError(f"the state store {where} does not work: {reason}", help="check it with: etlctl db check")
