"""Records that wait beside a PostgreSQL table until everything is there: a table of the same form.

``replace`` takes the old rows out with DELETE: readers go on seeing them until the commit and never wait, and nothing
that belongs to the table changes: rights, indexes, defaults, numbering, views, references. ``truncate_and_load`` says
what it does: TRUNCATE is quicker and leaves no dead rows, but readers wait while the new rows are moved in.
"""

from __future__ import annotations

from etlctl.batch import Batch
from etlctl.errors import FatalError
from etlctl.faults import fault
from etlctl.kit.sql.blocks import Refusals
from etlctl.kit.sql.destination import Guard
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method, listed, quoted
from etlctl.kit.sql.postgres_database import PostgresDatabase
from etlctl.kit.sql.postgres_dml import Loading
from etlctl.kit.sql.postgres_sinks import TableSink, find_target, frame_blocks, made_table
from etlctl.kit.sql.postgres_table import Table, add_columns, copy_form, read_table


class Shadow(TableSink):
    """Fills a table of the same form; it replaces the rows of the target, is added to it, or becomes it.

    Args:
        database: The open database, in a transaction.
        job: What is to be loaded.
        table: The target; None when it does not exist.
        stage: Name of the staging table; one that is there is gone on with.
    """

    def __init__(self, database: PostgresDatabase, job: Job, table: Table | None, stage: str) -> None:
        super().__init__(database, job, table)
        self._name = stage
        # Replacing by key makes no sense: what is new is all that will be there.
        method = Method.upsert if job.method is Method.upsert else Method.insert
        self._loading = Loading(database, method, job.key, job.table)
        self._stage = read_table(database, stage)
        if self._stage is None and table is not None:
            copy_form(database, table, stage)
            self._stage = read_table(database, stage)

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        blocks, refusals = self._intake.read(batch, self._stage)
        if self._stage is None:
            if not blocks:
                return refusals
            self._stage = made_table(self._database, self._intake, self._job, self._name, blocks)
        stage = self._stage
        fitted, added, unfit = self._intake.fit(blocks, stage.named(self._job.table))
        if added:
            add_columns(self._database, stage, added)
            self._stage = stage = stage.widened(added)
        meets = self._target if self._job.method is Method.insert and self._target and self._target.uniques else None
        for block in frame_blocks(fitted):
            unfit += self._loading.take(stage, block, meets=meets)
        return refusals + unfit

    def check(self, guard: Guard, *, counted: bool) -> None:
        """Ask the guard whether the rows of the target may go."""
        target = read_table(self._database, self._job.table)
        if target is None or not self._job.method.replaces or (self._stage is None and not self._job.fields):
            return
        after = self._count(self._stage) if self._stage is not None else 0
        guard(self._before(target, counted=counted), after)

    def publish(self, guard: Guard, *, counted: bool) -> None:
        """Replace, add or rename."""
        target = read_table(self._database, self._job.table)
        if self._stage is None:
            if not self._job.fields:
                return
            self._stage = made_table(self._database, self._intake, self._job, self._name, [])
        if target is None and self._target is not None:
            raise dropped(self._job)
        if target is None:
            self._rename(self._stage)
            fault("publish.during")
            return
        self._target = target
        if self._job.method is Method.upsert:
            find_target(self._database, self._job)
        if self._job.method.replaces:
            self._empty(target, guard, self._stage, counted=counted)
        columns = [column for column in self._stage.columns if not column.generated]
        add_columns(self._database, target, columns)
        self._move(self._stage, target.widened(columns))
        fault("publish.during")
        self._database.drop_table(self._name)

    def _empty(self, target: Table, guard: Guard, stage: Table, *, counted: bool) -> None:
        if self._job.method is Method.truncate_and_load:
            # First of all: nobody may add a row between the count and the end.
            self._database.execute(f"LOCK TABLE {target.sql} IN ACCESS EXCLUSIVE MODE")
        else:
            self._database.execute(f"LOCK TABLE {target.sql} IN SHARE ROW EXCLUSIVE MODE")
        guard(self._before(target, counted=counted), self._count(stage))
        if self._job.method is Method.truncate_and_load:
            self._database.execute(f"TRUNCATE TABLE {target.sql}")
        else:
            self._database.execute(f"DELETE FROM {target.sql}")
        fault("publish.during")

    def _rename(self, stage: Table) -> None:
        execute, name = self._database.execute, self._job.table
        execute(f"ALTER TABLE {stage.sql} RENAME TO {quoted(name)}")
        sql = (
            "SELECT conname FROM pg_catalog.pg_constraint WHERE conrelid = %s::regclass AND contype = 'p' "
            "AND conname LIKE '\\_etlctl\\_%%'"
        )
        for (constraint,) in execute(sql, (self._database.named(name),)).fetchall():
            execute(
                f"ALTER TABLE {self._database.named(name)} RENAME CONSTRAINT {quoted(constraint)} "
                f"TO {quoted(f'{name}_pkey'[:63])}"
            )

    def _before(self, target: Table, *, counted: bool) -> int:
        if counted:
            return self._count(target)
        return 1 if self._database.execute(f"SELECT 1 FROM {target.sql} LIMIT 1").fetchone() else 0

    def _count(self, table: Table) -> int:
        found = self._database.execute(f"SELECT count(*) FROM {table.sql}").fetchone()
        return int(found[0]) if found is not None else 0

    def _move(self, stage: Table, target: Table) -> None:
        names = [column.name for column in stage.columns if not column.generated]
        if self._job.method is Method.upsert:  # another run has made the table since this one began
            merge = Loading(self._database, Method.upsert, self._job.key, self._job.table)
            self._database.execute(merge.statement(target, names, stage.sql, repeated=False))
            return
        numbered = [one.name for one in target.columns if one.identity]
        own = numbered[0] if numbered else None  # a table has one such column at most
        if own is None:
            self._insert(target, names, stage, "true")
            return
        self._insert(target, names, stage, f"{quoted(own)} IS NOT NULL")
        self._insert(target, [name for name in names if name != own], stage, f"{quoted(own)} IS NULL")

    def _insert(self, target: Table, names: list[str], stage: Table, condition: str) -> None:
        if not names:
            names = [next(column.name for column in stage.columns if not column.generated)]
        self._database.execute(
            f"INSERT INTO {target.sql} ({listed(names)}) OVERRIDING SYSTEM VALUE SELECT {listed(names)} "
            f"FROM {stage.sql} WHERE {condition}"
        )

    def refresh(self) -> None:
        """Look at the stage again."""
        self._stage = read_table(self._database, self._name)

    def take_unmatched(self) -> int:
        """Return 0: nothing is looked up."""
        return 0


def dropped(job: Job) -> FatalError:
    """Return the error for a target that is gone."""
    return FatalError(
        f"table {job.table!r} was dropped while this run was going on; nothing was published",
        help="bring it back and resume the run, or begin anew",
    )
