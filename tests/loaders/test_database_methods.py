"""What each write method does to a table of MariaDB, straight in and staged."""

from __future__ import annotations

import polars as pl
import pytest
from database_driving import context, execute, load, loader, numbered, put, query, tables

from etlctl.errors import FatalError, LimitError
from etlctl.sdk.guard import ReplaceGuard

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(50), n INT DEFAULT 7)"
ONCE = pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
FORM = pytest.mark.parametrize("form", [list, pl.DataFrame], ids=["rows", "frame"])
OWN = {"t", "_etlctl_commits"}


@ONCE
@FORM
async def test_insert(mariadb_url: str, once, form) -> None:
    execute(mariadb_url, TABLE, "INSERT INTO t VALUES (-1, 'old', 1)")
    done = await load(mariadb_url, [form(numbered(0, 5)), form(numbered(5, 5))], ctx={"publish_once": once})
    assert query(mariadb_url, "SELECT * FROM t ORDER BY id") == [(-1, "old", 1), *((i, f"v{i}", 7) for i in range(10))]
    assert done.published.records == 10
    assert tables(mariadb_url) == OWN


@ONCE
@FORM
async def test_a_table_is_made(mariadb_url: str, once, form) -> None:
    records = [{"id": 1, "when": "a", "x": 1.5, "ok": True, "b": b"\x00\xff"}]
    done = await load(mariadb_url, [form(records)], ctx={"publish_once": once}, create_table=True, primary_key="id")
    assert query(mariadb_url) == [(1, "a", 1.5, 1, b"\x00\xff")]
    assert done.published.records == 1
    assert tables(mariadb_url) == OWN
    assert query(mariadb_url, "SELECT engine FROM information_schema.tables WHERE table_name = 't'")[0] == ("InnoDB",)


@ONCE
async def test_upsert(mariadb_url: str, once) -> None:
    execute(mariadb_url, TABLE, "INSERT INTO t VALUES (1, 'old', 1), (2, 'kept', 2)")
    batches = [
        [{"id": 1, "v": "a"}, {"id": 3, "v": "b"}, {"id": 1, "v": "c"}],
        [{"id": 3, "n": 9}, {"id": 4}],
    ]
    done = await load(mariadb_url, batches, ctx={"publish_once": once}, write_method="upsert", primary_key="id")
    assert query(mariadb_url, "SELECT * FROM t ORDER BY id") == [
        (1, "c", 1), (2, "kept", 2), (3, "b", 9), (4, None, 7),
    ]  # fmt: skip
    assert (done.published.records, done.rejected) == (5, [])


@ONCE
async def test_an_upsert_never_changes_the_row_of_another_key(mariadb_url: str, once) -> None:
    """ON DUPLICATE KEY UPDATE would change row 1 for the record 5: they share a mail address."""
    execute(
        mariadb_url,
        "CREATE TABLE t (id INT PRIMARY KEY, mail VARCHAR(50) UNIQUE, v VARCHAR(9) NOT NULL)",
        "INSERT INTO t VALUES (1, 'a@x', 'one'), (2, 'b@x', 'two')",
    )
    records = [
        {"id": 2, "mail": "c@x", "v": "new"},
        {"id": 5, "mail": "a@x", "v": "five"},
        {"id": 6, "mail": "b@x", "v": "six"},
    ]
    options = {"write_method": "upsert", "primary_key": "id"}
    done = await load(mariadb_url, [records], ctx={"publish_once": once}, **options)
    assert [(one.index, "Duplicate entry 'a@x' for key 'mail'" in one.message) for one in done.rejected] == [(1, True)]
    assert query(mariadb_url, "SELECT * FROM t ORDER BY id") == [
        (1, "a@x", "one"), (2, "c@x", "new"), (6, "b@x", "six"),
    ]  # fmt: skip


@ONCE
async def test_an_upsert_without_a_required_field_changes_rows_and_rejects_new_ones(mariadb_url: str, once) -> None:
    execute(mariadb_url, "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9) NOT NULL, n INT)")
    batches = [[{"id": 1, "v": "a", "n": 1}], [{"id": 1, "n": 2}, {"id": 2, "n": 3}]]
    done = await load(mariadb_url, batches, ctx={"publish_once": once}, write_method="upsert", primary_key="id")
    assert [one.message for one in done.rejected] == [
        "table 't' refuses the record: Field 'v' doesn't have a default value (1364)"
    ]
    assert query(mariadb_url) == [(1, "a", 2)]


@ONCE
@pytest.mark.parametrize("method", ["update", "delete"])
async def test_rows_are_found_by_key(mariadb_url: str, once, method) -> None:
    execute(mariadb_url, "CREATE TABLE t (a VARCHAR(9), b INT, v TEXT, PRIMARY KEY (a, b))")
    execute(mariadb_url, "INSERT INTO t VALUES ('x', 1, 'one'), ('x', 2, 'two'), ('y', 1, 'three')")
    records = [{"a": "x", "b": 1, "v": "A"}, {"a": "z", "b": 1, "v": "B"}, {"a": "y", "b": 1, "v": "C"}]
    options = {"write_method": method, "primary_key": ["a", "b"]}
    done = await load(mariadb_url, [records[:2], records[2:]], ctx={"publish_once": once}, **options)
    left = [("x", 2, "two")] if method == "delete" else [("x", 1, "A"), ("x", 2, "two"), ("y", 1, "C")]
    assert query(mariadb_url, "SELECT * FROM t ORDER BY a, b") == left
    assert done.warnings == [f"1 of 3 records matched no row of table t: there was nothing to {method}"]
    assert done.published.records == 3


async def test_of_one_key_the_last_wins_by_the_collation_of_the_column(mariadb_url: str) -> None:
    execute(mariadb_url, "CREATE TABLE t (k VARCHAR(9) PRIMARY KEY, v INT, u INT UNIQUE)")
    execute(mariadb_url, "INSERT INTO t VALUES ('anna', 0, NULL)")
    for method in ("upsert", "update"):
        records = [{"k": "Anna", "v": 1}, {"k": "anna", "v": 2}, {"k": "ANNA", "v": 3 if method == "upsert" else 4}]
        await load(mariadb_url, [records], ctx={"run_id": method}, write_method=method, primary_key="k")
        assert query(mariadb_url, "SELECT v FROM t") == [(3 if method == "upsert" else 4,)]


async def test_a_long_text_may_be_the_key_of_an_update(mariadb_url: str) -> None:
    execute(mariadb_url, "CREATE TABLE t (k LONGTEXT, v INT)", "INSERT INTO t VALUES ('a', 0), ('b', 0)")
    records = [{"k": "a", "v": 1}, {"k": "a", "v": 2}, {"k": "c", "v": 3}]
    done = await load(mariadb_url, [records], write_method="update", primary_key="k")
    assert query(mariadb_url) == [("a", 2), ("b", 0)]
    assert any("no index" in warning for warning in done.warnings)


@pytest.mark.parametrize("method", ["replace", "truncate_and_load"])
@pytest.mark.parametrize("bound", [False, True], ids=["renamed", "copied"])
async def test_replace(mariadb_url: str, method, bound) -> None:
    execute(mariadb_url, TABLE, "INSERT INTO t VALUES (-1, 'old', 1)")
    if bound:
        execute(mariadb_url, "CREATE TRIGGER up BEFORE INSERT ON t FOR EACH ROW SET NEW.v = upper(NEW.v)")
    done = await load(mariadb_url, [numbered(0, 3)], write_method=method)
    words = [name.upper() if bound else name for name in ("v0", "v1", "v2")]
    assert query(mariadb_url, "SELECT * FROM t ORDER BY id") == [(i, v, 7) for i, v in enumerate(words)]
    assert done.published.records == 3
    assert tables(mariadb_url) == OWN
    assert len(query(mariadb_url, "SHOW TRIGGERS")) == bound


async def test_the_guard_keeps_the_old_rows(mariadb_url: str) -> None:
    execute(mariadb_url, TABLE, "INSERT INTO t VALUES (1, 'old', 1), (2, 'old', 1)")
    with pytest.raises(LimitError, match="0 records"):
        await load(mariadb_url, [], write_method="replace")
    guard = ReplaceGuard(max_shrink_percent=10)
    with pytest.raises(LimitError):
        await load(mariadb_url, [numbered(0, 1)], ctx={"run_id": "run_b", "guard": guard}, write_method="replace")
    assert query(mariadb_url, "SELECT id FROM t") == [(1,), (2,)]


@ONCE
async def test_columns_are_added(mariadb_url: str, once) -> None:
    execute(mariadb_url, TABLE)
    batches = [numbered(0, 1), [{"id": 1, "v": "a", "w": 1.5}], [{"id": 2, "w": 2.5, "x": "b"}]]
    for number, method in enumerate(("insert", "replace")):
        ctx = {"publish_once": once, "run_id": f"run_{number}"}
        await load(mariadb_url, batches, ctx=ctx, schema_evolution="evolve", write_method=method)
        assert query(mariadb_url, "SELECT id, v, w, x FROM t ORDER BY id") == [
            (0, "v0", None, None), (1, "a", 1.5, None), (2, None, 2.5, "b"),
        ]  # fmt: skip


async def test_a_number_is_given_where_a_record_has_none(mariadb_url: str) -> None:
    execute(mariadb_url, "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (0, 'x')")
    await load(mariadb_url, [[{"v": "a"}, {"id": 0, "v": "zero"}, {"id": None, "v": "b"}]], ctx={"publish_once": True})
    assert sorted(v for _, v in query(mariadb_url)) == ["a", "b", "x", "zero"]
    assert query(mariadb_url, "SELECT v FROM t WHERE id = 0") == [("zero",)]


async def test_what_cannot_be_loaded_is_told_before_anything_is(mariadb_url: str) -> None:
    execute(mariadb_url, "CREATE TABLE t (id INT) ENGINE = MyISAM", "CREATE VIEW w AS SELECT * FROM t")
    execute(mariadb_url, "CREATE TABLE people (id INT)")
    for options, said in [
        ({}, "MyISAM table, which knows no transactions"),
        ({"table": "w"}, "is a view"),
        ({"table": "peopel"}, "there is no table 'peopel'"),
        ({"table": "people", "write_method": "upsert", "primary_key": "id"}, "no unique index"),
        ({"table": "people", "write_method": "update", "primary_key": "nr"}, "no column 'nr'"),
    ]:
        with pytest.raises(FatalError, match=said):
            await loader(mariadb_url, **options).open(context())


async def test_another_schema_is_another_database_of_the_server(mariadb_url: str) -> None:
    name = mariadb_url.rpartition("/")[2]
    execute(mariadb_url, TABLE)
    server = mariadb_url.rpartition("/")[0]
    await load(f"{server}/mysql", [numbered(0, 2)], schema=name)
    assert len(query(mariadb_url)) == 2
    assert tables(mariadb_url) == OWN


async def test_contents_and_what_is_stored(mariadb_url: str) -> None:
    execute(mariadb_url, "CREATE TABLE t (id INT PRIMARY KEY, d DATETIME(6), x DECIMAL(5,2), b BLOB)")
    await load(mariadb_url, [[{"id": 1, "d": "2024-01-02T03:04:05Z", "x": "1.50", "b": b"a"}]])
    found = await loader(mariadb_url).stored(context())
    assert (found.exists, found.key, list(found.columns)) == (True, ("id",), ["id", "d", "x", "b"])
    assert list(found.records()) == [{"id": 1, "d": "2024-01-02T03:04:05", "x": "1.50", "b": {"base64": "YQ=="}}]
    assert len(await loader(mariadb_url).contents(context())) == 1
    assert not (await loader(mariadb_url, table="no").stored(context())).exists
    with pytest.raises(FatalError, match="on a server"):
        loader(mariadb_url).scratch(context().base_dir, context())


async def test_what_an_unfinished_run_left_is_told_and_forgotten(mariadb_url: str) -> None:
    execute(mariadb_url, TABLE)
    ctx = context(publish_once=True, stream="people>a")
    writer = await loader(mariadb_url).open(ctx)
    await put(writer, ctx, numbered(0, 3), 1)
    await writer.suspend()
    other = context(fence=5)
    (found,) = await loader(mariadb_url).unfinished(other)
    assert (found.stream, found.run, found.seq, found.visible) == ("people>a", "run_a", 1, False)
    assert len(tables(mariadb_url)) == 3
    await loader(mariadb_url).forget(other, [found.stream])
    assert tables(mariadb_url) == OWN
    assert await loader(mariadb_url).unfinished(other) == []
