"""Reading MySQL and MariaDB: one unbuffered SELECT of one snapshot, with the types the server tells."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import polars as pl

from etlctl.batch import Batch
from etlctl.errors import FatalError, SourceUnavailable
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
from etlctl.kit.sql.reading_query import Query
from etlctl.kit.sql.reading_rows import ResultColumn, RowChunks, parsed_json
from etlctl.kit.sql.reading_window import mysql_window
from etlctl.kit.sql.server_errors import connect_error, statement_error
from etlctl.kit.sql.urls import MYSQL, Address

if TYPE_CHECKING:
    import pymysql

_CONNECT_SECONDS = 10
# A destination that is slow for a minute must not make the server hang up.
_SETTINGS = (
    "SET time_zone = '+00:00', net_write_timeout = 3600",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
)
_TABLE = """\
SELECT column_name, data_type, is_nullable, column_type
FROM information_schema.columns
WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s
ORDER BY ordinal_position"""
_KEY = """\
SELECT column_name
FROM information_schema.key_column_usage
WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s AND constraint_name = 'PRIMARY'
ORDER BY ordinal_position"""
_DECIMALS, _INTEGERS, _FLOAT = {0, 246}, {1, 2, 3, 8, 9, 13}, 4
_BIT, _JSON = 16, 245
_TEXTS = {15, 247, 248, 249, 250, 251, 252, 253, 254}
_TYPES: dict[int, pl.DataType] = {
    **dict.fromkeys(_INTEGERS, pl.Int64()),
    _FLOAT: pl.Float64(),
    5: pl.Float64(),
    7: pl.Datetime("us", "UTC"),
    10: pl.Date(),
    11: pl.Duration("us"),
    12: pl.Datetime("us"),
    _BIT: pl.Int64(),
}


class MysqlReader:
    """Reads a query or a table of a MySQL or MariaDB database.

    Args:
        address: The database.
        ask: What to read.
        ctx: The run's context.
    """

    def __init__(self, address: Address, ask: Ask, ctx: ReadingContext) -> None:
        self._address, self._ask, self._ctx = address, ask, ctx
        self._speech = Speech(MYSQL, _quoted)
        self._connection: pymysql.Connection[Any] | None = None

    def cancel(self) -> None:
        """Hang up: the server ends the statement when nobody takes its rows."""
        link = getattr(self._connection, "_sock", None)
        if link is not None:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def batches(self, place: Place | None) -> Iterator[Batch]:
        """Yield frames from a place on; rows where JSON is parsed."""
        connection = self._connect()
        self._connection = connection
        try:
            with self._told():
                yield from self._read(connection, place)
        finally:
            self._connection = None
            connection._force_close()  # type: ignore[attr-defined]  # noqa: SLF001 - close() would read all rows that are left

    def _read(self, connection: pymysql.Connection[Any], place: Place | None) -> Iterator[Batch]:
        from pymysql.cursors import SSCursor  # noqa: PLC0415

        plan = self._plan(connection)
        start = place or Place(0)
        start.check([part.name for part in plan.key], self._ask.name)
        if place is None and (warning := order_warning(self._ask, plan)):
            self._ctx.warn(warning)
        query, params = plan.statement(start.last)
        cursor = connection.cursor(SSCursor)
        try:
            cursor.execute(_text(query), params)
            described = [(str(one[0]), int(one[1]), _scale(one[5])) for one in cursor.description or ()]
            check_columns([name for name, _, _ in described], plan, self._ask)
            self._warn_of_floats(described, place)
            columns = [self._column(*one) for one in described]
            yield from RowChunks(self._ask, plan, columns, self._ctx).batches(cursor, start)
        finally:
            _drop(cursor)

    def _connect(self) -> pymysql.Connection[Any]:
        self._address.require_driver("reading MySQL")
        import pymysql  # noqa: PLC0415
        from sqlalchemy import make_url  # noqa: PLC0415

        url = make_url(self._address.url)
        _, options = url.get_dialect()().create_connect_args(url)
        options = {"charset": "utf8mb4", "connect_timeout": _CONNECT_SECONDS, **options}
        try:
            connection = pymysql.connect(**options)
        except (pymysql.Error, OSError) as error:
            raise connect_error(error, self._address, final=SourceUnavailable) from error
        try:
            with self._told(), connection.cursor() as cursor:
                for setting in _SETTINGS:
                    cursor.execute(setting)
                self._limit(cursor)
                cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        except BaseException:
            connection.close()
            raise
        return connection

    def _limit(self, cursor: Any) -> None:
        if self._ask.timeout is None:
            return
        cursor.execute("SELECT VERSION()")
        if "mariadb" in str(cursor.fetchone()[0]).lower():
            cursor.execute("SET max_statement_time = %s", [self._ask.timeout])
        else:
            cursor.execute("SET max_execution_time = %s", [int(self._ask.timeout * 1000)])

    @contextmanager
    def _told(self) -> Iterator[None]:
        import pymysql  # noqa: PLC0415

        try:
            yield
        except (pymysql.Error, OSError) as error:
            doing = f"reading {self._ask.name}"
            raise statement_error(error, self._address, doing) from error

    def _plan(self, connection: pymysql.Connection[Any]) -> Plan:
        if self._ask.table is not None:
            facts = self._facts(connection)
            window = mysql_window(self._ctx.window, facts, self._speech)

            def of_table(name: str, own: bool) -> KeyPart:
                text = facts.columns.get(name, "").endswith(("char", "text", "enum", "set"))
                return _part(name, nullable=name not in facts.required, exact_text=text and not own)

            return table_plan(self._ask, facts, self._speech, of_table, window)
        if not self._ask.key:
            return query_plan(self._ask, self._speech, lambda name, _: _part(name))
        texts = self._text_columns(connection)
        return query_plan(self._ask, self._speech, lambda name, _: _part(name, exact_text=name in texts))

    def _text_columns(self, connection: pymysql.Connection[Any]) -> set[str]:
        """Return the columns of the query that hold text."""
        bare = query_plan(
            Ask(query=self._ask.query, params=self._ask.params), self._speech, lambda name, _: _part(name)
        )
        query, params = bare.statement(None)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM (\n{_text(query)}\n) etlctl_rows LIMIT 0", params)
            return {str(one[0]) for one in cursor.description or () if one[1] in _TEXTS}

    def _facts(self, connection: pymysql.Connection[Any]) -> TableFacts:
        place = (self._ask.schema, self._ask.table)
        with connection.cursor() as cursor:
            cursor.execute(_TABLE, place)
            rows = [(str(row[0]), str(row[1]).lower(), row[2]) for row in cursor.fetchall()]
            cursor.execute(_KEY, place)
            key = tuple(str(row[0]) for row in cursor.fetchall())
        if not rows:
            raise FatalError(
                f"{self._address}: there is no {self._ask.name}, or it is not for this user to see",
                help="names are taken exactly; a table of another database needs schema: its name",
            )
        required = frozenset(name for name, _, nullable in rows if nullable == "NO")
        return TableFacts({name: kind for name, kind, _ in rows}, required, key)

    def _column(self, name: str, code: int, scale: int | None) -> ResultColumn:
        if code in _DECIMALS:
            return ResultColumn(name, pl.Decimal(38, min(scale or 0, 38)))
        if code == _BIT:
            return ResultColumn(name, pl.Int64(), lambda value: int.from_bytes(value, "big"))
        if code == _JSON and self._ask.parse_json:
            return ResultColumn(name, None, parsed_json, json=True)
        return ResultColumn(name, _TYPES.get(code))

    def _warn_of_floats(self, described: list[tuple[str, int, Any]], place: Place | None) -> None:
        floats = [name for name, code, _ in described if code == _FLOAT]
        if floats and place is None:
            self._ctx.warn(
                f"{self._ask.name}: MySQL tells a FLOAT to six digits only ({', '.join(floats)}); "
                "for all of them select CAST(… AS DOUBLE) in a query, or make the column DOUBLE"
            )


def _part(name: str, *, nullable: bool = True, exact_text: bool = False) -> KeyPart:
    if not exact_text:
        return KeyPart(name, _quoted(name), nullable)
    # A collation may take two keys for one: 'a' = 'A'. By their bytes they differ.
    return KeyPart(
        name,
        f"CAST(CONVERT({_quoted(name)} USING utf8mb4) AS BINARY)",
        nullable,
        lambda bind: f"CAST({bind} AS BINARY)",
    )


def _drop(cursor: Any) -> None:
    """Forget a cursor whose connection ends with it; its own ways would first take all rows that are left."""
    result, cursor._result, cursor.connection = cursor._result, None, None  # noqa: SLF001
    if result is not None:
        result.unbuffered_active = False


def _scale(told: Any) -> int | None:
    return told if isinstance(told, int) else None


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _text(query: Query) -> str:
    """Write a query for the driver, which takes a percent sign for a bind."""
    return query.text(lambda name: f"%({name})s", lambda piece: piece.replace("%", "%%"))
