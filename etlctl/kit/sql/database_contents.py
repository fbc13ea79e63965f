"""What a table of a database holds, to compare it with what a run would leave there."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from etlctl.frozen import frozen
from etlctl.kit.codecs.value_text import datetime_text, decimal_text, duration_text
from etlctl.kit.sql.database_server import Server
from etlctl.kit.sql.database_table import Table, alchemy_table, read_table
from etlctl.kit.sql.urls import Address

_AT_ONCE = 1_000


@frozen
class TableContents:
    """A table as it is now.

    Attributes:
        address: The database.
        schema: The schema the table is in; None for that of the connection.
        name: Its name.
        table: What it looks like; None when it does not exist.
        key: What finds a row: the columns asked for, else the table's primary key, else nothing.
    """

    address: Address
    schema: str | None
    name: str
    table: Table | None
    key: tuple[str, ...]

    @property
    def exists(self) -> bool:
        """It is there."""
        return self.table is not None

    @property
    def columns(self) -> Mapping[str, str]:
        """Names and types, in order."""
        return {} if self.table is None else {column.name: column.declared for column in self.table.columns}

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rows, in the order of their key where they have one; what JSON has no form for is text.

        Raises:
            FatalError: The database cannot be read.
        """
        if self.table is None:
            return
        with closing(Server(self.address, self.schema)) as server, server.told(f"reading table {self.name}"):
            found = alchemy_table(server, self.table)
            query = found.select().order_by(*(found.c[name] for name in self.key if name in found.c))
            rows = server.connection.execution_options(stream_results=True, yield_per=_AT_ONCE).execute(query)
            for row in rows.mappings():
                yield {name: _plain(value) for name, value in row.items()}


def table_contents(address: Address, schema: str | None, name: str, key: Sequence[str]) -> TableContents:
    """Return what a table holds; it need not exist.

    Args:
        address: The database.
        schema: The schema the table is in.
        name: Its name.
        key: Columns that find a row, if the contract names any.

    Raises:
        FatalError: The database cannot be read.
    """
    with closing(Server(address, schema)) as server, server.told(f"reading table {name}"):
        table = read_table(server, name)
    return TableContents(address, schema, name, table, tuple(key) or (table.key if table is not None else ()))


def _plain(value: Any) -> Any:  # noqa: PLR0911 - one line for each type
    if value is None or isinstance(value, bool | int | float | str | dict | list):
        return value
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, datetime | time):
        return datetime_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": b64encode(value).decode("ascii")}
    return str(value)
