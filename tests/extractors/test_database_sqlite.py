"""Extractor ``database`` on SQLite: values as they are stored, keys, and a file that is never changed."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from database_reading import read, records
from etlctl.extractors.database import Database

from etlctl.errors import FatalError, SourceUnavailable
from etlctl.sdk import ReadContext
from etlctl.testing import check_extractor

URL = "sqlite:///shop.db"


def make(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_values_are_as_they_are_stored(tmp_path: Path) -> None:
    make(
        tmp_path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n NUMERIC(10, 2), s TEXT, b BLOB, r REAL, x)",
        "INSERT INTO t VALUES (1, 12, '', x'00ff', 1, 1), (2, 0.5, NULL, NULL, NULL, 'one'), "
        f"(3, {2**60}, 'a', x'', 1e300, NULL)",
    )
    found = records({"url": URL, "table": "t"}, base_dir=tmp_path)
    assert found == [
        {"id": 1, "n": 12.0, "s": "", "b": b"\x00\xff", "r": 1.0, "x": 1},
        {"id": 2, "n": 0.5, "s": None, "b": None, "r": None, "x": "one"},
        {"id": 3, "n": 2**60, "s": "a", "b": b"", "r": 1e300, "x": None},
    ]
    assert isinstance(found[0]["n"], float)
    check_extractor(Database(url=URL, table="t"), ReadContext(base_dir=tmp_path, chunk_bytes=1))


def test_uniform_columns_make_frames_of_their_declared_types(tmp_path: Path) -> None:
    make(
        tmp_path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, s VARCHAR(9), r FLOAT)",
        "INSERT INTO t VALUES (1, NULL, NULL)",
    )
    (batch,) = read({"url": URL, "table": "t"}, base_dir=tmp_path)
    assert batch.frame is not None
    assert dict(batch.frame.schema) == {"id": pl.Int64, "s": pl.String, "r": pl.Float64}


def test_without_a_primary_key_the_rowid_leads_and_is_no_field(tmp_path: Path) -> None:
    make(tmp_path, "CREATE TABLE t (a)", *(f"INSERT INTO t VALUES ({n % 3})" for n in range(20)))
    said: list[str] = []
    batches = read({"url": URL, "table": "t"}, base_dir=tmp_path, chunk_bytes=1, warn=said.append)
    assert [record for batch in batches for record in batch.to_rows()] == [{"a": n % 3} for n in range(20)]
    assert batches[-1].position == {"rows": 20, "key": [["etlctl_rowid", 20]]}
    assert said == []


def test_a_primary_key_with_nulls_is_not_gone_by(tmp_path: Path) -> None:
    """SQLite lets two rows have it."""
    make(tmp_path, "CREATE TABLE t (a TEXT PRIMARY KEY)", "INSERT INTO t VALUES (NULL), (NULL), ('x')")
    check_extractor(Database(url=URL, table="t"), ReadContext(base_dir=tmp_path, chunk_bytes=1))
    assert len(records({"url": URL, "table": "t"}, base_dir=tmp_path)) == 3


def test_keys_that_a_collation_takes_for_one(tmp_path: Path) -> None:
    make(tmp_path, "CREATE TABLE t (a TEXT COLLATE NOCASE)", "INSERT INTO t VALUES ('b'), ('A'), ('a'), ('B'), (NULL)")
    for options in ({"table": "t", "key": "a"}, {"query": "SELECT a FROM t", "key": ["a"]}):
        found = records({"url": URL, **options}, base_dir=tmp_path)
        assert [record["a"] for record in found] == [None, "A", "B", "a", "b"]
        check_extractor(Database(url=URL, **options), ReadContext(base_dir=tmp_path, chunk_bytes=1))


def test_a_key_that_is_none_stops_the_run(tmp_path: Path) -> None:
    make(tmp_path, "CREATE TABLE t (a, b)", "INSERT INTO t VALUES (1, 'x'), (1, 'y')")
    with pytest.raises(FatalError, match=r"two rows of table t have the same key \(a=1\)") as refused:
        records({"url": URL, "table": "t", "key": "a"}, base_dir=tmp_path)
    assert "key: [updated_at, id]" in (refused.value.help or "")
    with pytest.raises(FatalError) as refused:
        records({"url": URL, "table": "t", "key": "a"}, base_dir=tmp_path, conceals=True)
    assert "=1" not in str(refused.value)


def test_counted_rows_warn_and_resume(tmp_path: Path) -> None:
    make(tmp_path, "CREATE TABLE t (a INTEGER)", *(f"INSERT INTO t VALUES ({n})" for n in range(20)))
    said: list[str] = []
    read({"url": URL, "query": "SELECT a FROM t"}, base_dir=tmp_path, warn=said.append)
    assert "neither key nor ORDER BY" in said[0]
    ordered = {"url": URL, "query": "SELECT a FROM t WHERE a >= :low ORDER BY a DESC;", "params": {"low": 5}}
    check_extractor(Database(**ordered), ReadContext(base_dir=tmp_path, chunk_bytes=1, warn=said.append))
    assert len(said) == 1
    position = read(ordered, base_dir=tmp_path)[-1].position
    make(tmp_path, "DELETE FROM t WHERE a > 9")
    with pytest.raises(FatalError, match="rows less than had been read"):
        read(ordered, base_dir=tmp_path, position=position)


def test_another_key_than_before_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "CREATE TABLE t (a INTEGER PRIMARY KEY, b)", "INSERT INTO t VALUES (1, 2)")
    position = read({"url": URL, "table": "t"}, base_dir=tmp_path)[-1].position
    with pytest.raises(FatalError, match="was read by a when the run stopped, and would be read by b now"):
        read({"url": URL, "table": "t", "key": "b"}, base_dir=tmp_path, position=position)


def test_hidden_key_columns_and_where(tmp_path: Path) -> None:
    make(
        tmp_path,
        "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, v)",
        *(f"INSERT INTO t VALUES ('k{n}', {n})" for n in range(9)),
    )
    options = {"url": URL, "table": "t", "columns": ["v"], "where": "v > :low OR v = 0", "params": {"low": 5}}
    assert [record["v"] for record in records(options, base_dir=tmp_path)] == [0, 6, 7, 8]
    check_extractor(Database(**options), ReadContext(base_dir=tmp_path, chunk_bytes=1))


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_nothing_is_changed(tmp_path: Path, journal: str) -> None:
    make(tmp_path, f"PRAGMA journal_mode = {journal}", "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    before = hashlib.sha256((tmp_path / "shop.db").read_bytes()).digest()
    for query in ("DELETE FROM t", "INSERT INTO t VALUES (2) RETURNING a", "PRAGMA user_version = 5"):
        with pytest.raises(FatalError):
            records({"url": URL, "query": query}, base_dir=tmp_path)
    assert records({"url": URL, "table": "t"}, base_dir=tmp_path) == [{"a": 1}]
    assert hashlib.sha256((tmp_path / "shop.db").read_bytes()).digest() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop.db"]


def test_one_snapshot_beside_a_writer(tmp_path: Path) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
    made = f"{numbers} INSERT INTO t SELECT i, hex(zeroblob(100)) FROM n"
    make(tmp_path, "PRAGMA journal_mode = wal", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", made)

    def change(batches: int) -> None:
        if batches == 1:
            make(tmp_path, "DELETE FROM t WHERE id % 2 = 0", "INSERT INTO t VALUES (99999, 'new')")

    batches = read({"url": URL, "table": "t"}, change, base_dir=tmp_path, chunk_bytes=1 << 18)
    assert sum(map(len, batches)) == 20_000


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"url": "sqlite:///none.db", "table": "t"}, SourceUnavailable, "there is no database"),
        ({"table": "none"}, FatalError, "there is no table none"),
        ({"table": "t", "key": "none"}, FatalError, "key: table t has no column 'none'; it has a"),
        ({"table": "t", "columns": ["none"]}, FatalError, "columns: table t has no column 'none'"),
        ({"query": "SELECT none FROM t"}, FatalError, "no such column: none"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, FatalError, "several columns of the name 'a'"),
        ({"query": "SELECT a FROM t", "key": "b"}, FatalError, "key: 'b' is no column of the query"),
    ],
)
def test_refusals(tmp_path: Path, options, kind, said) -> None:
    make(tmp_path, "CREATE TABLE t (a)")
    with pytest.raises(kind) as refused:
        records({"url": URL, **options}, base_dir=tmp_path)
    assert said in str(refused.value)


def test_no_rows_still_tell_their_columns(tmp_path: Path) -> None:
    make(tmp_path, "CREATE TABLE t (a INTEGER, b TEXT)")
    (batch,) = read({"url": URL, "table": "t"}, base_dir=tmp_path)
    assert batch.frame is not None
    assert batch.frame.columns == ["a", "b"]
