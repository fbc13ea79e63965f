"""Compares two tables of SQLite files inside SQLite: exact to the type of each value, and in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from etlctl.frozen import frozen
from etlctl.kit.sql.methods import quoted
from etlctl.orchestrator.field_changes import field_changes
from etlctl.orchestrator.plan import ChangedRecord, Differences
from etlctl.sdk.stored import SqliteTable, Stored

_ROW_IDS = ("rowid", "_rowid_", "oid")


@frozen
class _Side:
    """A table, and for each column of the comparison how it is called there."""

    table: str
    columns: Sequence[str | None]

    def select(self, prefix: str) -> str:
        return ", ".join(f"{prefix}.{quoted(name)}" if name is not None else "NULL" for name in self.columns)


def compare_tables(
    before: Stored, after: Stored, key: Sequence[str], *, samples: int, folder: Path
) -> Differences | None:
    """Return how two tables differ; None when one of them does not exist or the key does not find single rows.

    Args:
        before: One table, in a file of its own.
        after: The other one.
        key: Columns that find a row; none: whole rows are compared.
        samples: Records of each kind to show.
        folder: Where the comparison may put what does not fit into memory.
    """
    if before.table is None or after.table is None or not (before.exists and after.exists):
        return None
    with _attached(before.table, after.table, folder) as database:
        names = list(after.columns)
        sides = _sides(before, after, names)
        if not key:
            return _whole_rows(database, names, *sides, samples)
        wanted = [_spelled(name, names) for name in key]
        if any(name is None for name in wanted) or any(side.columns[names.index(str(name))] is None
                                                       for side in sides for name in wanted):  # fmt: skip
            return None
        places = [names.index(str(name)) for name in wanted]
        if not all(_is_unique(database, side, places) for side in sides):
            return None
        return _by_key(database, names, places, sides, samples)


@contextmanager
def _attached(before: SqliteTable, after: SqliteTable, folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder / "comparison.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(f"PRAGMA cache_size = -{64 << 10}")
        for name, table in (("before", before), ("after", after)):
            database.execute(f"ATTACH ? AS {name}", (str(table.file),))
        yield database


def _sides(before: Stored, after: Stored, names: Sequence[str]) -> tuple[_Side, _Side]:
    old = [_spelled(name, list(before.columns)) for name in names]
    tables = [
        f"{where}.{quoted(side.table.name)}" for where, side in (("before", before), ("after", after)) if side.table
    ]
    return _Side(tables[0], old), _Side(tables[1], list(names))


def _spelled(name: str, names: Sequence[str]) -> str | None:
    return next((other for other in names if other.lower() == name.lower()), None)


def _is_unique(database: sqlite3.Connection, side: _Side, places: Sequence[int]) -> bool:
    """Tell whether the key finds single rows; an index is made for it on the copy, if there is none."""
    columns = ", ".join(quoted(str(side.columns[place])) for place in places)
    schema, _, table = side.table.partition(".")
    index = f"{schema}.{quoted('etlctl comparison')}"
    database.execute(f"CREATE INDEX IF NOT EXISTS {index} ON {table} ({columns})")
    return (
        database.execute(f"SELECT 1 FROM {side.table} GROUP BY {columns} HAVING count(*) > 1 LIMIT 1").fetchone()
        is None
    )


def _differs(pairs: Sequence[tuple[str, str]]) -> str:
    """Return the condition that any pair of values differs: in value, by the byte, or in type."""
    return " OR ".join(
        f"{one} IS NOT {other} COLLATE BINARY OR typeof({one}) IS NOT typeof({other})" for one, other in pairs
    ) or "0"  # fmt: skip


def _pairs(before: _Side, after: _Side) -> list[tuple[str, str]]:
    return [
        (f"b.{quoted(old)}" if old is not None else "NULL", f"a.{quoted(str(new))}")
        for old, new in zip(before.columns, after.columns, strict=True)
    ]


# --- by key ------------------------------------------------------------------------------------------------------


def _by_key(
    database: sqlite3.Connection, names: Sequence[str], places: Sequence[int], sides: tuple[_Side, _Side], samples: int
) -> Differences:
    before, after = sides
    pairs = _pairs(before, after)
    same_key = " AND ".join(f"{pairs[place][0]} IS {pairs[place][1]}" for place in places)
    both = f"FROM {before.table} b JOIN {after.table} a ON {same_key}"
    changed_where = f"{both} WHERE {_differs(pairs)}"
    new = f"FROM {after.table} a WHERE NOT EXISTS (SELECT 1 FROM {before.table} b WHERE {same_key})"
    gone = f"FROM {before.table} b WHERE NOT EXISTS (SELECT 1 FROM {after.table} a WHERE {same_key})"
    inserted, changed, removed = (_count(database, sql) for sql in (new, changed_where, gone))
    total = _count(database, f"FROM {after.table}")
    order = f" ORDER BY {', '.join(pairs[place][1] for place in places)} LIMIT {samples}"
    old_order = f" ORDER BY {', '.join(pairs[place][0] for place in places)} LIMIT {samples}"
    changes = []
    for row in database.execute(f"SELECT {before.select('b')}, {after.select('a')} {changed_where}{order}"):
        one, other = (dict(zip(names, half, strict=True)) for half in (row[: len(names)], row[len(names) :]))
        found = tuple(other[names[place]] for place in places)
        changes.append(ChangedRecord(dict(zip((names[place] for place in places), found, strict=True)),
                                     tuple(field_changes(one, other))))  # fmt: skip
    return Differences(
        inserted=inserted,
        changed=changed,
        removed=removed,
        unchanged=total - inserted - changed,
        key=tuple(names[place] for place in places),
        inserts=_records(database, names, f"SELECT {after.select('a')} {new}{order}"),
        changes=tuple(changes),
        removals=_gone(database, names, before, f"SELECT {before.select('b')} {gone}{old_order}"),
    )


def _count(database: sqlite3.Connection, tail: str) -> int:
    return int(database.execute(f"SELECT count(*) {tail}").fetchone()[0])


def _records(database: sqlite3.Connection, names: Sequence[str], sql: str) -> tuple[dict[str, Any], ...]:
    return tuple(dict(zip(names, row, strict=True)) for row in database.execute(sql))


def _gone(database: sqlite3.Connection, names: Sequence[str], before: _Side, sql: str) -> tuple[dict[str, Any], ...]:
    """Return records that would be removed, without the columns they never had."""
    had = {name for name, old in zip(names, before.columns, strict=True) if old is not None}
    found = _records(database, names, sql)
    return tuple({name: value for name, value in record.items() if name in had} for record in found)


# --- whole rows --------------------------------------------------------------------------------------------------


def _whole_rows(
    database: sqlite3.Connection, names: Sequence[str], before: _Side, after: _Side, samples: int
) -> Differences:
    """Compare rows as a whole, however often each is there.

    A row that is equal to the one with the same row id cancels it: most rows do, and need not be sorted. The others go
    to a table without types, which keeps every value as it is.
    """
    columns = ", ".join(f"c{number}" for number in range(len(names)))
    typed = ", ".join(f"c{number} COLLATE BINARY, typeof(c{number})" for number in range(len(names)))
    database.execute("DROP TABLE IF EXISTS main.rest")
    database.execute(f"CREATE TABLE main.rest ({columns}, n)")
    pairs = _pairs(before, after)
    row_id = _row_id(database, before, after)
    if row_id is None:
        alone_a = f"FROM {after.table} a"
        alone_b = f"FROM {before.table} b"
    else:
        joined = f"ON a.{row_id} = b.{row_id} WHERE {{0}}.{row_id} IS NULL OR {_differs(pairs)}"
        alone_a = f"FROM {after.table} a LEFT JOIN {before.table} b {joined.format('b')}"
        alone_b = f"FROM {before.table} b LEFT JOIN {after.table} a {joined.format('a')}"
    database.execute(f"INSERT INTO main.rest SELECT {after.select('a')}, 1 {alone_a}")
    database.execute(f"INSERT INTO main.rest SELECT {before.select('b')}, -1 {alone_b}")
    database.execute(
        f"CREATE TABLE main.net AS SELECT {columns}, sum(n) AS n FROM main.rest GROUP BY {typed} HAVING sum(n) <> 0"
    )
    inserted, removed = (
        int(database.execute(f"SELECT coalesce(sum(abs(n)), 0) FROM main.net WHERE n {sign} 0").fetchone()[0])
        for sign in (">", "<")
    )
    total = _count(database, f"FROM {after.table}")
    return Differences(
        inserted=inserted,
        removed=removed,
        unchanged=total - inserted,
        inserts=_records(database, names, f"SELECT {columns} FROM main.net WHERE n > 0 LIMIT {samples}"),
        removals=_gone(database, names, before, f"SELECT {columns} FROM main.net WHERE n < 0 LIMIT {samples}"),
    )


def _row_id(database: sqlite3.Connection, before: _Side, after: _Side) -> str | None:
    """Return a name of SQLite's own row number that no column of either table has; None where there is none."""
    taken = {str(name).lower() for side in (before, after) for name in side.columns}
    for name in _ROW_IDS:
        if name not in taken:
            try:
                for side in (before, after):
                    database.execute(f"SELECT {name} FROM {side.table} LIMIT 0")
            except sqlite3.OperationalError:  # a table without row ids
                return None
            return name
    return None
