"""The write methods for databases that SQLAlchemy knows and etlctl has no SQL of its own for.

Rows are added by the driver's ``executemany``. An upsert changes the row of a record's key and adds it when there is
none, record by record inside the transaction; updates and deletes go record by record as well. That is slow and right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import Table as AlchemyTable
from sqlalchemy import and_, bindparam, delete, insert, select, update

from etlctl.kit.sql.database_loading import Loading, Way
from etlctl.kit.sql.database_mysql import ORDER
from etlctl.kit.sql.database_server import Server
from etlctl.kit.sql.database_table import Table, alchemy_table
from etlctl.kit.sql.methods import Method

_MOST_ROWS = 1_000


class PlainLoading(Loading):
    """Loads blocks into a table through SQLAlchemy's own statements."""

    def _prepared(self, table: Table, names: Sequence[str], columns: Sequence[list[Any]], records: int) -> Way:
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] or [{}] * records
        return _Records(self._server, alchemy_table(self._server, table), self._method, self.names_of_key(table), rows)

    def _replayed(self, table: Table, names: Sequence[str], log: Table, first: int, last: int) -> int:
        source, unmatched = alchemy_table(self._server, log), 0
        order = source.c[ORDER]
        while first <= last:
            piece = select(*(source.c[name] for name in names)).where(order.between(first, first + _MOST_ROWS - 1))
            found = self._server.connection.execute(piece.where(order <= last).order_by(order)).fetchall()
            way = self._prepared(table, names, list(map(list, zip(*found, strict=True))), len(found))
            unmatched += way.load(0, len(found)) if found else 0
            first += _MOST_ROWS
        return unmatched


class _Records(Way):
    """Record by record, except where they are only added."""

    def __init__(
        self, server: Server, table: AlchemyTable, method: Method, key: Sequence[str], rows: list[dict[str, Any]]
    ) -> None:
        self._server = server
        self._table = table
        self._method = method
        self._key = key
        self._rows = rows

    def pieces(self) -> Iterator[tuple[int, int]]:
        yield from ((at, min(at + _MOST_ROWS, len(self._rows))) for at in range(0, len(self._rows), _MOST_ROWS))

    @cached_property
    def _found(self) -> Any:
        return and_(*(self._table.c[name] == bindparam(f"etlctl_{place}") for place, name in enumerate(self._key)))

    def load(self, start: int, end: int) -> int:
        rows = self._rows[start:end]
        if self._method is Method.insert:
            self._server.apply(insert(self._table), rows if rows[0] else None)
            return 0
        return sum(not self._changed(row) for row in rows)

    def _changed(self, row: dict[str, Any]) -> bool:
        """Apply one record; tell whether its key was there or did not have to be."""
        keys = {f"etlctl_{place}": row[name] for place, name in enumerate(self._key)}
        if self._method is Method.delete:
            return bool(self._server.apply(delete(self._table).where(self._found), keys).rowcount)
        values = {name: value for name, value in row.items() if name not in self._key}
        same = {self._key[0]: self._table.c[self._key[0]]}
        statement = update(self._table).where(self._found).values(values or same)
        found = bool(self._server.apply(statement, keys).rowcount)
        if found or self._method is Method.update:
            return found
        self._server.apply(insert(self._table), [row])
        return True
