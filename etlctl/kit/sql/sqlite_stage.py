"""Records that wait beside a SQLite table until everything is there: a copy that takes its place, or a log."""

from __future__ import annotations

from etlctl.batch import Batch
from etlctl.errors import FatalError
from etlctl.faults import fault
from etlctl.kit.sql.blocks import Block, Refusals
from etlctl.kit.sql.destination import Guard
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method, listed, quoted
from etlctl.kit.sql.sqlite_database import Database
from etlctl.kit.sql.sqlite_dml import Loading
from etlctl.kit.sql.sqlite_sinks import TableSink, find_target, made_table
from etlctl.kit.sql.sqlite_table import Column, Table, add_columns, copy_form, existing_table, read_table

_OWN_ID = "_etlctl_auto"
_FIELDS = "_etlctl_fields"
_ORDER = "_etlctl_order"
_RESERVED = {_OWN_ID, _FIELDS, _ORDER}


def is_log(stage: Table) -> bool:
    """Tell whether a staging table is a log of changes, not a copy of the table."""
    return stage.column(_FIELDS) is not None


class Shadow(TableSink):
    """Fills a table of the same form; it replaces the target, is added to it, or becomes it.

    Args:
        database: The open database, in a transaction.
        job: What is to be loaded.
        table: The target; None when it does not exist.
        stage: Name of the staging table; one that is there is gone on with.
    """

    def __init__(self, database: Database, job: Job, table: Table | None, stage: str) -> None:
        super().__init__(database, job, table)
        self._name = stage
        # Replacing by key makes no sense: what is new is all that will be there.
        method = Method.upsert if job.method is Method.upsert else Method.insert
        self._loading = Loading(database, method, job.key, job.table)
        self._stage = read_table(database, stage)
        if self._stage is None and table is not None:
            copy_form(database, table, stage)
            if job.method is Method.insert:
                self._meet_target(table)
            self._stage = read_table(database, stage)

    def _meet_target(self, table: Table) -> None:
        """Let the stage refuse what the target would refuse: keys that are there already."""
        marked = ""
        if table.row_id is not None:
            self._database.execute(f"ALTER TABLE {quoted(self._name)} ADD COLUMN {_OWN_ID} INTEGER")
            marked = f"NEW.{_OWN_ID} IS NOT 1 AND "
        for number, unique in enumerate(sorted(table.uniques, key=sorted)):
            names = [column.name for column in table.columns if column.name.lower() in unique]
            same = " AND ".join(f"{quoted(name)} = NEW.{quoted(name)}" for name in names)
            message = ", ".join(f"{table.name}.{name}" for name in names).replace("'", "''")
            condition = marked if table.row_id is not None and unique == {table.row_id.lower()} else ""
            self._database.execute(
                f"CREATE TRIGGER {quoted(f'{self._name}_met_{number}')} BEFORE INSERT ON {quoted(self._name)} "
                f"WHEN {condition}EXISTS (SELECT 1 FROM {quoted(table.name)} WHERE {same}) "
                f"BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed: {message}'); END"
            )

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        blocks, refusals = self._intake.read(batch, self._stage)
        if self._stage is None:
            if not blocks:
                return refusals
            self._stage = made_table(self._database, self._intake, self._job, self._name, blocks)
        stage = self._stage
        fitted, added, unfit = self._intake.fit(blocks, self._known(stage))
        if added:
            add_columns(self._database, stage, added)
            self._stage = stage = stage.widened(added)
        for block in fitted:
            unfit += self._loading.take(stage, block, self._mark(stage, block))
        return refusals + unfit

    def _known(self, stage: Table) -> Table:
        """Return the stage under the name of the target, for messages, without columns of its own."""
        columns = tuple(column for column in stage.columns if column.name not in _RESERVED)
        return Table(self._job.table, columns, stage.row_id, stage.uniques)

    @staticmethod
    def _mark(stage: Table, block: Block) -> dict[str, str] | None:
        if stage.column(_OWN_ID) is None:
            return None
        names = list(block.columns)
        return {_OWN_ID: f"?{names.index(stage.row_id) + 1} IS NULL" if stage.row_id in names else "1"}

    def check(self, guard: Guard, *, counted: bool) -> None:
        """Ask the guard whether the rows of the target may go."""
        target = read_table(self._database, self._job.table)
        if target is None or not self._job.method.replaces or (self._stage is None and not self._job.fields):
            return
        after = self._count(self._name) if self._stage is not None else 0
        guard(self._before(target, counted=counted), after)

    def publish(self, guard: Guard, *, counted: bool) -> None:
        """Swap, add or rename."""
        self._target = target = read_table(self._database, self._job.table)
        if self._stage is None:
            if not self._job.fields:
                return
            self._stage = made_table(self._database, self._intake, self._job, self._name, [])
        if target is None and self._stage.triggers:
            raise _dropped(self._job)
        if target is None:
            self._database.execute(f"ALTER TABLE {quoted(self._name)} RENAME TO {quoted(self._job.table)}")
            fault("publish.during")
            return
        if self._job.method is Method.upsert:
            self._merge(self._stage)
            return
        if self._job.method.replaces:
            guard(self._before(target, counted=counted), self._count(self._name))
            self._database.execute(f"DELETE FROM {quoted(target.name)}")
            fault("publish.during")
        columns = [column for column in self._stage.columns if column.name not in _RESERVED]
        add_columns(self._database, target, columns)
        self._move(self._stage, target.widened(columns))
        fault("publish.during")
        self._database.drop_table(self._name)

    def _merge(self, stage: Table) -> None:
        """Upsert into a table that another run has made since this one began."""
        target = find_target(self._database, self._job)
        if target is None:
            return
        columns = [column for column in stage.columns if column.name not in _RESERVED]
        add_columns(self._database, target, columns)
        names = [column.name for column in columns if not column.generated]
        keys = {name.lower() for name in self._job.key}
        changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names if name.lower() not in keys)
        self._database.execute(
            f"INSERT INTO {quoted(target.name)} ({listed(names)}) SELECT {listed(names)} FROM {quoted(self._name)} "
            f"WHERE true ON CONFLICT ({listed(self._job.key)}) DO {'UPDATE SET ' + changes if changes else 'NOTHING'}"
        )
        fault("publish.during")
        self._database.drop_table(self._name)

    def _before(self, target: Table, *, counted: bool) -> int:
        if counted:
            return self._count(target.name)
        return 1 if self._database.execute(f"SELECT 1 FROM {quoted(target.name)} LIMIT 1").fetchone() else 0

    def _count(self, table: str) -> int:
        return int(self._database.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0])

    def _move(self, stage: Table, target: Table) -> None:
        into, source = quoted(target.name), quoted(self._name)
        names = [column.name for column in stage.columns if not column.generated and column.name not in _RESERVED]
        if stage.column(_OWN_ID) is None:
            same = [(one.name, one.generated) for one in stage.columns] == [(n, False) for n in target.names]
            # "*" lets SQLite copy whole pages between tables of one form.
            what = f"INTO {into} SELECT *" if same else f"INTO {into} ({listed(names)}) SELECT {listed(names)}"
            self._database.execute(f"INSERT OR ABORT {what} FROM {source}")
            return
        for own, chosen in ((0, names), (1, [name for name in names if name != stage.row_id])):
            columns = listed(chosen or [str(stage.row_id)])
            self._database.execute(
                f"INSERT OR ABORT INTO {into} ({columns}) SELECT {columns if chosen else 'NULL'} FROM {source} "
                f"WHERE {_OWN_ID} = {own} ORDER BY rowid"
            )

    def refresh(self) -> None:
        """Look at the stage again."""
        self._stage = read_table(self._database, self._name)

    def take_unmatched(self) -> int:
        """Return 0: nothing is looked up."""
        return 0


class Log(TableSink):
    """Keeps updates, deletes and upserts in a log, each tried on the table and undone; replays it at the end.

    Args:
        database: The open database, in a transaction.
        job: What is to be loaded.
        table: The target.
        stage: Name of the log; one that is there is gone on with.
    """

    def __init__(self, database: Database, job: Job, table: Table, stage: str) -> None:
        super().__init__(database, job, table)
        self._table = table
        self._name = stage
        self._trial = Loading(database, job.method, job.key, job.table)
        self._replay = Loading(database, job.method, job.key, job.table)
        self._keep = Loading(database, Method.insert, (), job.table)
        if read_table(database, stage) is None:
            parts = [f"{_ORDER} INTEGER PRIMARY KEY", f"{_FIELDS} TEXT"]
            parts += [f"{quoted(one.name)} {_kept_type(one)}" for one in table.columns if not one.generated]
            database.execute(f"CREATE TABLE {quoted(stage)} ({', '.join(parts)})")
        self._log = self._read_log()

    def _read_log(self) -> Table:
        return existing_table(self._database, self._name)

    @property
    def _new(self) -> list[Column]:
        """Columns that the target gets when the log is replayed."""
        return [one for one in self._log.columns if one.name not in _RESERVED and self._table.column(one.name) is None]

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        blocks, refusals = self._intake.read(batch, self._table)
        fitted, added, unfit = self._intake.fit(blocks, self._table.widened(self._new))
        if added:
            add_columns(self._database, self._log, added)
            self._log = self._log.widened(added)
        if self._table.may_refuse and (self._job.method is not Method.delete or self._table.triggers):
            refused = self._try(fitted)
            unfit += refused
            gone = {place for place, _ in refused}
            fitted = [
                block.without([number for number, place in enumerate(block.places) if place in gone])
                for block in fitted
            ]
        for block in fitted:
            unfit += self._keep.take(self._log, block, {_FIELDS: f"'{self._mask(block):x}'"})
        return refusals + unfit

    def _mask(self, block: Block) -> int:
        """Return which fields the records have: a bit for each column of the log."""
        places = {column.name: place for place, column in enumerate(self._log.columns)}
        return sum(1 << places[name] for name in block.columns)

    def _try(self, blocks: list[Block]) -> Refusals:
        """Load blocks into the table itself and undo it, to find the records that it refuses."""
        refusals: Refusals = []
        execute = self._database.execute
        execute("SAVEPOINT trial")
        try:
            add_columns(self._database, self._table, self._new)
            table = self._table.widened(self._new)
            for block in blocks:
                refused = self._trial.take(table, block)
                refusals += self._unexplained(block, refused, table) if refused else []
        finally:
            if self._database.writing:
                execute("ROLLBACK TO trial")
                execute("RELEASE trial")
        return refusals

    def _unexplained(self, block: Block, refused: Refusals, table: Table) -> Refusals:
        """Leave out records that only lack what an earlier one of the log brings."""
        if self._job.method is not Method.upsert or all(
            one.name in block.columns for one in table.columns if one.required
        ):
            return refused
        key = [column.name for name in self._job.key if (column := table.column(name)) is not None]
        found = " AND ".join(f"{quoted(name)} = ?" for name in key)
        self._database.execute(
            f"CREATE INDEX IF NOT EXISTS {quoted(self._name + '_key')} ON {quoted(self._name)} ({listed(key)})"
        )
        numbers = {place: number for number, place in enumerate(block.places)}
        keys = block.rows(key)
        left = []
        for place, error in refused:
            sql = f"SELECT 1 FROM {quoted(self._name)} WHERE {found} LIMIT 1"
            if self._database.execute(sql, keys[numbers[place]]).fetchone() is None:
                left.append((place, error))
        return left

    def publish(self, guard: Guard, *, counted: bool) -> None:  # noqa: ARG002
        """Replay the log and drop it."""
        target = read_table(self._database, self._job.table)
        if target is None:
            raise _dropped(self._job)
        self._table = target
        new = self._new
        add_columns(self._database, target, new)
        target = target.widened(new)
        for mask, first, last in self._parts():
            names = [one.name for place, one in enumerate(self._log.columns) if int(mask, 16) >> place & 1]
            order = self._replay.statement(target, names).order
            rows = self._database.execute(
                f"SELECT {listed(order)} FROM {quoted(self._name)} WHERE {_ORDER} BETWEEN ? AND ? ORDER BY {_ORDER}",
                (first, last),
            )
            self._replay.replay(target, names, rows)
            fault("publish.during")
        self._database.drop_table(self._name)

    def _parts(self) -> list[tuple[str, int, int]]:
        """Return stretches of the log whose records have the same fields: their mask, first and last number."""
        log = quoted(self._name)
        masks = self._database.execute(f"SELECT DISTINCT {_FIELDS} FROM {log} LIMIT 2").fetchall()
        if len(masks) < 2:
            whole = f"SELECT {_FIELDS}, min({_ORDER}), max({_ORDER}) FROM {log}"
            return [row for row in self._database.execute(whole) if row[0] is not None]
        return self._database.execute(
            f"SELECT f, min(r), max(r) FROM (SELECT {_FIELDS} f, {_ORDER} r, {_ORDER} - row_number() "
            f"OVER (PARTITION BY {_FIELDS} ORDER BY {_ORDER}) g FROM {log}) GROUP BY f, g ORDER BY 2"
        ).fetchall()

    def refresh(self) -> None:
        """Look at the log again."""
        self._log = self._read_log()

    def take_unmatched(self) -> int:
        """Return how many records had a key that no row has, since the last time this was asked."""
        return self._replay.take_unmatched()


def _kept_type(column: Column) -> str:
    """Return the type that makes of a value what the target makes of it; ANY of a strict table is no type elsewhere."""
    return "" if column.affinity == "BLOB" else column.declared


def _dropped(job: Job) -> FatalError:
    return FatalError(
        f"table {job.table!r} was dropped while this run was going on; nothing was published",
        help="bring it back and resume the run, or begin anew",
    )
