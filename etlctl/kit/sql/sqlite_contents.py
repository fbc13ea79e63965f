"""Reading a table of a SQLite file back: its columns, what finds a row in it, its rows one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import field
from pathlib import Path
from typing import Any

from etlctl.frozen import frozen
from etlctl.kit.sql.methods import quoted
from etlctl.kit.sql.sqlite_database import Database
from etlctl.kit.sql.sqlite_table import read_table


@frozen
class TableContents:
    """A table as it is now.

    Attributes:
        file: The database.
        name: The table, as the database spells it.
        exists: It is there.
        columns: Names and declared types, in order.
        key: What finds a row: the columns asked for, else the table's primary key, else nothing.
    """

    file: Path
    name: str
    exists: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rows in the order they are stored.

        Raises:
            FatalError: The database cannot be read.
        """
        if not self.exists:
            return
        with closing(Database(self.file, create=False)) as database, database.told():
            cursor = database.execute(f"SELECT * FROM {quoted(self.name)}")
            names = [column[0] for column in cursor.description]
            for row in cursor:
                yield dict(zip(names, row, strict=True))


def table_contents(file: Path, name: str, key: Sequence[str]) -> TableContents:
    """Return what a table holds.

    Args:
        file: The database; it need not exist.
        name: The table, in any case of letters; it need not exist.
        key: Columns that find a row, if the contract names any.

    Raises:
        FatalError: The database cannot be read.
    """
    if not file.exists():
        return TableContents(file, name, key=tuple(key))
    with closing(Database(file, create=False)) as database, database.told():
        table = read_table(database, name)
        if table is None:
            return TableContents(file, name, key=tuple(key))
        own = database.execute(
            "SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk", (table.name,)
        ).fetchall()
    columns = {column.name: column.declared for column in table.columns}
    found = tuple(key) or tuple(column for (column,) in own)
    return TableContents(file, table.name, exists=True, columns=columns, key=found)


def copied_database(file: Path, folder: Path) -> Path:
    """Copy a database into a folder, without etlctl's own tables; return the copy, which is not made of nothing.

    Raises:
        FatalError: The database cannot be read.
    """
    copy = folder / file.name
    folder.mkdir(parents=True, exist_ok=True)
    if file.exists():
        # A database in WAL mode that is closed is best opened for writing: that leaves no new files behind.
        unfinished = any(map(_holds_something, (f"{file}-wal", f"{file}-journal")))
        source = Database(file, create=False, read_only=unfinished)
        target = Database(copy, create=True)
        with closing(source), closing(target), source.told():
            source.connection.backup(target.connection)
            own = target.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '\\_etlctl\\_%' ESCAPE '\\'"
            )
            for (name,) in own.fetchall():
                target.execute(f"DROP TABLE {quoted(name)}")
    return copy


def _holds_something(journal: str) -> bool:
    try:
        return Path(journal).stat().st_size > 0
    except OSError:
        return False
