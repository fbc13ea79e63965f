"""One run's way into a PostgreSQL table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing

from etlctl.kit.sql.destination import Lease, Sink, stage_name
from etlctl.kit.sql.held_tokens import forget_in, held_in, unfinished_in
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.postgres_database import PostgresDatabase
from etlctl.kit.sql.postgres_log import Log, is_log
from etlctl.kit.sql.postgres_sinks import Direct, find_target
from etlctl.kit.sql.postgres_stage import Shadow
from etlctl.kit.sql.postgres_table import read_table
from etlctl.kit.sql.tokens import Token
from etlctl.kit.sql.transfer import Transfer
from etlctl.kit.sql.urls import Address


class PostgresTransfer(Transfer):
    """Loads the batches of a run.

    Args:
        database: The open database; closed by ``suspend``, ``abort`` and ``close``.
        job: What is to be loaded.
        lease: On whose behalf.
        staged: Nothing may be seen before ``finish``.
    """

    def __init__(self, database: PostgresDatabase, job: Job, lease: Lease, *, staged: bool) -> None:
        self._server = database
        super().__init__(database, job, lease, stage=stage_name(lease.stream, job.table), staged=staged)

    def _make_sink(self) -> Sink:
        target = find_target(self._server, self._job)
        if not self._staged:
            return Direct(self._server, self._job, target)
        stage = read_table(self._server, self._stage)
        logged = is_log(stage) if stage is not None else self._job.method.keyed
        if logged and target is not None:
            return Log(self._server, self._job, target, self._stage)
        return Shadow(self._server, self._job, target, self._stage)


def held_token(address: Address, schema: str | None, stream: str) -> Token | None:
    """Return the token a database holds of a stream, without changing anything; None when there is none.

    Args:
        address: The server and the database.
        schema: The schema that is loaded.
        stream: Contract and parameter set.
    """
    with closing(PostgresDatabase(address, schema)) as database, database.told():
        return held_in(database, stream) if database.has_tokens else None


def unfinished_tokens(address: Address, schema: str | None, stream: str) -> Sequence[Token]:
    """Return the tokens of unfinished runs of a stream and of its single destinations, without changing anything.

    Args:
        address: The server and the database.
        schema: The schema that is loaded.
        stream: Contract and parameter set.
    """
    with closing(PostgresDatabase(address, schema)) as database, database.told():
        return unfinished_in(database, stream) if database.has_tokens else ()


def forget_unfinished(address: Address, schema: str | None, streams: Collection[str], fence: int) -> None:
    """Remove what unfinished runs of some streams have prepared, and keep them from committing anything more.

    Args:
        address: The server and the database.
        schema: The schema that is loaded.
        streams: The streams.
        fence: Generation of the lease on whose behalf.
    """
    with closing(PostgresDatabase(address, schema)) as database, database.told():
        forget_in(database, streams, fence, lambda stream: stage_name(stream, ""))
