"""Values in SQLite are exactly what they were, or the record is rejected; rows and frames agree."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_driving import execute, load, query

from etlctl.batch import rows_to_frame

VALUES: list[tuple[Any, Any]] = [
    (True, 1),
    (2**63 - 1, 2**63 - 1),
    (-(2**63), -(2**63)),
    (0.1, 0.1),
    (float("inf"), float("inf")),
    ("Zoë \0 00123", "Zoë \0 00123"),
    (b"\x00\xff", b"\x00\xff"),
    (Decimal("12345678901234567890.1200"), "12345678901234567890.1200"),
    (date(2024, 2, 29), "2024-02-29"),
    (datetime.fromisoformat("2024-01-01T12:00:00"), "2024-01-01T12:00:00"),
    (datetime(2024, 1, 1, 12, 0, 0, 5, tzinfo=UTC), "2024-01-01T12:00:00.000005Z"),
    (time(1, 2, 3), "01:02:03"),
    (timedelta(seconds=90), "PT90S"),
    ({"a": 1, "at": datetime(2024, 1, 1, tzinfo=UTC)}, '{"a":1,"at":"2024-01-01T00:00:00Z"}'),
    ([1, None, 2], "[1,null,2]"),
]


@pytest.mark.parametrize("form", ["rows", "frame"])
@pytest.mark.parametrize(("value", "kept"), VALUES, ids=lambda value: type(value).__name__)
async def test_a_value_is_kept(tmp_path: Path, form, value, kept) -> None:
    rows = [{"v": value}, {"v": None}]
    await load(tmp_path, [rows if form == "rows" else rows_to_frame(rows)], create_table=True)
    assert query(tmp_path) == [(kept,), (None,)]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2024-01-01T00:00:00+02:00"),
        ({"d": Decimal("1.10")}, '{"d":1.10}'),
        (2**200, str(2**200)),
        ((1, 2), "[1,2]"),
    ],
    ids=str,
)
async def test_rows_only_values(tmp_path: Path, value, kept) -> None:
    await load(tmp_path, [[{"v": value}]], create_table=True)
    assert query(tmp_path) == [(kept,)]


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("INTEGER", 2**63, "load.out_of_range"),
        ("REAL", 2**53 + 1, "load.out_of_range"),
        ("REAL", 2**70 + 1, "load.out_of_range"),
        ("INTEGER", "12345678901234567890", "load.out_of_range"),
        ("NUMERIC", Decimal("1234567890.123456789"), "load.out_of_range"),
        ("REAL", "0.1234567890123456789", "load.out_of_range"),
        ("TEXT", float("nan"), "load.not_finite"),
        ("", float("nan"), "load.not_finite"),
        ("", Decimal("NaN"), "load.not_finite"),
        ("", [float("nan")], "load.not_finite"),
        ("", "half \ud800 pair", "load.not_utf8"),
        ("", {"\ud800": 1}, "load.not_utf8"),
        ("", object(), "load.type"),
        ("INTEGER PRIMARY KEY", "x", "load.type"),
        ("TEXT CHECK (v IS NULL OR json_extract(v, '$.a'))", "{", "load.constraint"),
    ],
)
@pytest.mark.parametrize("once", [False, True])
async def test_a_value_that_cannot_be_kept_is_rejected_alone(tmp_path: Path, column, value, rule, once) -> None:
    execute(tmp_path, f"CREATE TABLE t (n INTEGER, v {column})")
    rows = [{"n": 1, "v": None}, {"n": 2, "v": value}, {"n": 3, "v": None}]
    done = await load(tmp_path, [rows], ctx={"publish_once": once})
    assert [(one.index, one.rule, one.raw) for one in done.rejected] == [(1, rule, rows[1])]
    assert query(tmp_path, "SELECT n FROM t") == [(1,), (3,)]
    assert " 't' " in done.rejected[0].message or "'v'" in done.rejected[0].message


@pytest.mark.parametrize(
    ("column", "values", "kept"),
    [
        ("TEXT", [0.1 + 0.2, 1e300], ["0.30000000000000004", "1e+300"]),
        ("TEXT", [2**64 - 1], [str(2**64 - 1)]),
        ("INTEGER", ["12", "x", "123456789012345678"], [12, "x", 123456789012345678]),
        ("INTEGER", [5.0, 2.5], [5, 2.5]),
        ("REAL", [2**53, 2**60], [float(2**53), float(2**60)]),
        ("NUMERIC", [Decimal("1.25"), Decimal(12345678901234567)], [1.25, 12345678901234567]),
    ],
)
@pytest.mark.parametrize("form", ["rows", "frame"])
async def test_what_a_column_makes_of_a_value_is_the_same_value(tmp_path: Path, column, values, kept, form) -> None:
    execute(tmp_path, f"CREATE TABLE t (v {column})")
    rows = [{"v": value} for value in values]
    done = await load(tmp_path, [rows if form == "rows" else rows_to_frame(rows)])
    assert done.rejected == []
    assert [value for (value,) in query(tmp_path)] == kept


async def test_refused_rows_of_a_frame(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"n": [1, 2, 3, 4], "f": [1.0, float("nan"), 3.0, 4.0], "l": [[1.0], [2.0], [float("inf")], None]}
    )
    done = await load(tmp_path, [frame], create_table=True)
    assert [(one.index, one.rule, one.raw["n"]) for one in done.rejected] == [
        (1, "load.not_finite", 2),
        (2, "load.not_finite", 3),
    ]
    assert query(tmp_path) == [(1, 1.0, "[1.0]"), (4, 4.0, None)]


async def test_rare_column_types_of_frames(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "u": pl.Series([2**64 - 1, 1], dtype=pl.UInt64),
            "c": pl.Series(["a", "b"], dtype=pl.Categorical),
            "z": pl.Series([date(2024, 6, 1), None]).cast(pl.Datetime("us")).dt.replace_time_zone("Europe/Berlin"),
            "s": [[{"d": Decimal("1.50")}], None],
            "n": pl.Series([None, None], dtype=pl.Null),
            "f": pl.Series([0.5, None], dtype=pl.Float32),
        }
    )
    await load(tmp_path, [frame], create_table=True)
    assert query(tmp_path) == [
        (str(2**64 - 1), "a", "2024-06-01T00:00:00+02:00", '[{"d":1.50}]', None, 0.5),
        ("1", "b", None, None, None, None),
    ]


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(), st.binary(),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12),
    st.datetimes(), st.dates(), st.times(),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), affinity=st.sampled_from(["", "TEXT", "INTEGER", "REAL"]))
def test_rows_and_frames_load_the_same(tmp_path_factory, data, affinity) -> None:
    import asyncio

    kind = data.draw(
        st.sampled_from(
            [
                st.booleans(),
                st.integers(-(2**63), 2**63 - 1),
                st.floats(),
                st.text(st.characters(codec="utf-8")),
                st.datetimes(),
                st.dates(),
            ]
        )
    )
    values = data.draw(st.lists(st.one_of(st.none(), kind), min_size=1, max_size=6))
    rows = [{"n": n, "v": value} for n, value in enumerate(values)]
    found = []
    for content in (rows, rows_to_frame(rows)):
        folder = tmp_path_factory.mktemp("db")
        execute(folder, f"CREATE TABLE t (n INTEGER, v {affinity})")
        done = asyncio.run(load(folder, [content]))
        found.append((query(folder, "SELECT n, typeof(v), v FROM t"), [(one.index, one.rule) for one in done.rejected]))
    assert found[0] == found[1]
