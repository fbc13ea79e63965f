"""What a run left behind, and how two runs compare: records, dead letters, account, leftovers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from etlctl.frozen import frozen
from etlctl.orchestrator.proving_child import state_url
from etlctl.sdk.context import WriteContext
from etlctl.sdk.loader import Loader

DESTINATION = "destination"
"""Name of the folder with the destination, in the folder of a run."""

_IDS = re.compile(r"(run|dl)_[0-9A-Za-z]+|[0-9a-f]{8,}")
_SQLITE = b"SQLite format 3\0"
_PASSING = (".tmp", "-wal", "-shm", "-journal")


@frozen
class Evidence:
    """What a run left behind.

    Attributes:
        records: How often each record is in the destination, as canonical JSON.
        letters: Dead letters as JSON: where (batch, record, part), rule and raw record.
        counts: The account of the run.
        hidden: Names of hidden files and of internal tables, ids in them masked.
    """

    records: Counter[str]
    letters: Counter[str]
    counts: Mapping[str, int]
    hidden: frozenset[str]

    def without(self, fields: frozenset[str]) -> Evidence:
        """Return the same without the values of some fields of the records."""
        return replace(self, records=_without(self.records, fields)) if fields else self


@frozen
class Difference:
    """How a run differs from the reference.

    Attributes:
        lost: Records and dead letters of the reference that are missing, with how many of each.
        doubled: Those that are there once too often, or that the reference does not have.
        account: What differs in the account, in words.
        left: Names of hidden files and tables that should be gone.
    """

    lost: Counter[str] = field(default_factory=Counter)
    doubled: Counter[str] = field(default_factory=Counter)
    account: str = ""
    left: tuple[str, ...] = ()


def gather(loader: Loader, ctx: WriteContext, folder: Path, counts: Mapping[str, int]) -> Evidence:
    """Read back what a run left in its folder. Blocks.

    Args:
        loader: With the scratch destination of the run.
        ctx: For the loader.
        folder: Of the run: its destination and its ledger.
        counts: What the run says of itself.

    Raises:
        FatalError: The destination cannot be read.
    """
    from etlctl.state.ledger import open_ledger  # noqa: PLC0415

    with open_ledger(state_url(folder), create=False) as ledger:
        letters = Counter(
            _json({"dead letter": [one.seq, one.index, one.part], "rule": one.rule, "raw": one.raw})
            for one in ledger.dead_letters(status=None, limit=1 << 40)
        )
    records = asyncio.run(loader.contents(ctx))
    return Evidence(records, letters, dict(counts), hidden_names(folder))


def compare(expected: Evidence, found: Evidence) -> Difference:
    """Return how a run differs from the reference."""
    differing = [
        f"{name} {found.counts.get(name, 0):,} instead of {count:,}"
        for name, count in expected.counts.items()
        if found.counts.get(name, 0) != count
    ]
    return Difference(
        (expected.records - found.records) + (expected.letters - found.letters),
        (found.records - expected.records) + (found.letters - expected.letters),
        ", ".join(differing),
        tuple(sorted(found.hidden - expected.hidden)),
    )


def varying_fields(one: Evidence, other: Evidence) -> frozenset[str] | None:
    """Return the fields whose values differ between two undisturbed runs (``uuid()``, a clock).

    Returns:
        The fields without which both are equal; None when there are none such: the runs differ in more.
    """
    if one.letters != other.letters or one.counts != other.counts:
        return None
    if one.records == other.records:
        return frozenset()
    first, second = _by_field(one.records), _by_field(other.records)
    names = frozenset(name for name in {*first, *second} if first.get(name) != second.get(name))
    if _without(one.records, names) == _without(other.records, names):
        return names
    for name in sorted({*first, *second} - names):  # the same values, dealt out in another way
        wider = names | {name}
        if _without(one.records, wider) == _without(other.records, wider):
            return wider
    return None


def _by_field(records: Counter[str]) -> dict[str, Counter[str]]:
    values: dict[str, Counter[str]] = {}
    for text, times in records.items():
        for name, value in (_parsed(text) or {}).items():
            values.setdefault(name, Counter())[_json(value)] += times
    return values


def _without(records: Counter[str], fields: frozenset[str]) -> Counter[str]:
    kept: Counter[str] = Counter()
    for text, times in records.items():
        record = _parsed(text)
        if record is None:
            kept[text] += times
        else:
            kept[_json({name: value for name, value in record.items() if name not in fields})] += times
    return kept


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def hidden_names(folder: Path) -> frozenset[str]:
    """Return what no reader of the destination is meant to see: hidden files, and tables of etlctl's own.

    Args:
        folder: Of the run.
    """
    return frozenset(_hidden(folder / DESTINATION))


def _hidden(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        where = Path(place).relative_to(folder)
        for name in (*folders, *files):
            if name.startswith(".") or name.endswith(_PASSING):
                yield _IDS.sub("*", str(where / name))
        for name in files:
            yield from _own_tables(Path(place) / name)


def _own_tables(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            return
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE name LIKE '\\_etlctl%' ESCAPE '\\'"):
            yield f"{path.name}: table {_IDS.sub('*', name)}"
