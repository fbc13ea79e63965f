"""Write methods of the SQLite loader, from rows and frames, straight in and staged: the table afterwards is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlite_driving import execute, load, query, tables

from etlctl.batch import rows_to_frame
from etlctl.errors import FatalError, LimitError
from etlctl.sdk.guard import DeclaredField, ReplaceGuard

TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, extra TEXT DEFAULT 'keep')"
BEFORE = "INSERT INTO t VALUES (1, 'old', 'mine'), (9, 'nine', 'n')"
ROWS = [{"id": 1, "v": "new"}, {"id": 2, "v": "two"}, {"id": 2, "v": "last"}]


@pytest.fixture(params=[False, True], ids=["direct", "staged"])
def once(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"publish_once": request.param}


@pytest.fixture(params=["rows", "frame"])
def form(request: pytest.FixtureRequest) -> Any:
    return (lambda rows: rows) if request.param == "rows" else rows_to_frame


@pytest.fixture(params=[1, 3], ids=["batches-of-1", "one-batch"])
def split(request: pytest.FixtureRequest, form: Any) -> Any:
    size = request.param
    return lambda rows: [form(rows[start : start + size]) for start in range(0, len(rows), size)]


@pytest.mark.parametrize(
    ("method", "after", "rules"),
    [
        ("upsert", [(1, "new", "mine"), (2, "last", "keep"), (9, "nine", "n")], []),
        ("update", [(1, "new", "mine"), (9, "nine", "n")], []),
        ("delete", [(9, "nine", "n")], []),
        ("insert", [(1, "old", "mine"), (2, "two", "keep"), (9, "nine", "n")], ["load.constraint"] * 2),
        ("append", [(1, "old", "mine"), (2, "two", "keep"), (9, "nine", "n")], ["load.constraint"] * 2),
        ("replace", [(1, "new", "keep"), (2, "two", "keep")], ["load.constraint"]),
        ("overwrite", [(1, "new", "keep"), (2, "two", "keep")], ["load.constraint"]),
        ("truncate_and_load", [(1, "new", "keep"), (2, "two", "keep")], ["load.constraint"]),
    ],
)
async def test_what_a_method_does(tmp_path: Path, split, once, method, after, rules) -> None:
    execute(tmp_path, TABLE, BEFORE)
    done = await load(tmp_path, split(ROWS), ctx=once, write_method=method, primary_key="id")
    assert query(tmp_path) == after
    assert done.rules == rules
    assert done.published.records == 3 - len(rules)
    assert tables(tmp_path) == {"t", "_etlctl_commits"}


@pytest.mark.parametrize("method", ["insert", "upsert", "replace"])
async def test_a_table_is_made_from_schema_and_first_batch(tmp_path: Path, split, once, method) -> None:
    fields = {"id": DeclaredField("integer", required=True), "price": DeclaredField("decimal")}
    await load(
        tmp_path, split(ROWS[:2]), ctx={**once, "fields": fields}, write_method=method, primary_key="id",
        create_table=True,
    )  # fmt: skip
    assert query(tmp_path, "SELECT name, type, \"notnull\", pk FROM pragma_table_info('t')") == [
        ("id", "INTEGER", 1, 1),
        ("price", "TEXT", 0, 0),
        ("v", "TEXT", 0, 0),
    ]
    assert query(tmp_path) == [(1, None, "new"), (2, None, "two")]
    assert tables(tmp_path) == {"t", "_etlctl_commits"}


async def test_an_empty_run_still_makes_a_declared_table(tmp_path: Path, once) -> None:
    await load(tmp_path, [], ctx={**once, "fields": {"id": DeclaredField("integer")}}, create_table=True)
    assert query(tmp_path) == []


async def test_a_missing_field_is_no_null(tmp_path: Path, once) -> None:
    execute(tmp_path, TABLE, BEFORE)
    rows = [
        {"id": 1, "v": "a", "extra": "x"},
        {"id": 1, "v": "b"},
        {"id": 1, "extra": "y"},
        {"id": 9, "v": None},
        {"id": 3},
    ]
    await load(tmp_path, [rows], ctx=once, write_method="upsert", primary_key="id")
    assert query(tmp_path) == [(1, "b", "y"), (3, None, "keep"), (9, None, "n")]


async def test_the_order_of_records_with_one_key_is_kept(tmp_path: Path, once) -> None:
    execute(tmp_path, TABLE)
    rows = [{"id": 1, "v": "a", "extra": "x"}, {"id": 1, "v": "b"}, {"id": 1, "v": "c", "extra": "z"}]
    await load(tmp_path, [rows, [{"id": 2, "v": "d"}]], ctx=once, write_method="upsert", primary_key="id")
    assert query(tmp_path) == [(1, "c", "z"), (2, "d", "keep")]


async def test_a_partial_record_needs_no_required_column_of_a_row_that_is_there(tmp_path: Path, once) -> None:
    execute(
        tmp_path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL, v TEXT)",
        "INSERT INTO t VALUES (1, 'Ann', 'a')",
    )
    batches = [[{"id": 5, "name": "Eve", "v": "a"}], [{"id": 1, "v": "b"}, {"id": 2, "v": "c"}, {"id": 5, "v": "z"}]]
    done = await load(tmp_path, batches, ctx=once, write_method="upsert", primary_key="id")
    assert query(tmp_path) == [(1, "Ann", "b"), (5, "Eve", "z")]
    assert [(one.rule, one.field, one.raw) for one in done.rejected] == [
        ("load.constraint", "name", {"id": 2, "v": "c"})
    ]


@pytest.mark.parametrize("method", ["upsert", "update", "delete"])
async def test_a_record_without_its_key_is_rejected(tmp_path: Path, form, once, method) -> None:
    execute(tmp_path, TABLE, BEFORE)
    done = await load(
        tmp_path, [form([{"id": None, "v": "x"}, {"id": 9, "v": "y"}])], ctx=once, write_method=method, primary_key="id"
    )
    assert [(one.index, one.rule, one.field) for one in done.rejected] == [(0, "load.null_key", "id")]
    more = await load(tmp_path, [[{"v": "x"}]], ctx={**once, "run_id": "run_b"}, write_method=method, primary_key="id")
    assert more.rules == ["load.null_key"]


async def test_an_upsert_needs_a_unique_index(tmp_path: Path, once) -> None:
    execute(tmp_path, "CREATE TABLE t (a INTEGER, b INTEGER, v TEXT)")
    options = {"write_method": "upsert", "primary_key": ["a", "b"]}
    with pytest.raises(FatalError) as caught:
        await load(tmp_path, [], ctx=once, **options)
    execute(tmp_path, caught.value.help.partition(": ")[2])
    await load(tmp_path, [[{"a": 1, "b": 1, "v": "x"}, {"a": 1, "b": 1, "v": "y"}]], ctx=once, **options)
    assert query(tmp_path) == [(1, 1, "y")]


async def test_numbers_that_sqlite_gives_continue_those_of_the_table(tmp_path: Path, once) -> None:
    execute(tmp_path, TABLE, BEFORE)
    await load(tmp_path, [[{"v": "a"}, {"v": "b"}], [{"id": 3, "v": "c"}, {"id": None, "v": "d"}]], ctx=once)
    assert query(tmp_path, "SELECT id, v FROM t ORDER BY id") == [
        (1, "old"),
        (3, "c"),
        (9, "nine"),
        (10, "a"),
        (11, "b"),
        (12, "d"),
    ]


async def test_a_replace_keeps_indexes_triggers_and_constraints(tmp_path: Path) -> None:
    execute(
        tmp_path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT CHECK (v <> 'bad'), w TEXT GENERATED ALWAYS AS (upper(v)))",
        "CREATE INDEX by_v ON t (v)",
        "CREATE UNIQUE INDEX once_v ON t (v) WHERE id > 0",
        "CREATE TABLE log (n INTEGER)",
        "CREATE TRIGGER seen AFTER INSERT ON t BEGIN INSERT INTO log VALUES (NEW.id); END",
        "INSERT INTO t (id, v) VALUES (1, 'old')",
    )
    before = query(tmp_path, "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '%etlctl%' ORDER BY 2")
    rows = [{"id": 7, "v": "a"}, {"id": 8, "v": "bad"}, {"id": 9, "v": "a"}]
    done = await load(tmp_path, [rows], write_method="replace")
    assert query(tmp_path) == [(7, "a", "A")]
    assert done.rules == ["load.constraint", "load.constraint"]
    assert query(tmp_path, "SELECT n FROM log") == [(1,), (7,)]
    assert (
        query(tmp_path, "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '%etlctl%' ORDER BY 2") == before
    )


@pytest.mark.parametrize("method", ["replace", "truncate_and_load"])
async def test_the_guard_keeps_the_old_rows(tmp_path: Path, method) -> None:
    execute(tmp_path, TABLE, BEFORE)
    with pytest.raises(LimitError, match="by nothing"):
        await load(tmp_path, [], write_method=method)
    guard = ReplaceGuard(max_shrink_percent=40)
    with pytest.raises(LimitError):
        await load(tmp_path, [[{"id": 1, "v": "x"}]], ctx={"guard": guard, "run_id": "run_b"}, write_method=method)
    assert len(query(tmp_path)) == 2
    await load(tmp_path, [], ctx={"guard": ReplaceGuard(allow_empty=True), "run_id": "run_c"}, write_method=method)
    assert query(tmp_path) == []


@pytest.mark.parametrize("method", ["insert", "upsert", "update", "replace"])
@pytest.mark.parametrize(
    ("evolution", "columns", "rules"),
    [
        ("evolve", ["id", "v", "extra", "new"], []),
        ("freeze", None, []),
        ("drop_value", ["id", "v", "extra"], []),
        ("drop_row", ["id", "v", "extra"], ["load.unknown_field"]),
    ],
)
async def test_schema_evolution(tmp_path: Path, form, once, method, evolution, columns, rules) -> None:
    execute(tmp_path, TABLE, BEFORE)
    batches = [form([{"id": 9, "v": "a"}]), form([{"id": 1, "v": "b", "new": 5}, {"id": 4, "v": "c", "new": None}])]
    if method == "insert":
        execute(tmp_path, "DELETE FROM t")
    options = {"write_method": method, "schema_evolution": evolution, "primary_key": "id"}
    if columns is None:
        with pytest.raises(FatalError, match="'new'") as caught:
            await load(tmp_path, batches, ctx=once, **options)
        assert "schema_evolution: evolve" in caught.value.help
        return
    done = await load(tmp_path, batches, ctx=once, **options)
    assert done.rules == rules
    assert [name for (name,) in query(tmp_path, "SELECT name FROM pragma_table_info('t')")] == columns
    values = dict(query(tmp_path, f"SELECT id, {columns[-1]} FROM t"))
    if evolution == "evolve":
        assert values == ({9: None, 1: 5} if method == "update" else {9: None, 1: 5, 4: None})
    if evolution == "drop_value":
        assert any("'new'" in one for one in done.warnings)


async def test_a_null_is_no_unknown_field(tmp_path: Path, form, once) -> None:
    execute(tmp_path, TABLE)
    await load(tmp_path, [form([{"id": 1, "new": None}])], ctx=once)
    assert query(tmp_path) == [(1, None, "keep")]


async def test_names_are_quoted_and_case_is_one(tmp_path: Path, form, once) -> None:
    name = 'a "strange"; name*'
    await load(tmp_path, [form([{name: 1, "^x$": "y", "select": [1]}])], ctx=once, create_table=True, table='t"; x')
    assert query(tmp_path, 'SELECT * FROM "t""; x"') == [(1, "y", "[1]")]
    execute(tmp_path, TABLE)
    ctx = {**once, "stream": "b"}
    await load(tmp_path, [form([{"ID": 1, "V": "x"}])], ctx=ctx, table="T", write_method="upsert", primary_key="ID")
    assert query(tmp_path) == [(1, "x", "keep")]
    with pytest.raises(FatalError, match="one column"):
        await load(tmp_path, [form([{"ID": 1, "id": 2}])], ctx={**once, "stream": "c"})


async def test_two_streams_fill_one_table(tmp_path: Path, once) -> None:
    execute(tmp_path, TABLE)
    await load(tmp_path, [[{"id": 1, "v": "a"}]], ctx={**once, "stream": "a"})
    await load(tmp_path, [[{"id": 2, "v": "b"}]], ctx={**once, "stream": "b"})
    assert query(tmp_path, "SELECT id, v FROM t") == [(1, "a"), (2, "b")]
    assert query(tmp_path, "SELECT stream, seq, finished FROM _etlctl_commits ORDER BY 1") == [("a", 1, 1), ("b", 1, 1)]


async def test_update_tells_of_a_key_without_index(tmp_path: Path) -> None:
    execute(tmp_path, "CREATE TABLE t (k TEXT, v TEXT)", "INSERT INTO t VALUES ('a', '1'), ('a', '2')")
    done = await load(tmp_path, [pl.DataFrame({"k": ["a"], "v": ["x"]})], write_method="update", primary_key="k")
    assert query(tmp_path) == [("a", "x"), ("a", "x")]
    assert any("no index" in one and "CREATE INDEX" in one for one in done.warnings)
