"""Cursor values: what is the same, what comes before what, and the source's own text kept."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etlctl.cursor import VALUE_TYPES, Window, comparable, own_text, shifted, span_of
from etlctl.kit.cursor_column import CursorColumn
from etlctl.temporal import Unparsable


@pytest.mark.parametrize(
    ("kind", "ascending"),
    [
        (
            "datetime",
            [
                "0001-01-01",
                "2023-12-31T23:59:59.999999999Z",
                "2024-01-01T00:00:00Z",
                "2024-01-01 00:00:00.000000001",
                "2024-01-01T01:00:00+00:30",
                "2024-01-01T01:00",
                datetime(2024, 1, 1, 2, tzinfo=UTC),
                "2999-01-01",
            ],
        ),
        ("date", ["1969-12-31", "20240101", date(2024, 1, 2), "2024-01-03T00:00:00"]),
        ("integer", ["-1", 0, "007", 8.0, Decimal(9), 10**30]),
        ("float", ["-1.5", 0, "1e3", 1001.5]),
        ("decimal", ["0.1", Decimal("0.10000000000000000000001"), 1, "30.0"]),
        ("string", ["", "A", "a", "é", "\U0001f600"]),
    ],
)
def test_values_compare_by_what_they_mean(kind: str, ascending: list[Any]) -> None:
    keys = [comparable(value, kind) for value in ascending]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_the_same_instant_has_one_key() -> None:
    same = ["2024-03-31T01:30:00Z", "2024-03-31T03:30:00+02:00", "20240331T0130Z", "2024-03-31 01:30:00"]
    zone = timezone(timedelta(hours=-5))
    assert len({comparable(value, "datetime") for value in [*same, datetime(2024, 3, 30, 20, 30, tzinfo=zone)]}) == 1


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("datetime", "yesterday"),
        ("datetime", 5),
        ("datetime", "2024-01-01T00:00:00.1234567891Z"),
        ("date", "2024-01-01T10:00:00"),
        ("integer", "5.9"),
        ("integer", True),
        ("integer", float("nan")),
        ("float", "inf"),
        ("float", False),
        ("decimal", "NaN"),
        ("string", 5),
    ],
)
def test_another_type_is_told(kind: str, value: Any) -> None:
    with pytest.raises(Unparsable):
        comparable(value, kind)


@pytest.mark.parametrize(
    ("kind", "text", "lag", "wanted"),
    [
        ("datetime", "2024-03-31T03:30:00+02:00", "1h", "2024-03-31T02:30:00+02:00"),
        ("datetime", "2024-01-01 00:00:00.500", "1d12h", "2023-12-30 12:00:00.500"),
        ("datetime", "2024-01-01T00:00:00.123456789Z", "1ms", "2024-01-01T00:00:00.122456789Z"),
        ("datetime", "2024-01-01", "1w", "2023-12-25"),
        ("datetime", "2024-01-01T00:00:00Z", 90, "2023-12-31T23:58:30Z"),
        ("datetime", "2024-01-01T00:00:00Z", None, "2024-01-01T00:00:00Z"),
        ("date", "2024-03-01", "1d", "2024-02-29"),
        ("integer", "1000", 1, "999"),
        ("decimal", "10.5", "0.25", "10.25"),
    ],
)
def test_a_lag_is_taken_off_in_the_sources_own_style(kind: str, text: str, lag: Any, wanted: str) -> None:
    assert shifted(text, kind, span_of(lag, kind)) == wanted


@pytest.mark.parametrize(
    ("kind", "lag"), [("date", "1h"), ("string", "1"), ("integer", "1h"), ("integer", "1.5"), ("datetime", "1 month")]
)
def test_a_lag_that_is_none(kind: str, lag: str) -> None:
    with pytest.raises(ValueError, match=r"whole|distance|number|length"):
        span_of(lag, kind)


_INSTANTS = st.datetimes(datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("2200-01-01"))
_TEXTS = st.one_of(
    _INSTANTS.map(lambda one: one.isoformat()),
    _INSTANTS.map(lambda one: one.replace(microsecond=0).isoformat() + "Z"),
    _INSTANTS.map(lambda one: one.isoformat(" ", "milliseconds") + "+02:00"),
    _INSTANTS.map(lambda one: one.date().isoformat()),
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(allow_nan=True, allow_infinity=True, places=3).map(str),
    st.text(max_size=5),
    st.none(),
)
_NATIVE = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)).map(lambda each: pl.Series(each, dtype=pl.Int64)),
    st.lists(st.none() | _INSTANTS).map(lambda each: pl.Series(each, dtype=pl.Datetime("us"))),
    st.lists(st.none() | _INSTANTS).map(lambda each: pl.Series(each, dtype=pl.Datetime("ms", "UTC"))),
    st.lists(st.none() | st.dates()).map(lambda each: pl.Series(each, dtype=pl.Date)),
    st.lists(st.none() | st.floats()).map(lambda each: pl.Series(each, dtype=pl.Float64)),
    st.lists(_TEXTS).map(lambda each: pl.Series(each, dtype=pl.String)),
)


@given(values=_NATIVE, kind=st.sampled_from(VALUE_TYPES), bound=st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_a_column_reads_what_each_of_its_values_reads(values: pl.Series, kind: str, bound: int) -> None:
    column = CursorColumn.of(values, kind)
    keys: list[Any] = []
    for place, value in enumerate(values):
        try:
            keys.append(None if value is None else comparable(value, kind))
        except Unparsable:
            keys.append(None)
            assert place in column.unusable
    assert [column.key(place) for place in range(values.len())] == keys
    there = [key for key in keys if key is not None]
    if not there:
        return
    limit = there[bound % len(there)]
    assert column.at_least(limit).to_list() == [key is not None and key >= limit for key in keys]
    assert column.at_most(limit).to_list() == [key is not None and key <= limit for key in keys]
    every = pl.Series([True] * values.len())
    assert column.largest(every, 0, values.len()) == max(there)
    assert (column.in_order(descending=False, last=None) is None) == (there == sorted(there))
    assert column.last() == there[-1]


def test_nanoseconds_of_a_column_are_kept() -> None:
    values = pl.Series(["2024-01-01T00:00:00.123456789"]).str.to_datetime(time_unit="ns")
    assert CursorColumn.of(values, "datetime").text(0) == "2024-01-01T00:00:00.123456789"
    assert own_text(datetime(2024, 1, 1, tzinfo=UTC)) == "2024-01-01T00:00:00+00:00"


def test_a_window_comes_back_from_json() -> None:
    window = Window(field="at", low="1", high="2", value_type="integer", row_order="asc", open_high=True)
    assert Window.of(window.to_dict()) == window
