"""A value is in MariaDB exactly as it was, or its record is rejected; the server's own silent changes are refused."""

# ruff: noqa: DTZ001 - databases keep datetimes without a zone

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import polars as pl
import pytest
from database_driving import execute, load, query

from etlctl.batch import rows_to_frame

CET = timezone(timedelta(hours=1))
KEPT = [
    ("BIGINT", [2**63 - 1, -(2**63), 0, None], None),
    ("BIGINT UNSIGNED", [2**64 - 1, 0], None),
    ("INT", [5.0, "7", Decimal(8)], [5, 7, 8]),
    ("TINYINT(1)", [True, False, None], [1, 0, None]),
    ("DECIMAL(30,10)", [Decimal("12345678901234567890.0123456789"), Decimal("-1.5")], None),
    ("DECIMAL(5,2)", ["1.50", 0.1, 3, "1e2"], [Decimal("1.50"), Decimal("0.10"), Decimal(3), Decimal(100)]),
    ("DOUBLE", [0.1, 0.30000000000000004, 1e-300, 5e-324, 1.7976931348623157e308, -0.0, 2**53], None),
    ("FLOAT", [0.5, 0.1], None),
    ("VARCHAR(9)", ["é" * 9, "🙂", "a'b\\n", "", "x ", "%s", "\0\n\r\x1a\"", "NULL"], None),
    ("LONGTEXT", ["x" * 70_000, "\\' OR 1=1; -- ", "true"], None),
    ("LONGTEXT", [True, 12, 1.5, Decimal("1.10"), 2**70], ["1", "12", "1.5", "1.10", str(2**70)]),
    ("LONGTEXT", [[1, "a"], {"k": "é"}], ['[1,"a"]', '{"k":"é"}']),
    ("JSON", [{"k": [1, None]}], ['{"k":[1,null]}']),
    ("BLOB", [b"\x00\xff'\\", b"", "é"], [b"\x00\xff'\\", b"", "é".encode()]),
    ("BINARY(3)", [b"abc"], None),
    ("DATE", [date(2024, 2, 29), "2024-02-28", datetime(2024, 1, 1)],
     [date(2024, 2, 29), date(2024, 2, 28), date(2024, 1, 1)]),
    ("DATETIME(6)", [datetime(2024, 1, 2, 3, 4, 5, 6), datetime(2024, 1, 2, 3, tzinfo=CET), "2024-01-02T03:04:05.5Z",
                     date(2024, 1, 1), "2024-01-02T03:04:05+01:00"],
     [datetime(2024, 1, 2, 3, 4, 5, 6), datetime(2024, 1, 2, 2), datetime(2024, 1, 2, 3, 4, 5, 500_000),
      datetime(2024, 1, 1), datetime(2024, 1, 2, 2, 4, 5)]),
    ("TIMESTAMP NULL", [datetime(2024, 7, 1, 12, tzinfo=UTC)], [datetime(2024, 7, 1, 12)]),
    ("TIME(6)", [time(3, 4, 5, 6), "23:59:59"],
     [timedelta(hours=3, minutes=4, seconds=5, microseconds=6), timedelta(hours=23, minutes=59, seconds=59)]),
    ("ENUM('a','1','b')", ["a", "1"], None),
    ("SET('a','b')", ["a,b", ""], None),
    ("CHAR(36)", [UUID(int=1)], [str(UUID(int=1))]),
    ("YEAR", [2024], None),
    ("BIT(4)", [5], [b"\x05"]),
]  # fmt: skip


async def test_kept(mariadb_url: str) -> None:
    for number, (kind, values, found) in enumerate(KEPT):
        await check_kept(mariadb_url, kind, values, found, number)


async def check_kept(mariadb_url: str, kind, values, found, number) -> None:
    execute(
        mariadb_url,
        "DROP TABLE IF EXISTS t",
        f"CREATE TABLE t (id INT PRIMARY KEY, v {kind}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    )
    records = [{"id": n, "v": value} for n, value in enumerate(values)]
    done = await load(mariadb_url, [records], ctx={"run_id": f"run_{number}", "fence": number + 1})
    assert done.said == [], kind
    rows = query(mariadb_url, "SELECT v FROM t ORDER BY id")
    expected = values if found is None else found
    assert [value for (value,) in rows] == expected
    assert list(map(type, (value for (value,) in rows))) == list(map(type, expected)) or kind in {"DOUBLE", "JSON"}


REFUSED = [
    ("TINYINT", [128, 5.5, "x", "5.9", True + 300, "1e400"]),
    ("INT UNSIGNED", [-1, 2**32]),
    ("BIGINT UNSIGNED", [2**64]),
    ("DECIMAL(5,2)", ["1.234", 1000, Decimal("NaN"), Decimal("Infinity"), "abc", ""]),
    ("DOUBLE", [float("nan"), float("inf"), 2**53 + 1, "0.1000000000000000055511151231257827", 10**400, "x"]),
    ("FLOAT", [0.123456789, 1e39]),
    ("VARCHAR(3)", ["abcd", "abc ", "\ud800", b"ab"]),
    ("CHAR(3)", ["a "]),
    ("TINYTEXT", ["é" * 200]),
    ("VARCHAR(9) CHARACTER SET latin1", ["🙂"]),
    ("JSON", ["{", "x"]),
    ("BINARY(3)", [b"ab", b"abcd", 5]),
    ("DATE", [datetime(2024, 1, 1, 1), "2024-02-30", "soon", 5]),
    ("DATETIME(3)", [datetime(2024, 1, 1, 0, 0, 0, 1), "2024-13-01T00:00:00", "0000-00-00 00:00:00", True]),
    ("TIMESTAMP NULL", [datetime(1950, 1, 1)]),
    ("TIME", [time(1, 2, 3, 4), timedelta(hours=1), "25:00:00"]),
    ("ENUM('a','b')", ["A", "c", 1, ""]),
    ("SET('a','b')", ["c", "a,c"]),
    ("INT NOT NULL", [None]),
    ("INT CHECK (v < 5)", [5]),
]


@pytest.mark.parametrize(("kind", "values"), REFUSED, ids=[kind for kind, _ in REFUSED])
async def test_refused(mariadb_url: str, kind, values) -> None:
    execute(mariadb_url, f"CREATE TABLE t (id INT PRIMARY KEY, v {kind}) CHARACTER SET utf8mb4")
    rows = [[{"id": n, "v": value}] for n, value in enumerate(values)]
    batches = [*rows, *(frame for batch in rows if (frame := framed(batch)) is not None)]
    done = await load(mariadb_url, batches)
    assert len(done.rejected) == len(batches), query(mariadb_url)
    assert query(mariadb_url) == []
    assert all("'v'" in said or "`v`" in said or "t.v" in said for said in done.said), done.said


def framed(batch):
    try:
        return rows_to_frame(batch)
    except Exception:  # noqa: BLE001 - not every value has a frame
        return None


async def test_frames_and_rows_give_the_same(mariadb_url: str) -> None:
    frame = pl.DataFrame(
        {
            "id": [1, 2],
            "at": [datetime(2024, 1, 2, 3, 4, 5), None],
            "utc": pl.Series([datetime(2024, 1, 2), datetime(2024, 1, 3)]).dt.replace_time_zone("UTC"),
            "day": [date(2024, 1, 2), None],
            "money": pl.Series(["1.10", None]).cast(pl.Decimal(10, 2)),
            "ok": [True, None],
            "some": [[1, 2], None],
            "thing": [{"a": 1.5}, {"a": None}],
            "clock": [time(1, 2, 3), None],
            "text": ["'\\", None],
            "big": pl.Series([2**64 - 1, 0], dtype=pl.UInt64),
        }
    )
    columns = (
        "id INT, at DATETIME, utc DATETIME, day DATE, money DECIMAL(9,2), ok BOOL, some JSON, thing JSON, clock TIME, "
        "text TEXT, big BIGINT UNSIGNED"
    )
    execute(mariadb_url, f"CREATE TABLE t ({columns})", "CREATE TABLE u LIKE t")
    done = await load(mariadb_url, [frame])
    assert done.said == []
    await load(mariadb_url, [frame.to_dicts()], table="u", ctx={"stream": "other"})
    assert query(mariadb_url) == query(mariadb_url, "SELECT * FROM u") != []


async def test_columns_that_are_made_keep_everything(mariadb_url: str) -> None:
    record = {
        "id": "A", "n": 2**63 - 1, "huge": 2**64, "x": 0.1, "d": Decimal("12345678901234567890.123456789"), "ok": True,
        "t": "é🙂 ", "b": b"\xff", "at": datetime(2024, 1, 1, 1, 1, 1, 1), "day": date(2024, 1, 1),
        "clock": time(1, 1, 1, 1), "list": [1], "of": {"a": "b"}, "span": timedelta(days=1),
    }  # fmt: skip
    done = await load(
        mariadb_url, [[record, {"id": "a", "t": "T"}, {"id": "a ", "t": "U"}]], create_table=True,
        primary_key="id", write_method="upsert",
    )  # fmt: skip
    assert done.said == []
    rows = query(mariadb_url, "SELECT id, n, huge, x, d, ok, t, b, at, day, list, of, span FROM t ORDER BY t DESC")
    # Texts that differ in case, or in spaces at the end, are different keys.
    assert [row[0] for row in rows] == ["A", "a ", "a"]
    assert rows[0][1:] == (
        2**63 - 1, 2**64, 0.1, Decimal("12345678901234567890.123456789"), 1, "é🙂 ", b"\xff",
        datetime(2024, 1, 1, 1, 1, 1, 1), date(2024, 1, 1), "[1]", '{"a":"b"}', "PT86400S",
    )  # fmt: skip
