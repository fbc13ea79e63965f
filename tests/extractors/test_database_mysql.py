"""Extractor ``database`` on MariaDB (and so MySQL): exact types, collations, one snapshot, lost connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from database_reading import read, records, rest_after_failure
from etlctl.extractors.database import Database

from etlctl.cursor import Window
from etlctl.errors import FatalError, RetryableError, SourceUnavailable
from etlctl.sdk import ReadContext
from etlctl.testing import check_extractor


@pytest.fixture
def cursor(mariadb_url: str) -> Iterator[Any]:
    import pymysql

    url = urlsplit(mariadb_url)
    with closing(
        pymysql.connect(host=url.hostname, port=url.port, user="root", database=url.path[1:], autocommit=True)
    ) as connection:
        yield connection.cursor()


def test_every_type_is_kept_exactly(mariadb_url, cursor) -> None:
    cursor.execute("SET time_zone = '+02:00'")
    cursor.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, big BIGINT UNSIGNED, n DECIMAL(20, 4), d DOUBLE, s VARCHAR(20), b VARBINARY(5), "
        "day DATE, at DATETIME(6), stamp TIMESTAMP(6), span TIME(6), bits BIT(10), e ENUM('x', 'y'), y YEAR)"
    )
    cursor.execute(
        "INSERT INTO t VALUES (1, 18446744073709551615, -0.1, 0.30000000000000004, '', x'00ff', '1000-01-01', "
        "'9999-12-31 23:59:59.999999', '2024-01-01 02:00:00.5', '-100:00:00.25', b'1000000001', 'y', 2024)"
    )
    cursor.execute("INSERT INTO t (id, stamp) VALUES (2, NULL)")
    one, two = records({"url": mariadb_url, "table": "t"})
    assert one == {
        "id": 1, "big": 2**64 - 1, "n": Decimal("-0.1"), "d": 0.1 + 0.2, "s": "", "b": b"\x00\xff",
        "day": date(1000, 1, 1), "at": datetime.fromisoformat("9999-12-31T23:59:59.999999"),
        "stamp": datetime(2024, 1, 1, 0, 0, 0, 500_000, UTC), "span": -timedelta(hours=100, microseconds=250_000),
        "bits": 513, "e": "y", "y": 2024,
    }  # fmt: skip
    assert two == {**dict.fromkeys(one), "id": 2}
    check_extractor(Database(url=mariadb_url, table="t"), ReadContext(chunk_bytes=1))


def test_dates_that_do_not_exist_are_dead_letters(mariadb_url, cursor) -> None:
    cursor.execute("SET sql_mode = ''")
    cursor.execute("CREATE TABLE t (id INT PRIMARY KEY, day DATE, at DATETIME)")
    cursor.execute(
        "INSERT INTO t VALUES (1, '2024-01-01', NULL), (2, '0000-00-00', NULL), (3, NULL, '2024-02-00 00:00:00')"
    )
    (batch,) = read({"url": mariadb_url, "table": "t"})
    assert batch.to_rows() == [{"id": 1, "day": date(2024, 1, 1), "at": None}]
    assert [(one.index, one.field, one.raw["id"]) for one in batch.rejected] == [(1, "day", 2), (2, "at", 3)]
    assert "0000-00-00" in batch.rejected[0].message


def test_keys_that_a_collation_takes_for_one(mariadb_url, cursor) -> None:
    cursor.execute("CREATE TABLE t (a VARCHAR(9), b INT) CHARACTER SET latin1 COLLATE latin1_swedish_ci")
    cursor.execute("INSERT INTO t VALUES ('b', 1), ('A', 2), ('a', 3), ('a ', 4), (NULL, 5), ('\u00e9', 6), ('E', 7)")
    for options in ({"table": "t", "key": "a"}, {"query": "SELECT * FROM t;", "key": ["a"]}):
        found = records({"url": mariadb_url, **options})
        assert [record["a"] for record in found] == [None, "A", "E", "a", "a ", "b", "\u00e9"]
        check_extractor(Database(url=mariadb_url, **options), ReadContext(chunk_bytes=1))


def test_a_primary_key_is_gone_by_in_its_own_order(mariadb_url, cursor) -> None:
    cursor.execute("CREATE TABLE t (a VARCHAR(9) COLLATE utf8mb4_general_ci, b DATETIME(6), v INT, PRIMARY KEY (a, b))")
    cursor.execute(
        "INSERT INTO t VALUES ('b', '2024-01-01', 1), ('B', '2024-01-01 00:00:00.000001', 2), ('A', '2024-01-01', 3), ('c%s', '2024-01-01', 4)"
    )
    assert [record["v"] for record in records({"url": mariadb_url, "table": "t", "columns": ["v"]})] == [3, 1, 2, 4]
    check_extractor(Database(url=mariadb_url, table="t", columns=["v"]), ReadContext(chunk_bytes=1))


def test_binds_window_and_percent_signs(mariadb_url, cursor) -> None:
    cursor.execute("CREATE TABLE t (id INT PRIMARY KEY, at DATETIME, s VARCHAR(9))")
    cursor.execute(
        "INSERT INTO t VALUES (1, '2024-01-01', '1%'), (2, '2024-01-02', '2%'), (3, NULL, '3%'), (4, '2024-01-04', '4')"
    )
    options = {"url": mariadb_url, "table": "t", "where": "s LIKE '%\\%' AND id < :most", "params": {"most": 9}}
    window = Window(field="at", low="2024-01-02T00:00:00Z", value_type="datetime")
    assert [record["id"] for record in records(options)] == [1, 2, 3]
    assert [record["id"] for record in records(options, window=window)] == [
        3,
        2,
    ]  # nulls first, for the engine to judge
    check_extractor(Database(**options), ReadContext(chunk_bytes=1, window=window))


def test_one_snapshot_and_a_lost_connection(mariadb_url, cursor) -> None:
    cursor.execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(400))")
    cursor.execute("INSERT INTO t SELECT seq, REPEAT('x', 400) FROM seq_1_to_60000")

    def change(batches: int) -> None:
        if batches == 1:
            cursor.execute("DELETE FROM t WHERE id % 2 = 0")

    batches = read({"url": mariadb_url, "table": "t"}, change, chunk_bytes=1 << 20)
    assert sum(map(len, batches)) == 60_000

    def hang_up(batches: int) -> None:
        if batches == 2:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            for (number,) in cursor.fetchall():
                cursor.execute(f"KILL {number}")

    found, error = rest_after_failure({"url": mariadb_url, "table": "t"}, hang_up, chunk_bytes=1 << 16)
    assert isinstance(error, RetryableError), error
    assert [record["id"] for record in found] == list(range(1, 60_001, 2))


def test_nothing_is_changed(mariadb_url, cursor) -> None:
    cursor.execute("CREATE TABLE t (id INT)")
    cursor.execute("INSERT INTO t VALUES (1)")
    for query in ("DELETE FROM t", "INSERT INTO t VALUES (2) RETURNING id"):
        with pytest.raises(FatalError) as refused:
            records({"url": mariadb_url, "query": query})
        assert "only reads" in (refused.value.help or "")
    cursor.execute("SELECT COUNT(*) FROM t")
    assert cursor.fetchone() == (1,)


def test_refusals(mariadb_url, mariadb_server, cursor) -> None:
    cursor.execute("CREATE TABLE t (id INT, f FLOAT)")
    cursor.execute("CREATE USER IF NOT EXISTS reader@'%' IDENTIFIED BY 'right'")
    locked = mariadb_url.replace("root@", "reader:canary-pw@")
    for url, options, kind, said in (
        (mariadb_url, {"table": "none"}, FatalError, "there is no table none"),
        (mariadb_url, {"query": "SELECT none FROM t"}, FatalError, "Unknown column 'none'"),
        (mariadb_url, {"query": "SELECT SLEEP(9)", "statement_timeout": 0.05}, FatalError, "max_statement_time"),
        (f"{mariadb_server}/none", {"table": "t"}, SourceUnavailable, "Unknown database 'none'"),
        (locked, {"table": "t"}, SourceUnavailable, "Access denied"),
        ("mysql://root:canary-pw@127.0.0.1:1/d", {"table": "t"}, RetryableError, "does not answer"),
    ):
        with pytest.raises(kind) as refused:
            records({"url": url, **options})
        assert said in str(refused.value)
        assert "canary" not in f"{refused.value} {refused.value.help}"
    told: list[str] = []
    records({"url": mariadb_url, "table": "t"}, warn=told.append)
    assert any("FLOAT" in one for one in told)
