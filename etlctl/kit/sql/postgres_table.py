"""What a PostgreSQL table looks like, and how one is made, widened and copied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.sql.methods import listed, quoted
from etlctl.kit.sql.postgres_database import PostgresDatabase
from etlctl.kit.sql.postgres_types import SCHEMA_TYPES, family_of, takes_all, takes_some
from etlctl.kit.sql.tables import Declared

LONGEST_NAME = 63
"""Bytes of a name that the server keeps; it cuts off the rest in silence."""


@frozen
class Column:
    """A column.

    Attributes:
        name: As the table spells it.
        declared: Its type as SQL: ``numeric(10,2)``.
        type_name: Name of the type in the catalogue, under a domain: ``numeric``.
        family: What it is for: see ``postgres_types``.
        modifier: What is in brackets behind the type as the catalogue has it; -1 for nothing.
        required: NOT NULL.
        default: SQL of its default, or None.
        generated: It cannot be written.
        identity: The server numbers it: ``a`` always, ``d`` by default.
    """

    name: str
    declared: str
    type_name: str
    family: str
    modifier: int = -1
    required: bool = False
    default: str | None = None
    generated: bool = False
    identity: str = ""

    @property
    def length(self) -> int | None:
        """Characters that fit, where that is limited."""
        return self.modifier - 4 if self.type_name in {"varchar", "bpchar"} and self.modifier >= 4 else None

    @property
    def scale(self) -> int | None:
        """Digits behind the point that are kept, where that is limited."""
        if self.type_name == "numeric" and self.modifier >= 4:
            return ((self.modifier - 4) & 0x7FF ^ 1024) - 1024
        if self.family in {"timestamp", "timestamptz", "time"} and self.modifier >= 0:
            return self.modifier
        return 6 if self.family in {"timestamp", "timestamptz", "time"} else None

    def takes_all(self, kind: type) -> bool:
        """Tell whether every value of a Python type is at home in it."""
        return takes_all(self.family, kind)

    def takes_some(self, kind: type) -> bool:
        """Tell whether some values of a Python type are."""
        return takes_some(self.family, kind)

    def takes(self, value: Any) -> bool:
        """Tell whether a value is at home in it."""
        return takes_some(self.family, type(value))


@frozen
class Table:
    """A table as it is in the database.

    Attributes:
        schema: Its schema.
        name: As the database spells it.
        columns: In order.
        uniques: Sets of columns that are unique together.
        arbiters: Those of them that an upsert can go by.
        checked: A record may be refused for more than its key: checks, references, triggers, domains.
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    uniques: tuple[frozenset[str], ...] = ()
    arbiters: tuple[frozenset[str], ...] = ()
    checked: bool = False

    @property
    def sql(self) -> str:
        """The name for statements."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def names(self) -> list[str]:
        """The columns that can be written."""
        return [column.name for column in self.columns if not column.generated]

    def column(self, name: str) -> Column | None:
        """Return the column for a field: that of its name, else that of its name in small letters.

        Names that were not quoted when a table was made are in small letters.
        """
        found = next((column for column in self.columns if column.name == name), None)
        lower = name.lower()
        return found or next((column for column in self.columns if column.name == lower), None)

    def fills(self, column: Any) -> bool:
        """Tell whether a column gets a value by itself when a record has none."""
        return column.default is not None or column.identity != ""

    def widened(self, columns: Iterable[Column]) -> Table:
        """Return the table with columns added that it does not have."""
        return replace(self, columns=(*self.columns, *(one for one in columns if self.column(one.name) is None)))

    def named(self, name: str) -> Table:
        """Return the same table under another name, for messages."""
        return replace(self, name=name)

    def key_columns(self, key: Iterable[str]) -> list[str]:
        """Return the names of the columns that fields of a key go to."""
        return [column.name for name in key if (column := self.column(name)) is not None]

    @property
    def may_refuse(self) -> bool:
        """It may refuse a record for more than a key that is there already."""
        required = any(one.required and not self.fills(one) for one in self.columns)
        return self.checked or required or len(self.uniques) > 1


_FIND = """
SELECT c.oid, c.relkind::text, EXISTS (
    SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('c', 'f', 'x', 't')
) OR EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'f', 'v', 'm')"""
_COLUMNS = """
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), b.typname, b.typcategory::text,
    CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, a.attnotnull OR t.typnotnull,
    coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), t.typdefault), a.attidentity::text, a.attgenerated::text,
    t.typtype = 'd'
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
_UNIQUES = """
SELECT i.indimmediate, (
    SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, n)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num WHERE k.n <= i.indnkeyatts)
FROM pg_catalog.pg_index i
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL"""


def read_table(database: PostgresDatabase, name: str) -> Table | None:
    """Return a table of the schema that is loaded, or None when there is none of the name.

    Raises:
        FatalError: It is a view.
    """
    found = database.execute(_FIND, (database.schema, name)).fetchone()
    if found is None:
        return None
    oid, kind, checked = found
    if kind in {"v", "m"}:
        raise FatalError(f"{name!r} in {database.place} is a view; records are loaded into tables")
    columns, domains = [], False
    for row in database.execute(_COLUMNS, (oid,)).fetchall():
        column, declared, type_name, category, modifier, required, default, identity, generated, domain = row
        family = family_of(type_name, category)
        made = bool(generated)
        default = None if made else default
        columns.append(Column(column, declared, type_name, family, modifier, bool(required), default, made, identity))
        domains = domains or domain
    uniques = [(immediate, frozenset(names)) for immediate, names in database.execute(_UNIQUES, (oid,)).fetchall()]
    return Table(
        database.schema,
        name,
        tuple(columns),
        tuple(dict.fromkeys(names for _, names in uniques)),
        tuple(dict.fromkeys(names for immediate, names in uniques if immediate)),
        checked or domains,
    )


def existing_table(database: PostgresDatabase, name: str) -> Table:
    """Return a table that must be there.

    Raises:
        FatalError: It is not.
    """
    found = read_table(database, name)
    if found is None:
        raise FatalError(
            f"table {name!r} has vanished from {database.place}", help="begin anew: etlctl run … --restart"
        )
    return found


def has_index(database: PostgresDatabase, table: Table, key: Sequence[str]) -> bool:
    """Tell whether rows are found by the key without reading the whole table."""
    sql = """
        SELECT a.attname FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = (i.indkey::int2[])[0]
        WHERE i.indrelid = %s::regclass AND i.indisvalid AND i.indpred IS NULL"""
    found = {name for (name,) in database.execute(sql, (table.sql,)).fetchall()}
    return bool(found & set(key))


def create_table(database: PostgresDatabase, name: str, columns: Sequence[Column], key: Sequence[str]) -> None:
    """Make a table; the key becomes its primary key."""
    parts = [
        f"{quoted(column.name)} {column.declared}" + (" NOT NULL" if column.required else "") for column in columns
    ]
    if key:
        parts.append(f"PRIMARY KEY ({listed(key)})")
    database.execute(f"CREATE TABLE {database.named(name)} ({', '.join(parts)})")


def declared_column(name: str, declared: str, *, required: bool = False) -> Column:
    """Return a new column of a type as etlctl itself declares it."""
    type_name = _NAMES.get(declared, declared)
    return Column(name, declared, type_name, family_of(type_name, ""), required=required)


_NAMES = {
    "bigint": "int8",
    "double precision": "float8",
    "boolean": "bool",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time without time zone": "time",
}


def schema_columns(fields: Mapping[str, Declared]) -> list[Column]:
    """Return the columns of the fields that a contract declares, as far as their type says what to declare."""
    return [
        declared_column(name, SCHEMA_TYPES[declared.type], required=declared.required)
        for name, declared in fields.items()
        if declared.type in SCHEMA_TYPES
    ]


def add_columns(database: PostgresDatabase, table: Table, columns: Iterable[Column]) -> None:
    """Add the columns that a table lacks; nothing is ever dropped or narrowed."""
    for column in columns:
        if table.column(column.name) is None:
            database.execute(f"ALTER TABLE {table.sql} ADD COLUMN {quoted(column.name)} {column.declared}")


def copy_form(database: PostgresDatabase, table: Table, name: str) -> None:
    """Make an empty table with the columns, checks, unique indexes and references of another."""
    own = database.named(name)
    # Not its identity: a sequence of its own would hand out other numbers than that of the table.
    database.execute(
        f"CREATE TABLE {own} (LIKE {table.sql} INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING DEFAULTS)"
    )
    uniques = database.execute(
        "SELECT pg_catalog.pg_get_indexdef(indexrelid) FROM pg_catalog.pg_index "
        "WHERE indrelid = %s::regclass AND indisunique AND indisvalid",
        (table.sql,),
    ).fetchall()
    for (definition,) in uniques:
        columns = definition.partition(" USING ")[2]
        database.execute(f"CREATE UNIQUE INDEX ON {own} USING {columns}")
    references = database.execute(
        "SELECT pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint "
        "WHERE conrelid = %s::regclass AND contype = 'f' AND confrelid <> conrelid AND conparentid = 0",
        (table.sql,),
    ).fetchall()
    for (definition,) in references:
        database.execute(f"ALTER TABLE {own} ADD {definition}")
    for column in table.columns:
        if column.identity:  # the number comes when the record gets to the table
            database.execute(f"ALTER TABLE {own} ALTER COLUMN {quoted(column.name)} DROP NOT NULL")
