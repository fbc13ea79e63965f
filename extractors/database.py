"""Reads tables and queries of databases: PostgreSQL, MySQL, MariaDB, SQLite and whatever SQLAlchemy speaks to."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from etlctl.kit.read_ahead import read_ahead
from etlctl.kit.sql.reading_query import Query, read_query
from etlctl.kit.sql.urls import MYSQL, POSTGRESQL, SQLITE, Address, DatabasePlace, place_of, read_url
from etlctl.sdk import Batch, Example, Extractor, ReadContext

if TYPE_CHECKING:
    from etlctl.kit.sql.reading import Reader

_AHEAD = 2


class Database(Extractor):
    """Reads a table or the rows of a query, in one snapshot of the database and without changing anything.

    With a key (a table's primary key, unless ``key`` says otherwise) rows come in its order, and a run that was
    interrupted goes on right after the last row it had. Each attempt sees one snapshot: of what was inserted, changed
    or removed between two attempts, it sees what comes after that row. Without a key rows are counted and skipped,
    which is exact only for a query with an ORDER BY whose rows do not change.

    Values keep their exact types: decimals, times in UTC, binary, lists; text and null never mix. PostgreSQL's
    ``numeric`` without a precision has 20 decimal places: cast it in a query to have others. A row with a value that no
    column can hold, such as the date ``infinity``, goes to the dead letters. SQLite's values are as it stores them.
    """

    connection_string: str | None = Field(default=None, min_length=1)
    """The database: ``postgresql://user:password@host:5432/database``, ``mysql://…``, ``sqlite:///file.db`` (relative to the contract's folder) or any SQLAlchemy URL."""  # noqa: E501
    database: DatabasePlace | None = None
    """The database as ``{url: …}``."""
    url: str | None = Field(default=None, min_length=1)
    """Another name for ``connection_string``."""
    query: str | None = Field(default=None, min_length=1)
    """One query; ``:name`` stands for a value of ``params``. Or give ``table``."""
    params: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """Values of the ``:name`` in ``query`` or ``where``; they are bound, never written into the SQL."""
    table: str | None = Field(default=None, min_length=1)
    """A table or view, exactly as it is named."""
    schema_name: str | None = Field(default=None, min_length=1, alias="schema")
    """Schema of the table; the connection's own when left out."""
    columns: list[str] | None = Field(default=None, min_length=1)
    """Columns of the table to read; all when left out."""
    where: str | None = Field(default=None, min_length=1)
    """A condition on the table's rows, such as ``status = :status``."""
    key: str | list[str] | None = Field(default=None, min_length=1)
    """Columns that tell all rows apart: rows are read in their order, so that a run can go on anywhere. The primary key of ``table`` when left out."""  # noqa: E501
    json_columns: Literal["parsed", "text"] = "parsed"
    """JSON columns as objects and lists, or as ``text``, which is faster."""
    statement_timeout: float | None = Field(default=None, gt=0)
    """Seconds the server may work on the query, the time until the last row is taken included; no limit when left out. PostgreSQL, MySQL and MariaDB."""  # noqa: E501

    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "A table, in the order of its primary key",
            'connection_string: "${env:DATABASE_URL:-sqlite:///shop.db}"\ntable: orders\ncolumns: [id, total]\n'
            "where: status = :status\nparams: {status: paid}",
        ),
        Example(
            "A query; with a key, an interrupted run goes on where it was",
            'database: {url: "${env:DATABASE_URL:-sqlite:///shop.db}"}\n'
            "query: SELECT id, total FROM orders WHERE updated_at > :since\n"
            "params: {since: '2024-01-01'}\nkey: id",
        ),
        Example(
            "A large table of PostgreSQL, JSON as text",
            'url: "${env:DATABASE_URL:-postgresql://etl@localhost/shop}"\nschema: public\ntable: events\n'
            "json_columns: text\nstatement_timeout: 600",
        ),
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        text = place_of(self.connection_string, self.database, self.url)
        if (self.query is None) == (self.table is None):
            raise ValueError("give either query or table" + (", not both" if self.query is not None else ""))
        if self.query is not None:
            for option in ("schema_name", "columns", "where"):
                if getattr(self, option) is not None:
                    name = "schema" if option == "schema_name" else option
                    raise ValueError(f"{name} goes with table; write it into the query")
        names = self.key_columns
        if len(set(names)) < len(names) or not all(names):
            raise ValueError(f"key: {list(names)} names a column twice, or an empty one")
        if self.columns is not None and (len(set(self.columns)) < len(self.columns) or not all(self.columns)):
            raise ValueError("columns names a column twice, or an empty one")
        self._check_statement(text)
        return self

    def _check_statement(self, url: str) -> None:
        kind = "" if "${" in url else read_url(url, Path()).kind
        if self.statement_timeout is not None and kind not in {"", POSTGRESQL, MYSQL}:
            raise ValueError(f"statement_timeout has no effect on {kind}; remove it")
        option, text = ("query", self.query) if self.query is not None else ("where", self.where)
        if text is not None and ("${" in text or (not kind and "\\" in text)):
            return  # what it says depends on a value, or on the system, that is not known yet
        found = read_query(text, kind or POSTGRESQL) if text is not None else Query((), False, None, 0)
        if found.problem is not None:
            raise ValueError(f"{option}: {found.problem}")
        if missing := sorted(found.binds - self.params.keys()):
            raise ValueError(f"{option}: :{missing[0]} has no value; give it: params: {{{missing[0]}: …}}")
        if unused := sorted(self.params.keys() - found.binds):
            raise ValueError(f"params: {unused[0]!r} is not used; write :{unused[0]} where its value belongs")

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Columns that tell rows apart, as the contract names them."""
        if self.key is None:
            return ()
        return (self.key,) if isinstance(self.key, str) else tuple(self.key)

    def address(self, base_dir: Path) -> Address:
        """Return the database."""
        return read_url(place_of(self.connection_string, self.database, self.url), base_dir)

    def places(self, base_dir: Path) -> tuple[Path, ...]:
        """Return the file of a SQLite database."""
        file = self.address(base_dir).file
        return (file.resolve(),) if file is not None else ()

    def fields(self, base_dir: str) -> dict[str, str] | None:  # noqa: ARG002
        """Return the columns that are asked for by name; the database is not asked."""
        return None if self.columns is None else dict.fromkeys(self.columns, "any")

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        """Yield a batch per block of rows; they are read on a thread, a little ahead.

        Raises:
            MissingExtraError: The database's driver is not installed.
            RetryableError: The server does not answer, or the connection was lost.
            FatalError: The database refuses.
        """
        from etlctl.kit.sql.reading_place import Place  # noqa: PLC0415

        reader, place = self._reader(ctx), Place.of(ctx.position)
        stop = _Stop(reader.cancel)
        async with aclosing(read_ahead(lambda: reader.batches(place), depth=_AHEAD, stop=stop)) as batches:
            async for batch in batches:
                yield batch

    def _reader(self, ctx: ReadContext) -> Reader:
        from etlctl.kit.sql.reading import Ask  # noqa: PLC0415

        address = self.address(ctx.base_dir)
        ask = Ask(
            query=self.query,
            table=self.table,
            schema=self.schema_name,
            columns=tuple(self.columns) if self.columns is not None else None,
            where=self.where,
            params=self.params,
            key=self.key_columns,
            timeout=self.statement_timeout,
            parse_json=self.json_columns == "parsed",
        )
        if address.kind == POSTGRESQL:
            from etlctl.kit.sql.reading_postgres import PostgresReader  # noqa: PLC0415

            return PostgresReader(address, ask, ctx)
        if address.kind == MYSQL:
            from etlctl.kit.sql.reading_mysql import MysqlReader  # noqa: PLC0415

            return MysqlReader(address, ask, ctx)
        if address.kind == SQLITE:
            from etlctl.kit.sql.reading_sqlite import SqliteReader  # noqa: PLC0415

            return SqliteReader(address, ask, ctx)
        from etlctl.kit.sql.reading_alchemy import AlchemyReader  # noqa: PLC0415

        return AlchemyReader(address, ask, ctx)


class _Stop(threading.Event):
    """Cancels what the server is doing, too: the reading thread may be waiting for it."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        super().__init__()
        self._cancel = cancel

    def set(self) -> None:
        super().set()
        threading.Thread(target=self._cancel, name="etlctl-cancel", daemon=True).start()
