"""Extractor ``database``: reading from any position gives exactly the rest, whatever the keys are made of."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from etlctl.extractors.database import Database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etlctl.sdk import ReadContext
from etlctl.testing import check_extractor

ODD = st.sampled_from(
    ["", " ", "a", "A", "a ", "ä", "é", "e\u0301", "\ufeff", "'", '"', "\\", "%s", ":x", "\n", "\\N", "😀", "z\t"]
)
TEXT = st.one_of(ODD, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4))
WHOLE = st.integers(-(2**63), 2**63 - 1)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(
    st.tuples(st.none() | TEXT, st.none() | WHOLE, st.none() | FLOAT),
    unique_by=lambda row: repr((row[0], row[1])),
    max_size=9,
)
NUMBER = count(1)
QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture], "derandomize": True}
LAW, COSTLY_LAW = settings(max_examples=15, **QUIET), settings(max_examples=5, **QUIET)
KEYS = st.permutations(["s", "n", "f"])


def check(url: str, table: str, key: list[str], folder: Path = Path()) -> None:
    ctx = ReadContext(base_dir=folder, chunk_bytes=1)
    check_extractor(Database(url=url, table=table, key=key), ctx)
    check_extractor(Database(url=url, query=f"SELECT f, n, s FROM {table}", key=key), ctx)


@given(rows=ROWS, key=KEYS)
@LAW
def test_sqlite(tmp_path: Path, rows: list[Any], key: list[str]) -> None:
    table = f"t{next(NUMBER)}"
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute(f"CREATE TABLE {table} (s TEXT COLLATE NOCASE, n, f)")
        connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows)
        connection.commit()
    check("sqlite:///a.db", table, key, tmp_path)


@given(rows=ROWS, key=KEYS)
@LAW
def test_postgres(postgres_url: str, rows: list[Any], key: list[str]) -> None:
    table = f"t{next(NUMBER)}"
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"CREATE TABLE {table} (s text, n bigint, f double precision)")
        connection.cursor().executemany(f"INSERT INTO {table} VALUES (%s, %s, %s)", rows)
    check(postgres_url, table, key)


@given(rows=ROWS, key=KEYS)
@COSTLY_LAW
def test_mysql(mariadb_url: str, rows: list[Any], key: list[str]) -> None:
    import pymysql

    url, table = urlsplit(mariadb_url), f"t{next(NUMBER)}"
    where = {"host": url.hostname, "port": url.port, "user": "root", "database": url.path[1:], "charset": "utf8mb4"}
    with closing(pymysql.connect(**where)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE TABLE {table} (s VARCHAR(20) COLLATE utf8mb4_general_ci, n BIGINT, f DOUBLE)")
        cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s, %s)", rows)
        connection.commit()
    check(mariadb_url, table, key)


@pytest.mark.parametrize("options", [{"table": "t"}, {"query": "SELECT * FROM t ORDER BY b"}], ids=["key", "counted"])
def test_any_sqlalchemy_url(tmp_path: Path, options: dict[str, Any]) -> None:
    """SQLite under a name of its own stands for every system that only SQLAlchemy knows."""
    from sqlalchemy.dialects import registry

    registry.register("strange", "sqlalchemy.dialects.sqlite.pysqlite", "SQLiteDialect_pysqlite")
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("CREATE TABLE t (a TEXT NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (a, b))")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(text, n) for n, text in enumerate("b:a\\%é ")])
        connection.commit()
    made = Database(url=f"strange:///{tmp_path}/a.db", **options)
    check_extractor(made, ReadContext(chunk_bytes=1))
    bound = Database(
        url=f"strange:///{tmp_path}/a.db", query="SELECT b FROM t WHERE a = :a AND ':b' <> a", params={"a": ":"}
    )
    check_extractor(bound, ReadContext(chunk_bytes=1))
