"""Extractor ``database`` on PostgreSQL: exact types, one snapshot, lost connections, and errors told in its words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import polars as pl
import psycopg
import pytest
from database_reading import read, records, rest_after_failure
from etlctl.extractors.database import Database

from etlctl.cursor import Window
from etlctl.errors import FatalError, RetryableError, SourceUnavailable
from etlctl.sdk import ReadContext
from etlctl.testing import check_extractor


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as made:
        yield made


TYPES = {
    "small": ("smallint", "-32768", -32768, pl.Int64()),
    "big": ("bigint", str(2**63 - 1), 2**63 - 1, pl.Int64()),
    "money": ("numeric(12, 2)", "'-0.10'", Decimal("-0.10"), pl.Decimal(12, 2)),
    "wide": ("numeric(60, 2)", "'12345678901234567890123456789012345.67'", Decimal("12345678901234567890123456789012345.67"), pl.Decimal(38, 2)),
    "round": ("numeric(4, -2)", "12345", Decimal(12300), pl.Decimal(38, 0)),
    "free": ("numeric", "'0.00000000000000000001'", Decimal("1E-20"), pl.Decimal(38, 20)),
    "single": ("real", "0.1", 0.1, pl.Float64()),
    "double": ("double precision", "0.1::float8 + 0.2", 0.1 + 0.2, pl.Float64()),
    "endless": ("double precision", "'-Infinity'", -math.inf, pl.Float64()),
    "flag": ("boolean", "false", False, pl.Boolean()),
    "empty": ("text", "''", "", pl.String()),
    "odd": ("text", r"E'a,\"\n\r\\\\N\u00e9\ufeff'", 'a,"\n\r\\\\Né\ufeff', pl.String()),
    "marked": ("text", r"E'\ufeffx'", "\ufeffx", pl.String()),
    "padded": ("char(4)", "'ab'", "ab  ", pl.String()),
    "bytes": ("bytea", r"'\x00ff'", b"\x00\xff", pl.Binary()),
    "no_bytes": ("bytea", "''", b"", pl.Binary()),
    "day": ("date", "'0001-02-03'", date(1, 2, 3), pl.Date()),
    "clock": ("time", "'23:59:59.999999'", time(23, 59, 59, 999999), pl.Time()),
    "plain": ("timestamp", "'9999-12-31 23:59:59.999999'", datetime.fromisoformat("9999-12-31T23:59:59.999999"), pl.Datetime("us")),
    "instant": ("timestamptz", "'2024-01-01 00:30:00.5+02'", datetime(2023, 12, 31, 22, 30, 0, 500_000, UTC), pl.Datetime("us", "UTC")),
    "numbers": ("integer[]", "'{1,NULL,3}'", [1, None, 3], pl.List(pl.Int64())),
    "words": ("text[]", """'{"a,b",NULL,"NULL",""}'""", ["a,b", None, "NULL", ""], pl.List(pl.String())),
    "nothing": ("text[]", "'{}'", [], pl.List(pl.String())),
    "sums": ("numeric[]", "'{1.5}'", [Decimal("1.5")], pl.List(pl.Decimal(38, 20))),
    "instants": ("timestamptz[]", "'{2024-01-01 00:00+00}'", [datetime(2024, 1, 1, tzinfo=UTC)], pl.List(pl.Datetime("us", "UTC"))),
    "ids": ("uuid[]", "'{00000000-0000-0000-0000-000000000001}'", ["00000000-0000-0000-0000-000000000001"], pl.List(pl.String())),
    "id": ("uuid", "'00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001", pl.String()),
    "span": ("interval", "'1 month 3 seconds'", "P1MT3S", pl.String()),
    "network": ("inet", "'10.0.0.0/8'", "10.0.0.0/8", pl.String()),
}  # fmt: skip


def test_every_type_is_kept_exactly(postgres_url, connection) -> None:
    connection.execute(f"CREATE TABLE t ({', '.join(f'{name} {kind[0]}' for name, kind in TYPES.items())})")
    connection.execute(f"INSERT INTO t VALUES ({', '.join(kind[1] for kind in TYPES.values())})")
    connection.execute(f"INSERT INTO t VALUES ({', '.join('NULL' for _ in TYPES)})")
    (batch,) = read({"url": postgres_url, "table": "t"})
    assert batch.frame is not None
    assert dict(batch.frame.schema) == {name: kind[3] for name, kind in TYPES.items()}
    full, empty = batch.to_rows()
    assert full == {name: kind[2] for name, kind in TYPES.items()}
    assert empty == dict.fromkeys(TYPES)
    for name in TYPES:  # alone, where an empty line of CSV is a null
        found = records({"url": postgres_url, "query": f"SELECT {name} FROM t ORDER BY 1"})
        assert found == [{name: TYPES[name][2]}, {name: None}]


def test_json_is_parsed_or_text(postgres_url, connection) -> None:
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, doc jsonb, raw json)")
    connection.execute(
        """INSERT INTO t VALUES (1, '{"a": [1, {"b": 12345678901234567890.5}]}', '"x"'), (2, 'null', NULL)"""
    )
    parsed = records({"url": postgres_url, "table": "t"})
    assert parsed == [
        {"id": 1, "doc": {"a": [1, {"b": Decimal("12345678901234567890.5")}]}, "raw": "x"},
        {"id": 2, "doc": None, "raw": None},
    ]
    (batch,) = read({"url": postgres_url, "table": "t", "json_columns": "text"})
    assert batch.frame is not None
    assert batch.frame.get_column("raw").to_list() == ['"x"', None]
    check_extractor(Database(url=postgres_url, table="t"), ReadContext(chunk_bytes=1))


def test_values_that_no_column_holds_are_dead_letters(postgres_url, connection) -> None:
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, d date, n numeric, s timestamptz, a int[])")
    connection.execute(
        "INSERT INTO t VALUES (1, '2024-01-01', 1, now(), '{1}'), (2, 'infinity', 1, now(), NULL), "
        "(3, NULL, 'NaN', NULL, NULL), (4, NULL, 1e-21, NULL, NULL), (5, NULL, 1e18, NULL, NULL), "
        "(6, NULL, NULL, '0044-03-15 BC', NULL), (7, '10000-01-01', NULL, NULL, NULL), (8, NULL, NULL, NULL, '{{1}}'), "
        "(9, NULL, 1.50, NULL, NULL)"
    )
    (batch,) = read({"url": postgres_url, "table": "t"})
    assert [record["id"] for record in batch.to_rows()] == [1, 9]
    assert [(one.index, one.field, one.rule) for one in batch.rejected] == [
        (index, field, "database.value") for index, field in enumerate("dnnnsda", start=1)
    ]
    assert batch.rejected[0].message == "field 'd' is the date infinity, which no column can hold"
    assert batch.rejected[1].raw == {"id": "3", "d": None, "n": "NaN", "s": None, "a": None}
    assert batch.rejected[1].location == "table t, row 3"
    check_extractor(Database(url=postgres_url, table="t"), ReadContext(chunk_bytes=1))


def test_binds_are_never_sql(postgres_url, connection) -> None:
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, s text)")
    connection.execute("INSERT INTO t VALUES (1, '2024-01-01', '100%'), (2, '2024-06-01', '''; DROP TABLE t; --')")
    params = {"since": "2024-02-01", "s": "'; DROP TABLE t; --", "n": 5, "f": 0.5, "b": True, "none": None}
    query = (
        "SELECT id, s LIKE '%' AS p FROM t WHERE at > :since AND s = :s AND id < :n AND :f < 1 AND :b AND :none IS NULL"
    )
    assert records({"url": postgres_url, "query": query, "params": params, "key": "id"}) == [{"id": 2, "p": True}]
    options = {"url": postgres_url, "table": "t", "where": "s LIKE '100%' -- all", "columns": ["s"]}
    assert records(options) == [{"s": "100%"}]


def test_keys_of_many_types_are_compared_by_the_database(postgres_url, connection) -> None:
    connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')")
    connection.execute("CREATE TABLE t (m mood, c char(3), f real, at timestamptz, n numeric(9, 3))")
    connection.execute(
        "INSERT INTO t VALUES ('happy', 'a', 'NaN', now(), 1), ('sad', 'b', 0.1, now(), 1.5), (NULL, 'b', 0.3, '-infinity', 2), "
        "('ok', NULL, 'Infinity', '2024-01-01 00:00:00.000001Z', -1), (NULL, NULL, NULL, NULL, NULL), ('sad', 'B ', 0, NULL, 0.001)"
    )
    for key in (["m", "c"], ["f"], ["n", "m"], ["c", "f"]):
        for options in ({"table": "t"}, {"query": "SELECT * FROM t -- all of it"}):
            check_extractor(Database(url=postgres_url, key=key, **options), ReadContext(chunk_bytes=1))
    found = records({"url": postgres_url, "table": "t", "columns": ["m"], "key": ["m", "c"]})
    assert [record["m"] for record in found] == ["sad", "sad", "ok", "happy", None, None]


def test_one_snapshot(postgres_url, connection) -> None:
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    connection.execute("INSERT INTO t SELECT n, repeat('x', 200) FROM generate_series(1, 60000) n")

    def change(batches: int) -> None:
        if batches == 1:
            connection.execute("DELETE FROM t WHERE id % 2 = 0")
            connection.execute("INSERT INTO t SELECT n, 'new' FROM generate_series(60001, 60100) n")

    batches = read({"url": postgres_url, "table": "t"}, change, chunk_bytes=1 << 20)
    assert len(batches) > 5
    assert [id_ for batch in batches for id_ in batch.frame.get_column("id")] == list(range(1, 60001))


@pytest.mark.parametrize("options", [{"table": "t"}, {"query": "SELECT * FROM t ORDER BY id"}], ids=["key", "counted"])
def test_a_lost_connection_is_read_on_from_the_last_position(postgres_url, connection, options) -> None:
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    connection.execute("INSERT INTO t SELECT n, repeat('x', 300) FROM generate_series(1, 60000) n")

    def hang_up(batches: int) -> None:
        if batches == 2:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'etlctl'"
            )

    found, error = rest_after_failure({"url": postgres_url, **options}, hang_up, chunk_bytes=1 << 18)
    assert isinstance(error, RetryableError), error
    assert [record["id"] for record in found] == list(range(1, 60001))


def test_nothing_is_changed(postgres_url, connection) -> None:
    connection.execute("CREATE TABLE t (id int)")
    connection.execute("CREATE FUNCTION sneak() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING id'")
    for query in (
        "SELECT sneak()",
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING id) SELECT * FROM x",
        "DELETE FROM t RETURNING id",
    ):
        with pytest.raises(FatalError):
            records({"url": postgres_url, "query": query})
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        ({"table": "none"}, "there is no table none", "exactly"),
        ({"table": "public.t"}, "there is no table public.t", "schema: public and table: t"),
        ({"table": "t", "schema": "elsewhere"}, "there is no table elsewhere.t", "exactly"),
        ({"query": "SELECT none FROM t"}, 'column "none" does not exist', "column"),
        ({"query": "SELECT 1 FROM none"}, 'relation "none" does not exist', "table"),
        ({"query": "SELEC 1"}, "syntax error", None),
        ({"query": "SELECT id, id FROM t"}, "several columns of the name 'id'", "AS name"),
        ({"query": "SELECT FROM t"}, "gives no columns", "select"),
        ({"query": "SELECT pg_sleep(9)", "statement_timeout": 0.05}, "statement timeout", "statement_timeout"),
        ({"query": "SELECT 1 / id FROM t"}, "division by zero", None),
    ],
)
def test_refusals(postgres_url, connection, options, said, hint) -> None:
    connection.execute("CREATE TABLE t (id int)")
    connection.execute("INSERT INTO t VALUES (0)")
    with pytest.raises(FatalError) as refused:
        records({"url": postgres_url, **options})
    assert said in str(refused.value)
    assert "127.0.0.1" in str(refused.value) or "the query" in str(refused.value)
    assert hint is None or hint in (refused.value.help or "")


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("postgresql://etl:canary-pw@127.0.0.1:1/d", RetryableError, "does not answer"),
        (
            "postgresql://etl:canary-pw@no-such-host.invalid/d",
            SourceUnavailable,
            "there is no host 'no-such-host.invalid'",
        ),
        ("{server}/none?password=canary-pw", SourceUnavailable, 'database "none" does not exist'),
        ("{other}/postgres", SourceUnavailable, 'role "nobody" does not exist'),
    ],
)
def test_connecting(postgres_server, url, kind, said) -> None:
    made = url.format(server=postgres_server, other=postgres_server.replace("etl@", "nobody:canary-pw@"))
    with pytest.raises(kind) as refused:
        records({"url": made, "table": "t"})
    assert said in str(refused.value)
    assert refused.value.exit_code == 6
    assert "canary" not in f"{refused.value} {refused.value.help}"


def test_a_server_with_too_many_clients_is_asked_again(postgres_url, connection) -> None:
    connection.execute("CREATE ROLE guest LOGIN CONNECTION LIMIT 0")
    try:
        with pytest.raises(RetryableError, match="too many connections"):
            records({"url": postgres_url.replace("etl@", "guest@"), "query": "SELECT 1 AS a"})
    finally:
        connection.execute("DROP ROLE guest")


def test_a_window_is_pushed_into_the_table(postgres_url, connection) -> None:
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, plain timestamp, d date, n bigint, s text)")
    connection.execute(
        "INSERT INTO t SELECT n, timestamptz '2024-01-01Z' + n * interval '1 day', timestamp '2024-01-01' + n * interval '1 day', "
        "date '2024-01-01' + n, n, n::text FROM generate_series(0, 9) n"
    )
    connection.execute("INSERT INTO t VALUES (10, NULL, NULL, NULL, NULL, NULL)")
    options = {"url": postgres_url, "table": "t"}
    wanted = {
        "at": Window(field="at", low="2024-01-04T02:00:00+02:00", high="2024-01-06", value_type="datetime"),
        "plain": Window(field="plain", low="2024-01-04T00:00:00Z", high="2024-01-06 00:00:00", value_type="datetime"),
        "d": Window(field="d", low="2024-01-04T10:00:00", high="2024-01-06", value_type="date"),
        "n": Window(field="n", low="3", high="5", value_type="integer"),
    }
    for field, window in wanted.items():
        found = [record["id"] for record in records(options, window=window)]
        assert found == [3, 4, 5, 10], field  # the engine decides about the null
        check_extractor(Database(**options), ReadContext(chunk_bytes=1, window=window))
    unlike = Window(field="s", low="3", value_type="integer")  # texts: comparing them is the engine's business
    assert len(records(options, window=unlike)) == 11
    with pytest.raises(FatalError, match="ascending"):
        records(options, window=Window(field="n", low="3", value_type="integer", row_order="desc"))
