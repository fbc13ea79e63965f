"""What a table of a database looks like, and how one is made, widened and copied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from typing import Any
from warnings import catch_warnings, simplefilter

from sqlalchemy import Column as AlchemyColumn
from sqlalchemy import MetaData
from sqlalchemy import Table as AlchemyTable
from sqlalchemy.exc import NoSuchTableError, SAWarning
from sqlalchemy.schema import CreateTable

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.sql.database_forms import KEY_LENGTH, Form, form_of, general_type, mysql_type
from etlctl.kit.sql.database_server import Server

_LONGEST_KEY = 700  # characters; InnoDB indexes 3,072 bytes


@frozen
class Column:
    """A column.

    Attributes:
        name: As the table spells it.
        declared: Its type, as text.
        form: What it keeps.
        required: NOT NULL.
        default: SQL of its default, or None.
        generated: It cannot be written.
        numbered: The database numbers it by itself (``AUTO_INCREMENT``).
    """

    name: str
    declared: str
    form: Form
    required: bool = False
    default: str | None = None
    generated: bool = False
    numbered: bool = False

    def takes_all(self, kind: type) -> bool:
        """Tell whether every value of a Python type is at home in it."""
        return self.form.takes_all(kind)

    def takes_some(self, kind: type) -> bool:
        """Tell whether some values of a Python type are."""
        return self.form.takes_some(kind)

    def takes(self, value: Any) -> bool:
        """Tell whether a value is at home in it."""
        return self.form.takes(value)


@frozen
class Table:
    """A table as it is in the database.

    Attributes:
        name: As the database spells it.
        columns: In order.
        key: Columns of the primary key, in its order.
        uniques: Sets of columns (as ``one`` makes them) that are unique together.
        oddly_unique: It has unique indexes on parts of columns or on expressions, too.
        indexed: First columns of its indexes.
        bound: Triggers or foreign keys hang on it, so that no other table can take its place.
        cased: Names of columns that differ only in case are different.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    uniques: tuple[frozenset[str], ...] = ()
    oddly_unique: bool = False
    indexed: frozenset[str] = field(default_factory=frozenset)
    bound: bool = False
    cased: bool = False

    @property
    def names(self) -> list[str]:
        """The columns that can be written."""
        return [column.name for column in self.columns if not column.generated]

    def one(self, name: str) -> str:
        """Return what names of one column have in common."""
        return name if self.cased else name.lower()

    def column(self, name: str) -> Column | None:
        """Return the column for a field of a name, or None."""
        wanted = self.one(name)
        return next((column for column in self.columns if self.one(column.name) == wanted), None)

    def the(self, name: str) -> Column:
        """Return a column that must be there."""
        found = self.column(name)
        if found is None:
            raise FatalError(f"column {name!r} of table {self.name!r} has vanished", help="run again")
        return found

    def fills(self, column: Any) -> bool:
        """Tell whether a column gets a value by itself when a record has none."""
        return column.default is not None or bool(column.numbered)

    def widened(self, columns: Iterable[Column]) -> Table:
        """Return the table with columns added that it does not have."""
        return replace(self, columns=(*self.columns, *(one for one in columns if self.column(one.name) is None)))

    def is_unique(self, key: Sequence[str]) -> bool:
        """Tell whether a unique index or the primary key is over just these columns."""
        return frozenset(map(self.one, key)) in self.uniques

    def only_unique(self, key: Sequence[str]) -> bool:
        """Tell whether nothing but this key is unique."""
        return not self.oddly_unique and set(self.uniques) == {frozenset(map(self.one, key))}


def read_table(server: Server, name: str) -> Table | None:
    """Return a table, or None when there is none of the name.

    Raises:
        FatalError: It is a view, or its engine knows no transactions.
    """
    if server.mysql:
        _check_engine(server, name)
    inspector = server.inspector()
    try:
        with catch_warnings():
            simplefilter("ignore", SAWarning)  # of types that it does not know: those are the database's own affair
            found = inspector.get_columns(name, server.schema)
    except NoSuchTableError:
        return None
    if not server.mysql and not inspector.has_table(name, server.schema):
        return None
    columns = tuple(_column(server, one) for one in found)
    key = inspector.get_pk_constraint(name, server.schema)["constrained_columns"]
    indexes: list[Any] = list(inspector.get_indexes(name, server.schema))
    one = str if not server.mysql else str.lower
    uniques = [frozenset(map(one, key))] if key else []
    oddly, firsts = False, {one(names[0]) for names in (key,) if names}
    for index in indexes:
        names = index["column_names"]
        odd = None in names or bool(index.get("dialect_options", {}).get("mysql_length"))
        if names and names[0] is not None:
            firsts.add(one(names[0]))
        if index["unique"] and not odd and not index.get("dialect_options", {}).get("postgresql_where"):
            uniques.append(frozenset(map(one, names)))
        oddly = oddly or bool(index["unique"] and odd)
    if not server.mysql:
        constraints = inspector.get_unique_constraints(name, server.schema)
        uniques += [frozenset(constraint["column_names"]) for constraint in constraints]
    bound = _is_bound(server, name) if server.mysql else True
    return Table(
        name, columns, tuple(key), tuple(dict.fromkeys(uniques)), oddly, frozenset(firsts), bound, not server.mysql
    )


def _check_engine(server: Server, name: str) -> None:
    sql = (
        "SELECT t.table_type, t.engine, e.transactions FROM information_schema.tables t LEFT JOIN "
        "information_schema.engines e ON e.engine = t.engine "
        "WHERE t.table_schema = COALESCE(?, DATABASE()) AND t.table_name = ?"
    )
    found = server.execute(sql, (server.schema, name)).fetchone()
    if found is None:
        return
    kind, engine, transactions = (str(one) for one in found)
    if "VIEW" in kind:
        raise FatalError(f"{name!r} in {server.place} is a view; records are loaded into tables")
    if transactions.upper() != "YES":
        raise FatalError(
            f"table {name!r} in {server.place} is a {engine} table, which knows no transactions: rows and commit token "
            "could not be committed together",
            help=f"turn it into an InnoDB table once: ALTER TABLE {server.qualified(name)} ENGINE = InnoDB;",
        )


def _is_bound(server: Server, name: str) -> bool:
    own = "COALESCE(?, DATABASE())"
    values = (server.schema, name)
    sql = (
        f"SELECT 1 FROM information_schema.triggers WHERE event_object_schema = {own} AND event_object_table = ? "
        f"UNION ALL SELECT 1 FROM information_schema.key_column_usage WHERE referenced_table_name IS NOT NULL AND "
        f"((table_schema = {own} AND table_name = ?) OR "
        f"(referenced_table_schema = {own} AND referenced_table_name = ?)) LIMIT 1"
    )
    return server.execute(sql, (*values, *values, *values)).fetchone() is not None


def _column(server: Server, found: Any) -> Column:
    kind, default = found["type"], found.get("default")
    generated = bool(found.get("computed")) or bool((found.get("identity") or {}).get("always"))
    numbered = found.get("autoincrement") is True if server.mysql else bool(found.get("identity"))
    try:
        declared = str(kind.compile(dialect=server.dialect))
    except Exception:  # noqa: BLE001 - a type that SQLAlchemy does not know has no text
        declared = str(type(kind).__name__)
    default = None if default is None or str(default).upper() == "NULL" else str(default)
    return Column(found["name"], declared, form_of(kind), not found["nullable"], default, generated, numbered)


def existing_table(server: Server, name: str) -> Table:
    """Return a table that must be there.

    Raises:
        FatalError: It is not.
    """
    found = read_table(server, name)
    if found is None:
        raise FatalError(f"table {name!r} has vanished from {server.place}", help="begin anew: etlctl run … --restart")
    return found


def new_column(server: Server, name: str, type_name: str, *, key: bool = False, required: bool = False) -> Column:
    """Return a column that is to be made, for values of a contract's type."""
    if server.mysql:
        declared = mysql_type(type_name, server.collation, key=key)
        return Column(name, declared, _new_form(type_name, key=key), required)
    kind = general_type(type_name, key=key)
    return Column(name, str(kind.compile(dialect=server.dialect)), form_of(kind), required)


def _new_form(type_name: str, *, key: bool) -> Form:
    if type_name == "decimal":
        return Form("decimal", digits=65, scale=30)
    if type_name == "huge":
        return Form("decimal", digits=65, scale=0)
    if type_name in {"object", "array"} and not key:
        return Form("json")
    if type_name in {"integer", "float", "date", "datetime", "time"}:
        return Form(type_name, scale=6)
    if type_name == "boolean":
        return Form("integer", -128, 127)
    return Form("bytes" if type_name == "binary" else "text", length=KEY_LENGTH if key else None)


def create_table(server: Server, name: str, columns: Sequence[Column], key: Sequence[str]) -> None:
    """Make a table; the key becomes its primary key."""
    keys = {one.lower() for one in key}
    parts = [
        f"{server.quoted(column.name)} {column.declared}"
        + (" NOT NULL" if column.required or column.name.lower() in keys else " NULL" if server.mysql else "")
        for column in columns
    ]
    if key:
        parts.append(f"PRIMARY KEY ({listed(server, key)})")
    tail = f" ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE {server.collation}" if server.mysql else ""
    server.ddl(f"CREATE TABLE {server.qualified(name)} ({', '.join(parts)}){tail}")


def add_columns(server: Server, table: Table, columns: Iterable[Column]) -> None:
    """Add the columns that a table lacks; nothing is ever dropped or narrowed."""
    for column in columns:
        if table.column(column.name) is None:
            what = f"{server.quoted(column.name)} {column.declared}"
            server.ddl(f"ALTER TABLE {server.qualified(table.name)} ADD COLUMN {what}")


def copy_form(server: Server, table: Table, name: str) -> None:
    """Make an empty table with the columns, constraints and unique indexes of another."""
    if server.mysql:
        server.ddl(f"CREATE TABLE {server.qualified(name)} LIKE {server.qualified(table.name)}")
        return
    original = AlchemyTable(table.name, MetaData(), schema=server.schema, autoload_with=server.connection)
    plain = MetaData()
    columns = [
        AlchemyColumn(one.name, one.type, nullable=one.nullable, primary_key=one.primary_key, autoincrement=False,
                      server_default=one.server_default)
        for one in original.columns
    ]  # fmt: skip
    server.ddl(
        str(CreateTable(AlchemyTable(name, plain, *columns, schema=server.schema)).compile(dialect=server.dialect))
    )
    for number, unique in enumerate(one for one in table.uniques if one != frozenset(table.key)):
        index = server.quoted(f"{name}_{number}")
        server.ddl(f"CREATE UNIQUE INDEX {index} ON {server.qualified(name)} ({listed(server, sorted(unique))})")


def alchemy_table(server: Server, table: Table) -> AlchemyTable:
    """Return a table as SQLAlchemy takes it."""
    return AlchemyTable(table.name, MetaData(), schema=server.schema, autoload_with=server.connection)


def listed(server: Server, names: Iterable[str]) -> str:
    """Return identifiers in quotes with commas between."""
    return ", ".join(map(server.quoted, names))


def can_be_key(table: Table, key: Sequence[str]) -> bool:
    """Tell whether an index of MySQL can be over whole columns."""
    length = 0
    for name in key:
        form = table.the(name).form
        if form.kind in {"text", "bytes"}:
            if form.length is None:
                return False
            length += form.length
    return length <= _LONGEST_KEY
