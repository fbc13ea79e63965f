"""A connection to PostgreSQL for loading: opened anew when it is lost, and told for people when something is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from etlctl.errors import EtlctlError, FatalError, RetryableError
from etlctl.kit.sql.methods import quoted
from etlctl.kit.sql.server_errors import connect_error, server_words, statement_error
from etlctl.kit.sql.tokens import CREATE, TABLE
from etlctl.kit.sql.urls import Address

PATIENCE_SECONDS = 30.0
"""How long a server that was lost may take to come back, before the batch counts as failed."""
_CONNECT_SECONDS = 15
_LOCK_SECONDS = 60
_LONGEST_PAUSE = 1.0
# Anything else would make the meaning of a text depend on the server's configuration. Constraints that wait for the end
# would refuse the whole batch when nobody can tell the record any more. Local: a pool may give us another session.
_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL timezone = 'UTC'; "
    "SET LOCAL intervalstyle = 'postgres'; SET LOCAL standard_conforming_strings = on; "
    f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'; SET LOCAL idle_in_transaction_session_timeout = 0; "
    "SET LOCAL random_page_cost = 1.1; "  # a batch has few keys, of which the index is in memory soon
    "SET CONSTRAINTS ALL IMMEDIATE"
)
_WHO = "SELECT pg_backend_pid(), (extract(epoch FROM now()) * 1000000)::bigint"
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid = %s AND (extract(epoch FROM xact_start) * 1000000)::bigint = %s"
)
# Data, integrity, views' conditions, raised by a trigger, rows and values too large.
_DATA_STATES = ("22", "23", "44", "P0001", "54000", "54001")
_LEDGER_TABLE = "etlctl_runs"
_STATUS = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


class PostgresDatabase:
    """One connection. Calls come one at a time, from any thread.

    Args:
        address: The server and the database.
        schema: The schema of the table; None: the first one of the user's search path.

    Raises:
        FatalError: The server does not let us in, or there is no such schema.
        RetryableError: The server does not answer.
    """

    transactions: int
    """How many were begun: what belongs to one of them is gone in the next."""
    mark = "%s"
    row_lock = "FOR UPDATE"
    trouble: type[Exception] = psycopg.Error

    def __init__(self, address: Address, schema: str | None = None) -> None:
        self.address = address
        self._wanted = schema
        self._was: tuple[int, int] | None = None
        self.transactions = 0
        self._connection = self._connected()
        self.schema = self._find_schema()

    def _connected(self) -> psycopg.Connection[Any]:
        try:
            connection = psycopg.connect(
                self.address.conninfo,
                autocommit=True,
                prepare_threshold=None,  # prepared statements do not get through every connection pool
                connect_timeout=_CONNECT_SECONDS,
                fallback_application_name="etlctl",
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
            )
        except psycopg.Error as error:
            raise connect_error(error, self.address) from error
        try:
            connection.execute("SET client_encoding = 'UTF8'")
        except psycopg.Error as error:
            connection.close()
            raise connect_error(error, self.address) from error
        return connection

    def _find_schema(self) -> str:
        with self.told():
            if self._wanted is None:
                found = self.execute("SELECT current_schema()").fetchone()
            else:
                sql = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = %s"
                found = self.execute(sql, (self._wanted,)).fetchone()
        if found is not None and found[0] is not None:
            return str(found[0])
        self.close()
        wanted = f"there is no schema {self._wanted!r}" if self._wanted else "the user's search path names no schema"
        raise FatalError(
            f"{self.address}: {wanted}",
            help="correct schema in load.yaml, or let an administrator make it: CREATE SCHEMA …",
        )

    @property
    def place(self) -> str:
        """The server and the database, without a password."""
        return self.address.shown

    @property
    def tokens(self) -> str:
        """The table of commit tokens, in the schema that is loaded."""
        return self.named(TABLE)

    @property
    def has_tokens(self) -> bool:
        """There is a table of commit tokens."""
        return self.has_table(TABLE)

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The connection, for COPY."""
        return self._connection

    def named(self, name: str) -> str:
        """Return the name of a table of the schema for statements."""
        return f"{quoted(self.schema)}.{quoted(name)}"

    def execute(self, sql: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        """Run a statement; ``%s`` are marks only when there are values."""
        return self._connection.execute(sql, values or None)

    def begin(self) -> None:
        """Begin a transaction, unless one is open; a connection that was lost is opened anew.

        Raises:
            RetryableError: The server did not come back within ``PATIENCE_SECONDS``.
            FatalError: It does not let us in any more.
        """
        if self.writing:
            return
        if self._is_lost():
            self._reconnect()
        try:
            self._begin()
        except RetryableError:  # found out only now that the connection is gone
            if not self._is_lost():
                raise
            self._reconnect()
            self._begin()

    def _begin(self) -> None:
        with self.told():
            self.execute(_BEGIN)
            self.transactions += 1
            self._was = self.execute(_WHO).fetchone()

    def _is_lost(self) -> bool:
        return self._connection.closed or self._connection.info.transaction_status == TransactionStatus.UNKNOWN

    def _reconnect(self) -> None:
        """Open a new connection, and make sure that the server has done with the old one."""
        with suppress(psycopg.Error):
            self._connection.close()
        before, until, pause = self._was, time.monotonic() + PATIENCE_SECONDS, 0.05
        while True:
            try:
                self._connection = self._connected()
                break
            except RetryableError:
                if time.monotonic() + pause > until:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        if before is not None:
            # What that transaction still does is waited for where it matters; this only saves the waiting.
            with suppress(psycopg.Error):
                self.execute(_END, before)

    def commit(self) -> None:
        """Commit the open transaction.

        Raises:
            FatalError: The server took it back instead.
        """
        if self.execute("COMMIT").statusmessage != "COMMIT":
            raise FatalError(f"{self.address} has taken the transaction back instead of committing it")

    @property
    def writing(self) -> bool:
        """A transaction is open."""
        return not self._connection.closed and self._connection.info.transaction_status in _STATUS

    def rollback(self) -> None:
        """Undo what is not committed."""
        with suppress(psycopg.Error):
            if self.writing:
                self.execute("ROLLBACK")
            elif not self._connection.closed and self._connection.info.transaction_status != TransactionStatus.IDLE:
                self._connection.close()  # in the middle of a COPY: the server undoes it when the connection goes

    def close(self) -> None:
        """Undo what is not committed and let go. May be called repeatedly."""
        with suppress(psycopg.Error):
            self._connection.close()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn what the server and the driver raise into an error that says what to do."""
        try:
            yield
        except EtlctlError:
            raise
        except psycopg.Error as error:
            if self._is_lost() and not isinstance(error, psycopg.errors.InsufficientPrivilege):
                raise RetryableError(
                    f"{self.address}: the connection was lost: {server_words(error, self.address)}",
                    help="if this comes back, look into the server's log",
                ) from error
            raise statement_error(error, self.address, "loading") from error

    def refused(self, error: Exception) -> str | None:
        """Return what the server says of data that break a constraint; None for any other error."""
        state = getattr(error, "sqlstate", None) or ""
        return server_words(error, self.address) if state.startswith(_DATA_STATES) else None

    def has_table(self, name: str) -> bool:
        """Tell whether there is a table of a name in the schema."""
        sql = (
            "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'f')"
        )
        return self.execute(sql, (self.schema, name)).fetchone() is not None

    def drop_table(self, name: str) -> None:
        """Remove a table with its indexes, if it is there."""
        if self.has_table(name):
            self.execute(f"DROP TABLE {self.named(name)}")

    def create_tokens(self) -> None:
        """Make the table of commit tokens, if it is not there; only then the right to make tables is needed."""
        if self.has_table(_LEDGER_TABLE):
            raise FatalError(
                f"schema {self.schema!r} of {self.address} holds the state store of etlctl itself; records are not "
                "loaded into it",
                help="choose a schema or a database of its own for the records",
            )
        if self.has_table(TABLE):
            return
        statement = CREATE.replace(TABLE, self.tokens)
        try:
            self.execute("SAVEPOINT tokens")
            self.execute(statement)
            self.execute("RELEASE SAVEPOINT tokens")
        except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):  # another run has made it meanwhile
            self.execute("ROLLBACK TO SAVEPOINT tokens")
        except psycopg.errors.InsufficientPrivilege as error:
            raise FatalError(
                f"{self.address}: user {self.address.user!r} may not make the table {TABLE} in schema {self.schema!r}, "
                "which keeps a run from losing or repeating records",
                help=f"let an administrator make it once: {' '.join(statement.split())}; "
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON {self.tokens} TO {quoted(self.address.user)};",
            ) from error
