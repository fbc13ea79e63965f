"""B1–B7: what a run into PostgreSQL does when the connection, the server, a row, the table or the rights fail."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from etlctl.loaders.postgres import Postgres
from flaky_proxy import FlakyProxy, flaky
from postgres_cluster import Cluster
from postgres_driving import batch_of, context, execute, load, numbered, put, query, token

from etlctl.errors import FatalError, FencedError, RetryableError
from etlctl.kit.sql import postgres_database
from etlctl.orchestrator import ETLOrchestrator
from etlctl.run import RunResult

RECORDS, BATCH = 300, 100
WIDE = "x" * 200


@pytest.fixture
def proxy(postgres_cluster: Cluster) -> Iterator[FlakyProxy]:
    with flaky(postgres_cluster.port) as made:
        yield made


@pytest.fixture
def through(postgres_url: str, postgres_cluster: Cluster, proxy: FlakyProxy) -> str:
    """The URL of the database by way of the proxy."""
    return postgres_url.replace(f":{postgres_cluster.port}/", f":{proxy.port}/")


def contract(root: Path, url: str, *, mode: str = "streaming", **more: Any) -> Path:
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True)
    (root / "etlctl.yaml").touch()
    lines = "".join(json.dumps({"id": number, "v": WIDE}) + "\n" for number in range(RECORDS))
    (folder / "in.jsonl").write_text(lines, encoding="utf-8")
    extract = {
        "type": "file", "path": "in.jsonl", "processing_mode": mode, "batch_size": BATCH,
        "error_recovery": {"backoff": 0.01},
    }  # fmt: skip
    (folder / "extract.yaml").write_text(yaml.safe_dump(extract), encoding="utf-8")
    (folder / "load.yaml").write_text(yaml.safe_dump({"type": "postgres", "url": url, "table": "t", **more}))
    return folder


def run(folder: Path, **options: Any) -> RunResult:
    return asyncio.run(ETLOrchestrator(folder, warn=lambda _: None).run(checkpoint_id="job", **options))


def resume(folder: Path) -> RunResult:
    return asyncio.run(ETLOrchestrator(folder, warn=lambda _: None).run(checkpoint_id="job", resume=True))


def complete(url: str) -> bool:
    return query(url, "SELECT count(*), count(DISTINCT id), min(id), max(id) FROM t") == [
        (RECORDS, RECORDS, 0, RECORDS - 1)
    ]


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


MODES = [("streaming", "insert"), ("full", "insert"), ("streaming", "upsert"), ("streaming", "replace")]


@pytest.mark.parametrize(("mode", "method"), MODES)
@pytest.mark.parametrize("place", [500, 20_000, 45_000, 66_000])
def test_b1_a_connection_cut_in_the_middle_of_a_batch(
    tmp_path: Path, postgres_url: str, through: str, proxy: FlakyProxy, mode: str, method: str, place: int
) -> None:
    execute(postgres_url, "CREATE TABLE t (id bigint PRIMARY KEY, v text)")
    folder = contract(tmp_path, through, mode=mode, write_method=method, primary_key="id")
    proxy.cut_after(place)
    result = run(folder)
    assert proxy.cuts == 1
    if not result.success:  # it was cut while nothing is tried again: the opening, the publication
        result = resume(folder)
    assert result.success, result.error
    assert complete(postgres_url)


@pytest.mark.parametrize("deliver", [True, False])
@pytest.mark.parametrize(("mode", "method"), MODES)
@pytest.mark.parametrize("nth", [2, 4, 5])
def test_b2_a_connection_lost_exactly_on_commit(
    tmp_path: Path, postgres_url: str, through: str, proxy: FlakyProxy, mode: str, method: str, nth: int, deliver: bool
) -> None:
    """The answer never comes, whether the server has committed or not: the token tells."""
    execute(postgres_url, "CREATE TABLE t (id bigint PRIMARY KEY, v text)")
    folder = contract(tmp_path, through, mode=mode, write_method=method, primary_key="id")
    proxy.cut_at(b"COMMIT\0", deliver=deliver, nth=nth)
    result = run(folder)
    assert proxy.cuts == 1
    assert result.success or (nth == 5 and not deliver), result.error  # the publication is not tried again
    assert (result if result.success else resume(folder)).success
    assert complete(postgres_url)


async def test_b2_a_server_that_is_away_longer_keeps_the_commit_in_doubt(
    postgres_url: str, through: str, proxy: FlakyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_database, "PATIENCE_SECONDS", 0.2)
    execute(postgres_url, "CREATE TABLE t (id bigint, v text)")
    ctx = context()
    writer = await Postgres(url=through, table="t").open(ctx)
    await put(writer, ctx, numbered(0, 3), 1)
    await writer.write(batch_of(numbered(3, 3), 2))
    proxy.cut_at(b"COMMIT\0", deliver=True)
    proxy.refuse(1_000)
    with pytest.raises(RetryableError):
        await writer.commit(token(ctx, 2))
    with pytest.raises(RetryableError):
        await writer.committed()
    with pytest.raises(RetryableError):
        await writer.write(batch_of(numbered(3, 3), 2))
    proxy.refuse(0)
    assert (await writer.write(batch_of(numbered(3, 3), 2))).records == 3  # it is there; nothing is written again
    await writer.commit(token(ctx, 2))
    await put(writer, ctx, numbered(6, 3), 3)
    assert (await writer.finish()).records == 9
    await writer.close()
    assert query(postgres_url, "SELECT id FROM t ORDER BY id") == [(number,) for number in range(9)]


def test_b3_a_deadlock_is_tried_again(tmp_path: Path, postgres_url: str) -> None:
    rows = "INSERT INTO t SELECT i, 'old' FROM generate_series(0, 299) i"
    execute(postgres_url, "CREATE TABLE t (id bigint PRIMARY KEY, v text)", rows, "ALTER SYSTEM SET deadlock_timeout = '50ms'", "SELECT pg_reload_conf()")  # fmt: skip
    folder = contract(tmp_path, postgres_url, write_method="upsert", primary_key="id")
    stop = threading.Event()

    def disturb() -> None:
        """Take rows of a batch from behind, again and again."""
        while not stop.is_set():
            try:
                with psycopg.connect(postgres_url) as other:
                    for number in (99, 50, 1, 199, 150, 101, 299, 250, 201):
                        other.execute("UPDATE t SET v = 'other' WHERE id = %s AND v <> %s", (number, WIDE))
            except psycopg.errors.DeadlockDetected:
                continue

    other = threading.Thread(target=disturb)
    other.start()
    try:
        result = run(folder)
    finally:
        stop.set()
        other.join()
        execute(postgres_url, "ALTER SYSTEM RESET deadlock_timeout", "SELECT pg_reload_conf()")
    assert result.success, result.error
    assert query(postgres_url, "SELECT count(*) FROM t WHERE v = 'old'") == [(0,)]


async def test_b3_the_victim_of_a_deadlock_may_try_again(postgres_url: str) -> None:
    execute(postgres_url, "CREATE TABLE t (id bigint PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    ctx = context()
    writer = await Postgres(url=postgres_url, table="t", write_method="upsert", primary_key="id").open(ctx)
    with psycopg.connect(postgres_url) as other:
        other.execute("SET deadlock_timeout = '1h'")  # so that ours is the one that finds out
        other.execute("UPDATE t SET v = 'o' WHERE id = 2")
        await writer.write(batch_of([{"id": 1, "v": "n"}], 1))
        blocked = threading.Thread(target=other.execute, args=("UPDATE t SET v = 'o' WHERE id = 1",))
        blocked.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_for(lambda: query(postgres_url, waiting))
        with pytest.raises(RetryableError, match="deadlock"):
            await writer.write(batch_of([{"id": 2, "v": "n"}], 2))
        await writer.abort()
        blocked.join()
    assert query(postgres_url) == [(1, "o"), (2, "o")]


@pytest.mark.parametrize("how", ["immediate", "fast"])
@pytest.mark.parametrize(("mode", "method"), [("streaming", "insert"), ("full", "insert")])
def test_b4_a_server_that_restarts(
    tmp_path: Path, postgres_url: str, postgres_cluster: Cluster, mode: str, method: str, how: str
) -> None:
    execute(postgres_url, "CREATE TABLE t (id bigint PRIMARY KEY, v text)", "CHECKPOINT")
    folder = contract(tmp_path, postgres_url, mode=mode, write_method=method)
    restarted: list[threading.Thread] = []

    def progress(seen: Any) -> None:
        if seen.stage == "load" and seen.batch_num == 1 and not restarted:
            restarted.append(threading.Thread(target=restart))
            restarted[0].start()

    def restart() -> None:
        postgres_cluster.stop(how)
        postgres_cluster.start()

    orchestrator = ETLOrchestrator(folder, warn=lambda _: None, progress_callback=progress)
    try:
        result = asyncio.run(orchestrator.run(checkpoint_id="job"))
    finally:
        assert restarted
        restarted[0].join()
    assert (result if result.success else resume(folder)).success, result.error
    assert complete(postgres_url)


@pytest.mark.parametrize("method", ["insert", "upsert", "replace"])
async def test_b5_one_bad_row_in_five_thousand(postgres_url: str, method: str) -> None:
    execute(
        postgres_url,
        "CREATE TABLE good (id bigint PRIMARY KEY)",
        "INSERT INTO good SELECT generate_series(0, 4998)",
        "CREATE TABLE t (id bigint PRIMARY KEY REFERENCES good, v text CHECK (v <> 'v77'))",
    )
    loaded = await load(postgres_url, [numbered(0, 5_000)], write_method=method, primary_key="id")
    assert {(one.index, one.rule) for one in loaded.rejected} == {(77, "load.constraint"), (4999, "load.constraint")}
    assert 'violates check constraint "t_v_check"' in loaded.rejected[0].message
    assert "is not present in table" in loaded.rejected[1].message
    assert query(postgres_url, "SELECT count(*) FROM t") == [(4_998,)]


def test_b6_a_table_dropped_meanwhile_ends_the_run_at_once(tmp_path: Path, postgres_url: str) -> None:
    execute(postgres_url, "CREATE TABLE t (id bigint PRIMARY KEY, v text)")
    folder = contract(tmp_path, postgres_url)

    def progress(seen: Any) -> None:
        if seen.stage == "load" and seen.batch_num == 2:
            execute(postgres_url, "DROP TABLE IF EXISTS t")

    result = asyncio.run(
        ETLOrchestrator(folder, warn=lambda _: None, progress_callback=progress).run(checkpoint_id="job")
    )
    assert not result.success
    assert '"public.t" does not exist' in str(result.error)
    assert result.counts.rejected == 0


def test_b7_rights_taken_away_are_no_reason_to_try_again_or_to_reject_records(
    tmp_path: Path, postgres_url: str, postgres_cluster: Cluster, proxy: FlakyProxy
) -> None:
    execute(
        postgres_url,
        "DROP ROLE IF EXISTS clerk",
        "CREATE ROLE clerk LOGIN",
        "CREATE TABLE t (id bigint PRIMARY KEY, v text)",
        "GRANT SELECT, INSERT ON t TO clerk",
        "GRANT USAGE, CREATE ON SCHEMA public TO clerk",
    )
    url = postgres_url.replace("etl@", "clerk@").replace(f":{postgres_cluster.port}/", f":{proxy.port}/")
    folder = contract(tmp_path, url)

    def progress(seen: Any) -> None:
        if seen.stage == "load" and seen.batch_num == 2:
            execute(postgres_url, "REVOKE INSERT ON t FROM clerk")

    try:
        orchestrator = ETLOrchestrator(folder, warn=lambda _: None, progress_callback=progress)
        result = asyncio.run(orchestrator.run(checkpoint_id="job"))
        assert not result.success
        assert "permission denied for table t" in str(result.error)
        assert "grant it" in str(result.error_help)
        assert (result.counts.rejected, proxy.connections) == (0, 2)  # one to look, one to load
        execute(postgres_url, "GRANT INSERT ON t TO clerk")
        assert resume(folder).success
        assert complete(postgres_url)
    finally:
        execute(postgres_url, "DROP OWNED BY clerk", "DROP ROLE clerk")


async def test_b7_no_way_in_is_said_once(postgres_url: str, postgres_cluster: Cluster, proxy: FlakyProxy) -> None:
    url = postgres_url.replace("etl@", "nobody:hunter22@").replace(f":{postgres_cluster.port}/", f":{proxy.port}/")
    with pytest.raises(FatalError, match="does not let us in") as caught:
        await Postgres(url=url, table="t").open(context())
    assert "hunter22" not in f"{caught.value} {caught.value.help}"
    assert proxy.connections == 1


async def test_a_user_who_may_not_make_the_token_table_is_told_what_to_ask_for(postgres_url: str) -> None:
    execute(
        postgres_url,
        "DROP ROLE IF EXISTS guest",
        "CREATE ROLE guest LOGIN",
        "CREATE TABLE t (id bigint, v text)",
        "GRANT ALL ON t TO guest",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    url = postgres_url.replace("etl@", "guest@")
    try:
        with pytest.raises(FatalError, match="may not make the table _etlctl_commits") as caught:
            await Postgres(url=url, table="t").open(context())
        statement = str(caught.value.help).partition("once: ")[2]
        execute(postgres_url, *filter(None, map(str.strip, statement.split(";"))))
        assert (await load(url, [numbered(0, 3)])).rules == []
    finally:
        execute(postgres_url, "DROP OWNED BY guest", "DROP ROLE guest")


async def test_whoever_holds_an_older_lease_commits_nothing(postgres_url: str) -> None:
    execute(postgres_url, "CREATE TABLE t (id bigint, v text)")
    loader, older, newer = Postgres(url=postgres_url, table="t"), context(), context(run_id="run_b", fence=2)
    first = await loader.open(older)
    await first.write(batch_of(numbered(0, 3), 1))
    second = asyncio.create_task(loader.open(newer))
    writer = await second
    with pytest.raises(FencedError, match="lease 2"):
        await first.commit(token(older, 1))
    await put(writer, newer, numbered(10, 3), 1)
    await first.abort()
    await writer.finish()
    await writer.close()
    assert query(postgres_url, "SELECT id FROM t") == [(10,), (11,), (12,)]
