"""Reading SQLite: one SELECT of one snapshot of a file opened for reading only. Values are as they are stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote as quote_url

import polars as pl

from etlctl.batch import Batch
from etlctl.errors import FatalError, SourceUnavailable
from etlctl.kit.sql.methods import quoted
from etlctl.kit.sql.reading import (
    Ask,
    KeyPart,
    Plan,
    Speech,
    TableFacts,
    check_columns,
    order_warning,
    query_plan,
    table_plan,
)
from etlctl.kit.sql.reading_context import ReadingContext
from etlctl.kit.sql.reading_place import Place
from etlctl.kit.sql.reading_rows import ResultColumn, RowChunks, as_float
from etlctl.kit.sql.reading_window import sqlite_window
from etlctl.kit.sql.server_errors import connect_error, statement_error
from etlctl.kit.sql.urls import SQLITE, Address

_BUSY_SECONDS = 30.0
_AFFINITIES: tuple[tuple[tuple[str, ...], pl.DataType], ...] = (
    (("int",), pl.Int64()),
    (("char", "clob", "text"), pl.String()),
    (("real", "floa", "doub", "numeric", "decimal"), pl.Float64()),
)


class SqliteReader:
    """Reads a query or a table of a SQLite database.

    Args:
        address: The database.
        ask: What to read.
        ctx: The run's context.
    """

    def __init__(self, address: Address, ask: Ask, ctx: ReadingContext) -> None:
        self._address, self._ask, self._ctx = address, ask, ctx
        self._speech = Speech(SQLITE, quoted, rows_compare=True)
        self._connection: sqlite3.Connection | None = None

    def cancel(self) -> None:
        """Interrupt the statement that runs."""
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def batches(self, place: Place | None) -> Iterator[Batch]:
        """Yield frames from a place on; rows where a column holds values of several kinds."""
        with closing(self._open()) as connection, self._told():
            self._connection = connection
            try:
                connection.execute("BEGIN")
                facts = self._facts(connection) if self._ask.table is not None else None
                plan = self._plan(facts)
                start = place or Place(0)
                start.check([part.name for part in plan.key], self._ask.name)
                if place is None and (warning := order_warning(self._ask, plan)):
                    self._ctx.warn(warning)
                query, params = plan.statement(start.last)
                cursor = connection.execute(query.text(lambda name: f":{name}"), params)
                names = [column[0] for column in cursor.description or ()]
                check_columns(names, plan, self._ask)
                kinds = facts.columns if facts is not None else {}
                columns = [_column(name, kinds.get(name, "")) for name in names]
                yield from RowChunks(self._ask, plan, columns, self._ctx).batches(cursor, start)
            finally:
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        file = self._address.file
        if file is None or not file.is_file():
            raise SourceUnavailable(f"there is no database {file}", help="correct the path in the URL")
        try:
            connection = sqlite3.connect(
                f"file:{quote_url(str(file.absolute()))}?mode={_mode(file)}",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise connect_error(error, self._address, final=SourceUnavailable) from error
        return connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise statement_error(error, self._address, f"reading {self._ask.name}") from error

    def _plan(self, facts: TableFacts | None) -> Plan:
        if facts is None:
            return query_plan(self._ask, self._speech, lambda name, _: self._part(name, own=False, facts=None))
        window = sqlite_window(self._ctx.window, facts, self._speech)
        return table_plan(
            self._ask, facts, self._speech, lambda name, own: self._part(name, own=own, facts=facts), window
        )

    def _part(self, name: str, *, own: bool, facts: TableFacts | None) -> KeyPart:
        # A column's own collation may take two keys for one; what is unique by it can be ordered by it, with its index.
        order = quoted(name) if own else f"{quoted(name)} COLLATE BINARY"
        return KeyPart(name, order, nullable=facts is None or name not in facts.required)

    def _facts(self, connection: sqlite3.Connection) -> TableFacts:
        ask = self._ask
        schema = ask.schema or "main"
        rows = connection.execute(
            'SELECT name, lower(type), "notnull", pk, hidden FROM pragma_table_xinfo(?, ?)', (ask.table, schema)
        ).fetchall()
        if not rows:
            raise FatalError(
                f"{self._address}: there is no {ask.name}", help="correct the name of the table (and the file)"
            )
        columns = {name: kind for name, kind, _, _, hidden in rows if hidden != 1}
        key = tuple(name for name, _, _, place, _ in sorted(rows, key=lambda row: row[3]) if place)
        required = {name for name, _, required, _, _ in rows if required}
        is_alias = len(key) == 1 and columns[key[0]] == "integer"  # of the rowid: never null
        required |= set(key) if is_alias else set()
        kind = connection.execute(
            f"SELECT type, upper(sql) FROM {quoted(schema)}.sqlite_master WHERE lower(name) = lower(?)", (ask.table,)
        ).fetchone()
        has_rowid = kind is not None and kind[0] == "table" and not _without_rowid(kind[1])
        free = "rowid" not in {name.lower() for name in columns}
        if key and has_rowid and not set(key) <= required:
            key = ()  # SQLite lets several rows have a null in their primary key
        return TableFacts(columns, frozenset(required), key, "rowid" if has_rowid and free else None)


def _mode(file: Path) -> str:
    """Return how to open a file: for reading, unless a WAL that nobody uses would be left beside it.

    Whoever opens a database in WAL mode makes two files, and only who may write takes them away again.
    """
    try:
        with file.open("rb") as opened:
            is_wal = opened.read(20)[18:19] == b"\x02"
    except OSError:
        return "ro"
    return "rw" if is_wal and not Path(f"{file}-wal").exists() else "ro"


def _without_rowid(sql: str | None) -> bool:
    return "WITHOUT ROWID" in " ".join((sql or "").rpartition(")")[2].split()) or "VIRTUAL TABLE" in (sql or "")


def _column(name: str, kind: str) -> ResultColumn:
    """Return the column for a declared type, by SQLite's own rules of affinity."""
    dtype = next((dtype for words, dtype in _AFFINITIES if any(word in kind for word in words)), None)
    return ResultColumn(name, dtype, as_float if dtype == pl.Float64() else None)
