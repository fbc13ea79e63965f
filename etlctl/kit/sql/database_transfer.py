"""Copies blocks into PostgreSQL, and tells records that the server refuses from trouble with the server.

The whole block is tried at once. When the server refuses it, it goes in parts: what the server says names the line for
most refusals, so that the records before it are loaded and the next part begins behind it; where it names none
(references, triggers), the part is halved until the record is found. Good records are loaded whatever is beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import polars as pl

from etlctl.errors import RecordRejected
from etlctl.kit.codecs.frame_text import text_columns
from etlctl.kit.sql.methods import listed
from etlctl.kit.sql.postgres_database import PostgresDatabase
from etlctl.kit.sql.postgres_table import Table

_FIRST_PART = 1024
_LARGEST_PART = 1 << 16
_LINE = re.compile(r"^COPY .*?, line (\d+)", re.MULTILINE)
_SLICE = 4096
"""Records that are put into words at once: while the server reads some, the next ones are made."""
_END_MARK = re.compile(rb"^\\\.", re.MULTILINE)
_ESCAPED = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))
_RULES = {
    "22001": "load.too_long",
    "22003": "load.out_of_range",
    "22008": "load.out_of_range",
    "22021": "load.not_utf8",
    "22P05": "load.not_utf8",
}

Attempt = Callable[[int, int], None]
"""Loads the records from one number up to another one, the latter excluded."""


def copy_csv(database: PostgresDatabase, into: str, frame: pl.DataFrame) -> None:
    """Copy a frame whose columns are ready into a table, as CSV: the quickest way.

    Args:
        database: In a transaction.
        into: The table as SQL names it.
        frame: Its columns have the names of the table's.
    """
    statement = f"COPY {into} ({listed(frame.columns)}) FROM STDIN (FORMAT csv)"
    with database.connection.cursor().copy(statement) as copy:
        for start in range(0, frame.height, _SLICE):
            data = _csv(frame[start : start + _SLICE])
            # The server would take it for the end, even inside of quotes.
            if b"\\." in data and _END_MARK.search(data):
                break
            copy.write(data)
        else:
            return
    copy_text(database, into, frame[start:])


def _csv(frame: pl.DataFrame, **how: Any) -> bytes:
    made = BytesIO()
    frame.write_csv(made, include_header=False, **how)
    return made.getvalue()


def copy_text(database: PostgresDatabase, into: str, frame: pl.DataFrame) -> None:
    """Copy a frame whose columns are ready in the server's own text format, in which every record is one line.

    Args:
        database: In a transaction.
        into: The table as SQL names it.
        frame: Its columns have the names of the table's.
    """
    escaped = []
    for place, column in enumerate(frame.with_columns(text_columns(frame)).get_columns()):
        text = column
        if isinstance(column.dtype, pl.String):
            for plain, code in _ESCAPED:
                text = text.str.replace_all(plain, code, literal=True)
        escaped.append(text.alias(str(place)))
    data = _csv(pl.DataFrame(escaped), separator="\t", quote_style="never", null_value="\\N")
    with database.connection.cursor().copy(f"COPY {into} ({listed(frame.columns)}) FROM STDIN") as copy:
        copy.write(data)


def sift(database: PostgresDatabase, count: int, attempt: Attempt, careful: Attempt) -> dict[int, Exception]:
    """Load records, leaving out those that the server refuses; return their numbers with what it said.

    Args:
        database: In a transaction.
        count: How many records there are.
        attempt: Loads them in the quickest way.
        careful: Loads a part in a way that lets the server name the line.
    """
    refused: dict[int, Exception] = {}
    if not count or tried(database, lambda: attempt(0, count)) is None:
        return refused
    start, size = 0, min(count, _FIRST_PART)
    while start < count:
        end = min(start + size, count)
        error = _try_part(database, careful, start, end)
        if error is None:
            start, size = end, min(2 * size, _LARGEST_PART)
            continue
        place = start if end - start == 1 else _named_place(error, start, end)
        if place is None or (place > start and _try_part(database, careful, start, place) is not None):
            size = max(1, (end - start) // 2)
            continue
        if end - start > 1:  # what the server says of one record is about that record
            start, size = place, 1
            error = _try_part(database, careful, start, start + 1)
        if error is not None:
            refused[place] = error
        start, size = place + 1, max(_FIRST_PART // 8, size)
    return refused


def _try_part(database: PostgresDatabase, attempt: Attempt, start: int, end: int) -> Exception | None:
    return tried(database, lambda: attempt(start, end))


def tried(
    database: PostgresDatabase, work: Callable[[], None], *, also: tuple[type[Exception], ...] = ()
) -> Exception | None:
    """Do something, and undo it when the server refuses the data; return what it said.

    Args:
        database: In a transaction.
        work: What to do.
        also: Other errors to return.
    """
    database.execute("SAVEPOINT part")
    try:
        work()
    except database.trouble as error:
        if database.refused(error) is None and not isinstance(error, also or ()):
            raise
        database.execute("ROLLBACK TO SAVEPOINT part")
        database.execute("RELEASE SAVEPOINT part")
        return error
    database.execute("RELEASE SAVEPOINT part")
    return None


def _named_place(error: Exception, start: int, end: int) -> int | None:
    """Return the number of the record that the server names, if it names one of the part."""
    context = getattr(getattr(error, "diag", None), "context", None) or ""
    found = _LINE.search(context)
    place = start + int(found[1]) - 1 if found else end
    return place if place < end else None


def refusal(database: PostgresDatabase, error: Exception, table: Table, shown: str) -> RecordRejected:
    """Return why the server refuses a record, in its own words.

    Args:
        database: The database.
        error: What it said.
        table: The table that was loaded.
        shown: The name of the table for people.
    """
    state = getattr(error, "sqlstate", None) or ""
    said = (database.refused(error) or str(error)).replace(table.name, shown)
    rule = "load.nul" if "sequence for encoding" in said and "0x00" in said else _RULES.get(state)
    rule = rule or ("load.type" if state.startswith("22") else "load.constraint")
    name = getattr(getattr(error, "diag", None), "column_name", None)
    context = getattr(getattr(error, "diag", None), "context", None) or ""
    found = re.search(r", column (.+?)(?::|$)", context.split("\n", 1)[0])
    field = name or (found[1] if found and table.column(found[1]) else None)
    where = f" (column {field})" if field and field not in said else ""
    return RecordRejected(rule, f"table {shown!r} refuses the record: {said}{where}", field=field)
