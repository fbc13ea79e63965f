"""Records as JSON lines: a block encoded at once is the same text as its records one by one."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etlctl.kit.codecs import json_text
from etlctl.kit.codecs.json_text import encode_block, encode_lines

plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["},{", '"},{"', "null"])
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
)
AWKWARD = [
    float("nan"),
    float("-inf"),
    2**64,
    -(2**70),
    Decimal("1.10"),
    "\ud800",
    date(2024, 1, 5),
    time(0, 0, 0, 10_000),
    timedelta(seconds=1),
    b"x",
    [{}, {}],
    {"a": 1},
    datetime(2024, 1, 5, tzinfo=timezone(timedelta(hours=5, seconds=30))),
    datetime(1850, 1, 5, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 1, 5, tzinfo=ZoneInfo("UTC")),
    object,
]
awkward = st.sampled_from(AWKWARD)


def one_by_one(records):
    lines, refusals = encode_lines(records)
    return len(lines), b"".join(line + b"\n" for line in lines), [(place, error.rule) for place, error in refusals]


def at_once(records):
    count, text, refusals = encode_block(records)
    return count, text, [(place, error.rule) for place, error in refusals]


@settings(deadline=None, max_examples=400)
@given(
    st.lists(st.sampled_from(["a", "b", "c", 'q"', ""]), min_size=1, max_size=4, unique=True).flatmap(
        lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, plain | awkward)), max_size=5)
    )
)
def test_a_block_is_its_lines(records):
    assert at_once(records) == one_by_one(records)


@pytest.mark.parametrize("value", AWKWARD, ids=repr)
def test_what_orjson_writes_otherwise_is_not_left_to_it(value):
    records = [{"a": value, "b": 1}, {"a": value, "b": 2}]
    assert at_once(records) == one_by_one(records)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), plain, max_size=3), max_size=5))
def test_records_of_other_fields_are_encoded_too(records):
    assert at_once(records) == one_by_one(records)


@pytest.mark.parametrize("value", ["x", 1, 0.5, True, None, datetime(2024, 1, 5, 1, 2, 3, 10_000, tzinfo=UTC)])
def test_the_everyday_case_is_encoded_at_once(value, monkeypatch):
    records = [{"a": value, "b": number} for number in range(3)]
    expected = one_by_one(records)
    monkeypatch.setattr(json_text, "encode_lines", None)
    assert at_once(records) == expected
