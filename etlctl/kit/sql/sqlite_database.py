"""A SQLite file opened for loading: durable, waiting for other writers, and told apart when something is wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from etlctl.errors import ComponentError, EtlctlError, FatalError, RetryableError
from etlctl.kit.atomic import write_failure
from etlctl.kit.sql.methods import quoted
from etlctl.kit.sql.tokens import CREATE, TABLE

BUSY_SECONDS = 30.0
"""How long to wait for another process's transaction."""
_CACHE_KIB = 32 << 10
_LEDGER_TABLE = "etlctl_runs"

_TROUBLE: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: (
        "the disk is full",
        "free some space, then resume the run: what was committed is still there",
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk fails or is full",
        "see that the disk works and has room, then resume the run: what was committed is still there",
    ),
    sqlite3.SQLITE_READONLY: (
        "it is read-only",
        "give this user the right to write the file and its folder, or choose another path",
    ),
    sqlite3.SQLITE_PERM: ("permission denied", "give this user the right to write the file and its folder"),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "check the path, and that this user may write the file and its folder",
    ),
    sqlite3.SQLITE_NOTADB: ("it is not a SQLite database", "correct the path, or choose a new file"),
    sqlite3.SQLITE_CORRUPT: (
        "it is damaged",
        "restore it from a backup, or rescue it with: sqlite3 damaged.db .recover | sqlite3 rescued.db",
    ),
    sqlite3.SQLITE_NOMEM: ("there is not enough memory", "lower batch_size"),
}


class Database:
    """One connection. Calls come one at a time, from any thread.

    Args:
        path: The file.
        create: Make the file and its folder when they do not exist.
        read_only: Change nothing, not even to finish what another process has left in its journal.

    Raises:
        FatalError: It cannot be opened, is no database, or is the ledger of etlctl itself.
    """

    def __init__(self, path: Path, *, create: bool, read_only: bool = False) -> None:
        self.path = path
        if create:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise write_failure(error, path) from error
        with self.told():
            # A path of its own form, so that a name with "?" or "%" in it is still just a name.
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'rwc' if create else 'ro' if read_only else 'rw'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=BUSY_SECONDS,
            )
        try:
            with self.told():
                self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        # EXTRA also flushes the folder when a rollback journal is removed: a commit reported is a commit kept.
        self.execute("PRAGMA synchronous = EXTRA")
        self.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        # A rename must not fail because some view of the user's speaks of a table that is not there.
        self.execute("PRAGMA legacy_alter_table = ON")
        if self.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_LEDGER_TABLE,)).fetchone():
            raise FatalError(
                f"{self.path} is the state store of etlctl itself; records are not loaded into it",
                help="choose a database of its own for the records",
            )

    mark = "?"
    row_lock = ""  # a transaction that writes has the whole file to itself
    tokens = TABLE
    trouble: type[Exception] = sqlite3.Error

    @property
    def place(self) -> str:
        """The file."""
        return str(self.path)

    def create_tokens(self) -> None:
        """Make the table of commit tokens, if it is not there."""
        self.execute(CREATE)

    def has_table(self, name: str) -> bool:
        """Tell whether there is a table of a name."""
        sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
        return self.execute(sql, (name,)).fetchone() is not None

    def drop_table(self, name: str) -> None:
        """Remove a table with its indexes and triggers, if it is there."""
        self.execute(f"DROP TABLE IF EXISTS {quoted(name)}")

    def refused(self, error: Exception) -> str | None:
        """Return what SQLite says of data that break a constraint; None for any other error."""
        return str(error) if isinstance(error, sqlite3.IntegrityError) else None

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for statements with many values."""
        return self._connection

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement."""
        return self._connection.execute(sql, values)

    def begin(self) -> None:
        """Begin to write, unless that was done.

        Raises:
            RetryableError: Another process is writing.
        """
        if not self._connection.in_transaction:
            with self.told():
                self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit the open transaction."""
        self.execute("COMMIT")

    @property
    def writing(self) -> bool:
        """A transaction is open."""
        return self._connection.in_transaction

    def rollback(self) -> None:
        """Undo what is not committed; SQLite has done so itself after some errors."""
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self.execute("ROLLBACK")

    def close(self) -> None:
        """Undo what is not committed and close the file. May be called repeatedly."""
        with suppress(sqlite3.Error):
            self._connection.close()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn what SQLite and the system raise into an error that says what to do."""
        try:
            yield
        except EtlctlError:
            raise
        except sqlite3.Error as error:
            raise explained(error, self.path) from error
        except OSError as error:
            raise write_failure(error, self.path) from error


def explained(error: sqlite3.Error, path: Path) -> ComponentError:
    """Return the error to raise for what SQLite said about a file as a whole, not about a record."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}:
        return RetryableError(
            f"{path} is locked: another process has been writing it for over {BUSY_SECONDS:g} seconds",
            help="see which process holds it (a stopped one, or an open sqlite3 shell with BEGIN); let it end",
        )
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
        return FatalError(
            f"cannot read {path} as it is: a process that died has left a transaction in {path.name}-journal",
            help=f"open it for writing once, which takes that back: sqlite3 {path} .tables; or run instead of planning",
        )
    reason, todo = _TROUBLE.get(code, (str(error), None))
    if code == sqlite3.SQLITE_CANTOPEN and not path.exists():
        reason, todo = "there is no such file", "correct the path, or let it be made with create_table: true"
    said = f" ({error})" if reason != str(error) else ""
    return FatalError(f"cannot write {path}: {reason}{said}", help=todo)
