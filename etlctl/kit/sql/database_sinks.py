"""Two ways into a table of a database: straight in, and by a log that is replayed; ``database_swap`` has the third.

No row is ever written before a table is changed in the same transaction (``database_server`` says why): a batch is
fitted first, then columns are added, then its rows go in.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from sqlalchemy import Column as AlchemyColumn
from sqlalchemy import MetaData, types
from sqlalchemy import Table as AlchemyTable
from sqlalchemy.schema import CreateTable

from etlctl.batch import Batch
from etlctl.errors import FatalError
from etlctl.faults import fault
from etlctl.kit.sql.blocks import Block, Refusals
from etlctl.kit.sql.database_intake import DatabaseIntake
from etlctl.kit.sql.database_loading import Loading
from etlctl.kit.sql.database_mysql import ORDER, MysqlLoading
from etlctl.kit.sql.database_plain import PlainLoading
from etlctl.kit.sql.database_server import Server
from etlctl.kit.sql.database_table import (
    Column,
    Table,
    add_columns,
    alchemy_table,
    create_table,
    existing_table,
    listed,
    read_table,
)
from etlctl.kit.sql.destination import Guard, Sink
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method

FIELDS = "_etlctl_fields"
RESERVED = {ORDER, FIELDS}


def loading_for(server: Server, method: Method, job: Job) -> Loading:
    """Return what loads into tables of a database."""
    kind: Callable[..., Loading] = MysqlLoading if server.mysql else PlainLoading
    return kind(server, method, job.key, job.table)


class DatabaseSink(Sink):
    """Where the batches of a run go.

    Args:
        server: The open connection.
        job: What is to be loaded.
        table: The table; None when it does not exist yet.
    """

    def __init__(self, server: Server, job: Job, table: Table | None) -> None:
        self._server = server
        self._job = job
        self._target = table
        self._table_before = table
        self._intake = DatabaseIntake(server, job)

    def note_lost(self) -> None:
        """Report columns of the table, if it was there before, that no record had a field for."""
        self._intake.note_lost(self._table_before)

    def _made(self, name: str, blocks: list[Block]) -> Table:
        """Make the table the job needs, from the declared fields and those of its first batch."""
        columns = self._intake.columns(blocks)
        missing = [key for key in self._job.key if key.lower() not in {column.name.lower() for column in columns}]
        if missing:
            raise FatalError(
                f"cannot create table {self._job.table!r}: no record has the field {missing[0]!r} of its primary key",
                help="correct primary_key, or declare the field in the contract's schema",
            )
        if not columns:
            raise FatalError(f"cannot create table {self._job.table!r}: the records have no fields")
        create_table(self._server, name, columns, self._job.key)
        return existing_table(self._server, name)


class Direct(DatabaseSink):
    """Straight into the table."""

    visible = True

    def __init__(self, server: Server, job: Job, table: Table | None) -> None:
        super().__init__(server, job, table)
        self._loading = loading_for(server, job.method, job)

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        blocks, refusals = self._intake.read(batch, self._target)
        if self._target is None and blocks:
            # Another run may have made it since.
            self._target = find_target(self._server, self._job)
        if self._target is None:
            if not blocks:
                return refusals
            self._target = self._made(self._job.table, blocks)
        fitted, added, unfit = self._intake.fit(blocks, self._target)
        if added:
            add_columns(self._server, self._target, added)
            self._target = self._target.widened(added)
        for block in fitted:
            unfit += self._loading.take(self._target, block)
        return refusals + unfit

    def publish(self, guard: Guard, *, counted: bool) -> None:  # noqa: ARG002
        """Everything is visible; only a table that no batch has made is missing."""
        if self._target is None and self._job.fields:
            self._target = self._made(self._job.table, [])

    def refresh(self) -> None:
        """Look at the table again."""
        self._target = read_table(self._server, self._job.table)

    def take_unmatched(self) -> int:
        """Return how many records had a key that no row has, since the last time this was asked."""
        return self._loading.take_unmatched()


class Log(DatabaseSink):
    """Keeps what is to be done in a log, each batch tried on the table and undone; replays it at the end.

    Args:
        server: The open connection.
        job: What is to be loaded.
        table: The target.
        stage: Name of the log; one that is there is gone on with.
    """

    def __init__(self, server: Server, job: Job, table: Table, stage: str) -> None:
        super().__init__(server, job, table)
        self._table = table
        self._name = stage
        self._trial = loading_for(server, job.method, job)
        self._replay = loading_for(server, job.method, job)
        self._keep = loading_for(server, Method.insert, job)
        if not server.has_table(stage):
            make_log(server, table, stage, unique=job.method is Method.insert)
        self.refresh()

    def refresh(self) -> None:
        """Look at the log again."""
        self._log = existing_table(self._server, self._name)
        last = self._server.query(f"SELECT max({ORDER}) FROM {self._server.qualified(self._name)}").scalar_one()
        self._next = int(last or 0) + 1

    @property
    def _new(self) -> list[Column]:
        """Columns that the target gets when the log is replayed."""
        return [one for one in self._log.columns if one.name not in RESERVED and self._table.column(one.name) is None]

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        blocks, refusals = self._intake.read(batch, self._table)
        fitted, added, unfit = self._intake.fit(blocks, self._table.widened(self._new))
        if added:
            add_columns(self._server, self._log, added)
            self._log = self._log.widened(added)
        refused = self._try(fitted)
        unfit += refused
        gone = {place for place, _ in refused}
        for block in fitted:
            kept = block.without([number for number, place in enumerate(block.places) if place in gone])
            orders = list(range(self._next, self._next + len(kept)))
            mask = [f"{self._mask(kept):x}"] * len(kept)
            unfit += self._keep.take(self._log, kept, [(ORDER, orders), (FIELDS, mask)])
            self._next += len(kept)
        return refusals + unfit

    def _mask(self, block: Block) -> int:
        """Return which fields the records have: a bit for each column of the log."""
        places = {column.name: place for place, column in enumerate(self._log.columns)}
        return sum(1 << places[name] for name in block.columns)

    def _try(self, blocks: list[Block]) -> Refusals:
        """Load blocks into the table itself and undo it, to find the records that it refuses."""
        refusals: Refusals = []
        attempt = self._server.connection.begin_nested()
        for block in blocks:
            known = block.only([name for name in block.columns if self._table.column(name) is not None])
            refused = self._trial.take(self._table, known)
            refusals += self._unexplained(block, refused) if refused else []
        attempt.rollback()
        return refusals

    def _unexplained(self, block: Block, refused: Refusals) -> Refusals:
        """Leave out records that only lack what an earlier one of the log brings."""
        lacking = any(one.required and not self._table.fills(one) and one.name not in block.columns
                      for one in self._table.columns)  # fmt: skip
        if self._job.method is not Method.upsert or not lacking:
            return refused
        numbers = {place: number for number, place in enumerate(block.places)}
        table = alchemy_table(self._server, self._log)
        left = []
        for place, error in refused:
            key = [
                table.c[name] == block.columns[name][numbers[place]] for name in self._trial.names_of_key(self._table)
            ]
            if self._server.connection.execute(table.select().where(*key).limit(1)).first() is None:
                left.append((place, error))
        return left

    def publish(self, guard: Guard, *, counted: bool) -> None:  # noqa: ARG002
        """Replay the log; it is dropped once that is committed."""
        target = read_table(self._server, self._job.table)
        if target is None:
            raise dropped(self._job)
        self._table = target
        new = self._new
        add_columns(self._server, target, new)
        target = target.widened(new)
        for mask, first, last in self._parts():
            names = [one.name for place, one in enumerate(self._log.columns) if int(mask, 16) >> place & 1]
            self._replay.replay(target, names, self._log, first, last)
            fault("publish.during")
        self._server.drop_later(self._name)

    def _parts(self) -> list[tuple[str, int, int]]:
        """Return stretches of the log whose records have the same fields: their mask, first and last number."""
        log = self._server.qualified(self._name)
        masks = self._server.query(f"SELECT DISTINCT {FIELDS} FROM {log}").fetchall()
        if len(masks) < 2:
            whole = f"SELECT {FIELDS}, min({ORDER}), max({ORDER}) FROM {log} GROUP BY {FIELDS}"
            return [tuple(row) for row in self._server.query(whole)]
        return [
            tuple(row)
            for row in self._server.query(
                f"SELECT f, min(r), max(r) FROM (SELECT {FIELDS} f, {ORDER} r, {ORDER} - row_number() "
                f"OVER (PARTITION BY {FIELDS} ORDER BY {ORDER}) g FROM {log}) parts GROUP BY f, g ORDER BY 2"
            )
        ]

    def take_unmatched(self) -> int:
        """Return how many records had a key that no row has, since the last time this was asked."""
        return self._replay.take_unmatched()


def make_log(server: Server, table: Table, name: str, *, unique: bool) -> None:
    """Make a table that takes records of another in their order, whatever they lack.

    Args:
        server: The open connection.
        table: The table they are for.
        name: Of the log.
        unique: It refuses what would be twice in the table.
    """
    columns = [one.name for one in table.columns if not one.generated]
    if server.mysql:
        # Out of a union with nulls, columns keep type and collation and may be null.
        source, nulls = listed(server, columns), ", ".join(["NULL"] * len(columns))
        of = f"FROM {server.qualified(table.name)} WHERE FALSE"
        server.ddl(
            f"CREATE TABLE {server.qualified(name)} ({ORDER} BIGINT NOT NULL DEFAULT 0 PRIMARY KEY, {FIELDS} LONGTEXT) "
            f"ENGINE = InnoDB SELECT {source} {of} UNION ALL SELECT {nulls} {of}"
        )
    else:
        original = alchemy_table(server, table)
        made = AlchemyTable(
            name, MetaData(),
            AlchemyColumn(ORDER, types.BigInteger, primary_key=True, autoincrement=False),
            AlchemyColumn(FIELDS, types.Text),
            *(AlchemyColumn(one, original.c[one].type, nullable=True) for one in columns),
            schema=server.schema,
        )  # fmt: skip
        server.ddl(str(CreateTable(made).compile(dialect=server.dialect)))
    for number, key in enumerate(table.uniques if unique else ()):
        names = [one.name for one in table.columns if table.one(one.name) in key]
        index = server.quoted(f"{name}_{number}")
        server.ddl(f"CREATE UNIQUE INDEX {index} ON {server.qualified(name)} ({listed(server, names)})")


def find_target(server: Server, job: Job) -> Table | None:
    """Return the table of a job, checked; None when it is to be made.

    Raises:
        FatalError: It does not exist, or its keys do not go with the job's.
    """
    table = read_table(server, job.table)
    if table is None:
        if job.makes_table:
            return None
        raise no_table(server, job)
    job.require_key(table)
    if job.method is Method.upsert and not table.is_unique(job.key):
        raise FatalError(
            f"table {table.name!r} has no unique index on ({', '.join(job.key)}), so an upsert cannot find rows by it",
            help=f"create it once: {_index(server, table, job, unique=True)}",
        )
    if job.method.keyed and not set(map(table.one, job.key)) & table.indexed:
        job.warn(
            f"table {table.name} has no index on its key: every record reads the whole table; "
            f"create one: {_index(server, table, job)}"
        )
    return table


def _index(server: Server, table: Table, job: Job, *, unique: bool = False) -> str:
    name = server.quoted(f"{table.name}_{'_'.join(job.key)}")
    where = f"{server.qualified(table.name)} ({listed(server, job.key)})"
    return f"CREATE {'UNIQUE ' if unique else ''}INDEX {name} ON {where};"


def no_table(server: Server, job: Job) -> FatalError:
    """Return the error that says what to do about a table that does not exist."""
    names = [name for name in server.tables() if not name.startswith("_etlctl_")]
    close = get_close_matches(job.table, names, 1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    made = "create it, or let it be made with create_table: true" if job.may_make_table else "create it first"
    return FatalError(f"there is no table {job.table!r} in {server.place}", help=meant + made)


def dropped(job: Job) -> FatalError:
    """Return the error of a target that has vanished."""
    return FatalError(
        f"table {job.table!r} was dropped while this run was going on; nothing was published",
        help="bring it back and resume the run, or begin anew",
    )
