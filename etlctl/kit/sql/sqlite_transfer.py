"""One run's way into a SQLite table: batches and commit tokens in one transaction, publication in another."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from etlctl.batch import Batch
from etlctl.errors import CheckpointError, ComponentError, EtlctlError, FatalError, RetryableError
from etlctl.faults import fault
from etlctl.frozen import frozen
from etlctl.kit.sql.blocks import Refusals
from etlctl.kit.sql.methods import Method
from etlctl.kit.sql.sqlite_database import Database
from etlctl.kit.sql.sqlite_intake import Job
from etlctl.kit.sql.sqlite_sinks import Direct, Guard, Sink, find_target, stage_name
from etlctl.kit.sql.sqlite_stage import Log, Shadow, is_log
from etlctl.kit.sql.sqlite_table import drop_table, read_table
from etlctl.kit.sql.tokens import CREATE, TABLE, Stored, Token, TokenTable


@frozen
class Lease:
    """On whose behalf records are loaded.

    Attributes:
        stream: Contract and parameter set; empty when no token is kept.
        run: The run.
        fence: Generation of its lease.
        resume: Go on with what the run has committed.
    """

    stream: str
    run: str
    fence: int
    resume: bool


def held_token(path: Path, stream: str) -> Token | None:
    """Return the token a database holds of a stream, without changing anything; None when there is none.

    Args:
        path: The database file; it may be missing.
        stream: Contract and parameter set.
    """
    if not path.exists():
        return None
    with closing(Database(path, create=False)) as database, database.told():
        if read_table(database, TABLE) is None:
            return None
        stored = TokenTable(database.execute, stream=stream, run="", fence=0, place=str(path)).read()
    return None if stored is None else stored.token


class Transfer:
    """Loads the batches of a run. Synchronous; calls come one at a time, from any thread.

    Args:
        database: The open database; closed by ``suspend``, ``abort`` and ``close``.
        job: What is to be loaded.
        lease: On whose behalf.
        staged: Nothing may be seen before ``finish``.

    Raises:
        FatalError: The table cannot be loaded like this.
        CheckpointError: What the run had committed is not there any more.
        RetryableError: Another process is writing.
    """

    def __init__(self, database: Database, job: Job, lease: Lease, *, staged: bool) -> None:
        self._database = database
        self._job = job
        self._lease = lease
        self._staged = staged or job.method.replaces
        self._place = f"{database.path} (table {job.table})"
        self._tokens = TokenTable(
            database.execute, stream=lease.stream, run=lease.run, fence=lease.fence, place=self._place
        )
        self._stage = stage_name(lease.stream, job.table)
        self._sink: Sink | None = None
        self._records = 0
        self._unmatched = 0
        self._pending = _Pending()
        self._lost = False
        self._over = False
        with self._transaction(closing=True):
            self._open()

    @property
    def place(self) -> str:
        """The destination, for people."""
        return self._place

    def _open(self) -> None:
        self._database.execute(CREATE)
        stored = self._tokens.read() if self._lease.stream else None
        if self._lease.stream and not self._tokens.claim(stored):
            return  # committed() shows the newer lease; whoever holds an older one must not touch anything
        token = stored.token if stored is not None else None
        going_on = token is not None and self._lease.resume and token.run == self._lease.run and token.run != ""
        if stored is not None and going_on:
            self._records = stored.records
            if stored.token.finished:
                self._over = True
                return
            if stored.token.seq:
                self._check_kept(stored)
        else:
            drop_table(self._database, self._stage)
            self._tokens.forget_staged(stored)
        self._sink = self._make_sink()

    def _check_kept(self, stored: Stored) -> None:
        """Make sure that what the token speaks of is where this run would go on with it."""
        kept_in = self._stage if self._staged else self._job.table
        # Without a record so far there may be no table yet: its columns come from the first one.
        there = not stored.records or read_table(self._database, kept_in) is not None
        if stored.staged == self._staged and there:
            return
        kept = "staged" if stored.staged else "in the table already"
        found = "" if stored.staged != self._staged else f", but {kept_in} is gone"
        raise CheckpointError(
            f"run {self._lease.run} has committed {stored.records:,} records to {self._place}; they are {kept}{found}",
            help="bring the database back, or resume with the same processing_mode and write_method; "
            "or begin anew: etlctl run … --restart",
        )

    def _make_sink(self) -> Sink:
        target = find_target(self._database, self._job)
        if not self._staged:
            return Direct(self._database, self._job, target)
        stage = read_table(self._database, self._stage)
        logged = is_log(stage) if stage is not None else self._job.method.keyed
        if logged and target is not None:
            return Log(self._database, self._job, target, self._stage)
        return Shadow(self._database, self._job, target, self._stage)

    def committed(self) -> Token | None:
        """Return the token of the stream; one without a run only tells of a newer lease."""
        if not self._lease.stream:
            return None
        with self._database.told():
            stored = self._tokens.read()
        if stored is None or (not stored.token.run and stored.token.fence <= self._lease.fence):
            return None
        return stored.token

    def write(self, batch: Batch) -> Refusals:
        """Load a batch without committing it; return the records that are refused."""
        self._database.begin()
        nested = self._pending.batches > 0
        try:
            with self._database.told():
                if nested:
                    self._database.execute("SAVEPOINT batch")
                sink = self._opened(f"batch {batch.seq:,}")
                refusals = sink.write(batch)
                fault("load.write")
                if nested:
                    self._database.execute("RELEASE batch")
        except BaseException:
            self._undo_batch(nested=nested)
            raise
        self._pending.batches += 1
        self._pending.records += len(batch) - len(refusals)
        self._pending.unmatched += sink.take_unmatched()
        return refusals

    def commit(self, token: Token) -> None:
        """Commit everything written so far together with the token."""
        with self._transaction():
            sink = self._opened(f"batch {token.seq:,}")
            total = self._records + self._pending.records
            self._tokens.advance(replace(token, visible=sink.visible), total)
            fault("load.before_commit")
        self._settle()

    def check(self, guard: Guard, *, counted: bool) -> None:
        """Ask the guard what ``finish`` will ask it, publishing nothing."""
        if not self._over:
            with self._database.told():
                self._opened(f"the publication of run {self._lease.run}").check(guard, counted=counted)

    def finish(self, guard: Guard, *, counted: bool) -> int:
        """Publish, unless an earlier attempt of the run has done so; return how many records it has loaded in all.

        Args:
            guard: Asked before records are replaced.
            counted: The guard needs to know how many there were.
        """
        if self._over:
            return self._records
        with self._transaction():
            sink = self._opened(f"the publication of run {self._lease.run}")
            total = self._records + self._pending.records
            sink.note_lost()
            try:
                sink.publish(guard, counted=counted)
            except sqlite3.IntegrityError as error:
                said = str(error).replace(self._stage, self._job.table)
                raise FatalError(
                    f"table {self._job.table!r} refuses what the run has prepared: {said}; nothing was published",
                    help="the table was changed while the run was going on; run again",
                ) from error
            if self._lease.stream:
                self._tokens.finish(total)
        self._pending.unmatched += sink.take_unmatched()
        self._settle()
        self._over = True
        if self._unmatched:
            verb = {Method.update: "update", Method.delete: "delete"}.get(self._job.method, "change")
            self._job.warn(
                f"{self._unmatched:,} of {self._records:,} records matched no row of table {self._job.table}: "
                f"there was nothing to {verb}"
            )
        return self._records

    def suspend(self) -> None:
        """Undo what is not committed and let go."""
        self._database.close()

    def abort(self) -> None:
        """Remove what is not visible and let go. What cannot be removed now, the stream's next run removes."""
        self._database.rollback()
        if self._sink is not None and not self._over:
            with suppress(sqlite3.Error, EtlctlError), self._transaction():
                stored = self._tokens.read() if self._lease.stream else None
                if stored is None or stored.token.fence <= self._lease.fence:
                    drop_table(self._database, self._stage)
                    self._tokens.forget_staged(stored)
        self._database.close()

    def close(self) -> None:
        """Let go."""
        self._database.close()

    def _opened(self, what: str) -> Sink:
        """Return the sink, unless a newer lease has taken over.

        Raises:
            FencedError: One has.
        """
        if self._lease.stream:
            self._tokens.check(what)
        if self._sink is None or self._over:
            raise FatalError(f"the run's way into {self._place} is closed")
        if self._lost:
            raise FatalError(f"batches written to {self._place} before were undone; resume the run")
        return self._sink

    def _undo_batch(self, *, nested: bool) -> None:
        if nested and self._database.writing:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK TO batch")
                self._database.execute("RELEASE batch")
        else:
            self._undo()
        self._refresh()

    def _undo(self) -> None:
        self._database.rollback()
        self._lost = self._pending.batches > 1
        self._pending = _Pending()
        self._refresh()

    def _refresh(self) -> None:
        if self._sink is not None:
            self._sink.take_unmatched()
            with suppress(sqlite3.Error, ComponentError):
                self._sink.refresh()

    def _settle(self) -> None:
        self._records += self._pending.records
        self._unmatched += self._pending.unmatched
        self._pending = _Pending()

    @contextmanager
    def _transaction(self, *, closing: bool = False) -> Iterator[None]:
        """Commit at the end; undo everything, what was written before included, when anything fails.

        Args:
            closing: Close the database then, too.
        """
        try:
            self._database.begin()
            with self._database.told():
                yield
                self._database.execute("COMMIT")
        except BaseException as error:
            several = self._pending.batches > 1
            self._undo()
            if closing:
                self._database.close()
            if several and isinstance(error, RetryableError):
                raise FatalError(f"{error.message}; several batches were undone, resume the run") from error
            raise


@dataclass(slots=True)
class _Pending:
    """What is written and not committed."""

    batches: int = 0
    records: int = 0
    unmatched: int = 0
