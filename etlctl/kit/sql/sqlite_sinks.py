"""The three ways into a SQLite table: straight in, by a copy that takes its place, and by a log that is replayed.

Every method runs inside the caller's transaction. The copy and the log stand in the same database under a name of the
stream's own, so that a run which died goes on with them, and nothing is seen of them before ``publish``.
"""

from __future__ import annotations

from difflib import get_close_matches

from etlctl.batch import Batch
from etlctl.errors import FatalError
from etlctl.kit.sql.blocks import Block, Refusals
from etlctl.kit.sql.destination import Guard, Sink
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method, listed
from etlctl.kit.sql.sqlite_database import Database
from etlctl.kit.sql.sqlite_dml import Loading
from etlctl.kit.sql.sqlite_intake import SqliteIntake
from etlctl.kit.sql.sqlite_table import Table, add_columns, create_table, existing_table, has_index, read_table


class TableSink(Sink):
    """A sink of SQLite.

    Args:
        database: The open database.
        job: What is to be loaded.
        table: The table; None when it does not exist yet.
    """

    def __init__(self, database: Database, job: Job, table: Table | None) -> None:
        self._database = database
        self._job = job
        self._target = table
        self._intake = SqliteIntake(job)
        self._table_before = table

    def note_lost(self) -> None:
        """Report columns of the table, if it was there before, that no record had a field for."""
        self._intake.note_lost(self._table_before)


class Direct(TableSink):
    """Straight into the table."""

    visible = True

    def __init__(self, database: Database, job: Job, table: Table | None) -> None:
        super().__init__(database, job, table)
        self._loading = Loading(database, job.method, job.key, job.table)

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        blocks, refusals = self._intake.read(batch, self._target)
        if self._target is None and blocks:
            # Another run may have made it since; in this transaction nobody can.
            self._target = find_target(self._database, self._job)
        if self._target is None:
            if not blocks:
                return refusals
            self._target = made_table(self._database, self._intake, self._job, self._job.table, blocks)
        fitted, added, unfit = self._intake.fit(blocks, self._target)
        if added:
            add_columns(self._database, self._target, added)
            self._target = self._target.widened(added)
        for block in fitted:
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


def made_table(database: Database, intake: SqliteIntake, job: Job, name: str, blocks: list[Block]) -> Table:
    """Make the table a job needs, from the declared fields and those of its first batch."""
    columns = intake.columns(blocks)
    missing = [key for key in job.key if key.lower() not in {column.name.lower() for column in columns}]
    if missing:
        raise FatalError(
            f"cannot create table {job.table!r}: the records have no field {missing[0]!r} for its primary key",
            help="correct primary_key, or declare the field in the contract's schema",
        )
    if not columns:
        raise FatalError(f"cannot create table {job.table!r}: the records have no fields")
    create_table(database, name, columns, job.key)
    return existing_table(database, name)


def find_target(database: Database, job: Job) -> Table | None:
    """Return the table of a job, checked; None when it is to be made.

    Raises:
        FatalError: It does not exist, or its keys do not go with the job's.
    """
    table = read_table(database, job.table)
    if table is None:
        if job.makes_table:
            return None
        raise no_table(database, job)
    job.require_key(table)
    if job.method is Method.upsert and not table.is_unique(job.key):
        raise FatalError(
            f"table {table.name!r} has no unique index on ({listed(job.key)}), so an upsert cannot find rows by it",
            help=f"create it once: {_index(table, job, unique=True)}",
        )
    if job.method.keyed and not has_index(database, table, job.key):
        job.warn(
            f"table {table.name} has no index on its key: every record reads the whole table; "
            f"create one: {_index(table, job)}"
        )
    return table


def _index(table: Table, job: Job, *, unique: bool = False) -> str:
    name = f'"{table.name}_{"_".join(job.key)}"'
    return f'CREATE {"UNIQUE " if unique else ""}INDEX {name} ON "{table.name}" ({listed(job.key)});'


def no_table(database: Database, job: Job) -> FatalError:
    """Return the error that says what to do about a table that does not exist."""
    names = [
        name
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith(("sqlite_", "_etlctl_"))
    ]
    close = get_close_matches(job.table, names, 1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    made = "create it, or let it be made with create_table: true" if job.may_make_table else "create it first"
    return FatalError(f"there is no table {job.table!r} in {database.path}", help=meant + made)
