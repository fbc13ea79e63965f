"""Compares what a destination holds with what a run would leave there, in bounded memory whatever it is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import orjson

from etlctl.orchestrator.field_changes import field_changes
from etlctl.orchestrator.plan import ChangedRecord, Differences
from etlctl.orchestrator.plan_sql import compare_tables
from etlctl.sdk.stored import Stored
from etlctl.types import Unparsable, to_text

_WINDOW = 50_000
"""Records that wait in memory for an equal one of the other side: so far may the two be shifted."""
_SCHEMA = """
CREATE TABLE rest (k TEXT, r TEXT NOT NULL, n INTEGER NOT NULL);
"""


def compare(before: Stored, after: Stored, *, key: Sequence[str], samples: int, folder: Path) -> Differences:
    """Return how a destination would differ. Blocks.

    Args:
        before: What it holds now.
        after: What it would hold.
        key: Fields that find a record, as the user asked; empty: as the destination says.
        samples: Records of each kind to show.
        folder: Where the comparison may put what does not fit into memory.
    """
    wanted = tuple(key) or after.key or before.key
    found = compare_tables(before, after, wanted, samples=samples, folder=folder)
    note = None
    if found is None and wanted and before.table is not None and before.exists and after.exists:
        note = f"{', '.join(wanted)} does not find single records: whole records are compared"
        found = compare_tables(before, after, (), samples=samples, folder=folder)
    if found is not None:
        return replace(found, note=note)
    return _compare_records(before, after, wanted, samples, folder)


def _compare_records(before: Stored, after: Stored, key: tuple[str, ...], samples: int, folder: Path) -> Differences:
    """Compare record by record: equal ones at the same place cancel each other, the others are sorted on disk."""
    with closing(sqlite3.connect(folder / "records.db", isolation_level=None)) as database:
        database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)
        same, fields = _fill(database, before, after, key)
        note = None
        if key:
            database.execute("CREATE INDEX by_key ON rest (k, n)")
        if key and _ambiguous(database):
            note = f"{', '.join(key)} does not find single records: whole records are compared"
            key = ()
        found = _by_key(database, key, samples) if key else _whole_records(database, samples)
    added = tuple(name for name in fields[1] if name not in fields[0]) if fields[0] else ()
    order = list(dict.fromkeys((*key, *fields[1], *fields[0])))
    return replace(
        found,
        unchanged=found.unchanged + same,
        fields_added=added,
        note=note,
        inserts=_in_order(found.inserts, order),
        removals=_in_order(found.removals, order),
    )


def _in_order(records: Sequence[Mapping[str, Any]], order: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Return records with their fields as they are written, the key before them; to be compared they were sorted."""
    return tuple({name: record[name] for name in order if name in record} for record in records)


class _Rest:
    """Records of one side that no equal one of the other side has cancelled yet: the latest here, the rest on disk."""

    def __init__(self, database: sqlite3.Connection, key: tuple[str, ...]) -> None:
        self._database = database
        self._key = key
        self._waiting: dict[bytes, list[int]] = {}
        self.same = 0

    def add(self, record: Mapping[str, Any], sign: int) -> None:
        """Take a record: 1 for one of the side after, -1 for one of the side before."""
        text = canonical(record)
        there = self._waiting.get(text)
        if there is None:
            self._waiting[text] = [sign]
        elif there[-1] == -sign:
            self.same += 1
            there.pop()
            if not there:
                del self._waiting[text]
        else:
            there.append(sign)
        if len(self._waiting) >= _WINDOW:
            self.flush()

    def flush(self) -> None:
        """Put what waits on disk."""
        rows = (
            (_key_of(text, self._key) if self._key else None, text.decode("utf-8", "surrogatepass"), sign)
            for text, signs in self._waiting.items()
            for sign in signs
        )
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO rest VALUES (?, ?, ?)", rows)
        self._database.execute("COMMIT")
        self._waiting.clear()


def _fill(
    database: sqlite3.Connection, before: Stored, after: Stored, key: tuple[str, ...]
) -> tuple[int, tuple[dict[str, None], dict[str, None]]]:
    """Put what does not cancel into the table; return how much did, and the fields of both sides."""
    fields: tuple[dict[str, None], dict[str, None]] = ({}, {})
    rest = _Rest(database, key)
    for pair in zip_longest(before.records() if before.exists else (), after.records() if after.exists else ()):
        for names, record, sign in zip(fields, pair, (-1, 1), strict=True):
            if record is not None:
                if record.keys() - names.keys():
                    names.update(dict.fromkeys(record))
                rest.add(record, sign)
    rest.flush()
    return rest.same, fields


def canonical(record: Mapping[str, Any]) -> bytes:
    """Return a record as JSON that is the same for equal records: a null is as good as no field."""
    there = {name: value for name, value in record.items() if value is not None}
    try:
        found = orjson.dumps(there, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError:  # an integer of more than 64 bits, half of a surrogate pair
        found = b"null"
    if b"null" not in found:
        return found
    # For orjson, NaN and the infinities are null as well.
    text = json.dumps(there, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_plain)
    return text.encode("utf-8", "surrogatepass")


def _plain(value: Any) -> str:
    try:
        return to_text(value)
    except Unparsable:
        return repr(value)


def _key_of(text: bytes, key: Sequence[str]) -> str:
    record = json.loads(text.decode("utf-8", "surrogatepass"))
    return json.dumps([record.get(name) for name in key], ensure_ascii=False)


def _ambiguous(database: sqlite3.Connection) -> bool:
    found = database.execute("SELECT 1 FROM rest GROUP BY k, n HAVING count(*) > 1 LIMIT 1").fetchone()
    return found is not None


def _by_key(database: sqlite3.Connection, key: tuple[str, ...], samples: int) -> Differences:
    both = "FROM rest b JOIN rest a ON a.k = b.k AND a.n = 1 WHERE b.n = -1"
    new, gone = (
        f"FROM rest x WHERE n = {sign} AND NOT EXISTS (SELECT 1 FROM rest y WHERE y.k = x.k AND y.n = -(x.n))"
        for sign in (1, -1)
    )
    changes = []
    for old, now in database.execute(f"SELECT b.r, a.r {both} AND b.r <> a.r ORDER BY b.rowid LIMIT {samples}"):
        one, other = json.loads(old), json.loads(now)
        changes.append(ChangedRecord({name: other.get(name) for name in key}, tuple(field_changes(one, other))))
    return Differences(
        inserted=_count(database, new),
        changed=_count(database, f"{both} AND b.r <> a.r"),
        removed=_count(database, gone),
        unchanged=_count(database, f"{both} AND b.r = a.r"),
        key=key,
        inserts=_records(database, f"SELECT r {new} ORDER BY x.rowid LIMIT {samples}"),
        changes=tuple(changes),
        removals=_records(database, f"SELECT r {gone} ORDER BY x.rowid LIMIT {samples}"),
    )


def _whole_records(database: sqlite3.Connection, samples: int) -> Differences:
    signs = [sign for (sign,) in database.execute("SELECT DISTINCT n FROM rest")]
    if len(signs) > 1:
        grouped = "SELECT min(rowid) AS place, r, sum(n) AS n, sum(n = 1) AS came FROM rest GROUP BY r"
    else:  # nothing can cancel any more, so nothing needs to be sorted
        grouped = "SELECT rowid AS place, r, n, n = 1 AS came FROM rest"
    database.execute(f"CREATE TABLE net AS {grouped}")
    inserted, removed = (
        int(database.execute(f"SELECT coalesce(sum(abs(n)), 0) FROM net WHERE n {sign} 0").fetchone()[0])
        for sign in (">", "<")
    )
    kept = int(database.execute("SELECT coalesce(sum(min(came, came - n)), 0) FROM net").fetchone()[0])
    return Differences(
        inserted=inserted,
        removed=removed,
        unchanged=kept,
        inserts=_records(database, f"SELECT r FROM net WHERE n > 0 ORDER BY place LIMIT {samples}"),
        removals=_records(database, f"SELECT r FROM net WHERE n < 0 ORDER BY place LIMIT {samples}"),
    )


def _count(database: sqlite3.Connection, tail: str) -> int:
    return int(database.execute(f"SELECT count(*) {tail}").fetchone()[0])


def _records(database: sqlite3.Connection, sql: str) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(text) for (text,) in database.execute(sql))
