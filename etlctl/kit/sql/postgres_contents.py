"""Reading a PostgreSQL table back, and copies of one that are gone with their session, for plans."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from etlctl.errors import FatalError
from etlctl.kit.sql.methods import listed, quoted
from etlctl.kit.sql.postgres_database import PostgresDatabase
from etlctl.kit.sql.postgres_table import Table, read_table
from etlctl.kit.sql.urls import Address

_NATURAL = {"integer", "float", "boolean", "text", "json"}
_AT_ONCE = 5_000
_TEMPORARY = "pg_temp_"


class ScratchDatabase(PostgresDatabase):
    """A session with tables of its own, which nobody else sees and which are gone when it ends.

    Args:
        address: The server and the database.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        with self.told():
            self.execute("CREATE TEMPORARY TABLE _etlctl_first ()")
            self.execute("DROP TABLE pg_temp._etlctl_first")
            sql = "SELECT nspname FROM pg_catalog.pg_namespace WHERE oid = pg_my_temp_schema()"
            self.schema = self.execute(sql).fetchone()[0]  # type: ignore[index]

    def _reconnect(self) -> None:
        raise FatalError(f"{self.address}: the connection with the copies of a plan was lost", help="plan again")

    def close(self) -> None:
        """Undo what is not committed; the tables stay while this object does."""
        self.rollback()

    def __del__(self) -> None:
        with suppress(Exception):
            super().close()


def is_scratch(schema: str | None) -> bool:
    """Tell whether a schema is that of a session's own tables."""
    return (schema or "").startswith(_TEMPORARY)


def copied_table(address: Address, schema: str | None, name: str, source: PostgresDatabase | None) -> ScratchDatabase:
    """Return a session with a copy of a table, if there is such a table.

    Args:
        address: The server and the database.
        schema: The schema of the table.
        name: The table.
        source: Where its rows are; None: in the table itself.

    Raises:
        FatalError: The table cannot be read.
    """
    scratch = ScratchDatabase(address)
    with closing(PostgresDatabase(address, schema)) as real, real.told(), scratch.told():
        rows = source or real
        table = read_table(rows, name)
        original = read_table(real, name)
        if table is None or original is None:
            return scratch
        copy = scratch.named(name)
        scratch.execute(f"CREATE TABLE {copy} (LIKE {original.sql} INCLUDING ALL)")
        columns = listed(table.names)
        with (
            rows.connection.cursor().copy(f"COPY (SELECT {columns} FROM {table.sql}) TO STDOUT") as out,
            scratch.connection.cursor().copy(f"COPY {copy} ({columns}) FROM STDIN") as into,
        ):
            for block in out:
                into.write(block)
    return scratch


def rows_of(database: PostgresDatabase, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a table in the order they are stored; none when there is no table.

    Values that JSON does not know are text, as the server writes them.
    """
    with database.told():
        table = read_table(database, name)
        if table is None:
            return
        database.begin()
        try:
            names = [column.name for column in table.columns]
            with database.connection.cursor(name="etlctl_rows") as cursor:
                cursor.itersize = _AT_ONCE
                cursor.execute(f"SELECT {_selected(table)} FROM {table.sql}")
                for row in cursor:
                    yield dict(zip(names, row, strict=True))
        finally:
            database.rollback()


def _selected(table: Table) -> str:
    return ", ".join(
        quoted(one.name) if one.family in _NATURAL else f"{quoted(one.name)}::text" for one in table.columns
    )


def counted_rows(database: PostgresDatabase, name: str) -> Counter[str]:
    """Return how often each row is in a table, as JSON of its columns."""
    return Counter(
        json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
        for row in rows_of(database, name)
    )


def primary_key(database: PostgresDatabase, table: Table) -> Sequence[str]:
    """Return the columns of a table's primary key."""
    sql = (
        "SELECT a.attname FROM pg_catalog.pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(num, n), "
        "pg_catalog.pg_attribute a WHERE i.indrelid = %s::regclass AND i.indisprimary AND a.attrelid = i.indrelid "
        "AND a.attnum = k.num ORDER BY k.n"
    )
    return [name for (name,) in database.execute(sql, (table.sql,)).fetchall()]
