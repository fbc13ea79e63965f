"""Reading any database that SQLAlchemy speaks to, through its server-side cursors where the driver has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

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
from etlctl.kit.sql.reading_rows import ResultColumn, RowChunks, plain_value
from etlctl.kit.sql.server_errors import connect_error, statement_error
from etlctl.kit.sql.urls import Address

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_READ_ONLY = {"oracle": "SET TRANSACTION READ ONLY"}


class AlchemyReader:
    """Reads a query or a table; nothing is committed.

    Args:
        address: The database.
        ask: What to read.
        ctx: The run's context.
    """

    def __init__(self, address: Address, ask: Ask, ctx: ReadingContext) -> None:
        self._address, self._ask, self._ctx = address, ask, ctx
        self._raw: Any = None

    def cancel(self) -> None:
        """Cancel what runs, where the driver can."""
        cancel = getattr(self._raw, "cancel", None) or getattr(self._raw, "interrupt", None)
        if cancel is not None:
            with suppress(Exception):  # drivers differ; the statement ends with the process at the latest
                cancel()

    def batches(self, place: Place | None) -> Iterator[Batch]:
        """Yield frames from a place on; rows where a column holds values of several kinds."""
        engine = self._engine()
        try:
            with self._connected(engine) as connection, self._told():
                yield from self._read(connection, place)
        finally:
            self._raw = None
            engine.dispose()

    def _read(self, connection: Connection, place: Place | None) -> Iterator[Batch]:
        from sqlalchemy import text  # noqa: PLC0415

        plan = self._plan(connection)
        start = place or Place(0)
        start.check([part.name for part in plan.key], self._ask.name)
        if place is None and (warning := order_warning(self._ask, plan)):
            self._ctx.warn(warning)
        query, params = plan.statement(start.last)
        statement = query.text(lambda name: f":{name}", lambda piece: piece.replace(":", "\\:"))
        result = connection.execution_options(stream_results=True).execute(text(statement), params)
        names = list(result.keys())
        check_columns(names, plan, self._ask)
        columns = [ResultColumn(name, None, plain_value) for name in names]
        yield from RowChunks(self._ask, plan, columns, self._ctx, null_keys=False).batches(_Rows(result), start)

    def _engine(self) -> Engine:
        from sqlalchemy import create_engine  # noqa: PLC0415
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError  # noqa: PLC0415
        from sqlalchemy.pool import NullPool  # noqa: PLC0415

        try:
            return create_engine(self._address.url, poolclass=NullPool)
        except NoSuchModuleError:
            raise FatalError(
                f"{self._address}: no SQLAlchemy dialect {self._address.kind!r} is installed",
                help="install the package that brings it, such as sqlalchemy-redshift for redshift",
            ) from None
        except ImportError as error:
            raise FatalError(
                f"{self._address}: its driver is not installed: {error}", help="pip install it beside etlctl"
            ) from error
        except ArgumentError as error:
            raise FatalError(f"{self._address}: the URL cannot be read: {self._address.hide(str(error))}") from None

    @contextmanager
    def _connected(self, engine: Engine) -> Iterator[Connection]:
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        try:
            connection = engine.connect()
        except (SQLAlchemyError, OSError) as error:
            raise connect_error(error, self._address, final=SourceUnavailable) from error
        with connection:
            self._raw = connection.connection.dbapi_connection
            if self._address.kind in _READ_ONLY:
                connection.exec_driver_sql(_READ_ONLY[self._address.kind])
            yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            doing = f"reading {self._ask.name}"
            raise statement_error(error, self._address, doing) from error

    def _plan(self, connection: Connection) -> Plan:
        speech = Speech(self._address.kind, connection.dialect.identifier_preparer.quote_identifier)
        if self._ask.table is None:
            return query_plan(self._ask, speech, lambda name, _: KeyPart(name, speech.quote(name), nullable=False))
        facts = self._facts(connection)
        return table_plan(self._ask, facts, speech, lambda name, _: KeyPart(name, speech.quote(name), nullable=False))

    def _facts(self, connection: Connection) -> TableFacts:
        from sqlalchemy import inspect  # noqa: PLC0415
        from sqlalchemy.exc import NoSuchTableError  # noqa: PLC0415

        inspector = inspect(connection)
        try:
            columns = inspector.get_columns(self._ask.table or "", self._ask.schema)
        except NoSuchTableError:
            columns = []
        if not columns:
            raise FatalError(
                f"{self._address}: there is no {self._ask.name}",
                help="names are taken exactly, upper and lower case too",
            )
        key = inspector.get_pk_constraint(self._ask.table or "", self._ask.schema)
        return TableFacts(
            {one["name"]: str(one["type"]).lower() for one in columns},
            frozenset(one["name"] for one in columns if not one.get("nullable", True)),
            tuple(key.get("constrained_columns") or ()),
        )


class _Rows:
    def __init__(self, result: Any) -> None:
        self._result = result

    def fetchmany(self, size: int, /) -> Sequence[Sequence[Any]]:
        found: Sequence[Sequence[Any]] = self._result.fetchmany(size)
        return found
