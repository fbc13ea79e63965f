"""How records change a table: the write methods and their statements, in SQL that SQLite and PostgreSQL share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from etlctl.frozen import frozen


class Method(Enum):
    """What a record does to a table."""

    insert = "insert"
    upsert = "upsert"
    replace = "replace"
    update = "update"
    delete = "delete"
    truncate_and_load = "truncate_and_load"

    def __str__(self) -> str:
        return self.value

    @property
    def keyed(self) -> bool:
        """It finds rows by their key."""
        return self in {Method.upsert, Method.update, Method.delete}

    @property
    def replaces(self) -> bool:
        """What was in the table is gone afterwards."""
        return self in {Method.replace, Method.truncate_and_load}


ALIASES = {"append": Method.insert, "overwrite": Method.replace}
"""Other names of write methods."""


def method_named(name: str | None) -> Method:
    """Return the method of a name; the default is ``insert``."""
    return Method.insert if name is None else ALIASES.get(name) or Method(name)


def quoted(name: str) -> str:
    """Return an identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    """Return identifiers in double quotes with commas between."""
    return ", ".join(map(quoted, names))


_GROUP = 16
"""Records in one insertion: a fifth quicker than one by one, and more gain little."""


@frozen
class Statement:
    """A statement for many records.

    Attributes:
        sql: With numbered marks ``?1``, ``?2``, ….
        order: Names of the columns whose values the marks stand for.
        grouped: The same for several records at once, their values one after the other; where that is quicker.
        records: How many ``grouped`` takes.
    """

    sql: str
    order: tuple[str, ...]
    grouped: str | None = None
    records: int = 1


def insertion(
    table: str, names: Sequence[str], constants: Mapping[str, str] | None = None, *, marks: int = 0
) -> Statement:
    """Return the statement that adds a record.

    Args:
        table: Its name.
        names: Columns to set; others get their default.
        constants: Columns with the same SQL expression in every record.
        marks: How many marks a statement may have; 0: one record at a time.
    """
    extra = constants or {}
    if not names and not extra:
        return Statement(f"INSERT OR ABORT INTO {quoted(table)} DEFAULT VALUES", ())
    into = f"INSERT OR ABORT INTO {quoted(table)} ({listed([*names, *extra])}) VALUES "
    single = ", ".join([*(f"?{place}" for place in range(1, len(names) + 1)), *extra.values()])
    records = min(_GROUP, marks // len(names)) if names else 1
    if records < 2:
        return Statement(f"{into}({single})", tuple(names))
    several = ", ".join([*("?" for _ in names), *extra.values()])
    grouped = into + ", ".join([f"({several})"] * records)
    return Statement(f"{into}({single})", tuple(names), grouped, records)


def upsertion(table: str, names: Sequence[str], key: Sequence[str], kept: Sequence[str] = ()) -> Statement:
    """Return the statement that adds a record, or changes just its columns when its key is there.

    Args:
        table: Its name.
        names: Columns of the record, key included.
        key: Columns of the key.
        kept: Columns not in the record that must have a value: a row that is there keeps its own. Databases check for
            nulls before they look for the key.
    """
    mark = {name: f"?{place}" for place, name in enumerate(names, start=1)}
    found = " AND ".join(f"{quoted(name)} = {mark[name]}" for name in key)
    own = [f"(SELECT {quoted(name)} FROM {quoted(table)} WHERE {found})" for name in kept]
    changed = [name for name in names if name not in key]
    action = "UPDATE SET " + ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in changed)
    sql = (
        f"INSERT INTO {quoted(table)} ({listed([*names, *kept])}) VALUES ({', '.join([*mark.values(), *own])}) "
        f"ON CONFLICT ({listed(key)}) DO {action if changed else 'NOTHING'}"
    )
    return Statement(sql, tuple(names))


def updating(table: str, names: Sequence[str], key: Sequence[str]) -> Statement:
    """Return the statement that changes the columns of a record in the rows with its key."""
    changed = [name for name in names if name not in key]
    order = (*changed, *key)
    sets = ", ".join(f"{quoted(name)} = ?{place}" for place, name in enumerate(changed, start=1))
    found = " AND ".join(f"{quoted(name)} = ?{place}" for place, name in enumerate(key, start=len(changed) + 1))
    same = f"{quoted(key[0])} = {quoted(key[0])}"  # nothing to change, but the rows still count as found
    return Statement(f"UPDATE OR ABORT {quoted(table)} SET {sets or same} WHERE {found}", order)


def deletion(table: str, key: Sequence[str]) -> Statement:
    """Return the statement that removes the rows with a record's key."""
    found = " AND ".join(f"{quoted(name)} = ?{place}" for place, name in enumerate(key, start=1))
    return Statement(f"DELETE FROM {quoted(table)} WHERE {found}", tuple(key))
