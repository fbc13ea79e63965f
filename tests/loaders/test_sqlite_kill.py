"""SIGKILL of a real process at every point of the SQLite loader; the resumed run has every row once."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_driving import child, execute, finished, query, started, tables

TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL)"
WAYS = {
    "insert": {"write_method": "insert"},
    "insert-new-table": {"write_method": "insert", "create_table": True},
    "upsert": {"write_method": "upsert", "primary_key": "id"},
    "replace": {"write_method": "replace"},
}


def run_until_done(folder: Path, fault: str, **job) -> tuple[int, list[str]]:
    """Kill once, then resume without a fault; return the first exit code and what the resumed run said."""
    first = child(folder, fault, **job)
    job["ctx"] = {**job["ctx"], "resume": True, "fence": 2}
    second = child(folder, **job)
    return first.returncode, second.stdout.splitlines() or [second.stderr]


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("point", ["load.write:3", "load.before_commit:1", "load.before_commit:4", "publish.during"])
def test_kill(tmp_path: Path, point, way, once) -> None:
    if way != "insert-new-table":
        execute(tmp_path, TABLE, "INSERT INTO t VALUES (-1, 'old')")
    job = {"ctx": {"publish_once": once}, "options": WAYS[way], "rows": way != "upsert"}
    code, said = run_until_done(tmp_path, f"{point}=kill", **job)
    published_at_once = not once and way != "replace" and point == "publish.during"
    assert code == (0 if published_at_once else -signal.SIGKILL)
    committed = {"load.write:3": 2, "load.before_commit:1": 0, "load.before_commit:4": 3, "publish.during": 6}[point]
    assert said == [f"from {committed}"]
    old = 0 if way in {"replace", "insert-new-table"} else 1
    assert query(tmp_path, "SELECT count(*), count(DISTINCT id) FROM t WHERE id >= 0") == [(600, 600)]
    assert query(tmp_path, "SELECT count(*) FROM t WHERE id < 0") == [(old,)]
    assert tables(tmp_path) == {"t", "_etlctl_commits"}


@pytest.mark.parametrize("method", ["update", "delete"])
@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
@pytest.mark.parametrize("point", ["load.write:3", "load.before_commit:2", "publish.during"])
def test_kill_of_changes(tmp_path: Path, point, once, method) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 699)"
    execute(tmp_path, TABLE, f"{numbers} INSERT INTO t SELECT i, 'old' FROM n")
    job = {"ctx": {"publish_once": once}, "options": {"write_method": method, "primary_key": "id"}}
    run_until_done(tmp_path, f"{point}=kill", **job)
    changed, old = query(
        tmp_path, "SELECT count(*) FILTER (WHERE v = 'v' || id), count(*) FILTER (WHERE v = 'old') FROM t"
    )[0]
    assert (changed, old) == ((600, 100) if method == "update" else (0, 100))


@pytest.mark.parametrize("way", ["insert", "upsert", "replace"])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_kill_at_random_instants(tmp_path: Path, way, journal) -> None:
    execute(tmp_path, f"PRAGMA journal_mode = {journal}", TABLE)
    job = {"ctx": {"publish_once": way == "upsert"}, "options": WAYS[way], "count": 30, "size": 500}
    instants = random.Random(f"{way} {journal}")
    done = None
    for fence in range(1, 7):
        job["ctx"] = {**job["ctx"], "fence": fence, "resume": fence > 1}
        process = started(tmp_path, **job)
        if fence < 6:
            killer = threading.Timer(instants.uniform(0.3, 0.9), process.kill)
            killer.start()
        done = finished(process)
    assert done.stdout.startswith("from "), done.stderr
    assert query(tmp_path, "SELECT count(*), count(DISTINCT id), sum(v = 'v' || id) FROM t") == [(15_000,) * 3]
    assert query(tmp_path, "PRAGMA journal_mode") == [(journal,)]


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_reader_never_sees_half_of_a_replace(tmp_path: Path, journal) -> None:
    execute(tmp_path, f"PRAGMA journal_mode = {journal}", TABLE, "INSERT INTO t VALUES (-1, 'old')")
    writer = started(tmp_path, "publish.during=stop", options=WAYS["replace"], count=20, size=2_000)
    seen = []
    try:
        while writer_state(writer.pid) != "T":
            seen.append(counted(tmp_path))
        # The writer stands between emptying the table and filling it.
        seen.append(counted(tmp_path))
        writer.send_signal(signal.SIGCONT)
        while writer.poll() is None:
            seen.append(counted(tmp_path))
    finally:
        writer.kill()
        finished(writer)
    seen.append(counted(tmp_path))
    assert seen[-1] == (40_000, 0)
    assert set(seen) == {(1, 1), (40_000, 0)}


def counted(folder: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(folder / "x.db", timeout=20)) as connection:
        return tuple(connection.execute("SELECT count(*), count(*) FILTER (WHERE id < 0) FROM t").fetchone())


def writer_state(pid: int) -> str:
    time.sleep(0)  # let the writer have the processor
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
