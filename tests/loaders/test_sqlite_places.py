"""Where the SQLite loader writes, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import polars as pl
import pytest
from etlctl.loaders.sqlite import Sqlite
from pydantic import ValidationError
from sqlite_driving import batch_of, child, context, execute, load, numbered, put, query, tables, token

from etlctl.errors import FatalError, RetryableError
from etlctl.kit.sql import sqlite_database
from etlctl.sdk import Delivery
from etlctl.testing import check_loader


@pytest.mark.parametrize(
    "where",
    [
        {"path": "in/x.db"},
        {"database": {"path": "in/x.db"}},
        {"database": {"url": "sqlite:///in/x.db"}},
        {"connection_string": "sqlite:///in/x.db"},
        {"connection_string": "in/x.db"},
    ],
)
async def test_every_way_to_say_where(tmp_path: Path, where) -> None:
    await load(tmp_path, [numbered(0, 2)], create_table=True, **{"path": None, **where})
    assert len(query(tmp_path, name="in/x.db")) == 2


async def test_an_absolute_url_and_a_strange_name(tmp_path: Path) -> None:
    path = tmp_path / "a b?c%20#d.db"
    await load(Path("/nowhere"), [numbered(0, 2)], create_table=True, path=str(path))
    assert len(query(tmp_path, name=path.name)) == 2
    loader = Sqlite(connection_string=f"sqlite:///{tmp_path}/y.db", table="t")
    assert loader.file(context(Path("/nowhere"))) == tmp_path / "y.db"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "none is given"),
        ({"path": "x.db", "connection_string": "y.db"}, "path and connection_string are given"),
        ({"database": {}}, "either path or url"),
        ({"database": {"path": "x.db", "url": "sqlite:///x.db"}}, "either path or url"),
        ({"path": ":memory:"}, "in memory"),
        ({"connection_string": "sqlite://"}, "no SQLite database"),
        ({"connection_string": "postgresql://h/d"}, "no SQLite database"),
        ({"connection_string": "sqlite:///x.db?mode=ro"}, "parameters behind"),
        ({"path": "x.db", "write_method": "merge"}, "write_method"),
        ({"path": "x.db", "write_method": "upsert"}, "needs primary_key"),
        ({"path": "x.db", "write_method": "delete", "primary_key": []}, "needs primary_key"),
        ({"path": "x.db", "write_method": "update", "primary_key": ["a", "A"]}, "twice"),
        ({"path": "x.db", "write_method": "insert", "write_mode": "replace"}, "contradict"),
        ({"path": "x.db", "schema_evolution": "guess"}, "schema_evolution"),
        ({"path": "x.db", "table": "sqlite_master"}, "not yours"),
        ({"path": "x.db", "table": "_etlctl_commits"}, "not yours"),
        ({"path": "x.db", "tabel": "t"}, "tabel"),
    ],
)
def test_wrong_options_are_found_before_anything_runs(options, message) -> None:
    with pytest.raises(ValidationError, match=message):
        Sqlite(**{"table": "t", **options})


async def test_a_missing_table_or_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"no database .*x.db.*'people'") as caught:
        await load(tmp_path, [], table="people")
    assert "create_table: true" in caught.value.help
    assert not (tmp_path / "x.db").exists()
    execute(tmp_path, "CREATE TABLE persons (id INTEGER)", "CREATE VIEW v AS SELECT 1")
    with pytest.raises(FatalError, match="no table 'people'") as caught:
        await load(tmp_path, [], table="people")
    with pytest.raises(FatalError) as caught:
        await load(tmp_path, [], table="person", write_method="truncate_and_load", create_table=True)
    assert "did you mean 'persons'" in caught.value.help
    assert "create_table" not in caught.value.help
    with pytest.raises(FatalError, match="is a view"):
        await load(tmp_path, [], table="v")
    assert tables(tmp_path) == {"persons"}


async def test_the_state_store_is_no_destination(tmp_path: Path) -> None:
    execute(tmp_path, "CREATE TABLE etlctl_runs (id TEXT)", "CREATE TABLE t (id INTEGER)")
    with pytest.raises(FatalError, match="state store"):
        await load(tmp_path, [])


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("id,v\n" * 500, encoding="utf-8")
    with pytest.raises(FatalError, match=r"x.db: it is not a SQLite database"):
        await load(tmp_path, [])


async def test_a_read_only_database(tmp_path: Path, monkeypatch) -> None:
    execute(tmp_path, "CREATE TABLE t (id INTEGER)")
    # Root may write a file without permissions, so SQLite is told that this one is not to be written.
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name, **more: real(name.replace("mode=rw", "mode=ro"), **more))
    with pytest.raises(FatalError, match=r"x.db: it is read-only") as caught:
        await load(tmp_path, [])
    assert "right to write" in caught.value.help


async def test_a_locked_database_is_worth_another_try(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sqlite_database, "BUSY_SECONDS", 0.05)
    execute(tmp_path, "CREATE TABLE t (id INTEGER, v TEXT)")
    ctx = context(tmp_path)
    writer = await Sqlite(path="x.db", table="t").open(ctx)
    await put(writer, ctx, numbered(0, 2), 1)
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RetryableError, match=r"x.db is locked"):
        await writer.write(batch_of(numbered(2, 2), 2))
    other.execute("ROLLBACK")
    await put(writer, ctx, numbered(2, 2), 2)
    # A reader keeps a commit with a rollback journal waiting.
    await writer.write(batch_of(numbered(4, 2), 3))
    other.execute("BEGIN")
    other.execute("SELECT * FROM t").fetchone()
    with pytest.raises(RetryableError):
        await writer.commit(token(ctx, 3))
    other.close()
    assert (await writer.committed()).seq == 2
    await put(writer, ctx, numbered(4, 2), 3)
    assert (await writer.finish()).records == 6
    assert len(query(tmp_path)) == 6


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
@pytest.mark.parametrize("point", ["load.write:2", "load.before_commit:2"])
@pytest.mark.parametrize("action", ["full", "error", "retry", "fail"])
def test_a_failure_inside_the_transaction_keeps_nothing_of_the_batch(tmp_path: Path, once, point, action) -> None:
    job = {"ctx": {"publish_once": once}, "options": {"create_table": True}, "count": 3}
    first = child(tmp_path, f"{point}={action}", **job)
    if action == "full":
        assert f"cannot write {tmp_path / 'x.db'}: the disk is full" in first.stdout
    assert query(tmp_path, "SELECT seq FROM _etlctl_commits") == [(1,)]
    job["ctx"] = {**job["ctx"], "resume": True, "fence": 2}
    assert child(tmp_path, **job).stdout == "from 1\n"
    assert query(tmp_path, "SELECT count(*), count(DISTINCT id) FROM t") == [(300, 300)]


def test_a_full_disk_is_told_and_resumed(tmp_path: Path) -> None:
    """A real SQLITE_FULL, from a limit on the pages of the file."""
    execute(tmp_path, "CREATE TABLE t (id INTEGER, v TEXT)")
    loader = Sqlite(path="x.db", table="t")

    async def run() -> None:
        ctx = context(tmp_path)
        writer = await loader.open(ctx)
        await put(writer, ctx, numbered(0, 100), 1)
        writer._transfer._database.execute("PRAGMA max_page_count = 12")
        with pytest.raises(FatalError, match=r"x.db: the disk is full"):
            await writer.write(batch_of(numbered(100, 50_000), 2))
        await writer.suspend()
        again = context(tmp_path, resume=True, fence=2)
        writer = await loader.open(again)
        assert (await writer.committed()).seq == 1
        await put(writer, again, numbered(100, 50_000), 2)
        assert (await writer.finish()).records == 50_100

    asyncio.run(run())
    assert query(tmp_path, "SELECT count(DISTINCT id) FROM t") == [(50_100,)]


async def test_a_canceled_write_leaves_no_transaction_open(tmp_path: Path, monkeypatch) -> None:
    from etlctl.kit.sql import transfer

    inside, go_on = threading.Event(), threading.Event()

    def hold(point: str) -> None:
        inside.set()
        go_on.wait(20)

    execute(tmp_path, "CREATE TABLE t (id INTEGER, v TEXT)")
    writer = await Sqlite(path="x.db", table="t").open(context(tmp_path))
    monkeypatch.setattr(transfer, "fault", hold)
    task = asyncio.create_task(writer.write(batch_of(numbered(0, 2), 1)))
    await asyncio.to_thread(inside.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    suspended = asyncio.create_task(writer.suspend())
    go_on.set()
    await suspended
    monkeypatch.undo()
    await load(tmp_path, [numbered(5, 1)], ctx={"fence": 2})
    assert query(tmp_path, "SELECT id FROM t") == [(5,)]


def test_conformance_on_a_replaced_table(tmp_path: Path) -> None:
    loader = Sqlite(path="x.db", table="t", write_method="replace", create_table=True)

    def read_back() -> list[dict]:
        return [dict(zip(("id", "name", "score"), row, strict=True)) for row in query(tmp_path)]

    check_loader(loader, context(tmp_path), read_back=read_back)


async def test_scratch_contents_and_additive(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    options = {"write_method": "replace", "primary_key": "id", "create_table": True}
    await load(tmp_path, [[{"id": 1, "v": "a"}]], **options)
    loader = Sqlite(database={"path": "x.db"}, table="t", **options)
    scratch = loader.scratch(tmp_path / "scratch", ctx)
    assert await scratch.contents(ctx) == await loader.contents(ctx) == {'{"id":1,"v":"a"}': 1}
    assert query(tmp_path / "scratch", "SELECT name FROM sqlite_master") == [("t",)]
    more = scratch.additive()
    assert (str(more.method), str(loader.method), more.delivery()) == ("upsert", "replace", Delivery.exactly_once)
    writer = await more.open(ctx)
    await put(writer, ctx, [{"id": 2, "v": None}], 1)
    await writer.finish()
    await writer.close()
    assert await scratch.contents(ctx) == {'{"id":1,"v":"a"}': 1, '{"id":2,"v":null}': 1}
    assert len(query(tmp_path)) == 1
    nowhere = Sqlite(path="none.db", table="t")
    assert await nowhere.scratch(tmp_path / "other", ctx).contents(ctx) == {}
    assert str(Sqlite(path="x.db", table="t", write_mode="overwrite").additive().method) == "insert"


async def test_a_dry_run_touches_nothing(tmp_path: Path) -> None:
    writer = await Sqlite(path="x.db", table="t", create_table=True).open(context(tmp_path, dry_run=True))
    assert (await writer.write(batch_of(numbered(0, 2), 1))).records == 2
    assert (await writer.finish()).records == 2
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize("form", ["rows", "frame"])
def test_a_key_that_no_record_has_is_one_mistake_and_not_one_of_each_record(tmp_path: Path, form: str) -> None:
    loader = Sqlite(path="o.db", table="t", create_table=True, write_method="upsert", primary_key="nope")
    content = [{"id": 1}, {"id": 2}]
    batch = batch_of(content if form == "rows" else pl.DataFrame(content), 1)

    async def go() -> None:
        writer = await loader.open(context(tmp_path))
        await writer.committed()
        try:
            await writer.write(batch)
        finally:
            await writer.abort()

    with pytest.raises(FatalError, match="no record has the field 'nope', which primary_key names"):
        asyncio.run(go())
