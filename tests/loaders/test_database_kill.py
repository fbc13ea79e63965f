"""SIGKILL of a real process at every point of the database loader on MariaDB; the resumed run has every row once."""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest
from database_driving import child, connected, context, execute, finished, loader, query, started, state_of, tables

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(50) NOT NULL)"
WAYS = {
    "insert": {"write_method": "insert"},
    "insert-new-table": {"write_method": "insert", "create_table": True},
    "upsert": {"write_method": "upsert", "primary_key": "id"},
    "replace": {"write_method": "replace"},
    "replace-bound": {"write_method": "truncate_and_load"},
}
POINTS = {"load.write:3": 2, "load.before_commit:1": 0, "load.before_commit:4": 3, "publish.during": 6}


def prepared(url: str, way: str) -> None:
    execute(url, "DROP TABLE IF EXISTS t, _etlctl_commits")
    if "new-table" not in way:
        execute(url, TABLE, "INSERT INTO t VALUES (-1, 'old')")
    if "bound" in way:
        execute(url, "CREATE TRIGGER same BEFORE INSERT ON t FOR EACH ROW SET NEW.v = NEW.v")


@pytest.mark.parametrize(
    ("way", "once"),
    [("insert", False), ("upsert", False), ("insert-new-table", True), ("replace", True), ("replace-bound", True)],
    ids=lambda value: value if isinstance(value, str) else "staged" if value else "direct",
)
def test_kill(mariadb_url: str, way, once) -> None:
    for point, committed in POINTS.items():
        if not once and point == "publish.during":
            continue  # nothing is left to publish
        prepared(mariadb_url, way)
        job = {"ctx": {"publish_once": once}, "options": WAYS[way], "rows": way != "upsert"}
        assert child(mariadb_url, f"{point}=kill", **job).returncode == -signal.SIGKILL, point
        job["ctx"] = {**job["ctx"], "resume": True, "fence": 2}
        done = child(mariadb_url, **job)
        assert done.stdout.splitlines() == [f"from {committed}"], (point, done.stdout)
        assert query(mariadb_url, "SELECT count(*), count(DISTINCT id) FROM t WHERE id >= 0") == [(600, 600)], point
        old = 0 if "replace" in way or "new" in way else 1
        assert query(mariadb_url, "SELECT count(*) FROM t WHERE id < 0") == [(old,)], point
        assert tables(mariadb_url) == {"t", "_etlctl_commits"}, point


@pytest.mark.parametrize(("method", "once"), [("update", True), ("delete", False)])
def test_kill_of_changes(mariadb_url: str, once, method) -> None:
    for point in ("load.write:3", "load.before_commit:2", *(["publish.during"] if once else [])):
        execute(mariadb_url, "DROP TABLE IF EXISTS t, _etlctl_commits", TABLE)
        execute(mariadb_url, "INSERT INTO t SELECT seq, 'old' FROM seq_0_to_699")
        job = {"ctx": {"publish_once": once}, "options": {"write_method": method, "primary_key": "id"}}
        assert child(mariadb_url, f"{point}=kill", **job).returncode == -signal.SIGKILL
        job["ctx"] = {**job["ctx"], "resume": True, "fence": 2}
        child(mariadb_url, **job)
        found = query(mariadb_url, "SELECT sum(v = concat('v', id)), sum(v = 'old') FROM t")
        assert found == [(600, 100) if method == "update" else (0, 100)], point


@pytest.mark.parametrize("way", ["insert", "replace"])
def test_kill_at_random_instants(mariadb_url: str, way) -> None:
    execute(mariadb_url, TABLE)
    job = {"ctx": {"publish_once": way == "upsert"}, "options": WAYS[way], "count": 30, "size": 500}
    instants = random.Random(way)
    done = None
    for fence in range(1, 6):
        job["ctx"] = {**job["ctx"], "fence": fence, "resume": fence > 1}
        process = started(mariadb_url, **job)
        if fence < 5:
            threading.Timer(instants.uniform(0.05, 0.8), process.kill).start()
        done = finished(process)
    assert done.stdout.startswith("from "), done.stdout
    assert query(mariadb_url, "SELECT count(*), count(DISTINCT id), sum(v = concat('v', id)) FROM t") == [(15_000,) * 3]
    assert tables(mariadb_url) == {"t", "_etlctl_commits"}


@pytest.mark.parametrize("way", ["replace", "insert-new-table"])
async def test_a_swap_whose_token_was_not_marked_counts_as_done(mariadb_url: str, way) -> None:
    """Whoever asks next, a resumed run, a new one or the engine beforehand, learns it from the name of the old table."""
    prepared(mariadb_url, way)
    job = {"ctx": {"publish_once": True}, "options": WAYS[way]}
    assert child(mariadb_url, "publish.during=kill", **job).returncode == -signal.SIGKILL
    assert query(mariadb_url, "SELECT count(*), min(id) FROM t") == [(600, 0)]
    assert query(mariadb_url, "SELECT finished FROM _etlctl_commits") == [(0,)]
    held = await loader(mariadb_url).held(context())
    assert (held.finished, held.visible, held.seq) == (True, True, 6)
    assert await loader(mariadb_url).unfinished(context()) == []
    ctx = context(run_id="run_b", fence=2)
    writer = await loader(mariadb_url).open(ctx)
    assert (await writer.committed()).finished
    await writer.abort()
    assert query(mariadb_url, "SELECT run, finished FROM _etlctl_commits") == [("run_a", 1)]
    assert tables(mariadb_url) == {"t", "_etlctl_commits"}


@pytest.mark.parametrize("resumes", [True, False], ids=["resumed", "new run"])
def test_a_paused_writer_cannot_swap_another_runs_records_in(mariadb_url: str, resumes) -> None:
    prepared(mariadb_url, "replace")
    paused = started(mariadb_url, "load.before_commit:6=stop", options=WAYS["replace"])
    try:
        wait_until_stopped(paused.pid)
        ctx = {"fence": 2, "resume": resumes, **({} if resumes else {"run_id": "run_b"})}
        # What the paused one has not committed is nobody's: the session is ended, as a lost connection would be.
        execute(mariadb_url, *kills(mariadb_url))
        done = child(mariadb_url, options=WAYS["replace"], ctx=ctx, count=6 if resumes else 2)
        assert done.stdout == f"from {5 if resumes else 0}\n"
        os.kill(paused.pid, signal.SIGCONT)
        said = finished(paused).stdout
    finally:
        paused.kill()
    assert said.startswith(("fenced", "FatalError", "RetryableError")), said
    assert query(mariadb_url, "SELECT count(*), count(DISTINCT id) FROM t") == [(600,) * 2 if resumes else (200,) * 2]


def kills(url: str) -> list[str]:
    with connected(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> connection_id()")
        return [f"KILL {number}" for (number,) in cursor.fetchall()]


def wait_until_stopped(pid: int) -> None:
    while state_of(pid) != "T":
        threading.Event().wait(0.01)


def test_a_reader_never_sees_half_of_a_replace(mariadb_url: str) -> None:
    execute(mariadb_url, TABLE, "INSERT INTO t VALUES (-1, 'old')")
    writer = started(mariadb_url, options=WAYS["replace"], count=10, size=1_000)
    seen = set()
    with connected(mariadb_url) as connection, connection.cursor() as cursor:
        while True:
            over = writer.is_over()
            cursor.execute("SELECT count(*), count(CASE WHEN id < 0 THEN 1 END) FROM t")
            seen.add(cursor.fetchone())
            if over:
                break
    finished(writer)
    assert seen == {(1, 1), (10_000, 0)}
