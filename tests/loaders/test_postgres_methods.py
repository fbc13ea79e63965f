"""What each write method does to a PostgreSQL table, and that nothing of what belongs to the table is lost."""

from __future__ import annotations

from typing import Any

import polars as pl
import psycopg
import pytest
from etlctl.loaders.postgres import Postgres
from postgres_driving import batch_of, column_types, context, execute, load, numbered, put, query, tables, token

from etlctl.errors import CheckpointError, FatalError, LimitError
from etlctl.sdk.guard import DeclaredField, ReplaceGuard

OLD = [(1, "old", 1), (2, "old", 2), (3, "old", 3)]
ONCE = pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])


def goods(url: str) -> None:
    execute(url, "CREATE TABLE t (id bigint PRIMARY KEY, v text NOT NULL, w int)",
            "INSERT INTO t SELECT i, 'old', i FROM generate_series(1, 3) i")  # fmt: skip


@ONCE
@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("upsert", [(1, "old", 1), (2, "z", 2), (3, "old", 3), (7, "y", None)]),
        ("update", [(1, "old", 1), (2, "z", 2), (3, "old", 3)]),
        ("delete", [(1, "old", 1), (3, "old", 3)]),
    ],
)
async def test_the_last_record_of_a_key_counts(
    postgres_url: str, method: str, expected: Any, framed: bool, once: bool
) -> None:
    goods(postgres_url)
    records = [{"id": 2, "v": "x"}, {"id": 7, "v": "y"}, {"id": 2, "v": "z"}]
    batch = pl.DataFrame(records) if framed else records
    run = await load(postgres_url, [batch], write_method=method, primary_key="id", ctx={"publish_once": once})
    assert run.rules == []
    assert query(postgres_url) == expected
    assert tables(postgres_url) == {"t", "_etlctl_commits"}
    if method != "upsert":
        assert f"1 of 3 records matched no row of table t: there was nothing to {method}" in run.warnings


@ONCE
async def test_a_record_changes_just_its_own_fields_in_order(postgres_url: str, once: bool) -> None:
    goods(postgres_url)
    records = [{"id": 2, "w": 5}, {"id": 2, "v": "b"}, {"id": 2, "w": 6}, {"id": 9, "w": 1}, {"id": 9, "v": "n"}]
    run = await load(postgres_url, [records], write_method="upsert", primary_key=["id"], ctx={"publish_once": once})
    assert [(one.index, one.rule) for one in run.rejected] == [(3, "load.constraint")]  # it has no v, and no row has
    assert query(postgres_url) == [OLD[0], (2, "b", 6), OLD[2], (9, "n", None)]


async def test_rows_that_stay_as_they_are_are_not_written(postgres_url: str) -> None:
    execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY, n numeric, j json, x text)",
            "INSERT INTO t SELECT i, 1.0, '{\"a\": 1}', NULL FROM generate_series(1, 3000) i")  # fmt: skip
    before = query(postgres_url, "SELECT id, xmin::text, ctid::text FROM t ORDER BY id")
    same = pl.DataFrame({"id": range(1, 3001), "n": ["1.0"] * 3000, "j": ['{"a": 1}'] * 3000, "x": [None] * 3000})
    changed = same.with_columns(n=pl.when(pl.col("id") == 1500).then(pl.lit("1.00")).otherwise(pl.col("n")))
    parts = [same[:1000], same[1000:], changed]
    assert (await load(postgres_url, parts, write_method="upsert", primary_key="id")).rules == []
    after = query(postgres_url, "SELECT id, xmin::text, ctid::text FROM t ORDER BY id")
    assert [one[0] for one, other in zip(after, before, strict=True) if one != other] == [1500]
    assert query(postgres_url, "SELECT n::text FROM t WHERE id IN (1499, 1500) ORDER BY id") == [("1.0",), ("1.00",)]


async def test_keys_that_only_the_server_knows_to_be_one(postgres_url: str) -> None:
    execute(postgres_url, "CREATE TABLE t (id numeric PRIMARY KEY, v text)")
    records = pl.DataFrame({"id": ["1", "1.0", "2"], "v": ["a", "b", "c"]})
    assert (await load(postgres_url, [records], write_method="upsert", primary_key="id")).rules == []
    assert query(postgres_url, "SELECT id::int, v FROM t ORDER BY 1") == [(1, "b"), (2, "c")]


@pytest.mark.parametrize("method", ["replace", "truncate_and_load"])
async def test_a_replace_keeps_what_belongs_to_the_table(postgres_url: str, method: str) -> None:
    execute(
        postgres_url,
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text DEFAULT 'd', up text "
        "GENERATED ALWAYS AS (upper(v)) STORED)",
        "CREATE INDEX by_v ON t (v)",
        "CREATE VIEW seen AS SELECT v FROM t",
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader",
        "GRANT SELECT ON t TO reader",
        "INSERT INTO t (v) VALUES ('old'), ('older')",
    )
    try:
        await load(postgres_url, [[{"v": "a"}, {"v": "b"}], [{"id": 50, "v": "c"}]], write_method=method)
        assert query(postgres_url, "SELECT v, up, id = 50 FROM t ORDER BY v") == [
            ("a", "A", False), ("b", "B", False), ("c", "C", True),
        ]  # fmt: skip
        assert query(postgres_url, "SELECT count(*) FROM seen") == [(3,)]
        assert query(postgres_url, "SELECT has_table_privilege('reader', 't', 'SELECT')") == [(True,)]
        assert query(postgres_url, "SELECT indexname FROM pg_indexes WHERE tablename = 't' ORDER BY 1") == [
            ("by_v",), ("t_pkey",),
        ]  # fmt: skip
        execute(postgres_url, "INSERT INTO t (v) VALUES ('next')")  # the numbering goes on
        assert tables(postgres_url) == {"t", "_etlctl_commits"}
    finally:
        execute(postgres_url, "DROP OWNED BY reader", "DROP ROLE reader")


async def test_readers_see_the_old_rows_until_they_see_the_new_ones(postgres_url: str) -> None:
    goods(postgres_url)
    ctx = context()
    writer = await Postgres(url=postgres_url, table="t", write_method="replace").open(ctx)
    await put(writer, ctx, [{"id": 9, "v": "new"}], 1)
    with psycopg.connect(postgres_url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class LIMIT 1")
        assert query(postgres_url) == OLD
        await writer.finish()
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (3,)
    await writer.close()
    assert query(postgres_url) == [(9, "new", None)]


async def test_a_replace_that_would_empty_or_shrink_too_much_is_refused(postgres_url: str) -> None:
    goods(postgres_url)
    with pytest.raises(LimitError, match="by nothing"):
        await load(postgres_url, [], write_method="replace")
    guard = {"guard": ReplaceGuard(max_shrink_percent=50)}
    with pytest.raises(LimitError, match=r"3 records of .* by 1"):
        await load(postgres_url, [[{"id": 1, "v": "x"}]], write_method="replace", ctx=guard)
    assert query(postgres_url) == OLD
    assert tables(postgres_url) == {"t", "_etlctl_commits"}


async def test_a_replace_does_not_take_rows_of_other_tables_along(postgres_url: str) -> None:
    goods(postgres_url)
    execute(postgres_url, "CREATE TABLE child (t_id bigint REFERENCES t ON DELETE CASCADE)")
    with pytest.raises(FatalError, match="rows of child"):
        await load(postgres_url, [numbered(1, 3)], write_method="replace")


async def test_a_new_table_gets_types_a_key_and_its_name(postgres_url: str) -> None:
    fields = {
        "name": DeclaredField("string", required=True),
        "at": DeclaredField("datetime"),
        "n": DeclaredField("any"),
    }
    records = [{"id": 1, "name": "Ann", "n": 2.5, "tags": ["a"]}]
    run = await load(
        postgres_url, [records], table="Order's", create_table=True, write_method="replace", primary_key="id",
        ctx={"fields": fields},
    )  # fmt: skip
    assert run.rules == []
    assert column_types(postgres_url, '"Order\'\'s"') == {
        "name": "text", "at": "timestamp with time zone", "n": "double precision", "id": "bigint", "tags": "jsonb",
    }  # fmt: skip
    assert query(postgres_url, "SELECT conname FROM pg_constraint WHERE contype = 'p' AND conname LIKE 'Order%'") == [
        ("Order's_pkey",)
    ]


async def test_new_fields_become_columns_or_not(postgres_url: str) -> None:
    goods(postgres_url)
    batch = [{"id": 5, "v": "n", "more": {"a": 1}}]
    with pytest.raises(FatalError, match="no column for the field 'more'"):
        await load(postgres_url, [batch])
    run = await load(postgres_url, [batch], schema_evolution="evolve", ctx={"run_id": "run_b"})
    assert [(one.field, one.kind) for one in run.drift if one.kind == "field_added"] == [("more", "field_added")]
    assert column_types(postgres_url)["more"] == "jsonb"
    run = await load(
        postgres_url, [[{"id": 6, "v": "n", "z": 1}]], schema_evolution="drop_row", ctx={"run_id": "run_c"}
    )
    assert run.rules == ["load.unknown_field"]


async def test_an_evolved_column_goes_when_its_batch_is_undone(postgres_url: str) -> None:
    goods(postgres_url)
    ctx = context()
    writer = await Postgres(url=postgres_url, table="t", schema_evolution="evolve").open(ctx)
    await writer.write(batch_of([{"id": 5, "v": "n", "more": 1}], 1))
    await writer.abort()
    assert "more" not in column_types(postgres_url)


@ONCE
async def test_a_staged_run_is_gone_on_with(postgres_url: str, once: bool) -> None:
    goods(postgres_url)
    ctx = context(publish_once=once)
    loader = Postgres(url=postgres_url, table="t", write_method="upsert", primary_key="id")
    first = await loader.open(ctx)
    await put(first, ctx, numbered(2, 2), 1)
    await first.write(batch_of(numbered(70, 2), 2))
    await first.suspend()
    assert (query(postgres_url) == OLD) is once
    again = context(publish_once=once, resume=True, fence=2)
    second = await loader.open(again)
    held = await second.committed()
    assert held is not None
    assert (held.seq, held.visible) == (1, not once)
    await put(second, again, numbered(4, 2), 2)
    assert (await second.finish()).records == 4
    await second.close()
    assert query(postgres_url, "SELECT id, v FROM t ORDER BY id") == [
        (1, "old"), (2, "v2"), (3, "v3"), (4, "v4"), (5, "v5"),
    ]  # fmt: skip


async def test_what_a_token_speaks_of_must_be_there(postgres_url: str) -> None:
    goods(postgres_url)
    ctx = context(publish_once=True)
    first = await Postgres(url=postgres_url, table="t").open(ctx)
    await put(first, ctx, numbered(7, 2), 1)
    await first.suspend()
    (stage,) = [name for name in tables(postgres_url) if name.startswith("_etlctl_stage")]
    execute(postgres_url, f"DROP TABLE {stage}")
    with pytest.raises(CheckpointError, match="is gone"):
        await Postgres(url=postgres_url, table="t").open(context(publish_once=True, resume=True, fence=2))


async def test_unfinished_runs_are_found_and_forgotten(postgres_url: str) -> None:
    goods(postgres_url)
    ctx = context(stream="people>eu", publish_once=True)
    loader = Postgres(url=postgres_url, table="t")
    assert (await loader.held(ctx), await loader.unfinished(ctx)) == (None, [])
    writer = await loader.open(ctx)
    await put(writer, ctx, numbered(7, 2), 1)
    await writer.suspend()
    found = await loader.unfinished(context())
    assert [(one.stream, one.seq, one.visible) for one in found] == [("people>eu", 1, False)]
    await loader.forget(context(fence=3), ["people>eu"])
    assert tables(postgres_url) == {"t", "_etlctl_commits"}
    held = await loader.held(ctx)
    assert held is not None
    assert (held.run, held.fence) == ("", 3)


async def test_a_plan_works_on_a_copy_that_nobody_else_sees(postgres_url: str, tmp_path: Any) -> None:
    goods(postgres_url)
    ctx = context()
    real = Postgres(url=postgres_url, table="t", write_method="upsert", primary_key="id", schema_evolution="evolve")
    before = real.scratch(tmp_path, ctx)
    after = before.scratch(tmp_path, ctx)
    writer = await after.open(ctx)
    await put(writer, ctx, [{"id": 1, "v": "x", "more": 1}, {"id": 8, "v": "y"}], 1)
    await writer.finish()
    await writer.close()
    now, was = await after.stored(ctx), await before.stored(ctx)
    assert [one["v"] for one in now.records()] == ["old", "old", "x", "y"]
    assert [one["v"] for one in was.records()] == ["old"] * 3
    assert (now.key, list(now.columns)) == (("id",), ["id", "v", "w", "more"])
    assert query(postgres_url) == OLD
    assert tables(postgres_url) == {"t"}
    copy = Postgres.model_validate_json(after.model_dump_json())
    with pytest.raises(FatalError, match="belongs to one process"):
        await copy.open(ctx)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": "T"}, "did you mean 't'"),
        ({"table": "t", "schema": "elsewhere"}, "no schema 'elsewhere'"),
        ({"table": "seen"}, "is a view"),
        ({"table": "t", "write_method": "upsert", "primary_key": "v"}, "no unique index"),
        ({"table": "t", "write_method": "update", "primary_key": "nope"}, "no column 'nope'"),
    ],
)
async def test_what_cannot_be_loaded_is_told(postgres_url: str, options: dict[str, Any], said: str) -> None:
    goods(postgres_url)
    execute(postgres_url, "CREATE VIEW seen AS SELECT 1 AS id")
    with pytest.raises(FatalError) as caught:
        await Postgres(url=postgres_url, **options).open(context())
    assert said in f"{caught.value} {caught.value.help}"


async def test_another_schema_has_tokens_of_its_own(postgres_url: str) -> None:
    execute(postgres_url, "CREATE SCHEMA shop", "CREATE TABLE shop.t (id int, v text)")
    await load(postgres_url, [numbered(0, 2)], schema="shop")
    assert query(postgres_url, "SELECT id FROM shop.t ORDER BY 1") == [(0,), (1,)]
    assert query(postgres_url, "SELECT run, finished FROM shop._etlctl_commits") == [("run_a", 1)]


async def test_a_dry_run_does_not_even_connect() -> None:
    writer = await Postgres(url="postgresql://nobody@127.0.0.1:1/none", table="t").open(context(dry_run=True))
    await writer.write(batch_of(numbered(0, 2), 1))
    await writer.commit(token(context(), 1))
