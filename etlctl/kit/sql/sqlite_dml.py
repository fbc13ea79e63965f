"""Loads blocks into a SQLite table; a record that SQLite refuses is told from trouble with the file.

SQLite undoes only the record it refuses and says at which one it stopped, so that the good records of a batch are
loaded in one go, however many bad ones there are among them: nothing is tried twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import length_hint
from typing import Any

from etlctl.errors import FatalError, RecordRejected
from etlctl.kit.sql.blocks import Block, Refusals
from etlctl.kit.sql.methods import Method, Statement, deletion, insertion, updating, upsertion
from etlctl.kit.sql.sqlite_database import Database
from etlctl.kit.sql.sqlite_table import Table
from etlctl.kit.sql.sqlite_values import INT64

_RULES = {
    sqlite3.SQLITE_CONSTRAINT: "load.constraint",
    sqlite3.SQLITE_MISMATCH: "load.type",
    sqlite3.SQLITE_TOOBIG: "load.too_big",
}
# Errors of SQL functions in checks, indexes and generated columns have no code of their own.
_FUNCTION_ERRORS = ("malformed JSON", "integer overflow")

Row = tuple[Any, ...]


class Loading:
    """Applies a write method to a table, record by record in their order.

    Args:
        database: The open database, in a transaction.
        method: What a record does; replacing counts as inserting.
        key: Columns that find a row.
        shown: The table's name for messages, where that is not the name of the table loaded.
    """

    def __init__(self, database: Database, method: Method, key: Sequence[str], shown: str) -> None:
        self._database = database
        self._method = method
        self._key = tuple(key)
        self._shown = shown
        self._unmatched = 0
        self._marks = database.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)

    def take(self, table: Table, block: Block, constants: Mapping[str, str] | None = None) -> Refusals:
        """Load a block; return the records that SQLite refuses.

        Args:
            table: The table as it is now.
            block: Values under the table's own column names.
            constants: Further columns with the same SQL expression in every record.
        """
        statement = self.statement(table, list(block.columns), constants)
        refusals: Refusals = []
        for number, error in self._run(statement, block):
            row = tuple(block.columns[name][number] for name in statement.order)
            refusal = self._refusal(error, table, statement.order, row)
            if refusal is None:
                raise error
            refusals.append((block.places[number], refusal))
            if not self._database.writing:
                raise FatalError(
                    f"table {self._shown!r} rolls everything back when it refuses a record: {refusal.message}",
                    help="change ON CONFLICT ROLLBACK or RAISE(ROLLBACK) in the table or its triggers to ABORT",
                )
        return refusals

    def take_unmatched(self) -> int:
        """Return how many records had a key that no row has, since the last time this was asked."""
        count, self._unmatched = self._unmatched, 0
        return count

    def replay(self, table: Table, names: Sequence[str], rows: Iterator[Row]) -> None:
        """Load rows that were looked at before.

        Args:
            table: The table.
            names: Columns of the records.
            rows: Their values, in the order of ``statement(table, names).order``.

        Raises:
            FatalError: A row is refused all the same.
        """
        statement = self.statement(table, names)
        if self._method in {Method.update, Method.delete}:
            failed = next(self._one_by_one(statement, rows), None)
        else:
            try:
                self._database.connection.executemany(statement.sql, rows)
                failed = None
            except sqlite3.Error as error:
                failed = (0, error)
        if failed is None:
            return
        refusal = self._refusal(failed[1], table, (), ())
        if refusal is None:
            raise failed[1]
        raise FatalError(
            f"{refusal.message}; nothing was published, the table is as it was",
            help="the record only fails together with others of the run, or with changes made to the table meanwhile; "
            "processing_mode: streaming finds it and puts it into the dead letters",
        )

    def statement(self, table: Table, names: Sequence[str], constants: Mapping[str, str] | None = None) -> Statement:
        """Return the statement that loads records with these columns."""
        if self._method is Method.upsert:
            given = {name.lower() for name in names}
            kept = [
                column.name
                for column in table.columns
                if column.required and column.default is None and column.name.lower() not in given
            ]
            return upsertion(table.name, names, self._names_of_key(table), kept)
        if self._method is Method.update:
            return updating(table.name, names, self._names_of_key(table))
        if self._method is Method.delete:
            return deletion(table.name, self._names_of_key(table))
        return insertion(table.name, names, constants, marks=self._marks)

    def _names_of_key(self, table: Table) -> list[str]:
        found = (table.column(name) for name in self._key)
        return [column.name for column in found if column is not None]

    def _run(self, statement: Statement, block: Block) -> Iterator[tuple[int, Exception]]:
        """Run a statement for every record; yield the number of each that fails, and go on behind it."""
        if self._method in {Method.update, Method.delete}:
            feeds = [iter(block.columns[name]) for name in statement.order]
            yield from self._one_by_one(statement, zip(*feeds, strict=True))
            return
        start, end = 0, 0
        if statement.grouped is not None:
            end = len(block) - len(block) % statement.records
        while start < end:
            start, error = self._in_groups(statement, block, start, end)
            if error is None:
                break
            if not self._database.writing:  # SQLite rolled everything back
                yield start, error
            yield from self._singly(statement, block, start, start + statement.records)
            start += statement.records
        yield from self._singly(statement, block, end, len(block))

    def _in_groups(self, statement: Statement, block: Block, start: int, end: int) -> tuple[int, Exception | None]:
        """Load records several at a time; return the first of the group that fails as a whole, and why."""
        feeds = [iter(block.columns[name][start:end]) for name in statement.order]
        values = chain.from_iterable(zip(*feeds, strict=True))
        groups = zip(*[values] * (statement.records * len(feeds)), strict=True)
        try:
            self._database.connection.executemany(statement.grouped or "", groups)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            at = end - length_hint(feeds[0]) - statement.records
            if at < start:  # nothing was read: the statement itself is wrong
                raise
            return at, error
        return end, None

    def _singly(self, statement: Statement, block: Block, start: int, end: int) -> Iterator[tuple[int, Exception]]:
        # The first column tells how far SQLite came. Tuples made as they are needed cost half of a list of them.
        feeds = [iter(block.columns[name][start:end]) for name in statement.order] or [iter([()] * (end - start))]
        rows: Iterator[Row] = zip(*feeds, strict=True) if statement.order else iter(feeds[0])
        while True:
            try:
                self._database.connection.executemany(statement.sql, rows)
            except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
                at = end - length_hint(feeds[0]) - 1
                if at < start:  # nothing was read: the statement itself is wrong
                    raise
                yield at, error
            else:
                return

    def _one_by_one(self, statement: Statement, rows: Iterator[Row]) -> Iterator[tuple[int, Exception]]:
        """As ``_run``, telling the records that match no row: only single statements count theirs."""
        cursor = self._database.connection.cursor()
        run = cursor.execute
        for number, row in enumerate(rows):
            try:
                run(statement.sql, row)
            except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
                yield number, error
            else:
                if not cursor.rowcount:
                    self._unmatched += 1

    def _refusal(self, error: Exception, table: Table, order: Sequence[str], row: Row) -> RecordRejected | None:
        """Return why a record is refused; None when it is not the record's fault."""
        if isinstance(error, OverflowError):
            name = next((one for one, v in zip(order, row, strict=True) if type(v) is int and not _fits(v)), None)
            return RecordRejected(
                "load.out_of_range",
                f"field {name!r} is an integer beyond 64 bits, which SQLite cannot hold",
                field=name,
            )
        if isinstance(error, UnicodeEncodeError):
            name = next((one for one, v in zip(order, row, strict=True) if type(v) is str and _is_broken(v)), None)
            return RecordRejected(
                "load.not_utf8", f"field {name!r} holds text that is not Unicode (half a surrogate pair)", field=name
            )
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        said = str(error).replace(table.name, self._shown)
        rule = _RULES.get(code)
        if rule is None and said.startswith(_FUNCTION_ERRORS):
            rule = "load.constraint"
        if rule is None:
            return None
        if code == sqlite3.SQLITE_MISMATCH and table.row_id is not None:
            said += f" (column {table.row_id} takes only integers)"
            return RecordRejected(rule, f"table {self._shown!r} refuses the record: {said}", field=table.row_id)
        columns = [part.strip().rpartition(".")[2] for part in said.partition("failed: ")[2].split(",")]
        field = columns[0] if len(columns) == 1 and table.column(columns[0]) else None
        return RecordRejected(rule, f"table {self._shown!r} refuses the record: {said}", field=field)


def _fits(value: int) -> bool:
    return INT64[0] <= value <= INT64[1]


def _is_broken(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
