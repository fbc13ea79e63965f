"""One run's way into a SQLite table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

from etlctl.kit.sql.destination import Lease, Sink, stage_name
from etlctl.kit.sql.held_tokens import forget_in, held_in, unfinished_in
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.sqlite_database import Database
from etlctl.kit.sql.sqlite_sinks import Direct, find_target
from etlctl.kit.sql.sqlite_stage import Log, Shadow, is_log
from etlctl.kit.sql.sqlite_table import read_table
from etlctl.kit.sql.tokens import Token
from etlctl.kit.sql.transfer import Transfer


class SqliteTransfer(Transfer):
    """Loads the batches of a run.

    Args:
        database: The open database; closed by ``suspend``, ``abort`` and ``close``.
        job: What is to be loaded.
        lease: On whose behalf.
        staged: Nothing may be seen before ``finish``.
    """

    def __init__(self, database: Database, job: Job, lease: Lease, *, staged: bool) -> None:
        self._file = database
        super().__init__(database, job, lease, stage=stage_name(lease.stream, job.table), staged=staged)

    def _make_sink(self) -> Sink:
        target = find_target(self._file, self._job)
        if not self._staged:
            return Direct(self._file, self._job, target)
        stage = read_table(self._file, self._stage)
        logged = is_log(stage) if stage is not None else self._job.method.keyed
        if logged and target is not None:
            return Log(self._file, self._job, target, self._stage)
        return Shadow(self._file, self._job, target, self._stage)


def held_token(path: Path, stream: str) -> Token | None:
    """Return the token a database holds of a stream, without changing anything; None when there is none.

    Args:
        path: The database file; it may be missing.
        stream: Contract and parameter set.
    """
    if not path.exists():
        return None
    with closing(Database(path, create=False)) as database, database.told():
        return held_in(database, stream) if database.has_table(database.tokens) else None


def unfinished_tokens(path: Path, stream: str) -> Sequence[Token]:
    """Return the tokens of unfinished runs of a stream and of its single destinations, without changing anything.

    Args:
        path: The database file; it may be missing.
        stream: Contract and parameter set.
    """
    if not path.exists():
        return ()
    with closing(Database(path, create=False)) as database, database.told():
        return unfinished_in(database, stream) if database.has_table(database.tokens) else ()


def forget_unfinished(path: Path, streams: Collection[str], fence: int) -> None:
    """Remove what unfinished runs of some streams have prepared, and keep them from committing anything more.

    Args:
        path: The database file.
        streams: The streams.
        fence: Generation of the lease on whose behalf.
    """
    with closing(Database(path, create=False)) as database, database.told():
        forget_in(database, streams, fence, lambda stream: stage_name(stream, ""))
