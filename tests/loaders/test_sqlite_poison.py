"""Records that SQLite refuses go to the dead letters one by one; trouble with the file never does."""

from __future__ import annotations

from pathlib import Path

import pytest
from etlctl.loaders.sqlite import Sqlite
from sqlite_driving import batch_of, context, execute, load, numbered, put, query, token

from etlctl.batch import rows_to_frame
from etlctl.errors import FatalError
from etlctl.kit.sql import sqlite_dml

TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL CHECK (length(v) < 20))"


def poisoned(bad: set[int], size: int = 5_000) -> list[dict]:
    return [{"id": n, "v": None if n in bad else f"v{n}"} for n in range(size)]


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
@pytest.mark.parametrize("method", ["insert", "upsert", "replace"])
@pytest.mark.parametrize("form", ["rows", "frame"])
@pytest.mark.parametrize(
    "bad",
    [{2_500}, {0}, {4_999}, {100, 101, 102, 4_000}, set(range(5_000)), set(range(0, 5_000, 2))],
    ids=["one", "first", "last", "adjacent", "all", "every other"],
)
async def test_the_good_rows_are_loaded(tmp_path: Path, bad, form, method, once) -> None:
    execute(tmp_path, TABLE)
    rows = poisoned(bad)
    done = await load(
        tmp_path, [rows if form == "rows" else rows_to_frame(rows)], ctx={"publish_once": once}, write_method=method,
        primary_key="id",
    )  # fmt: skip
    assert [one.index for one in done.rejected] == sorted(bad)
    assert {(one.rule, one.field, one.stage) for one in done.rejected} == {("load.constraint", "v", "load")}
    assert done.rejected[0].message == "table 't' refuses the record: NOT NULL constraint failed: t.v"
    assert done.rejected[0].raw == rows[min(bad)]
    assert query(tmp_path, "SELECT id FROM t ORDER BY id") == [(n,) for n in range(5_000) if n not in bad]
    assert done.published.records == 5_000 - len(bad)


async def test_nothing_is_loaded_row_by_row(tmp_path: Path, monkeypatch) -> None:
    statements = []
    run = sqlite_dml.Loading._run

    def counting(self, statement, block):
        for found in run(self, statement, block):
            statements.append(found[0])
            yield found
        statements.append("end")

    monkeypatch.setattr(sqlite_dml.Loading, "_run", counting)
    execute(tmp_path, TABLE)
    await load(tmp_path, [poisoned({7, 9})])
    assert statements == [7, 9, "end"]


async def test_a_record_refused_while_staged_collides_with_the_table_or_with_the_run(tmp_path: Path) -> None:
    execute(tmp_path, TABLE, "CREATE UNIQUE INDEX once ON t (v)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    batches = [
        [{"id": 1, "v": "x"}, {"id": 3, "v": "b"}, {"id": 4, "v": "c"}],
        [{"id": 4, "v": "d"}, {"id": 5, "v": "c"}],
    ]
    done = await load(tmp_path, batches, ctx={"publish_once": True})
    assert [one.message.rpartition("failed: ")[2] for one in done.rejected] == ["t.id", "t.v", "t.id", "t.v"]
    assert query(tmp_path) == [(1, "a"), (2, "b"), (4, "c")]


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
async def test_a_trigger_and_a_conflict_clause_do_not_swallow_records(tmp_path: Path, once) -> None:
    execute(
        tmp_path,
        "CREATE TABLE t (id INTEGER UNIQUE ON CONFLICT IGNORE, v TEXT)",
        "CREATE TRIGGER no BEFORE UPDATE ON t WHEN NEW.v = 'bad' BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    )
    done = await load(tmp_path, [[{"id": 1, "v": "x"}, {"id": 3, "v": "y"}]], ctx={"publish_once": once})
    assert done.rules == ["load.constraint"]
    rows = [{"id": 1, "v": "bad"}, {"id": 2, "v": "good"}]
    options = {"write_method": "update", "primary_key": "id"}
    done = await load(tmp_path, [rows], ctx={"publish_once": once, "run_id": "run_b"}, **options)
    assert [one.message for one in done.rejected] == ["table 't' refuses the record: not this one"]
    assert query(tmp_path) == [(1, "a"), (2, "good"), (3, "y")]


async def test_a_table_that_rolls_back_by_itself_stops_the_run(tmp_path: Path) -> None:
    execute(tmp_path, "CREATE TABLE t (id INTEGER, CHECK (id > 0) ON CONFLICT ROLLBACK)")
    execute(tmp_path, "CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.id = 5 BEGIN SELECT RAISE(ROLLBACK, 'all'); END")
    with pytest.raises(FatalError, match="rolls everything back"):
        await load(tmp_path, [[{"id": 4}, {"id": 5}, {"id": 6}]])
    assert query(tmp_path) == []


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
async def test_a_dropped_table_is_no_poison(tmp_path: Path, once) -> None:
    execute(tmp_path, TABLE)
    ctx = context(tmp_path, publish_once=once)
    writer = await Sqlite(path="x.db", table="t", write_method="update", primary_key="id").open(ctx)
    await put(writer, ctx, numbered(0, 2), 1)
    execute(tmp_path, "DROP TABLE t")
    with pytest.raises(FatalError, match="table"):
        await writer.write(batch_of(numbered(2, 2), 2))
    with pytest.raises(FatalError):
        await writer.write(batch_of(numbered(2, 2), 2))
    await writer.suspend()


async def test_a_batch_that_failed_can_be_written_again(tmp_path: Path, monkeypatch) -> None:
    execute(tmp_path, TABLE)
    ctx = context(tmp_path)
    writer = await Sqlite(path="x.db", table="t", schema_evolution="freeze").open(ctx)
    await put(writer, ctx, numbered(0, 2), 1)
    with pytest.raises(FatalError):
        await writer.write(batch_of([{"id": 5, "v": "a"}, {"id": 6, "v": "b", "new": 1}], 2))
    await put(writer, ctx, numbered(2, 2), 2)
    # Batches that were not committed one by one are undone alone, too.
    await writer.write(batch_of(numbered(4, 2), 3))
    with pytest.raises(FatalError):
        await writer.write(batch_of([{"id": 7, "v": "a", "new": 1}], 4))
    await writer.commit(token(ctx, 3))
    assert (await writer.finish()).records == 6
    assert query(tmp_path, "SELECT id FROM t") == [(n,) for n in range(6)]
