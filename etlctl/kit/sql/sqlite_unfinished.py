"""What unfinished runs of a contract have left in a SQLite database, also under names of destinations that are gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

from etlctl.kit.sql.sqlite_database import Database
from etlctl.kit.sql.sqlite_sinks import stage_name
from etlctl.kit.sql.sqlite_table import drop_table, read_table
from etlctl.kit.sql.tokens import TABLE, Token


def unfinished_tokens(path: Path, stream: str) -> Sequence[Token]:
    """Return the tokens of unfinished runs of a stream and of its single destinations, without changing anything.

    Args:
        path: The database file; it may be missing.
        stream: Contract and parameter set.
    """
    if not path.exists():
        return ()
    with closing(Database(path, create=False)) as database, database.told():
        if read_table(database, TABLE) is None:
            return ()
        below = f"{stream}>"
        found = database.execute(
            f"SELECT stream, run, seq, fence, visible FROM {TABLE} "
            "WHERE run <> '' AND seq > 0 AND NOT finished AND (stream = ? OR substr(stream, 1, ?) = ?)",
            (stream, len(below), below),
        ).fetchall()
    return [Token(name, run, seq, fence, visible=bool(visible)) for name, run, seq, fence, visible in found]


def forget_unfinished(path: Path, streams: Collection[str], fence: int) -> None:
    """Remove what unfinished runs of some streams have prepared, and keep them from committing anything more.

    Args:
        path: The database file.
        streams: The streams.
        fence: Generation of the lease on whose behalf.
    """
    with closing(Database(path, create=False)) as database, database.told():
        database.begin()
        for stream in streams:
            drop_table(database, stage_name(stream, ""))
            database.execute(
                f"UPDATE {TABLE} SET run = '', seq = 0, fence = MAX(fence, ?), position = NULL, account = '{{}}', "
                "records = 0, visible = 0 WHERE stream = ? AND NOT finished",
                (fence, stream),
            )
        database.execute("COMMIT")
