"""The state store as a SQLite file, through the standard library: made for its owner only, set up for many writers."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from etlctl.errors import StateError
from etlctl.state.connection import PlainConnection
from etlctl.state.trouble import BUSY_SECONDS, URL_VARIABLE, explain


def create_file(path: Path) -> None:
    """Create an empty file that only its owner may read, and its folder; one that is there stays as it is.

    Raises:
        StateError: It cannot be created, or only its journal is there.
    """
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


def prepare(connection: sqlite3.Connection) -> None:
    """Set up a connection: transactions begin when they are told to, writers wait for each other."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
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


class SqliteFile:
    """The one connection a process records its runs with; threads take turns.

    Args:
        path: The file; it is there already.
        where: How to name it to a person.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._path = path.absolute()
        self._where = where
        self._lock = RLock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self, *, writing: bool) -> Iterator[PlainConnection]:
        """Give the connection for one transaction: all of its changes happen or none does.

        Args:
            writing: Take the lock at once. A transaction that reads first and writes later cannot wait for the lock:
                SQLite fails it at once.
        """
        with self._lock:
            try:
                connection = self._open()
                connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
                try:
                    yield _SqliteConnection(connection)
                    connection.execute("COMMIT")
                except BaseException:
                    # After some errors, such as a full disk, SQLite has rolled back by itself.
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise explain(str(error), self._where, is_sqlite=True) from error

    def close(self) -> None:
        """Close the connection; the next transaction opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            # The engine calls from whichever thread is free; the lock keeps them apart.
            opened = sqlite3.connect(self._path, check_same_thread=False)
            try:
                prepare(opened)
            except BaseException:
                opened.close()
                raise
            self._connection = opened
        return self._connection


class _SqliteConnection:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, values: Mapping[str, Any] | None = None) -> int:
        return self._connection.execute(statement, values or {}).rowcount

    def run_many(self, statement: str, rows: Iterable[Mapping[str, Any]]) -> None:
        self._connection.executemany(statement, rows)

    def fetch(self, statement: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        cursor = self._connection.execute(statement, values or {})
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]
