"""Updates, deletes and upserts that wait in a log beside a PostgreSQL table, and are applied in one transaction."""

from __future__ import annotations

import polars as pl

from etlctl.batch import Batch
from etlctl.faults import fault
from etlctl.kit.sql.blocks import Refusals
from etlctl.kit.sql.destination import Guard
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method, quoted
from etlctl.kit.sql.postgres_copy import copy_csv
from etlctl.kit.sql.postgres_database import PostgresDatabase
from etlctl.kit.sql.postgres_dml import NUMBER, Loading
from etlctl.kit.sql.postgres_intake import FrameBlock
from etlctl.kit.sql.postgres_sinks import TableSink, frame_blocks
from etlctl.kit.sql.postgres_stage import dropped
from etlctl.kit.sql.postgres_table import Column, Table, add_columns, existing_table, read_table

_FIELDS = "_etlctl_fields"
_OWN = {NUMBER, _FIELDS}


def is_log(stage: Table) -> bool:
    """Tell whether a staging table is a log of changes, not a copy of the table."""
    return stage.column(_FIELDS) is not None


class Log(TableSink):
    """Keeps changes in a log, each tried on the table and undone; replays it at the end.

    Args:
        database: The open database, in a transaction.
        job: What is to be loaded.
        table: The target.
        stage: Name of the log; one that is there is gone on with.
    """

    def __init__(self, database: PostgresDatabase, job: Job, table: Table, stage: str) -> None:
        super().__init__(database, job, table)
        self._table = table
        self._name = stage
        self._trial = Loading(database, job.method, job.key, job.table)
        self._replay = Loading(database, job.method, job.key, job.table)
        if not database.has_table(stage):
            parts = [f"{NUMBER} bigint PRIMARY KEY", f"{_FIELDS} text NOT NULL"]
            parts += [f"{quoted(one.name)} {one.declared}" for one in table.columns if not one.generated]
            database.execute(f"CREATE TABLE {database.named(stage)} ({', '.join(parts)})")
        self._log = existing_table(database, stage)
        self._next = self._count()

    def _count(self) -> int:
        found = self._database.execute(f"SELECT coalesce(max({NUMBER}) + 1, 0) FROM {self._log.sql}").fetchone()
        return int(found[0]) if found is not None else 0

    @property
    def _new(self) -> list[Column]:
        """Columns that the target gets when the log is replayed."""
        return [one for one in self._log.columns if one.name not in _OWN and self._table.column(one.name) is None]

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        blocks, refusals = self._intake.read(batch, self._table)
        fitted, added, unfit = self._intake.fit(blocks, self._table.widened(self._new))
        if added:
            add_columns(self._database, self._log, added)
            self._log = self._log.widened(added)
        made = frame_blocks(fitted)
        # Even where no constraint can refuse a record, the server may not understand its texts.
        refused = self._try(made)
        unfit += refused
        gone = {place for place, _ in refused}
        for block in made:
            self._keep(block.without([number for number, place in enumerate(block.places) if place in gone]))
        return refusals + unfit

    def _keep(self, block: FrameBlock) -> None:
        if not len(block):
            return
        numbers = pl.Series(NUMBER, range(self._next, self._next + len(block)), dtype=pl.Int64)
        frame = block.frame.with_columns(numbers, pl.lit(f"{self._mask(block):x}").alias(_FIELDS))
        copy_csv(self._database, self._log.sql, frame)
        self._next += len(block)

    def _mask(self, block: FrameBlock) -> int:
        """Return which fields the records have: a bit for each column of the log."""
        places = {column.name: place for place, column in enumerate(self._log.columns)}
        return sum(1 << places[name] for name in block.columns)

    def _try(self, blocks: list[FrameBlock]) -> Refusals:
        """Load blocks into the table itself and undo it, to find the records that it refuses."""
        refusals: Refusals = []
        self._database.execute("SAVEPOINT trial")
        add_columns(self._database, self._table, self._new)
        table = self._table.widened(self._new)
        for block in blocks:
            refused = self._trial.take(table, block)
            refusals += self._unexplained(block, refused, table) if refused else []
        self._database.execute("ROLLBACK TO SAVEPOINT trial")
        self._database.execute("RELEASE SAVEPOINT trial")
        self._trial.forget()
        return refusals

    def _unexplained(self, block: FrameBlock, refused: Refusals, table: Table) -> Refusals:
        """Leave out records that only lack what an earlier one of the log brings."""
        required = [one.name for one in table.columns if one.required and not table.fills(one)]
        if self._job.method is not Method.upsert or all(name in block.columns for name in required):
            return refused
        key = table.key_columns(self._job.key)
        numbers = {place: number for number, place in enumerate(block.places)}
        left = []
        found = " AND ".join(f"{quoted(name).replace('%', '%%')}::text = %s" for name in key)
        sql = f"SELECT 1 FROM {self._log.sql.replace('%', '%%')} WHERE {found} LIMIT 1"
        for place, error in refused:
            values = [str(block.columns[name][numbers[place]]) for name in key]
            if self._database.execute(sql, values).fetchone() is None:
                left.append((place, error))
        return left

    def publish(self, guard: Guard, *, counted: bool) -> None:  # noqa: ARG002
        """Replay the log and drop it."""
        target = read_table(self._database, self._job.table)
        if target is None:
            raise dropped(self._job)
        self._table = target
        new = self._new
        add_columns(self._database, target, new)
        target = target.widened(new)
        for mask, first, last in self._parts():
            names = [one.name for place, one in enumerate(self._log.columns) if int(mask, 16) >> place & 1]
            self._replay.replay(target, names, self._log.sql, first, last)
            fault("publish.during")
        self._database.drop_table(self._name)

    def _parts(self) -> list[tuple[str, int, int]]:
        """Return stretches of the log whose records have the same fields: their mask, first and last number."""
        return self._database.execute(
            f"SELECT f, min(n), max(n) FROM (SELECT {_FIELDS} f, {NUMBER} n, {NUMBER} - row_number() "
            f"OVER (PARTITION BY {_FIELDS} ORDER BY {NUMBER}) g FROM {self._log.sql}) p GROUP BY f, g ORDER BY 2"
        ).fetchall()

    def refresh(self) -> None:
        """Look at the log again."""
        self._log = existing_table(self._database, self._name)
        self._next = self._count()

    def take_unmatched(self) -> int:
        """Return how many records had a key that no row has, since the last time this was asked."""
        self._trial.take_unmatched()
        return self._replay.take_unmatched()
