"""Plans for several destinations, for a workspace's own loader, and for sources of any kind of value."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from etlctl.kit.sql.sqlite_contents import table_contents
from etlctl.orchestrator.plan_compare import compare
from etlctl.orchestrator.planning import PlanSettings, make_plan
from etlctl.sdk.stored import SqliteTable, Stored

OWN_LOADER = '''\
"""A loader of the workspace: one JSON file with a list."""
import json
from collections import Counter
from pathlib import Path
from etlctl.sdk import Loader, Published, Receipt, WriteContext, Writer


class Listing(Loader):
    """Writes a list."""

    path: str
    """Where to."""

    async def open(self, ctx):
        return _Writer(ctx.path(self.path))

    def scratch(self, folder, ctx):
        folder.mkdir(parents=True, exist_ok=True)
        real = ctx.path(self.path)
        copy = folder / "list.json"
        if real.exists():
            copy.write_bytes(real.read_bytes())
        return self.model_copy(update={"path": str(copy)})

    async def contents(self, ctx):
        path = ctx.path(self.path)
        return Counter(json.dumps(one, sort_keys=True) for one in json.loads(path.read_text())) if path.exists() else Counter()


class _Writer(Writer):
    def __init__(self, path):
        self.path, self.records = path, []

    async def write(self, batch):
        self.records += batch.to_rows()
        return Receipt(len(batch))

    async def finish(self):
        self.path.write_text(json.dumps(self.records))
        return Published((str(self.path),), len(self.records))

    async def abort(self):
        pass
'''


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    (tmp_path / "loaders").mkdir()
    (tmp_path / "loaders" / "listing.py").write_text(OWN_LOADER, encoding="utf-8")
    folder = tmp_path / "contracts" / "x"
    folder.mkdir(parents=True)
    (folder / "extract.yaml").write_text("type: file\npath: in.jsonl\n", encoding="utf-8")
    rows = [{"id": 1, "region": "eu"}, {"id": 2, "region": "us"}, {"id": 3, "region": "eu"}]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


async def test_each_destination_has_its_own_section(workspace: Path) -> None:
    (workspace / "eu.jsonl").write_text('{"id":1,"region":"eu"}\n{"id":9,"region":"eu"}\n', encoding="utf-8")
    (workspace / "load.yaml").write_text(
        "load:\n"
        "  - {name: eu, type: file, path: eu.jsonl, where: \"region = 'eu'\"}\n"
        "  - {name: db, type: sqlite, path: x.db, table: t, create_table: true}\n"
        "  - {name: out, type: file, path: '-', format: jsonl}\n",
        encoding="utf-8",
    )
    made = await make_plan(workspace, PlanSettings())
    found = {one.name: one for one in made.destinations}
    assert list(found) == ["eu", "db", "out"]
    assert found["eu"].where
    assert _counts(found["eu"].differences) == (1, 0, 1, 1)
    assert _counts(found["db"].differences) == (3, 0, 0, 0)
    assert found["db"].created
    assert found["out"].differences is None
    assert "standard output" in (found["out"].unknown or "")
    assert _names(workspace) == ["eu.jsonl", "extract.yaml", "in.jsonl", "load.yaml"]


async def test_a_loader_of_the_workspace_needs_only_scratch_and_contents(workspace: Path) -> None:
    (workspace / "load.yaml").write_text("type: listing\npath: list.json\n", encoding="utf-8")
    (workspace / "list.json").write_text('[{"id": 1, "region": "eu"}, {"id": 2, "region": "de"}]', encoding="utf-8")
    made = await make_plan(workspace, PlanSettings(key=("id",)))
    (destination,) = made.destinations
    assert _counts(destination.differences) == (1, 1, 0, 1)
    assert json.loads((workspace / "list.json").read_text()) == [{"id": 1, "region": "eu"}, {"id": 2, "region": "de"}]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _counts(found: Any) -> tuple[int, int, int, int]:
    return found.inserted, found.changed, found.removed, found.unchanged


def stored(*records: dict[str, Any]) -> Stored:
    def again() -> Iterator[dict[str, Any]]:
        return iter(records)

    return Stored(bool(records), again)


def test_values_are_compared_by_type_and_nulls_are_no_fields(tmp_path: Path) -> None:
    before = stored({"a": 1}, {"a": True}, {"a": math.nan}, {"a": 2**70}, {"a": None, "b": 1}, {"a": "x\ud800"})
    after = stored({"a": 1.0}, {"a": 1}, {"a": math.nan}, {"a": 2**70}, {"b": 1}, {"a": "x\ud800"})
    found = compare(before, after, key=(), samples=9, folder=tmp_path)
    assert _counts(found) == (1, 0, 1, 5)
    assert [type(one["a"]) for one in found.inserts] == [float]
    assert found.removals == ({"a": True},)


def test_no_value_that_json_has_no_word_for_hides_another(tmp_path: Path) -> None:
    found = compare(stored({"a": math.nan}), stored({"a": math.inf}), key=(), samples=9, folder=tmp_path)
    assert _counts(found) == (1, 0, 1, 0)


@pytest.mark.parametrize("key", [("id",), ()], ids=["by key", "whole rows"])
def test_tables_are_compared_by_the_byte_and_by_the_type(tmp_path: Path, key: tuple[str, ...]) -> None:
    sides = []
    values = [("Ann", 1), ("e\u0301", 2), (None, 3), ("x", "4"), ("same", None)]
    others = [("ann", 1), ("\u00e9", 2), ("", 3), ("x", 4), ("same", None)]
    for name, rows in (("before", values), ("after", others)):
        path = tmp_path / f"{name}.db"
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, v)")
            database.executemany("INSERT INTO t (name, v) VALUES (?, ?)", rows)
            database.execute("INSERT INTO t VALUES (9, 'real', ?)", (1 if name == "before" else 1.0,))
            database.commit()
        there = table_contents(path, "T", key)
        table = SqliteTable(there.file, there.name)
        sides.append(Stored(there.exists, there.rows, key, there.columns, table))
    found = compare(*sides, key=(), samples=9, folder=tmp_path)
    assert _counts(found) == ((0, 5, 0, 1) if key else (5, 0, 5, 1))


def test_more_records_than_wait_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etlctl.orchestrator.plan_compare._WINDOW", 10)
    before = [{"id": number, "v": number} for number in range(500)]
    after = [{"id": number, "v": -1 if number % 100 == 1 else number} for number in reversed(range(5, 520))]
    whole = compare(stored(*before), stored(*after), key=(), samples=3, folder=tmp_path / _made(tmp_path, "a"))
    assert _counts(whole) == (24, 0, 9, 491)
    keyed = compare(stored(*before), stored(*after), key=("id",), samples=3, folder=tmp_path / _made(tmp_path, "b"))
    assert _counts(keyed) == (20, 4, 5, 491)
    # 1 and 101 … 401: 1 is gone
    assert {one.key["id"] for one in keyed.changes} <= {101, 201, 301, 401}


def _made(root: Path, name: str) -> str:
    (root / name).mkdir()
    return name
