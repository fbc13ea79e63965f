"""The commit tokens in a database that is open: those of a stream, and what unfinished runs have left there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from etlctl.kit.sql.destination import Database, Lease
from etlctl.kit.sql.tokens import Token, TokenTable


def token_table(database: Database, lease: Lease, place: str) -> TokenTable:
    """Return the commit tokens a database keeps."""
    return TokenTable(
        database.execute,
        stream=lease.stream,
        run=lease.run,
        fence=lease.fence,
        place=place,
        mark=database.mark,
        table=database.tokens,
        lock=database.row_lock,
    )


def held_in(database: Database, stream: str) -> Token | None:
    """Return the token a database holds of a stream, without changing anything; None when there is none.

    Args:
        database: An open one, with its table of tokens.
        stream: Contract and parameter set.
    """
    stored = token_table(database, Lease(stream, "", 0, resume=False), database.place).read()
    return None if stored is None else stored.token


def unfinished_in(database: Database, stream: str) -> Sequence[Token]:
    """Return the tokens of unfinished runs of a stream and of its single destinations, without changing anything.

    Args:
        database: An open one, with its table of tokens.
        stream: Contract and parameter set.
    """
    below = f"{stream}>"
    sql = (
        f"SELECT stream, run, seq, fence, visible FROM {database.tokens} "
        "WHERE run <> '' AND seq > 0 AND finished = 0 AND (stream = ? OR substr(stream, 1, ?) = ?)"
    ).replace("?", database.mark)
    found = database.execute(sql, (stream, len(below), below)).fetchall()
    return [Token(name, run, seq, fence, visible=bool(visible)) for name, run, seq, fence, visible in found]


def forget_in(database: Database, streams: Collection[str], fence: int, stage: Callable[[str], str]) -> None:
    """Remove what unfinished runs of some streams have prepared, and keep them from committing anything more.

    Args:
        database: An open one, with its table of tokens; a transaction of its own is begun and committed.
        streams: The streams.
        fence: Generation of the lease on whose behalf.
        stage: Returns the name of the table that a stream's records wait in.
    """
    sql = (
        f"UPDATE {database.tokens} SET run = '', seq = 0, fence = CASE WHEN fence < ? THEN ? ELSE fence END, "
        "position = NULL, account = '{}', records = 0, visible = 0 WHERE stream = ? AND finished = 0"
    ).replace("?", database.mark)
    database.begin()
    for stream in streams:
        database.drop_table(stage(stream))
        database.execute(sql, (fence, fence, stream))
    database.commit()
