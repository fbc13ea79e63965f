"""Loads blocks into a PostgreSQL table: a COPY for what is only added, a COPY and one statement for the rest."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import psycopg

from etlctl.errors import RecordRejected
from etlctl.kit.sql.blocks import Refusals
from etlctl.kit.sql.methods import Method, listed, quoted
from etlctl.kit.sql.postgres_copy import copy_csv, copy_text, refusal, sift, tried
from etlctl.kit.sql.postgres_database import PostgresDatabase
from etlctl.kit.sql.postgres_intake import FrameBlock
from etlctl.kit.sql.postgres_table import Table

NUMBER = "_etlctl_n"
"""Column of staged records: their order."""
_PART = "/* which records */ true"
"""Stands in a statement for the condition which staged records it is about."""


class Loading:
    """Applies a write method to a table.

    Of several records with one key in a block the last one counts, as if they had come one after the other.

    Args:
        database: The open database, in a transaction.
        method: What a record does; replacing counts as inserting.
        key: Fields that find a row.
        shown: The table's name for messages, where that is not the name of the table loaded.
    """

    def __init__(self, database: PostgresDatabase, method: Method, key: Sequence[str], shown: str) -> None:
        self._database = database
        self._method = method
        self._key = tuple(key)
        self._shown = shown
        self._unmatched = 0
        self._changed = 0
        self._mostly_same = False
        self._desk = Desk(database)

    def take(self, table: Table, block: FrameBlock, *, meets: Table | None = None) -> Refusals:
        """Load a block; return the records that the server refuses.

        Args:
            table: The table as it is now.
            block: Columns that are ready, under the table's own names.
            meets: A table whose keys the records must not have either.
        """
        if self._method in {Method.insert, Method.replace, Method.truncate_and_load}:
            return self._added(table, block) if meets is None else self._added_beside(table, block, meets)
        desk, refusals = self._laid_out(table, block)
        if desk is None:
            return refusals
        return refusals + self._applied(table, block, desk)

    def _added(self, table: Table, block: FrameBlock) -> Refusals:
        frame = block.frame
        if not frame.width:
            return self._told(table, block, self._sifted(f"INSERT INTO {table.sql} DEFAULT VALUES", len(block)))
        found = sift(
            self._database,
            frame.height,
            lambda start, end: copy_csv(self._database, table.sql, frame[start:end]),
            lambda start, end: copy_text(self._database, table.sql, frame[start:end]),
        )
        return self._told(table, block, found)

    def _added_beside(self, table: Table, block: FrameBlock, meets: Table) -> Refusals:
        """Add records to a table that will be added to another one: keys that are there already are refused."""
        desk, refusals = self._laid_out(table, block)
        if desk is None:
            return refusals
        met: dict[int, str] = {}
        for unique in sorted(meets.uniques, key=sorted):
            if not all(name in block.columns for name in unique):
                continue
            names = sorted(unique)
            same = " AND ".join(f"t.{quoted(name)} = d.{quoted(name)}" for name in names)
            sql = f"SELECT d.{NUMBER} FROM {desk} d WHERE EXISTS (SELECT 1 FROM {meets.sql} t WHERE {same})"
            for (number,) in self._database.execute(sql).fetchall():
                values = ", ".join(str(block.columns[name][number]) for name in names)
                met.setdefault(number, f"({', '.join(names)})=({values})")
        if met:
            self._database.execute(f"DELETE FROM {desk} WHERE {NUMBER} = ANY(%s)", (list(met),))
        for number, key in met.items():
            refusals.append((block.places[number], already_there(self._shown, key)))
        columns = listed(block.columns)
        sql = f"INSERT INTO {table.sql} ({columns}) SELECT {columns} FROM {desk} WHERE {_PART}"
        return refusals + self._told(table, block, self._sifted(sql, len(block)))

    def _laid_out(self, table: Table, block: FrameBlock) -> tuple[str | None, Refusals]:
        """Copy a block to a table of the transaction's own; return it, and the records that it refuses."""
        desk = self._desk.cleared(table, list(block.columns))
        frame = block.frame.with_columns(pl.Series(NUMBER, range(len(block)), dtype=pl.Int64))
        found = sift(
            self._database,
            frame.height,
            lambda start, end: copy_csv(self._database, desk, frame[start:end]),
            lambda start, end: copy_text(self._database, desk, frame[start:end]),
        )
        return (desk if len(found) < len(block) else None), self._told(table, block, found)

    def _applied(self, table: Table, block: FrameBlock, desk: str) -> Refusals:
        key = table.key_columns(self._key)
        repeated = bool(block.frame.select(key).is_duplicated().any())
        statement = self.statement(table, list(block.columns), desk, repeated=repeated)
        self._changed = 0
        found: dict[int, Exception] = {}
        if not repeated and self._method is Method.upsert:
            # Keys that differ as text may be one to the server: 1 and 1.0.
            error = tried(
                self._database,
                lambda: self._ran(statement, 0, len(block)),
                also=(psycopg.errors.CardinalityViolation,),
            )
            if error is not None:
                statement = self.statement(table, list(block.columns), desk, repeated=True)
                found = self._sifted(statement, len(block))
        else:
            found = self._sifted(statement, len(block))
        self._mostly_same = self._changed < len(block) // 2
        return self._told(table, block, found)

    def _sifted(self, statement: str, count: int) -> dict[int, Exception]:
        def attempt(start: int, end: int) -> None:
            self._ran(statement, start, end)

        return sift(self._database, count, attempt, attempt)

    def _ran(self, statement: str, start: int, end: int) -> None:
        if _PART not in statement:  # records without a field
            for _ in range(start, end):
                self._database.execute(statement)
            return
        done = self._database.execute(statement.replace(_PART, f"{NUMBER} >= {start} AND {NUMBER} < {end}"))
        self._changed += max(0, done.rowcount)
        if self._method in {Method.update, Method.delete}:
            row = done.fetchone()
            self._unmatched += row[0] if row is not None else 0

    def _told(self, table: Table, block: FrameBlock, found: dict[int, Exception]) -> Refusals:
        return [
            (block.places[number], refusal(self._database, error, table, self._shown))
            for number, error in found.items()
        ]

    def take_unmatched(self) -> int:
        """Return how many records had a key that no row has, since the last time this was asked."""
        count, self._unmatched = self._unmatched, 0
        return count

    def forget(self) -> None:
        """Forget what was made in a part of the transaction that was undone."""
        self._desk.forget()
        self._unmatched = 0

    def replay(self, table: Table, names: Sequence[str], source: str, first: int, last: int) -> None:
        """Apply records that were looked at before.

        Args:
            table: The table.
            names: Columns of the records.
            source: The table they are in, as SQL names it.
            first: Number of the first one.
            last: Number of the last one.
        """
        self._ran(self.statement(table, names, source, repeated=True), first, last + 1)

    def statement(self, table: Table, names: Sequence[str], source: str, *, repeated: bool) -> str:
        """Return the statement that applies staged records to a table; a mark stands for which of them.

        Args:
            table: The table.
            names: Columns of the records.
            source: The table they are in, as SQL names it.
            repeated: A key may come twice.
        """
        key = table.key_columns(self._key)
        keys, columns = listed(key), listed(names)
        chosen = f"SELECT {columns} FROM {source} d WHERE {_PART}"
        if repeated:
            chosen = f"SELECT DISTINCT ON ({keys}) {columns} FROM {source} WHERE {_PART} ORDER BY {keys}, {NUMBER} DESC"
        changed = [name for name in names if name not in key]
        if self._method is Method.upsert and self._mostly_same and not repeated:
            # A row found by a conflict is locked, which writes to it. For rows that change, looking first is dearer.
            found = " AND ".join(f"o.{quoted(name)} = d.{quoted(name)}" for name in key)
            same = f" AND {_compared(changed, 'o', 'd', '*=')}" if changed else ""
            chosen += f" AND NOT EXISTS (SELECT 1 FROM {table.sql} o WHERE {found}{same})"
        if self._method is Method.upsert:
            return self._upsert(table, names, changed, chosen)
        same = " AND ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in key)
        # The count comes from a snapshot of before the change.
        unmatched = (
            f"SELECT count(*) FROM {source} s WHERE {_PART} AND NOT EXISTS (SELECT 1 FROM {table.sql} t WHERE {same})"
        )
        if self._method is Method.delete:
            change = f"DELETE FROM {table.sql} t USING ({chosen}) s WHERE {same}"
        elif not changed:
            return unmatched
        else:
            sets = ", ".join(f"{quoted(name)} = s.{quoted(name)}" for name in changed)
            differs = _differs(changed, "t", "s")
            change = f"UPDATE {table.sql} t SET {sets} FROM ({chosen}) s WHERE {same} AND {differs}"
        return f"WITH changed AS ({change}) {unmatched}"

    def _upsert(self, table: Table, names: Sequence[str], changed: Sequence[str], chosen: str) -> str:
        key = table.key_columns(self._key)
        # The server checks for nulls before it looks for the key: a row that is there keeps what a record leaves out.
        kept = [
            one.name
            for one in table.columns
            if one.required and not table.fills(one) and not one.generated and one.name not in names
        ]
        if kept:
            same = " AND ".join(f"o.{quoted(name)} = s.{quoted(name)}" for name in key)
            taken = ", ".join([*(f"s.{quoted(name)}" for name in names), *(f"o.{quoted(name)}" for name in kept)])
            chosen = f"SELECT {taken} FROM ({chosen}) s LEFT JOIN {table.sql} o ON {same}"
        always = any(one.identity == "a" and one.name in names for one in table.columns)
        given = " OVERRIDING SYSTEM VALUE" if always else ""
        action = "NOTHING"
        if changed:
            sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in changed)
            action = f"UPDATE SET {sets} WHERE {_differs(changed, 't', 'excluded')}"
        return (
            f"INSERT INTO {table.sql} AS t ({listed([*names, *kept])}){given} {chosen} "
            f"ON CONFLICT ({listed(key)}) DO {action}"
        )


def _differs(names: Sequence[str], one: str, other: str) -> str:
    """Return the condition that two rows differ in some columns, bit by bit: 1.0 and 1.00 do, and types need no ``=``.

    A row that would stay as it is, is not written: that is most of the work of an upsert.
    """
    return _compared(names, one, other, "*<>")


def _compared(names: Sequence[str], one: str, other: str, operator: str) -> str:
    left, right = (", ".join(f"{alias}.{quoted(name)}" for name in names) for alias in (one, other))
    # Without the casts the server would compare column by column, with operators that only records have.
    return f"ROW({left})::record {operator} ROW({right})::record"


class Desk:
    """Tables of the transaction's own, in which the records of a block are laid out.

    Args:
        database: The open database.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._made: dict[tuple[tuple[str, str], ...], str] = {}
        self._of = 0

    def cleared(self, table: Table, names: Sequence[str]) -> str:
        """Return an empty one with some columns of a table, without constraints."""
        if self._of != self._database.transactions:
            self._made, self._of = {}, self._database.transactions
        kinds = tuple((one.name, one.declared) for one in table.columns if one.name in set(names))
        name = self._made.get(kinds)
        if name is not None:
            self._database.execute(f"TRUNCATE {name}")
            return name
        name = self._made[kinds] = f"pg_temp._etlctl_desk_{len(self._made)}"
        columns = ", ".join([f"{NUMBER} bigint", *(f"{quoted(one)} {kind}" for one, kind in kinds)])
        self._database.execute(f"CREATE TABLE {name} ({columns}) ON COMMIT DROP")
        return name

    def forget(self) -> None:
        """Forget what was made: it was undone."""
        self._made = {}


def already_there(shown: str, key: str) -> RecordRejected:
    """Return the refusal of a record whose key is in the table already."""
    return RecordRejected(
        "load.constraint",
        f"table {shown!r} refuses the record: duplicate key value violates unique constraint; "
        f"Key {key} already exists.",
    )
