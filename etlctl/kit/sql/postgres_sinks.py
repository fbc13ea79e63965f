"""The straight way into a PostgreSQL table, and what all ways have in common.

Every method runs inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import cast

from etlctl.batch import Batch
from etlctl.errors import FatalError
from etlctl.kit.sql.blocks import Block, Refusals
from etlctl.kit.sql.destination import Guard, Sink
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method, listed, quoted
from etlctl.kit.sql.postgres_database import PostgresDatabase
from etlctl.kit.sql.postgres_dml import Loading
from etlctl.kit.sql.postgres_intake import FrameBlock, PostgresIntake
from etlctl.kit.sql.postgres_table import Table, add_columns, create_table, existing_table, has_index, read_table


class TableSink(Sink):
    """A sink of PostgreSQL.

    Args:
        database: The open database.
        job: What is to be loaded.
        table: The table; None when it does not exist yet.
    """

    def __init__(self, database: PostgresDatabase, job: Job, table: Table | None) -> None:
        self._database = database
        self._job = job
        self._target = table
        self._intake = PostgresIntake(job)
        self._table_before = table

    def note_lost(self) -> None:
        """Report columns of the table, if it was there before, that no record had a field for."""
        self._intake.note_lost(self._table_before)


class Direct(TableSink):
    """Straight into the table."""

    visible = True

    def __init__(self, database: PostgresDatabase, job: Job, table: Table | None) -> None:
        super().__init__(database, job, table)
        self._loading = Loading(database, job.method, job.key, job.table)

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        blocks, refusals = self._intake.read(batch, self._target)
        if self._target is None and blocks:
            # Another run may have made it since.
            self._target = find_target(self._database, self._job)
        if self._target is None:
            if not blocks:
                return refusals
            self._target = made_table(self._database, self._intake, self._job, self._job.table, blocks)
        fitted, added, unfit = self._intake.fit(blocks, self._target)
        if added:
            add_columns(self._database, self._target, added)
            self._target = self._target.widened(added)
        for block in frame_blocks(fitted):
            unfit += self._loading.take(self._target, block)
        return refusals + unfit

    def publish(self, guard: Guard, *, counted: bool) -> None:  # noqa: ARG002
        """Everything is visible; only a table that no batch has made is missing."""
        if self._target is None and self._job.fields:
            self._target = made_table(self._database, self._intake, self._job, self._job.table, [])

    def refresh(self) -> None:
        """Look at the table again."""
        self._target = read_table(self._database, self._job.table)

    def take_unmatched(self) -> int:
        """Return how many records had a key that no row has, since the last time this was asked."""
        return self._loading.take_unmatched()


def frame_blocks(blocks: Sequence[Block]) -> list[FrameBlock]:
    """Return the blocks of an intake as what they are."""
    return [cast("FrameBlock", block) for block in blocks]


def made_table(
    database: PostgresDatabase, intake: PostgresIntake, job: Job, name: str, blocks: Sequence[Block]
) -> Table:
    """Make the table a job needs, from the declared fields and those of its first batch."""
    columns = intake.columns(blocks)
    missing = [key for key in job.key if key not in {column.name for column in columns}]
    if missing:
        raise FatalError(
            f"cannot create table {job.table!r}: the records have no field {missing[0]!r} for its primary key",
            help="correct primary_key, or declare the field in the contract's schema",
        )
    if not columns:
        raise FatalError(f"cannot create table {job.table!r}: the records have no fields")
    create_table(database, name, columns, job.key)
    return existing_table(database, name)


def find_target(database: PostgresDatabase, job: Job) -> Table | None:
    """Return the table of a job, checked; None when it is to be made.

    Raises:
        FatalError: It does not exist, its keys do not go with the job's, or replacing its rows would hurt others.
    """
    table = read_table(database, job.table)
    if table is None:
        if job.makes_table:
            return None
        raise no_table(database, job)
    job.require_key(table)
    key = table.key_columns(job.key)
    if job.method is Method.upsert and frozenset(key) not in table.arbiters:
        raise FatalError(
            f"table {table.name!r} has no unique index on ({listed(key)}), so an upsert cannot find rows by it",
            help=f"create it once: CREATE UNIQUE INDEX ON {table.sql} ({listed(key)});",
        )
    if job.method.keyed and not has_index(database, table, key):
        job.warn(
            f"table {table.name} has no index on its key: every batch reads the whole table; "
            f"create one: CREATE INDEX ON {table.sql} ({listed(key)});"
        )
    if job.method is Method.replace:
        _spare_others(database, table)
    return table


def _spare_others(database: PostgresDatabase, table: Table) -> None:
    """Refuse to replace rows when that would take rows of other tables along."""
    sql = (
        "SELECT conrelid::regclass::text FROM pg_catalog.pg_constraint WHERE confrelid = %s::regclass "
        "AND contype = 'f' AND conrelid <> confrelid AND confdeltype IN ('c', 'n', 'd') LIMIT 1"
    )
    found = database.execute(sql, (table.sql,)).fetchone()
    if found is not None:
        raise FatalError(
            f"replacing the rows of {table.name!r} would delete or change rows of {found[0]}, which refers to it with "
            "ON DELETE CASCADE, SET NULL or SET DEFAULT",
            help="use write_method: upsert, or load into another table",
        )


def no_table(database: PostgresDatabase, job: Job) -> FatalError:
    """Return the error that says what to do about a table that does not exist."""
    found = database.execute(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = "
        "c.relnamespace WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') "
        "ORDER BY n.nspname <> %s LIMIT 1000",
        (database.schema,),
    ).fetchall()
    names = [name for schema, name in found if schema == database.schema and not name.startswith("_etlctl_")]
    elsewhere = [schema for schema, name in found if name == job.table]
    close = [name for name in names if name.lower() == job.table.lower()] or get_close_matches(job.table, names, 1)
    if elsewhere:
        meant = f"there is one in schema {elsewhere[0]!r}: say schema: {elsewhere[0]}; or "
    else:
        meant = f"did you mean {close[0]!r}? " if close else ""
    made = "create it, or let it be made with create_table: true" if job.may_make_table else "create it first"
    place = f"schema {quoted(database.schema)} of {database.place}"
    return FatalError(f"there is no table {job.table!r} in {place}", help=meant + made)
