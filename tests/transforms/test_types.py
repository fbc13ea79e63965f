"""What each type takes, exactly, and what it refuses with which words."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from etlctl.errors import RecordRejected
from etlctl.types import PLAIN, TypeOptions, canonical, layout_problem, parse, to_text

BERLIN = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (" INTEGER ", "integer"),
        ("Str", "string"),
        ("timestamp", "datetime"),
        ("double", "float"),
        ("any", None),
        ("in", None),
    ],
)
def test_canonical_names(name: str, expected: str | None) -> None:
    assert canonical(name) == expected


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (" 5 ", "integer", 5),
        ("+5", "integer", 5),
        ("007", "integer", 7),
        ("5.0", "integer", 5),
        ("123456789012345678901234567890", "integer", 123456789012345678901234567890),
        (5.0, "integer", 5),
        (Decimal("1E+3"), "integer", 1000),
        (True, "integer", 1),
        (" .5", "float", 0.5),
        ("1e3", "float", 1000.0),
        (2**53, "float", 2.0**53),
        ("0.1", "decimal", Decimal("0.1")),
        (0.1, "decimal", Decimal("0.1")),
        (" ON ", "boolean", True),
        ("f", "boolean", False),
        (0, "boolean", False),
        (" x ", "string", "x"),
        (5.0, "string", "5.0"),
        (False, "string", "false"),
        (datetime(2024, 1, 5, 10, tzinfo=UTC), "string", "2024-01-05T10:00:00Z"),
        ({"a": [1, None]}, "string", '{"a":[1,null]}'),
        ("2024-01-05", "date", date(2024, 1, 5)),
        ("20240105", "date", date(2024, 1, 5)),
        ("2024-01-05T00:00:00", "date", date(2024, 1, 5)),
        ("2024-01-05T10:00:00Z", "datetime", datetime(2024, 1, 5, 10, tzinfo=UTC)),
        ("2024-01-05 10:00:00.5+02:00", "datetime", datetime(2024, 1, 5, 8, 0, 0, 500000, tzinfo=UTC)),
        ("2024-01-05T10:00", "datetime", datetime(2024, 1, 5, 10)),  # noqa: DTZ001
        ("2024-01-05T10:00:00.123456000Z", "datetime", datetime(2024, 1, 5, 10, 0, 0, 123456, tzinfo=UTC)),
        (datetime(2024, 1, 5, 10, tzinfo=BERLIN), "datetime", datetime(2024, 1, 5, 9, tzinfo=UTC)),
        (date(2024, 1, 5), "datetime", datetime(2024, 1, 5)),  # noqa: DTZ001
        ("10:20:30.5", "time", time(10, 20, 30, 500000)),
        ('{"a": 1}', "object", {"a": 1}),
        ("[12345678901234567890]", "array", [12345678901234567890]),
    ],
)
def test_takes(value: Any, kind: str, expected: Any) -> None:
    made = parse(value, kind)
    assert made == expected
    assert type(made) is type(expected)
    if isinstance(expected, datetime):
        assert made.tzinfo is expected.tzinfo


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *[
            (text, "integer")
            for text in ["5.9", "", "1e3", "1_000", "0x10", "٣", "²", "5.", "--5", "1,000", "9" * 5000, 5.5, "NaN"]
        ],
        *[
            (text, "float")
            for text in ["inf", "nan", "1e400", "1_0", "", ".", "٣", 2**53 + 1, 10**400, date(2024, 1, 1)]
        ],
        *[(text, "decimal") for text in ["NaN", "1e5000", "x", float("nan")]],
        *[(text, "boolean") for text in ["2", "", "yeah", 2, 0.5]],
        *[
            (text, "date")
            for text in ["2024-1-5", "2024-02-30", "0000-01-01", "12024-01-05", "2024-01-05T10:00:00", "2024-W01-5", 5]
        ],
        *[
            (text, "datetime")
            for text in ["2024-01-05T10:00:60Z", "2024-01-05T24:00:00Z", "2024-01-05T10:00:00.1234567Z", 0]
        ],
        ("0001-01-01T00:00:00+02:00", "datetime"),
        *[(text, "time") for text in ["24:00", "10:00Z", "10", datetime(2024, 1, 5, tzinfo=UTC)]],
        *[(text, "object") for text in ["[1]", "{", '{"a": NaN}', 5]],
        (float("inf"), "integer"),
        (Decimal("1E+999999999"), "integer"),
    ],
)
def test_refuses(value: Any, kind: str) -> None:
    with pytest.raises(RecordRejected) as caught:
        parse(value, kind, field="price")
    assert caught.value.rule == f"convert.{kind}"
    assert caught.value.field == "price"
    assert caught.value.message.startswith("field 'price': ")
    assert len(caught.value.message) < 200


def test_the_message_names_a_shortened_value() -> None:
    with pytest.raises(RecordRejected, match=r"^field 'n': 'xxxxxx.{50,60}… is not an integer$"):
        parse("x" * 500, "integer", field="n")


@pytest.mark.parametrize(
    ("value", "kind", "options", "expected"),
    [
        ("01-JAN-14", "date", TypeOptions(format="%d-%b-%y"), date(2014, 1, 1)),
        ("1,234,567", "integer", TypeOptions(thousands=","), 1234567),
        ("1.234,5", "float", TypeOptions(thousands=".", decimal_separator=","), 1234.5),
        ("-,5", "decimal", TypeOptions(decimal_separator=","), Decimal("-0.5")),
        (" NA ", "integer", TypeOptions(null_values=frozenset({"NA"})), None),
        (None, "integer", PLAIN, None),
    ],
)
def test_options(value: Any, kind: str, options: TypeOptions, expected: Any) -> None:
    assert parse(value, kind, options) == expected


@pytest.mark.parametrize("text", ["1,23", "12,34,567", "1.5", ",123"])
def test_groups_that_are_not_of_three_digits_are_refused(text: str) -> None:
    with pytest.raises(RecordRejected):
        parse(text, "float", TypeOptions(thousands=",", decimal_separator=";"))


def test_layouts_are_checked() -> None:
    assert layout_problem("%d-%b-%y") is None
    assert "bad directive" in (layout_problem("%Q") or "")
    assert layout_problem("x%")


def test_text_of_huge_numbers() -> None:
    assert to_text(10**5000) == "1" + "0" * 5000
    assert to_text(Decimal("1E+3")) == "1000"
