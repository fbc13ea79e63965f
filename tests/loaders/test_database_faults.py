"""Poison rows, lost connections, deadlocks and rights at MariaDB: only data goes to the dead letters."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing

import pymysql
import pytest
from database_driving import (
    batch_of,
    connected,
    context,
    execute,
    load,
    loader,
    numbered,
    put,
    query,
    tables,
    token,
)
from flaky_proxy import FlakyProxy

from etlctl.batch import rows_to_frame
from etlctl.errors import CheckpointError, FatalError, FencedError, RetryableError
from etlctl.kit.sql import database_server
from etlctl.kit.sql.database_server import Server

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20) NOT NULL, CHECK (v <> 'bad'))"


@pytest.fixture
def proxy(mariadb_url: str) -> Iterator[FlakyProxy]:
    made = FlakyProxy(int(mariadb_url.rpartition("/")[0].rpartition(":")[2]))
    yield made
    made.close()


def through(proxy: FlakyProxy, url: str) -> str:
    return f"mysql://root@127.0.0.1:{proxy.port}/{url.rpartition('/')[2]}"


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
@pytest.mark.parametrize("method", ["insert", "upsert", "replace"])
@pytest.mark.parametrize("bad", [{2_500}, {0, 1, 4_999}, set(range(0, 5_000, 50))], ids=["one", "edges", "many"])
async def test_the_good_rows_are_loaded(mariadb_url: str, bad, method, once) -> None:
    execute(mariadb_url, TABLE)
    rows = [{"id": n, "v": None if n in bad else f"v{n}"} for n in range(5_000)]
    form = rows_to_frame(rows) if once else rows
    done = await load(mariadb_url, [form], ctx={"publish_once": once}, write_method=method, primary_key="id")
    assert [one.index for one in done.rejected] == sorted(bad)
    assert {(one.rule, one.field, one.message) for one in done.rejected} == {
        ("load.constraint", "v", "table 't' refuses the record: Column 'v' cannot be null (1048)")
    }
    assert done.rejected[0].raw == rows[min(bad)]
    assert query(mariadb_url, "SELECT id FROM t ORDER BY id") == [(n,) for n in range(5_000) if n not in bad]


async def test_one_bad_row_costs_few_statements(mariadb_url: str, monkeypatch) -> None:
    execute(mariadb_url, TABLE)
    ran = []
    run = Server.run
    monkeypatch.setattr(Server, "run", lambda self, sql: (ran.append(sql), run(self, sql))[1])
    await load(mariadb_url, [[{"id": n, "v": "bad" if n == 7 else "v"} for n in range(5_000)]])
    assert len(ran) < 30


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
async def test_keys_that_are_there_or_come_twice(mariadb_url: str, once) -> None:
    execute(mariadb_url, TABLE, "INSERT INTO t VALUES (1, 'old')")
    batches = [[{"id": 1, "v": "x"}, {"id": 2, "v": "y"}], [{"id": 2, "v": "z"}, {"id": 3, "v": "w"}]]
    done = await load(mariadb_url, batches, ctx={"publish_once": once})
    assert [one.index for one in done.rejected] == [0, 0]
    assert all("Duplicate entry" in said for said in done.said)
    assert "_etlctl" not in "".join(done.said)
    assert query(mariadb_url) == [(1, "old"), (2, "y"), (3, "w")]


async def test_a_foreign_key_and_a_trigger_refuse_single_records(mariadb_url: str) -> None:
    execute(
        mariadb_url,
        "CREATE TABLE shops (id INT PRIMARY KEY)",
        "INSERT INTO shops VALUES (1)",
        "CREATE TABLE t (id INT PRIMARY KEY, shop INT, FOREIGN KEY (shop) REFERENCES shops (id))",
        "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW IF NEW.id = 3 THEN SIGNAL SQLSTATE '45000' "
        "SET MESSAGE_TEXT = 'not this one'; END IF",
    )
    for number, once in enumerate((False, True)):
        records = [{"id": 1 + 10 * number, "shop": 1}, {"id": 2, "shop": 9}, {"id": 3, "shop": 1}]
        done = await load(mariadb_url, [records], ctx={"publish_once": once, "run_id": f"run_{number}"})
        assert ["foreign key" in said or "not this one" in said for said in done.said] == [True, True]
    assert query(mariadb_url) == [(1, 1), (11, 1)]


async def test_a_record_that_is_too_long_for_a_packet_is_refused_alone(mariadb_url: str) -> None:
    execute(mariadb_url, "CREATE TABLE t (id INT, v LONGTEXT)")
    records = [{"id": 1, "v": "x"}, {"id": 2, "v": "é" * (9 << 20)}, {"id": 3, "v": "y" * (3 << 20)}]
    done = await load(mariadb_url, [records])
    assert (done.rules, done.rejected[0].index) == (["load.too_big"], 1)
    assert query(mariadb_url, "SELECT id, length(v) FROM t") == [(1, 1), (3, 3 << 20)]


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
@pytest.mark.parametrize("deliver", [True, False], ids=["came to pass", "did not"])
async def test_a_connection_lost_on_commit_is_decided_by_the_token(mariadb_url, proxy, deliver, once) -> None:
    execute(mariadb_url, TABLE)
    ctx = context(publish_once=once)
    writer = await loader(through(proxy, mariadb_url)).open(ctx)
    await put(writer, ctx, numbered(0, 100), 1)
    await writer.write(batch_of(numbered(100, 100), 2))
    proxy.cut_at(b"COMMIT", deliver=deliver)
    if deliver:
        assert await writer.commit(token(ctx, 2))
    else:
        with pytest.raises(RetryableError):
            await writer.commit(token(ctx, 2))
        assert (await writer.committed()).seq == 1
        await put(writer, ctx, numbered(100, 100), 2)
    assert proxy.cuts == 1
    await put(writer, ctx, numbered(200, 100), 3)
    assert (await writer.finish()).records == 300
    await writer.close()
    assert query(mariadb_url, "SELECT count(*), count(DISTINCT id) FROM t") == [(300, 300)]
    assert tables(mariadb_url) == {"t", "_etlctl_commits"}


@pytest.mark.parametrize("deliver", [True, False], ids=["came to pass", "did not"])
async def test_a_connection_lost_on_the_swap_is_found_out_by_the_next_attempt(mariadb_url, proxy, deliver) -> None:
    execute(mariadb_url, TABLE, "INSERT INTO t VALUES (-1, 'old')")
    ctx = context()
    writer = await loader(through(proxy, mariadb_url), write_method="replace").open(ctx)
    await put(writer, ctx, numbered(0, 100), 1)
    proxy.cut_at(b"RENAME TABLE", deliver=deliver)
    with pytest.raises(RetryableError):
        await writer.finish()
    await writer.suspend()
    again = context(fence=2, resume=True)
    writer = await loader(mariadb_url, write_method="replace").open(again)
    assert (await writer.committed()).finished == deliver
    assert (await writer.finish()).records == 100
    await writer.close()
    assert query(mariadb_url, "SELECT count(*), min(id) FROM t") == [(100, 0)]
    assert tables(mariadb_url) == {"t", "_etlctl_commits"}


async def test_a_connection_cut_in_the_middle_of_a_batch(mariadb_url, proxy) -> None:
    execute(mariadb_url, TABLE)
    ctx = context()
    writer = await loader(through(proxy, mariadb_url)).open(ctx)
    await put(writer, ctx, numbered(0, 1_000), 1)
    proxy.cut_after(20_000)
    with pytest.raises(RetryableError, match="interrupted"):
        await writer.write(batch_of(numbered(1_000, 5_000), 2))
    proxy.refuse(1)
    with pytest.raises(RetryableError, match="does not answer"):
        await writer.write(batch_of(numbered(1_000, 5_000), 2))
    await put(writer, ctx, numbered(1_000, 5_000), 2)
    await writer.finish()
    await writer.close()
    assert query(mariadb_url, "SELECT count(*), count(DISTINCT id) FROM t") == [(6_000, 6_000)]


async def test_a_deadlock_and_a_lock_that_is_held_are_retried(mariadb_url: str, monkeypatch) -> None:
    monkeypatch.setattr(database_server, "_SESSION", database_server._SESSION.replace("= 30", "= 1"))
    execute(mariadb_url, TABLE, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    ctx = context()
    writer = await loader(mariadb_url, write_method="upsert", primary_key="id").open(ctx)
    with closing(connected(mariadb_url)) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE t SET v = 'held' WHERE id = 2")
        with pytest.raises(RetryableError, match="Lock wait timeout"):
            await writer.write(batch_of([{"id": 2, "v": "c"}], 1))
        # The other session has changed more than ours, so the server picks ours to undo.
        cursor.execute("INSERT INTO t SELECT seq, 'x' FROM seq_100_to_300")
        await writer.suspend()
        monkeypatch.undo()
        writer = await loader(mariadb_url, write_method="upsert", primary_key="id").open(ctx)
        both = [{"id": 1, "v": "d"}, {"id": 2, "v": "e"}]
        waiting = asyncio.create_task(writer.write(batch_of(both, 1)))
        await asyncio.to_thread(wait_for_a_lock, mariadb_url)
        await asyncio.to_thread(cursor.execute, "UPDATE t SET v = 'held' WHERE id = 1")
        with pytest.raises(RetryableError, match="Deadlock"):
            await waiting
        cursor.execute("COMMIT")
    await put(writer, ctx, both, 1)
    await writer.close()
    assert query(mariadb_url, "SELECT v FROM t WHERE id < 3") == [("d",), ("e",)]


def wait_for_a_lock(url: str) -> None:
    while not query(url, "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"):
        threading.Event().wait(0.01)


async def test_a_missing_right_is_no_fault_of_a_record(mariadb_url: str) -> None:
    name = mariadb_url.rpartition("/")[2]
    execute(mariadb_url, TABLE)
    execute(mariadb_url, f"GRANT SELECT, CREATE, ALTER, DROP ON `{name}`.* TO 'reader_{name[-8:]}'@'127.0.0.1' "
            "IDENTIFIED BY 'hush-hush'")  # fmt: skip
    url = mariadb_url.replace("root@", f"reader_{name[-8:]}:hush-hush@")
    with pytest.raises(FatalError, match="denied") as told:
        await load(url, [numbered(0, 2)])
    assert "hush-hush" not in str(told.value) + str(told.value.__cause__)
    with pytest.raises(FatalError, match="does not let us in") as told:
        await loader(url.replace("hush-hush", "hush-wrong")).open(context())
    assert "hush" not in str(told.value)
    execute(mariadb_url, f"DROP USER 'reader_{name[-8:]}'@'127.0.0.1'")


async def test_a_dropped_table_is_no_poison(mariadb_url: str) -> None:
    execute(mariadb_url, TABLE)
    ctx = context()
    writer = await loader(mariadb_url).open(ctx)
    await put(writer, ctx, numbered(0, 2), 1)
    execute(mariadb_url, "DROP TABLE t")
    with pytest.raises(FatalError, match="doesn't exist"):
        await writer.write(batch_of(numbered(2, 2), 2))
    await writer.suspend()
    with pytest.raises(CheckpointError, match="t is gone"):
        await loader(mariadb_url).open(context(fence=2, resume=True))


async def test_an_older_lease_cannot_commit(mariadb_url: str) -> None:
    execute(mariadb_url, TABLE)
    old, new = context(), context(run_id="run_b", fence=2)
    writer = await loader(mariadb_url).open(old)
    await put(writer, old, numbered(0, 2), 1)
    await writer.write(batch_of(numbered(2, 2), 2))
    other = await loader(mariadb_url).open(new)
    with pytest.raises(FencedError):
        await writer.commit(token(old, 2))
    await put(other, new, numbered(10, 2), 1)
    await writer.suspend()
    await other.finish()
    await other.close()
    assert query(mariadb_url, "SELECT id FROM t") == [(0,), (1,), (10,), (11,)]


async def test_rows_are_never_committed_by_a_change_of_the_table(mariadb_url: str) -> None:
    """ALTER TABLE would commit the first batch without its token: that is refused, and nothing is left of both."""
    execute(mariadb_url, TABLE)
    ctx = context()
    writer = await loader(mariadb_url, schema_evolution="evolve").open(ctx)
    await writer.write(batch_of(numbered(0, 2), 1))
    with pytest.raises(FatalError, match="not committed"):
        await writer.write(batch_of([{"id": 5, "v": "a", "new": 1}], 2))
    await writer.suspend()
    assert query(mariadb_url) == []


def test_nothing_listens(mariadb_url: str) -> None:
    with pytest.raises(RetryableError, match="does not answer"):
        asyncio.run(loader("mysql://root@127.0.0.1:1/x").open(context()))
    with pytest.raises(pymysql.err.OperationalError):
        connected("mysql://root@127.0.0.1:1/x")
