"""One run's way into a table of MySQL, MariaDB or another database through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from dataclasses import replace

from etlctl.errors import EtlctlError, FatalError
from etlctl.kit.sql.database_server import Server
from etlctl.kit.sql.database_sinks import Direct, Log, find_target
from etlctl.kit.sql.database_swap import Replacement, has_published, left_behind, old_name, stage_name
from etlctl.kit.sql.destination import Guard, Lease, Sink
from etlctl.kit.sql.held_tokens import held_in, token_table, unfinished_in
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.tokens import TABLE, Token
from etlctl.kit.sql.transfer import Transfer
from etlctl.kit.sql.urls import Address


class DatabaseTransfer(Transfer):
    """Loads the batches of a run.

    Args:
        server: The open connection; closed by ``suspend``, ``abort`` and ``close``.
        job: What is to be loaded.
        lease: On whose behalf.
        staged: Nothing may be seen before ``finish``.
    """

    def __init__(self, server: Server, job: Job, lease: Lease, *, staged: bool) -> None:
        self._server = server
        super().__init__(server, job, lease, stage=stage_name(lease.stream, lease.run, job.table), staged=staged)

    def _open(self) -> None:
        self._server.create_tokens()
        self._settle_publication()
        super()._open()

    def _settle_publication(self) -> None:
        """Mark the token of a run whose stage has taken its place, and which died before it could."""
        stored = self._tokens.read(locked=True) if self._lease.stream else None
        if stored is None or not stored.staged or stored.token.fence > self._lease.fence:
            return
        if has_published(self._server, self._lease.stream, stored.token.run):
            lease = Lease(self._lease.stream, stored.token.run, self._lease.fence, resume=True)
            token_table(self._server, lease, self._place).finish(stored.records)

    def _make_sink(self) -> Sink:
        server, job, stream = self._server, self._job, self._lease.stream
        # Looked for while the token is locked: what a newer lease makes is not among them.
        for name in left_behind(server, stream, job.table):
            if name not in {self._stage, old_name(self._stage)}:
                server.drop_table(name)
        target = find_target(server, job)
        if not self._staged:
            return Direct(server, job, target)
        if job.method.replaces or target is None or self._is_copy():
            return Replacement(server, job, target, self._stage, loose=not stream)
        return Log(server, job, target, self._stage)

    def _is_copy(self) -> bool:
        """Tell whether this run began to fill a table that was missing then."""
        if not self._server.has_table(self._stage):
            return False
        columns = self._server.inspector().get_columns(self._stage, self._server.schema)
        return all(column["name"] != "_etlctl_fields" for column in columns)

    def _publish(self, sink: Sink, guard: Guard, *, counted: bool) -> None:
        try:
            super()._publish(sink, guard, counted=counted)
        except (FatalError, self._server.trouble):
            # What failed may be that another process has taken the stage away.
            if self._lease.stream:
                with suppress(self._server.trouble):
                    self._tokens.check(f"the publication of run {self._lease.run}")
            raise

    def abort(self) -> None:
        """Remove what is not visible and let go; a stage that has taken its place already is not taken back."""
        self._server.rollback()
        with suppress(self._server.trouble, EtlctlError):
            self._server.begin()
            if not self._over and has_published(self._server, self._lease.stream, self._lease.run):
                self._settle_publication()
                self._server.commit()
                self._over = True
        super().abort()

    def close(self) -> None:
        """Let go; what an earlier attempt could not drop any more is dropped."""
        with suppress(self._server.trouble, EtlctlError):
            self._server.begin()
            for name in (self._stage, old_name(self._stage)):
                self._server.drop_table(name)
        super().close()


def held_token(address: Address, schema: str | None, stream: str) -> Token | None:
    """Return the token a database holds of a stream, without changing anything; None when there is none."""
    with closing(Server(address, schema)) as server, server.told("reading commit tokens"):
        token = held_in(server, stream) if server.has_table(TABLE) else None
        if token is not None and not token.finished and has_published(server, stream, token.run):
            return replace(token, finished=True, visible=True)
        return token


def unfinished_tokens(address: Address, schema: str | None, stream: str) -> Sequence[Token]:
    """Return the tokens of unfinished runs of a stream and of its single destinations, without changing anything."""
    with closing(Server(address, schema)) as server, server.told("reading commit tokens"):
        found = unfinished_in(server, stream) if server.has_table(TABLE) else ()
        return [token for token in found if not has_published(server, token.stream, token.run)]


def forget_unfinished(address: Address, schema: str | None, streams: Collection[str], fence: int) -> None:
    """Remove what unfinished runs of some streams have prepared, and keep them from committing anything more."""
    with closing(Server(address, schema)) as server, server.told("removing what waits"):
        for stream in streams:
            server.begin()
            server.execute(
                f"UPDATE {server.tokens} SET run = '', seq = 0, fence = CASE WHEN fence < ? THEN ? ELSE fence END, "
                "position = NULL, account = '{}', records = 0, visible = 0 WHERE stream = ? AND finished = 0",
                (fence, fence, stream),
            )
            names = left_behind(server, stream, "")
            server.commit()
            for name in names:
                server.drop_table(name)
