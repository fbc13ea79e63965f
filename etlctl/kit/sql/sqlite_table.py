"""What a SQLite table looks like, and how one is made, widened and copied."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.sql.methods import listed, quoted
from etlctl.kit.sql.sqlite_database import Database
from etlctl.kit.sql.sqlite_values import SCHEMA_TYPES, affinity_of, is_number_text
from etlctl.kit.sql.tables import Declared

_NAME = r'(?:"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^\s("`\[]+)'
_CREATE_TABLE = re.compile(rf"\s*CREATE\s+TABLE\s+{_NAME}", re.IGNORECASE)
_CREATE_INDEX = re.compile(rf"\s*CREATE\s+UNIQUE\s+INDEX\s+{_NAME}\s+ON\s+{_NAME}", re.IGNORECASE)
_NOT_GENERATED = 0
_AS_TEXT = (str, Decimal, datetime, date, time, timedelta, dict, list, tuple, UUID)
_NUMERIC = frozenset({"INTEGER", "REAL", "NUMERIC"})


@frozen
class Column:
    """A column.

    Attributes:
        name: As the table spells it.
        declared: Its type, as text; empty for none.
        affinity: What it makes of values.
        required: NOT NULL.
        default: SQL of its default, or None.
        generated: It cannot be written.
    """

    name: str
    declared: str
    affinity: str
    required: bool = False
    default: str | None = None
    generated: bool = False

    def takes_all(self, kind: type) -> bool:
        """Tell whether every value of a Python type is at home in the column."""
        if self.affinity == "BLOB":
            return True
        if self.affinity == "TEXT":
            return issubclass(kind, _AS_TEXT)
        if self.affinity == "REAL":
            return kind in {int, float}
        return kind in {int, bool} or (self.affinity == "NUMERIC" and kind in {float, Decimal})

    def takes_some(self, kind: type) -> bool:
        """Tell whether some values of a Python type are: whole floats among integers, texts that are numbers."""
        return self.takes_all(kind) or (self.affinity in _NUMERIC and kind in {float, str, Decimal})

    def takes(self, value: Any) -> bool:
        """Tell whether a value is at home in the column."""
        if isinstance(value, float) and self.affinity == "INTEGER":
            return value.is_integer()
        if isinstance(value, str) and self.affinity in _NUMERIC:
            return is_number_text(value)
        return self.takes_all(type(value)) or isinstance(value, Decimal)


@frozen
class Table:
    """A table as it is in the database.

    Attributes:
        name: As the database spells it.
        columns: In order.
        row_id: The column that SQLite numbers by itself (``INTEGER PRIMARY KEY``), or None.
        uniques: Sets of columns (lower case) that are unique together.
        sql: The statement that made it.
        triggers: Whether it has any.
    """

    name: str
    columns: tuple[Column, ...]
    row_id: str | None = None
    uniques: tuple[frozenset[str], ...] = ()
    sql: str = ""
    triggers: bool = False

    @property
    def names(self) -> list[str]:
        """The columns that can be written."""
        return [column.name for column in self.columns if not column.generated]

    def column(self, name: str) -> Column | None:
        """Return the column of a name in any case, or None."""
        wanted = name.lower()
        return next((column for column in self.columns if column.name.lower() == wanted), None)

    def fills(self, column: Any) -> bool:
        """Tell whether a column gets a value by itself when a record has none."""
        return column.default is not None or column.name == self.row_id

    def widened(self, columns: Iterable[Column]) -> Table:
        """Return the table with columns added that it does not have."""
        return replace(self, columns=(*self.columns, *(one for one in columns if self.column(one.name) is None)))

    def is_unique(self, key: Sequence[str]) -> bool:
        """Tell whether a unique index or the primary key is over just these columns."""
        return frozenset(name.lower() for name in key) in self.uniques

    @property
    def may_refuse(self) -> bool:
        """It may refuse a record for more than a key that is there already."""
        checks = re.search(r"\bCHECK\b|\bSTRICT\b|\bGENERATED\b", self.sql, re.IGNORECASE)
        required = any(column.required for column in self.columns)
        return bool(checks) or required or self.row_id is not None or len(self.uniques) > 1 or self.triggers


def read_table(database: Database, name: str) -> Table | None:
    """Return a table, or None when there is none of the name.

    Raises:
        FatalError: It is a view.
    """
    found = database.execute(
        "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE", (name,)
    ).fetchone()
    if found is None:
        return None
    actual, kind, sql = found
    if kind == "view":
        raise FatalError(f"{actual!r} in {database.path} is a view; records are loaded into tables")
    tail = sql.rpartition(")")[2].upper()
    rows = database.execute(
        'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)', (actual,)
    )
    columns, key = [], []
    for column, declared, required, default, place, hidden in rows.fetchall():
        affinity = affinity_of(declared, strict="STRICT" in tail)
        generated = hidden != _NOT_GENERATED
        columns.append(Column(column, declared, affinity, bool(required), default, generated))
        if place:
            key.append((place, column, declared))
    row_id = None
    if len(key) == 1 and key[0][2].upper() == "INTEGER" and "WITHOUT" not in tail:
        row_id = key[0][1]
    triggers = database.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE", (actual,)
    ).fetchone()
    uniques = _uniques(database, actual, [name for _, name, _ in key])
    return Table(actual, tuple(columns), row_id, uniques, sql, bool(triggers))


def existing_table(database: Database, name: str) -> Table:
    """Return a table that must be there.

    Raises:
        FatalError: It is not.
    """
    found = read_table(database, name)
    if found is None:
        raise FatalError(f"table {name!r} has vanished from {database.path}", help="begin anew: etlctl run … --restart")
    return found


def _uniques(database: Database, table: str, key: Sequence[str]) -> tuple[frozenset[str], ...]:
    found = [frozenset(name.lower() for name in key)] if key else []
    indexes = database.execute('SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', (table,))
    for (index,) in indexes.fetchall():
        names = [name for (name,) in database.execute("SELECT name FROM pragma_index_info(?)", (index,))]
        if None not in names:
            found.append(frozenset(name.lower() for name in names))
    return tuple(dict.fromkeys(found))


def has_index(database: Database, table: Table, key: Sequence[str]) -> bool:
    """Tell whether rows are found by the key without reading the whole table."""
    wanted = {name.lower() for name in key}
    if any(one <= wanted for one in table.uniques):
        return True
    indexes = database.execute("SELECT name FROM pragma_index_list(?) WHERE NOT partial", (table.name,)).fetchall()
    first = "SELECT name FROM pragma_index_info(?) WHERE seqno = 0"
    return any((database.execute(first, index).fetchone()[0] or "").lower() in wanted for index in indexes)


def create_table(database: Database, name: str, columns: Sequence[Column], key: Sequence[str]) -> None:
    """Make a table; the key becomes its primary key."""
    keys = {one.lower() for one in key}
    parts = [
        f"{quoted(column.name)} {column.declared}".rstrip()
        + (" NOT NULL" if column.required or column.name.lower() in keys else "")
        for column in columns
    ]
    if key:
        parts.append(f"PRIMARY KEY ({listed(key)})")
    database.execute(f"CREATE TABLE {quoted(name)} ({', '.join(parts)})")


def schema_columns(fields: Mapping[str, Declared]) -> list[Column]:
    """Return the columns of the fields that a contract declares."""
    made = []
    for name, declared in fields.items():
        kind = SCHEMA_TYPES.get(declared.type, "")
        made.append(Column(name, kind, affinity_of(kind), declared.required))
    return made


def add_columns(database: Database, table: Table, columns: Iterable[Column]) -> None:
    """Add the columns that a table lacks; nothing is ever dropped or narrowed."""
    for column in columns:
        if table.column(column.name) is None:
            database.execute(f"ALTER TABLE {quoted(table.name)} ADD COLUMN {quoted(column.name)} {column.declared}")


def copy_form(database: Database, table: Table, name: str) -> None:
    """Make an empty table with the columns, constraints and unique indexes of another.

    Raises:
        FatalError: It is a virtual table.
    """
    found = _CREATE_TABLE.match(table.sql)
    if found is None:
        raise FatalError(
            f"table {table.name!r} in {database.path} is a virtual table, which cannot be replaced as a whole",
            help="use processing_mode: streaming with write_method: insert",
        )
    database.execute(f"CREATE TABLE {quoted(name)}{table.sql[found.end() :]}")
    indexes = database.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", (table.name,)
    ).fetchall()
    for number, (sql,) in enumerate(indexes):
        unique = _CREATE_INDEX.match(sql)
        if unique is not None:
            index = quoted(f"{name}_{number}")
            database.execute(f"CREATE UNIQUE INDEX {index} ON {quoted(name)}{sql[unique.end() :]}")
