"""One run's way into a table of any SQL database: batches and commit tokens in one transaction, publication in another.

This is the base of every loader that keeps its commit tokens in the database it loads. It needs (``destination``):

- a ``Database``: one connection that begins, commits and rolls back when told, and turns what its driver raises into
  errors for people (``told``). Losing the connection is a ``RetryableError``; ``begin`` opens a new one then, and waits
  until the server has done with the old one, so that what is read afterwards is settled.
- ``Sink``s: where the batches go. They look at nothing but the table, inside the transaction the transfer holds.
- a subclass of ``Transfer`` with ``_make_sink``; ``sqlite_transfer`` and ``postgres_transfer`` are examples.

The parts that are shared besides: ``job`` (what to load), ``intake`` (batches to blocks of columns, keys, unknown
fields), ``drift`` (new fields and changed types, by what ``tables.Column`` and ``tables.Table`` tell), ``tokens`` (the
table of commit tokens; the marks and the lock are the database's) and ``etlctl.sdk.transferring`` (the writer on top).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from etlctl.batch import Batch
from etlctl.errors import CheckpointError, ComponentError, EtlctlError, FatalError, RetryableError
from etlctl.faults import fault
from etlctl.frozen import frozen
from etlctl.kit.sql.blocks import Refusals
from etlctl.kit.sql.destination import Database, Guard, Lease, Sink
from etlctl.kit.sql.held_tokens import token_table
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method
from etlctl.kit.sql.tokens import Stored, Token


class Transfer(ABC):
    """Loads the batches of a run. Synchronous; calls come one at a time, from any thread.

    Args:
        database: The open database; closed by ``suspend``, ``abort`` and ``close``.
        job: What is to be loaded.
        lease: On whose behalf.
        stage: Name of the table in which records wait.
        staged: Nothing may be seen before ``finish``.

    Raises:
        FatalError: The table cannot be loaded like this.
        CheckpointError: What the run had committed is not there any more.
        RetryableError: Another process is writing, or the connection was lost.
    """

    def __init__(self, database: Database, job: Job, lease: Lease, *, stage: str, staged: bool) -> None:
        self._database = database
        self._job = job
        self._lease = lease
        self._staged = staged or job.method.replaces
        self._place = f"{database.place} (table {job.table})"
        self._tokens = token_table(database, lease, self._place)
        self._stage = stage
        self._sink: Sink | None = None
        self._records = 0
        self._unmatched = 0
        self._pending = _Pending()
        self._refusals: Refusals = []
        self._answered = 0
        self._doubt: _Doubt | None = None
        self._lost = False
        self._over = False
        with self._transaction(closing=True):
            self._open()

    @abstractmethod
    def _make_sink(self) -> Sink:
        """Look at the table and return where the batches go.

        Raises:
            FatalError: The table does not exist, or cannot be loaded like this.
        """

    @property
    def place(self) -> str:
        """The destination, for people."""
        return self._place

    def _open(self) -> None:
        self._database.create_tokens()
        stored = self._tokens.read(locked=True) if self._lease.stream else None
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
            self._database.drop_table(self._stage)
            self._tokens.forget_staged(stored)
        self._sink = self._make_sink()

    def _check_kept(self, stored: Stored) -> None:
        """Make sure that what the token speaks of is where this run would go on with it."""
        kept_in = self._stage if self._staged else self._job.table
        # Without a record so far there may be no table yet: its columns come from the first one.
        there = not stored.records or self._database.has_table(kept_in)
        if stored.staged == self._staged and there:
            return
        kept = "staged" if stored.staged else "in the table already"
        found = "" if stored.staged != self._staged else f", but {kept_in} is gone"
        raise CheckpointError(
            f"run {self._lease.run} has committed {stored.records:,} records to {self._place}; they are {kept}{found}",
            help="bring the database back, or resume with the same processing_mode and write_method; "
            "or begin anew: etlctl run … --restart",
        )

    def committed(self) -> Token | None:
        """Return the token of the stream; one without a run only tells of a newer lease."""
        if not self._lease.stream:
            return None
        if self._doubt is not None:
            self._decide()
        with self._database.told():
            stored = self._tokens.read()
        if stored is None or (not stored.token.run and stored.token.fence <= self._lease.fence):
            return None
        return stored.token

    def write(self, batch: Batch) -> Refusals:
        """Load a batch without committing it; return the records that are refused."""
        if self._doubt is not None:
            self._decide()
        if self._answered and self._answered == batch.seq:
            return self._refusals  # it is there: only the answer to its commit was lost
        self._answered = 0
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
                    self._database.execute("RELEASE SAVEPOINT batch")
        except BaseException:
            self._undo_batch(nested=nested)
            raise
        self._pending.batches += 1
        self._pending.records += len(batch) - len(refusals)
        self._pending.unmatched += sink.take_unmatched()
        self._refusals = refusals
        return refusals

    def commit(self, token: Token) -> None:
        """Commit everything written so far together with the token.

        When the connection is lost over it, the token that the database holds tells whether it came to pass.
        """
        if self._answered and self._answered == token.seq:
            return
        pending = self._pending
        with self._transaction(doubt=_Doubt(token.run, token.seq, pending)):
            sink = self._opened(f"batch {token.seq:,}")
            total = self._records + pending.records
            self._tokens.advance(replace(token, visible=sink.visible), total)
            fault("load.before_commit")
        if not self._answered:
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
        pending = self._pending
        with self._transaction(doubt=_Doubt(self._lease.run, None, pending)):
            sink = self._opened(f"the publication of run {self._lease.run}")
            sink.note_lost()
            self._publish(sink, guard, counted=counted)
            if self._lease.stream:
                self._tokens.finish(self._records + pending.records)
            pending.unmatched += sink.take_unmatched()
        if not self._over:
            self._settle()
            self._over = True
        self._tell_unmatched()
        return self._records

    def _publish(self, sink: Sink, guard: Guard, *, counted: bool) -> None:
        try:
            sink.publish(guard, counted=counted)
        except self._database.trouble as error:
            said = self._database.refused(error)
            if said is None:
                raise
            raise FatalError(
                f"table {self._job.table!r} refuses what the run has prepared: "
                f"{said.replace(self._stage, self._job.table)}; nothing was published",
                help="the table was changed while the run was going on; run again",
            ) from error

    def _tell_unmatched(self) -> None:
        if self._unmatched:
            verb = {Method.update: "update", Method.delete: "delete"}.get(self._job.method, "change")
            self._job.warn(
                f"{self._unmatched:,} of {self._records:,} records matched no row of table {self._job.table}: "
                f"there was nothing to {verb}"
            )

    def suspend(self) -> None:
        """Undo what is not committed and let go."""
        self._database.close()

    def abort(self) -> None:
        """Remove what is not visible and let go. What cannot be removed now, the stream's next run removes."""
        self._database.rollback()
        if self._sink is not None and not self._over:
            with suppress(self._database.trouble, EtlctlError), self._transaction():
                stored = self._tokens.read() if self._lease.stream else None
                if stored is None or stored.token.fence <= self._lease.fence:
                    self._database.drop_table(self._stage)
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
            with suppress(self._database.trouble, ComponentError):
                self._database.execute("ROLLBACK TO SAVEPOINT batch")
                self._database.execute("RELEASE SAVEPOINT batch")
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
            with suppress(self._database.trouble, ComponentError):
                self._sink.refresh()

    def _settle(self) -> None:
        self._records += self._pending.records
        self._unmatched += self._pending.unmatched
        self._pending = _Pending()

    def _decide(self) -> bool:
        """Ask the database whether the commit whose answer was lost came to pass; what is in doubt is settled then.

        Raises:
            RetryableError: The database does not answer: it stays in doubt.
        """
        doubt = self._doubt
        if doubt is None:
            return False
        self._database.rollback()
        self._database.begin()
        with self._database.told():
            stored = self._tokens.read(locked=True)
        self._database.rollback()
        self._doubt = None
        token = stored.token if stored is not None else None
        done = token is not None and token.run == doubt.run
        done = done and token is not None and (token.finished if doubt.seq is None else token.seq == doubt.seq)
        if done:
            self._pending, self._lost = doubt.pending, False
            self._settle()
            self._answered, self._over = doubt.seq or 0, doubt.seq is None
        self._refresh()
        return done

    @contextmanager
    def _transaction(self, *, closing: bool = False, doubt: _Doubt | None = None) -> Iterator[None]:
        """Commit at the end; undo everything, what was written before included, when anything fails.

        Args:
            closing: Close the database then, too.
            doubt: What it is about, to find out whether a commit whose answer was lost came to pass.
        """
        committing = False
        try:
            self._database.begin()
            with self._database.told():
                yield
                committing = True
                self._database.commit()
        except BaseException as error:
            several = self._pending.batches > 1
            self._undo()
            if closing:
                self._database.close()
            if committing and doubt is not None and self._lease.stream and isinstance(error, RetryableError):
                self._doubt = doubt
                if self._decide():
                    return
            if several and isinstance(error, RetryableError):
                raise FatalError(f"{error.message}; several batches were undone, resume the run") from error
            raise


@dataclass(slots=True)
class _Pending:
    """What is written and not committed."""

    batches: int = 0
    records: int = 0
    unmatched: int = 0


@frozen
class _Doubt:
    """A commit that was sent off, and whose answer was lost.

    Attributes:
        run: The run.
        seq: The batch; None for the publication.
        pending: What it was to commit.
    """

    run: str
    seq: int | None
    pending: _Pending
