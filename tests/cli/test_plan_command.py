"""``etlctl plan`` as a real process: the differences it lists are those that SQLite finds by itself after a real run."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

TRANSFORM = """\
transform:
  convert: {id: integer, part: integer, price: decimal, weight: float, day: date, at: datetime, ok: boolean}
"""
TABLE = """\
CREATE TABLE things (
  id INTEGER, part INTEGER, name TEXT COLLATE NOCASE, price TEXT, weight REAL, day TEXT, at TEXT, ok INTEGER, kept TEXT,
  PRIMARY KEY (id, part))
"""
FIELDS = ("id", "part", "name", "price", "weight", "day", "at", "ok")


def etlctl(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "NO_COLOR": "1"}
    environ.pop("ETLCTL_STATE_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "etlctl", *args],
        cwd=cwd, env=environ, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip


def contract(root: Path, load: str, *, transform: str = TRANSFORM, **parts: str) -> Path:
    (root / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = root / "contracts" / "things"
    folder.mkdir(parents=True)
    texts = {"extract": "type: file\npath: in.jsonl\n", "transform": transform, "load": load, **parts}
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def value(dice: random.Random, field: str) -> Any:
    if dice.random() < 0.15:
        return None
    return {
        "name": lambda: dice.choice(["Ann", "ann", "Zoë", "日本", "a'b\"c", "", "é", "e\u0301", "line\nend"]),
        "price": lambda: dice.choice(["1.50", "1.5", "0.1", "123456789012345678.90", "-3"]),
        "weight": lambda: dice.choice([0.1, 0.30000000000000004, 1e300, 1.0, -2.5, 3]),
        "day": lambda: dice.choice(["2026-01-01", "2026-12-31", "1969-07-20"]),
        "at": lambda: dice.choice(["2026-01-01T10:00:00Z", "2026-01-01T12:00:00+02:00", "2026-01-01T10:00:00.000001Z"]),
        "ok": lambda: dice.choice([True, False]),
    }[field]()


def record(dice: random.Random, number: int) -> dict[str, Any]:
    return {"id": number // 3, "part": number % 3, **{field: value(dice, field) for field in FIELDS[2:]}}


def write(folder: Path, records: list[dict[str, Any]]) -> None:
    lines = [json.dumps(one, ensure_ascii=False) for one in records]
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def rows(database: Path, table: str = "things") -> list[dict[str, Any]]:
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]


def independently(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    """Compute the differences in plain Python from what SQLite holds before and after a real run."""
    old, new = ({(row["id"], row["part"]): row for row in found} for found in (before, after))
    changes = {}
    for key in old.keys() & new.keys():
        fields = {
            name: [old[key].get(name), new[key][name]]
            for name in new[key]
            if (type(old[key].get(name)), old[key].get(name)) != (type(new[key][name]), new[key][name])
        }
        if fields:
            changes[key] = fields
    return {
        "inserts": {key: new[key] for key in new.keys() - old.keys()},
        "removals": {key: old[key] for key in old.keys() - new.keys()},
        "changes": changes,
        "unchanged": len(old.keys() & new.keys()) - len(changes),
    }


def planned(destination: dict[str, Any]) -> dict[str, Any]:
    found = destination["differences"]
    return {
        "inserts": {(one["id"], one["part"]): one for one in found["inserts"]},
        "removals": {(one["id"], one["part"]): one for one in found["removals"]},
        "changes": {
            (one["key"]["id"], one["key"]["part"]): {
                change["field"]: [change.get("before"), change.get("after")] for change in one["changes"]
            }
            for one in found["changes"]
        },
        "unchanged": found["counts"]["unchanged"],
    }


@pytest.mark.parametrize("method", ["upsert", "replace", "update", "delete"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_plan_lists_exactly_the_differences(tmp_path: Path, method: str, seed: int) -> None:
    dice = random.Random(f"{method} {seed}")
    load = f"type: sqlite\npath: things.db\ntable: things\nwrite_method: {method}\nprimary_key: [id, part]\n"
    folder = contract(tmp_path, load + "schema_evolution: evolve\n")
    database = folder / "things.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(TABLE)
    # a first run fills the table, as the loader writes values
    write(folder, [record(dice, number) for number in range(300)])
    (folder / "load.yaml").write_text(load.replace(method, "insert"), encoding="utf-8")
    assert etlctl("run", "contracts/things", "--quiet", cwd=tmp_path).returncode == 0
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE things SET kept = 'by hand' WHERE id % 2")
        connection.commit()
    shutil.rmtree(tmp_path / ".etlctl")
    # now some are changed, some new, some missing, and one has a field without a column
    dice2 = random.Random(f"{method} {seed}")
    again = [record(dice2, number) for number in range(300)]
    changed = [record(dice, number) if dice.random() < 0.2 else again[number] for number in range(300)]
    source = [one for one in changed if dice.random() < 0.8] + [record(dice, number) for number in range(300, 340)]
    if method in {"upsert", "replace"}:
        source[5] = {**source[5], "extra": "ü"}
    write(folder, source)
    (folder / "load.yaml").write_text(load + "schema_evolution: evolve\n", encoding="utf-8")
    before_files, before = digest(tmp_path), rows(database)
    done = etlctl("plan", "contracts/things", "--json", "--limit", "100000", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path) == before_files  # nothing was written anywhere
    plan = json.loads(done.stdout)
    assert etlctl("run", "contracts/things", "--quiet", cwd=tmp_path).returncode in {0, 4}
    expected = independently(before, rows(database))
    (destination,) = plan["destinations"]
    assert planned(destination) == expected
    counts = destination["differences"]["counts"]
    assert counts["inserted"] == len(expected["inserts"])
    assert counts["changed"] == len(expected["changes"])
    assert counts["removed"] == len(expected["removals"])
    assert sum(counts[name] for name in ("inserted", "changed", "removed")) > 20
    new = {"extra": "TEXT"} if method in {"upsert", "replace"} else {}
    assert destination["new_columns"] == new


def test_whole_rows_are_compared_where_nothing_finds_one(tmp_path: Path) -> None:
    folder = contract(
        tmp_path, "type: sqlite\npath: t.db\ntable: t\nwrite_method: replace\n", transform="transform: {}\n"
    )
    (folder / "transform.yaml").unlink()
    with closing(sqlite3.connect(folder / "t.db")) as connection:
        connection.execute("CREATE TABLE t (a, b TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, "x"), (1, "x"), (1.0, "x"), (None, "y"), (2, "z")])
        connection.commit()
    write(folder, [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, {"a": "2", "b": "z"}, {"a": None, "b": "y"}])
    (destination,) = json.loads(etlctl("plan", "contracts/things", "--json", cwd=tmp_path).stdout)["destinations"]
    found = destination["differences"]
    assert found["key"] == []
    # one (1, x) stays, its twin goes; 1.0 and 2 are other values than 1 and "2"
    assert found["counts"] == {"inserted": 2, "changed": 0, "removed": 3, "unchanged": 2}
    assert sorted(map(repr, found["removals"])) == sorted(
        map(repr, [{"a": 1, "b": "x"}, {"a": 1.0, "b": "x"}, {"a": 2, "b": "z"}])
    )


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet", "jsonl.gz"])
def test_files_are_compared_too(tmp_path: Path, suffix: str) -> None:
    folder = contract(tmp_path, f"type: file\npath: out.{suffix}\n", transform="transform: {convert: {id: integer}}\n")
    write(folder, [{"id": number, "name": f"n{number}", "note": None} for number in range(500)])
    plan = json.loads(etlctl("plan", "contracts/things", "--json", cwd=tmp_path).stdout)
    (destination,) = plan["destinations"]
    assert destination["created"] is True
    assert destination["differences"]["counts"] == {"inserted": 500, "changed": 0, "removed": 0, "unchanged": 0}
    assert etlctl("run", "contracts/things", "--quiet", cwd=tmp_path).returncode == 0
    after = [{"id": n, "name": "changed" if n == 7 else f"n{n}", "new": 1 if n == 8 else None} for n in range(2, 510)]
    write(folder, after)
    keyed = json.loads(etlctl("plan", "contracts/things", "--json", "--key", "id", cwd=tmp_path).stdout)
    found = keyed["destinations"][0]
    assert found["differences"]["counts"] == {"inserted": 10, "changed": 2, "removed": 2, "unchanged": 496}
    assert [one["key"]["id"] for one in found["differences"]["changes"]] == (["7", "8"] if suffix == "csv" else [7, 8])
    assert "new" in found["new_columns"]
    whole = json.loads(etlctl("plan", "contracts/things", "--json", cwd=tmp_path).stdout)["destinations"][0]
    assert whole["differences"]["counts"] == {"inserted": 12, "changed": 0, "removed": 4, "unchanged": 496}
    bad = json.loads(etlctl("plan", "contracts/things", "--json", "--key", "new", cwd=tmp_path).stdout)["destinations"][
        0
    ]
    assert "does not find single records" in bad["differences"]["note"]
    assert bad["differences"]["counts"] == whole["differences"]["counts"]


def test_one_view_in_words(tmp_path: Path) -> None:
    transform = (
        "transform:\n  - convert: {id: integer}\n  - filter: {field: id, operator: gt, value: 0}\n"
        "  - custom_function: {module: shape, function: shape, mode: record}\n"
    )
    load = "type: sqlite\npath: t.db\ntable: t\nwrite_method: upsert\nprimary_key: id\ncreate_table: true\n"
    folder = contract(tmp_path, load, transform=transform, contract="name: things\nversion: '2.0'\n")
    (folder / "shape.py").write_text("def shape(record):\n    return record\n", encoding="utf-8")
    write(folder, [{"id": 1}, {"id": "x"}, {"id": 0}])
    done = etlctl("plan", "contracts/things", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("things 2.0\n")
    for text in (
        "source       file in.jsonl (full)",
        "destination  sqlite table t in t.db, upsert by id; delivery exactly_once",
        "records      3 read, 1 filtered, 1 rejected, 1 loaded",
        "rejected 1 × convert.integer",
        "does not exist yet: it would be made: id INTEGER",
        "1 insert, 0 change, 0 remove, 0 unchanged (by id)",
        "+ insert 1\n      id 1\n",
    ):
        assert text in done.stdout, done.stdout
    assert "transform[2].custom_function  rows: " in done.stdout
    assert "nothing was written" in done.stderr
    assert not (folder / "t.db").exists()
    assert not (tmp_path / ".etlctl").exists()


def test_a_destination_that_cannot_be_copied_leaves_the_rest(tmp_path: Path) -> None:
    folder = contract(
        tmp_path, "type: file\npath: '-'\nformat: jsonl\n", transform="transform: {convert: {id: integer}}\n"
    )
    write(folder, [{"id": 1}, {"id": "x"}])
    done = etlctl("plan", "contracts/things", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["counts"]["loaded"] == 1
    assert plan["rejected"] == {"convert.integer": 1}
    assert plan["destinations"][0]["differences"] is None
    assert "cannot be imitated" in plan["destinations"][0]["unknown"]
    text = etlctl("plan", "contracts/things", cwd=tmp_path).stdout
    assert "what would change cannot be told: " in text


def test_a_run_that_would_be_refused_is_planned_as_if_it_were_not(tmp_path: Path) -> None:
    load = "type: file\npath: out.jsonl\nreplace_guard: {max_shrink_percent: 50}\n"
    folder = contract(tmp_path, load, transform="transform: {convert: {id: integer}}\n")
    write(folder, [{"id": number} for number in range(10)])
    assert etlctl("run", "contracts/things", "--quiet", cwd=tmp_path).returncode == 0
    write(folder, [{"id": 1}])
    done = etlctl("plan", "contracts/things", "--json", cwd=tmp_path)
    assert done.returncode == 5
    plan = json.loads(done.stdout)
    assert plan["would_succeed"] is False
    assert plan["destinations"][0]["differences"]["counts"] == {
        "inserted": 0,
        "changed": 0,
        "removed": 9,
        "unchanged": 1,
    }
    assert len((folder / "out.jsonl").read_text().splitlines()) == 10


def test_a_run_that_would_fail_says_so(tmp_path: Path) -> None:
    folder = contract(
        tmp_path, "type: sqlite\npath: t.db\ntable: t\n", transform="transform: {convert: {id: integer}}\n"
    )
    write(folder, [{"id": 1}])
    done = etlctl("plan", "contracts/things", cwd=tmp_path)
    assert done.returncode == 1
    assert "the run would fail: there is no database" in done.stderr
    assert "create_table" in done.stderr


def test_a_sample_says_that_it_is_one(tmp_path: Path) -> None:
    folder = contract(tmp_path, "type: file\npath: out.jsonl\n", transform="transform: {convert: {id: integer}}\n")
    write(folder, [{"id": number} for number in range(10)])
    plan = json.loads(etlctl("plan", "contracts/things", "--sample", "3", "--json", cwd=tmp_path).stdout)
    assert plan["sampled"] == 3
    assert plan["counts"]["extracted"] == 3
    assert plan["notes"]


def test_a_view_in_the_place_of_the_table_fails_the_plan_as_the_run(tmp_path: Path) -> None:
    load = "type: sqlite\npath: t.db\ntable: v\nwrite_method: upsert\nprimary_key: id\ncreate_table: true\n"
    folder = contract(tmp_path, load, transform="transform: {convert: {id: integer}}\n")
    with closing(sqlite3.connect(folder / "t.db")) as database:
        database.executescript("CREATE TABLE t (id INTEGER); CREATE VIEW v AS SELECT * FROM t")
    write(folder, [{"id": 1}])
    done = etlctl("plan", "contracts/things", cwd=tmp_path)
    assert done.returncode == etlctl("run", "contracts/things", cwd=tmp_path).returncode == 1
    assert "'v' in t.db is a view" in done.stderr  # and not in the copy, which nobody knows
    assert "etlctl-plan" not in done.stdout + done.stderr


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_what_a_dead_process_left_in_the_journal_stays(tmp_path: Path, journal: str) -> None:
    """Opening such a database for writing finishes the transaction, or takes it back."""
    load = "type: sqlite\npath: t.db\ntable: t\nwrite_method: upsert\nprimary_key: id\n"
    folder = contract(tmp_path, load, transform="transform: {convert: {id: integer}}\n")
    write(folder, [{"id": 1}])
    with closing(sqlite3.connect(tmp_path / "live.db", isolation_level=None)) as database:
        database.executescript(f"PRAGMA journal_mode = {journal}; PRAGMA cache_size = 1")
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", ((n, "x" * 500) for n in range(500)))
        if journal == "delete":
            database.execute("BEGIN")
            database.execute("UPDATE t SET x = 'y' || x")
        for path in tmp_path.glob("live.db*"):
            shutil.copy(path, folder / path.name.replace("live", "t"))
    files = [name for name in digest(folder) if name != "t.db-shm"]
    assert f"t.db-{'wal' if journal == 'wal' else 'journal'}" in files
    before = {name: digest(folder)[name] for name in files}
    done = etlctl("plan", "contracts/things", "--json", cwd=tmp_path)
    assert {name: digest(folder).get(name) for name in files} == before
    (found,) = json.loads(done.stdout)["destinations"]
    if journal == "wal":
        assert found["differences"]["counts"]["unchanged"] == 500
    else:
        assert "journal" in found["unknown"] + (found["help"] or "")
