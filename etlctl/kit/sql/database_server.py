"""A connection to MySQL, MariaDB or any other database that SQLAlchemy knows, set up for exact and durable loading.

MySQL commits an open transaction whenever a table is made, changed, renamed or dropped. So every such statement goes
through ``Server.ddl``, which refuses to run one behind rows that are not committed, and tables that are to go *after* a
commit are given to ``drop_later``. The same rule is kept for every other database: some of them do as MySQL does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from etlctl.errors import ComponentError, EtlctlError, FatalError
from etlctl.kit.sql.server_errors import connect_error, is_passing, server_words, statement_error
from etlctl.kit.sql.tokens import TABLE
from etlctl.kit.sql.urls import MYSQL, Address

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult, Inspector
    from sqlalchemy.sql import Executable

LOCK_SECONDS = 30
"""How long to wait for another session's transaction."""
_CONNECT_SECONDS = 10
_SQL_MODE = (
    "STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO"
)
_SESSION = (
    f"SET SESSION sql_mode = '{_SQL_MODE}', time_zone = '+00:00', innodb_lock_wait_timeout = {LOCK_SECONDS}, "
    f"lock_wait_timeout = {LOCK_SECONDS}, autocommit = 0"
)
_LOCKING = {"mysql", "mariadb", "postgresql", "cockroachdb", "oracle"}
# What MySQL and MariaDB say of a record's data, by number: keys, nulls, ranges, lengths, checks, triggers, partitions.
_DATA_CODES = {
    1048, 1062, 1138, 1216, 1217, 1264, 1265, 1292, 1364, 1366, 1367, 1369, 1406, 1411, 1416, 1451, 1452, 1525, 1526,
    1557, 1569, 1586, 1644, 1690, 1761, 1762, 1859, 3140, 3141, 3156, 3819, 3903, 4025, 4078,
}  # fmt: skip
_DATA_STATES = ("22", "23", "P0001")
_COMMITS = f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    stream VARCHAR(700) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY, run VARCHAR(100) NOT NULL,
    seq BIGINT NOT NULL, fence BIGINT NOT NULL, position LONGTEXT, account LONGTEXT NOT NULL, records BIGINT NOT NULL,
    finished INTEGER NOT NULL, visible INTEGER NOT NULL, updated_at VARCHAR(40) NOT NULL)
    ENGINE = InnoDB CHARACTER SET utf8mb4"""


class Server:
    """One connection, and the schema that is loaded. Calls come one at a time, from any thread.

    Args:
        address: The database.
        schema: The schema (of MySQL: the database) that the table is in; None for that of the connection.

    Raises:
        FatalError: It cannot be connected to.
        RetryableError: It does not answer now.
    """

    mark = "?"
    trouble: type[Exception] = SQLAlchemyError

    def __init__(self, address: Address, schema: str | None = None) -> None:
        self.address = address
        self.schema = schema
        self.mysql = address.kind == MYSQL
        self._dirty = False
        self._later: list[str] = []
        self._connection: Connection | None = None
        address.require_driver()
        self._engine = self._made_engine()
        self._connect()

    def _made_engine(self) -> Any:
        arguments: dict[str, Any] = {"poolclass": NullPool, "hide_parameters": True, "pool_reset_on_return": None}
        if self.mysql:
            arguments["isolation_level"] = "READ COMMITTED"
            arguments["connect_args"] = {
                "charset": "utf8mb4",
                "connect_timeout": _CONNECT_SECONDS,
                "local_infile": False,
            }
        try:
            return create_engine(self.address.url, **arguments)
        except (SQLAlchemyError, ImportError) as error:
            raise FatalError(
                f"{self.address}: there is no way to connect: {server_words(error, self.address)}",
                help="install the SQLAlchemy driver of this database, and name it in the URL: dialect+driver://…",
            ) from error

    def _connect(self) -> None:
        try:
            self._connection = self._engine.connect()
            if self.mysql:
                self._connection.exec_driver_sql(_SESSION)
                self._connection.commit()
        except (SQLAlchemyError, OSError) as error:
            self._drop_connection()
            raise connect_error(error, self.address) from error
        except RuntimeError as error:  # PyMySQL wants a further package for some ways to log in
            self._drop_connection()
            said = server_words(error, self.address)
            raise FatalError(f"{self.address}: cannot log in: {said}", help="pip install 'pymysql[rsa]'") from error

    @property
    def connection(self) -> Connection:
        """The open connection.

        Raises:
            FatalError: It was closed.
        """
        if self._connection is None:
            raise FatalError(f"the connection to {self.address} is closed")
        return self._connection

    @property
    def place(self) -> str:
        """The database, for people."""
        return str(self.address)

    @property
    def tokens(self) -> str:
        """The table of commit tokens as SQL names it."""
        return self.qualified(TABLE)

    @property
    def row_lock(self) -> str:
        """What makes a SELECT wait for a transaction that is changing the row."""
        return "FOR UPDATE" if self._engine.dialect.name in _LOCKING else ""

    @cached_property
    def packet(self) -> int:
        """Bytes that a statement of MySQL may have."""
        return int(self.execute("SELECT @@max_allowed_packet").scalar_one())

    @cached_property
    def collation(self) -> str:
        """The collation of MySQL in which texts are one only when they are the same."""
        wanted = ("utf8mb4_0900_bin", "utf8mb4_nopad_bin", "utf8mb4_bin")
        sql = "SELECT collation_name FROM information_schema.collations WHERE collation_name IN (?, ?, ?)"
        known = {name for (name,) in self.execute(sql, wanted).fetchall()}
        return next((name for name in wanted if name in known), wanted[-1])

    def quoted(self, name: str) -> str:
        """Return an identifier in the quotes of the database."""
        return str(self._engine.dialect.identifier_preparer.quote_identifier(name))

    def qualified(self, name: str) -> str:
        """Return the name of a table of the schema."""
        return f"{self.quoted(self.schema)}.{self.quoted(name)}" if self.schema else self.quoted(name)

    @property
    def dialect(self) -> Any:
        """SQLAlchemy's dialect."""
        return self._engine.dialect

    def inspector(self) -> Inspector:
        """Return what reads the structure of tables, as they are now."""
        from sqlalchemy import inspect  # noqa: PLC0415

        return inspect(self.connection)

    @property
    def writing(self) -> bool:
        """A transaction is open."""
        connection = self._connection
        return connection is not None and not connection.invalidated and connection.in_transaction()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> CursorResult[Any]:
        """Run a statement with ``?`` for values; it has no other question marks or colons in it."""
        parts = sql.split("?")
        marked = "".join([parts[0], *(f":v{number}{part}" for number, part in enumerate(parts[1:]))])
        return self.connection.execute(text(marked), {f"v{number}": value for number, value in enumerate(values)})

    def run(self, statement: str) -> CursorResult[Any]:
        """Run a statement that changes rows and has all its values in it."""
        self._dirty = True
        return self.connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    def query(self, statement: str) -> CursorResult[Any]:
        """Run a statement that reads, and has all its values in it."""
        return self.connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    def apply(self, statement: Executable, rows: Any = None) -> CursorResult[Any]:
        """Run a statement of SQLAlchemy that changes rows."""
        self._dirty = True
        return self.connection.execute(statement, rows)

    def ddl(self, statement: str) -> None:
        """Make, change or drop a table; what was claimed before is committed by that, rows never are.

        Raises:
            FatalError: Rows were written in the open transaction.
        """
        if self._dirty:
            raise FatalError(
                f"a table of {self.address} was to be changed behind rows that are not committed; they were undone",
                help="resume the run",
            )
        self.connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        self.connection.commit()
        self.connection.begin()

    def drop_later(self, name: str) -> None:
        """Drop a table once the open transaction is committed; one that is left behind hurts nobody."""
        self._later.append(name)

    def begin(self) -> None:
        """Begin a transaction, unless one is open; a connection that was lost is opened anew."""
        connection = self._connection
        if connection is None or connection.invalidated or connection.closed:
            self._drop_connection()
            self._connect()
        if not self.connection.in_transaction():
            self.connection.begin()
            self._dirty = False

    def commit(self) -> None:
        """Commit the open transaction."""
        self.connection.commit()
        self._dirty = False
        later, self._later = self._later, []
        for name in later:
            with suppress(SQLAlchemyError, ComponentError):
                self.drop_table(name)
                self.connection.commit()

    def rollback(self) -> None:
        """Undo what is not committed."""
        self._dirty = False
        self._later = []
        connection = self._connection
        if connection is not None:
            try:
                connection.rollback()
            except (SQLAlchemyError, OSError):
                self._drop_connection()

    def close(self) -> None:
        """Undo what is not committed and let go. May be called repeatedly."""
        self.rollback()
        self._drop_connection()
        self._engine.dispose()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError, OSError, AttributeError):
                connection.invalidate()
            with suppress(SQLAlchemyError, OSError):
                connection.close()

    @contextmanager
    def told(self, doing: str = "loading") -> Iterator[None]:
        """Turn what the driver raises into an error that says what to do."""
        try:
            yield
        except EtlctlError:
            raise
        except (SQLAlchemyError, OSError) as error:
            if is_passing(error, self.address) and _is_lost(error):
                self._drop_connection()
            # Not from SQLAlchemy's error: its text has the whole statement in it, values and all.
            raise statement_error(error, self.address, doing) from getattr(error, "orig", None) or error

    def refused(self, error: BaseException) -> str | None:
        """Return what the database says of data that it does not take; None for any other error."""
        if not isinstance(error, DBAPIError) or error.connection_invalidated or error.orig is None:
            return None
        if self.mysql:
            told = error.orig.args[0] in _DATA_CODES if error.orig.args else False
        else:
            state = getattr(error.orig, "sqlstate", None)
            told = type(error).__name__ in {"IntegrityError", "DataError"} or str(state).startswith(_DATA_STATES)
        return server_words(error, self.address) if told else None

    def has_table(self, name: str) -> bool:
        """Tell whether there is a table of a name in the schema."""
        if not self.mysql:
            return self.inspector().has_table(name, self.schema)
        return self._as_named(name) in map(self._as_named, self.tables())

    def _as_named(self, name: str) -> str:
        return name.lower() if self._folds_case else name

    @cached_property
    def _folds_case(self) -> bool:
        """Names of tables are the same in any case: MySQL on Windows and macOS."""
        return int(self.execute("SELECT @@lower_case_table_names").scalar_one()) != 0

    def tables(self, like: str = "") -> list[str]:
        """Return the tables of the schema whose names begin with something."""
        if not self.mysql:
            return [name for name in self.inspector().get_table_names(self.schema) if name.startswith(like)]
        sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = COALESCE(?, DATABASE())"
        found = self.execute(sql, (self.schema,)).fetchall()
        return [name for (name,) in found if name.startswith(like)]

    def drop_table(self, name: str) -> None:
        """Remove a table, if it is there."""
        if self.has_table(name):
            self.ddl(f"DROP TABLE {self.qualified(name)}")

    def create_tokens(self) -> None:
        """Make the table of commit tokens, if it is not there."""
        if not self.has_table(TABLE):
            self.ddl(
                _COMMITS.replace(TABLE, self.tokens, 1)
                if self.mysql
                else _plain_commits(self._engine.dialect).replace(TABLE, self.tokens, 1)
            )


def _plain_commits(dialect: Any) -> str:
    from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, Text  # noqa: PLC0415
    from sqlalchemy.schema import CreateTable  # noqa: PLC0415

    columns: list[Column[Any]] = [
        Column("stream", String(700), primary_key=True),
        Column("run", String(100), nullable=False),
        *(Column(name, BigInteger, nullable=False) for name in ("seq", "fence")),
        Column("position", Text),
        Column("account", Text, nullable=False),
        Column("records", BigInteger, nullable=False),
        *(Column(name, Integer, nullable=False) for name in ("finished", "visible")),
        Column("updated_at", String(40), nullable=False),
    ]
    return str(CreateTable(Table(TABLE, MetaData(), *columns)).compile(dialect=dialect))


def _is_lost(error: BaseException) -> bool:
    """Tell whether the connection is of no use any more."""
    if getattr(error, "connection_invalidated", False) or isinstance(error, OSError):
        return True
    args = getattr(getattr(error, "orig", None), "args", ())
    return not (args and args[0] in {1205, 1213})
