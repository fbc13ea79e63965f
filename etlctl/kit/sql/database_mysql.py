"""The write methods in the SQL of MySQL and MariaDB: whole batches in few statements.

- insert: ``INSERT … VALUES`` of thousands of rows.
- upsert: ``… ON DUPLICATE KEY UPDATE`` where nothing but the key is unique. MySQL looks at *every* unique index
  there, and would change the row of another key in silence; so where there are several, and where a column that must
  have a value is not among the fields, the batch goes to a temporary table first: rows that are there are changed by a
  join, and only the others are added.
- update, delete: by a join with that temporary table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from etlctl.kit.sql.database_literals import row_literals, stretches
from etlctl.kit.sql.database_loading import Loading, TooBig, Way
from etlctl.kit.sql.database_server import Server
from etlctl.kit.sql.database_table import Table, can_be_key, listed
from etlctl.kit.sql.methods import Method

ORDER = "_etlctl_order"
_INCOMING = "_etlctl_incoming"
_MOST_ROWS = 5_000
_MOST_BYTES = 1 << 20
_FRAME = 1 << 10  # bytes of a packet that are not ours


class MysqlLoading(Loading):
    """Loads blocks into a table of MySQL or MariaDB."""

    def _prepared(self, table: Table, names: Sequence[str], columns: Sequence[list[Any]], records: int) -> Way:
        forms = [(values, table.the(name).form) for name, values in zip(names, columns, strict=True)]
        rows = row_literals(forms, records)
        if self._method is Method.insert:
            return _Rows(self._server, rows, self._into(table, names), "")
        if self._method is Method.upsert and self._is_plain(table, names):
            return _Rows(self._server, rows, self._into(table, names), self._or_change(table, names))
        return _Joined(self, self._server, table, names, rows, columns)

    def _into(self, table: Table, names: Sequence[str]) -> str:
        return f"INSERT INTO {self._server.qualified(table.name)} ({listed(self._server, names)})"

    def _or_change(self, table: Table, names: Sequence[str]) -> str:
        """Return what makes of an insertion one that changes the row when its key is there."""
        quoted, keys = self._server.quoted, set(self.names_of_key(table))
        sets = [f"{quoted(name)} = VALUES({quoted(name)})" for name in names if name not in keys]
        same = quoted(next(iter(keys)))
        own = f"{self._server.qualified(table.name)}.{same}"
        return f"ON DUPLICATE KEY UPDATE {', '.join(sets) or f'{same} = {own}'}"

    def _is_plain(self, table: Table, names: Sequence[str]) -> bool:
        """Tell whether one statement upserts: nothing else is unique, and no value is missing."""
        given = set(names)
        missing = any(
            one.required and not table.fills(one) and not one.generated and one.name not in given
            for one in table.columns
        )
        return table.only_unique(self._key) and not missing

    def _replayed(self, table: Table, names: Sequence[str], log: Table, first: int, last: int) -> int:
        columns = listed(self._server, names)
        source = (
            f"SELECT {columns} FROM {self._server.qualified(log.name)} "
            f"WHERE {ORDER} BETWEEN {first} AND {last} ORDER BY {ORDER}"
        )
        if self._method is Method.insert:
            self._server.run(f"{self._into(table, names)} {source}")
            return 0
        if self._method is Method.upsert and self._is_plain(table, names):
            self._server.run(f"{self._into(table, names)} {source} {self._or_change(table, names)}")
            return 0
        self.make_incoming(table, names)
        self.fill_incoming(table, names, source)
        return self.join(table, names)

    @property
    def incoming(self) -> str:
        """The temporary table in which records wait for a join."""
        return self._server.qualified(_INCOMING)

    def make_incoming(self, table: Table, names: Sequence[str]) -> None:
        """Make the temporary table, with the types and collations of the target and its key."""
        # Neither making nor dropping a temporary table commits anything.
        self._server.query(f"DROP TEMPORARY TABLE IF EXISTS {self.incoming}")
        key = self.names_of_key(table)
        parts = f"(PRIMARY KEY ({listed(self._server, key)})) " if can_be_key(table, key) else ""
        self._server.query(
            f"CREATE TEMPORARY TABLE {self.incoming} {parts}ENGINE = InnoDB "
            f"SELECT {listed(self._server, names)} FROM {self._server.qualified(table.name)} WHERE FALSE"
        )

    def fill_incoming(self, table: Table, names: Sequence[str], source: str) -> None:
        """Put records into the temporary table; of those with one key the last stays."""
        columns = listed(self._server, names)
        quoted = self._server.quoted
        tail = ""
        if can_be_key(table, self.names_of_key(table)):
            changes = ", ".join(f"{quoted(name)} = VALUES({quoted(name)})" for name in names)
            tail = f" ON DUPLICATE KEY UPDATE {changes}"
        self._server.run(f"INSERT INTO {self.incoming} ({columns}) {source}{tail}")

    def join(self, table: Table, names: Sequence[str]) -> int:
        """Change, add or remove the rows for what waits; return how many records match no row."""
        server, key = self._server, self.names_of_key(table)
        quoted, target = server.quoted, server.qualified(table.name)
        found = " AND ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in key)
        nobody = f"LEFT JOIN {target} t ON {found} WHERE t.{quoted(key[0])} IS NULL"
        missing = int(server.query(f"SELECT count(*) FROM {self.incoming} s {nobody}").scalar_one())
        if self._method is Method.delete:
            server.run(f"DELETE t FROM {target} t JOIN {self.incoming} s ON {found}")
            return missing
        sets = ", ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in names if name not in set(key))
        if sets:
            server.run(f"UPDATE {target} t JOIN {self.incoming} s ON {found} SET {sets}")
        if self._method is Method.update:
            return missing
        if missing:
            columns = ", ".join(f"s.{quoted(name)}" for name in names)
            server.run(f"{self._into(table, names)} SELECT {columns} FROM {self.incoming} s {nobody}")
        return 0


class _Rows(Way):
    """Straight into the table, in one statement for thousands of rows."""

    single = True

    def __init__(self, server: Server, rows: list[str], head: str, tail: str) -> None:
        self._server = server
        self._rows = rows
        self._head = f"{head} VALUES"
        self._tail = tail

    def pieces(self) -> Iterator[tuple[int, int]]:
        return stretches(self._rows, most_rows=_MOST_ROWS, most_bytes=most_bytes(self._server))

    def load(self, start: int, end: int) -> int:
        statement = f"{self._head} {','.join(self._rows[start:end])} {self._tail}"
        check_size(self._server, statement)
        self._server.run(statement)
        return 0


class _Joined(Way):
    """By a join with a temporary table."""

    def __init__(  # noqa: PLR0917
        self,
        loading: MysqlLoading,
        server: Server,
        table: Table,
        names: Sequence[str],
        rows: list[str],
        columns: Sequence[list[Any]],
    ) -> None:
        self._loading = loading
        self._server = server
        self._table = table
        self._names = names
        self._rows = rows
        key = loading.names_of_key(table)
        self._keys: list[Any] | None = None
        if not can_be_key(table, key):
            self._keys = list(zip(*(columns[list(names).index(name)] for name in key), strict=True))
        loading.make_incoming(table, names)

    def pieces(self) -> Iterator[tuple[int, int]]:
        yield 0, len(self._rows)

    def load(self, start: int, end: int) -> int:
        self._server.run(f"DELETE FROM {self._loading.incoming}")
        rows = self._rows[start:end]
        if self._keys is not None:
            rows = list(dict(zip(self._keys[start:end], rows, strict=True)).values())
        for first, last in stretches(rows, most_rows=_MOST_ROWS, most_bytes=most_bytes(self._server)):
            source = f"VALUES {','.join(rows[first:last])}"
            check_size(self._server, source)
            self._loading.fill_incoming(self._table, self._names, source)
        return self._loading.join(self._table, self._names)

    def done(self) -> None:
        self._server.query(f"DROP TEMPORARY TABLE IF EXISTS {self._loading.incoming}")


def most_bytes(server: Server) -> int:
    """Return how long a statement should be at most."""
    return min(_MOST_BYTES, server.packet // 2)


def check_size(server: Server, statement: str) -> None:
    """Refuse a statement that the server would end the connection for.

    Raises:
        TooBig: It is longer than ``max_allowed_packet``.
    """
    if len(statement) * 4 + _FRAME > server.packet:
        size = len(statement.encode()) + _FRAME
        if size > server.packet:
            raise TooBig(
                f"the record needs a statement of {size:,} bytes, and max_allowed_packet of the server is "
                f"{server.packet:,}"
            )
