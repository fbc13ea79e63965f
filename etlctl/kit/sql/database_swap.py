"""A table that takes the place of another: how a replace, and a table that is new, are published.

The records of a run wait in a *stage*, a table of the same form beside the target, named after stream and run. Each
batch and its commit token are one transaction, as everywhere. Publication needs two steps in MySQL, where renaming a
table commits by itself:

1. ``RENAME TABLE target TO old, stage TO target``: one atomic step; a reader sees all of the old or all of the new.
   ``old`` bears the name of stream and run, too. Where there was no target, an empty table becomes ``old`` instead
   (``RENAME TABLE stage TO target, empty TO old``).
2. The token is marked as finished, and that is committed. Then ``old`` is dropped.

Killed before 1, nothing was published: the stage is there, ``old`` is not, and the next attempt goes on. Killed
between 1 and 2, ``old`` is there: whoever opens the destination next, and whoever asks for its tokens, knows by that
alone that this run has published everything, and marks the token. Killed after 2, the token says so itself. A writer
that was paused before 1 and wakes when a newer lease has taken over finds no stage of its own run any more, or the work
done: it cannot put another run's records in place.

A target with triggers or foreign keys cannot be renamed away from under them, and other databases have no such step:
there the rows are deleted and copied in the transaction that marks the token.
"""

from __future__ import annotations

import hashlib

from etlctl.batch import Batch
from etlctl.faults import fault
from etlctl.kit.sql.blocks import Refusals
from etlctl.kit.sql.database_server import Server
from etlctl.kit.sql.database_sinks import DatabaseSink, dropped, find_target, loading_for
from etlctl.kit.sql.database_table import Table, add_columns, copy_form, listed, read_table
from etlctl.kit.sql.destination import Guard
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method

_STAGE, _OLD, _EMPTY = "_etlctl_stage_", "_etlctl_old_", "_etlctl_empty_"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def stage_name(stream: str, run: str, table: str) -> str:
    """Return the name of the table that the records of a stream's run wait in."""
    return f"{_STAGE}{_digest(stream or table, 16)}_{_digest(run, 8)}"


def old_name(stage: str) -> str:
    """Return the name that a target gets when a stage has taken its place."""
    return stage.replace(_STAGE, _OLD, 1)


def left_behind(server: Server, stream: str, table: str) -> list[str]:
    """Return the tables that runs of a stream have left behind."""
    names = [f"{kind}{_digest(stream or table, 16)}_" for kind in (_STAGE, _OLD, _EMPTY)]
    return [name for name in server.tables("_etlctl_") if name.startswith(tuple(names))]


def has_published(server: Server, stream: str, run: str) -> bool:
    """Tell whether a run's stage has taken its place, whatever the token says."""
    return bool(run) and server.has_table(old_name(stage_name(stream, run, "")))


class Replacement(DatabaseSink):
    """Fills a table of the same form, which replaces the target or becomes it.

    Args:
        server: The open connection.
        job: What is to be loaded.
        table: The target; None when it does not exist.
        stage: Name of the staging table; one that is there is gone on with.
        loose: No commit token is kept, so that rows may be committed at any time.
    """

    def __init__(self, server: Server, job: Job, table: Table | None, stage: str, *, loose: bool) -> None:
        super().__init__(server, job, table)
        self._name = stage
        self._loose = loose
        # Replacing by key makes no sense: what is new is all that will be there.
        method = Method.upsert if job.method is Method.upsert else Method.insert
        self._loading = loading_for(server, method, job)
        self._stage = read_table(server, stage)
        if self._stage is None and table is not None:
            copy_form(server, table, stage)
            self._stage = read_table(server, stage)

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        blocks, refusals = self._intake.read(batch, self._stage)
        if self._stage is None:
            if not blocks:
                return refusals
            self._stage = self._made(self._name, blocks)
        fitted, added, unfit = self._intake.fit(blocks, self._known(self._stage))
        if added:
            add_columns(self._server, self._stage, added)
            self._stage = self._stage.widened(added)
        for block in fitted:
            unfit += self._loading.take(self._stage, block)
        return refusals + unfit

    def _known(self, stage: Table) -> Table:
        """Return the stage under the name of the target, for messages."""
        return Table(self._job.table, stage.columns, stage.key, stage.uniques, cased=stage.cased)

    def check(self, guard: Guard, *, counted: bool) -> None:
        """Ask the guard whether the rows of the target may go."""
        target = read_table(self._server, self._job.table)
        if target is None or not self._job.method.replaces or (self._stage is None and not self._job.fields):
            return
        after = self._count(self._name) if self._stage is not None else 0
        guard(self._before(target, counted=counted), after)

    def publish(self, guard: Guard, *, counted: bool) -> None:
        """Swap, copy or rename."""
        target = read_table(self._server, self._job.table)
        if self._stage is None:
            if not self._job.fields:
                return
            self._stage = self._made(self._name, [])
        if target is None and self._target is not None:
            raise dropped(self._job)
        if target is not None and self._job.method.replaces:
            guard(self._before(target, counted=counted), self._count(self._name))
        if self._loose:
            self._server.commit()
            self._server.begin()
        if target is None:
            self._become(self._stage)
        elif self._job.method.replaces and self._server.mysql and not target.bound:
            self._rename((self._job.table, old_name(self._name)), (self._name, self._job.table))
        else:
            self._copy(self._stage, target)

    def _become(self, stage: Table) -> None:
        """Make the stage the table that was missing."""
        if not self._server.mysql:
            self._copy(stage, self._empty_target(stage))
            return
        empty = self._name.replace(_STAGE, _EMPTY, 1)
        self._server.drop_table(empty)
        self._server.ddl(f"CREATE TABLE {self._server.qualified(empty)} (nothing INTEGER) ENGINE = InnoDB")
        self._rename((self._name, self._job.table), (empty, old_name(self._name)))

    def _empty_target(self, stage: Table) -> Table:
        copy_form(self._server, stage, self._job.table)
        made = find_target(self._server, self._job)
        if made is None:
            raise dropped(self._job)
        return made

    def _rename(self, *names: tuple[str, str]) -> None:
        qualified = self._server.qualified
        self._server.ddl(f"RENAME TABLE {', '.join(f'{qualified(one)} TO {qualified(two)}' for one, two in names)}")
        fault("publish.during")
        self._server.drop_later(old_name(self._name))

    def _copy(self, stage: Table, target: Table) -> None:
        """Put the rows of the stage into the table, in the transaction that marks the token."""
        if self._job.method is Method.upsert:
            target = find_target(self._server, self._job) or target  # another run has made it: its key must do
        add_columns(self._server, target, stage.columns)
        target = target.widened(stage.columns)
        server, names = self._server, [column.name for column in stage.columns if not column.generated]
        if self._job.method.replaces:
            server.run(f"DELETE FROM {server.qualified(target.name)}")
            fault("publish.during")
        columns = listed(server, names)
        tail = ""
        if self._job.method is Method.upsert and server.mysql:
            sets = ", ".join(f"{server.quoted(one)} = VALUES({server.quoted(one)})" for one in names)
            tail = f" ON DUPLICATE KEY UPDATE {sets}"
        server.run(
            f"INSERT INTO {server.qualified(target.name)} ({columns}) "
            f"SELECT {columns} FROM {server.qualified(self._name)}{tail}"
        )
        fault("publish.during")
        server.drop_later(self._name)

    def _before(self, target: Table, *, counted: bool) -> int:
        if counted:
            return self._count(target.name)
        return 1 if self._server.query(f"SELECT 1 FROM {self._server.qualified(target.name)} LIMIT 1").first() else 0

    def _count(self, table: str) -> int:
        return int(self._server.query(f"SELECT count(*) FROM {self._server.qualified(table)}").scalar_one())

    def refresh(self) -> None:
        """Look at the stage again."""
        self._stage = read_table(self._server, self._name)

    def take_unmatched(self) -> int:
        """Return 0: nothing is looked up."""
        return 0
