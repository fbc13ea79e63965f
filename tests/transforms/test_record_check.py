"""The schema check between transform and load."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from operations_driver import run_frame, run_rows, without_nulls

from etlctl.batch import frame_to_rows, rows_to_frame
from etlctl.contract.data_rules import FieldRule, RecordSchema
from etlctl.contract.frame_check import breaks
from etlctl.contract.record_check import record_checks
from etlctl.contract.unique_check import UniqueCheck
from etlctl.contract.value_rules import is_of_type
from etlctl.errors import ConversionError
from etlctl.sdk import StepContext


def schema(fields: dict[str, Any], additional: str = "allow") -> RecordSchema:
    return RecordSchema.model_validate({"fields": fields, "additional_fields": additional})


def both(made: RecordSchema, records: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    by_rows = run_rows(record_checks(made), records)
    try:
        frame = rows_to_frame(records)
    except ConversionError:
        frame = None
    if frame is not None:
        by_rows_of_frame = run_rows(record_checks(made), frame_to_rows(frame))
        by_frame = run_frame(record_checks(made), frame)
        assert by_frame.refused == by_rows_of_frame.refused
        assert without_nulls(by_frame.records) == without_nulls(by_rows_of_frame.records)
    return without_nulls(by_rows.records), [(index, rule) for index, _, rule, _ in by_rows.refused]


@pytest.mark.parametrize(
    ("rule", "good", "bad", "broken"),
    [
        ({"type": "integer"}, 5, "5", "type"),
        ({"type": "integer"}, 5, True, "type"),
        ({"type": "integer"}, 5, 5.0, "type"),
        ({"type": "float"}, 5, "5", "type"),
        ({"type": "date"}, date(2024, 1, 5), datetime(2024, 1, 5), "type"),  # noqa: DTZ001
        ({"required": True}, "", None, "required"),
        ({"minimum": 18, "maximum": 120}, 18, 17, "minimum"),
        ({"minimum": 18, "maximum": 120}, 120, 121, "maximum"),
        ({"minimum": 0}, 0.0, float("nan"), "minimum"),
        ({"exclusive_minimum": 0}, 1, 0, "exclusive_minimum"),
        ({"exclusive_minimum": 0.1}, 0.2, 0.1, "exclusive_minimum"),
        ({"exclusive_maximum": 10}, 9, 10, "exclusive_maximum"),
        ({"minimum": 0.1}, Decimal("0.1"), Decimal("0.09"), "minimum"),
        ({"exclusive_maximum": 0.1}, Decimal("0.09"), Decimal("0.1"), "exclusive_maximum"),
        ({"maximum": 5, "exclusive_maximum": 5}, 4, 5, "exclusive_maximum"),
        ({"format": "email"}, "a@b.c", "@.", "format"),
        ({"format": "date"}, "2024-02-29", "2023-02-29", "format"),
        ({"format": "ipv6"}, "::1", "::1%eth0", "format"),
        ({"format": "uuid"}, "123e4567-e89b-12d3-a456-426614174000", 5, "format"),
        ({"minimum": 0}, 1, "1", "minimum"),
        ({"min_length": 2}, "äö", "ä", "min_length"),
        ({"max_length": 1}, "ä", "äö", "max_length"),
        ({"enum": ["a", "b"]}, "a", "c", "enum"),
        ({"enum": [1]}, 1, True, "enum"),
        ({"pattern": "^[^@]+@[^@]+$"}, "a@b.c", "@.", "pattern"),
        ({"pattern": r"^\w+$"}, "straße", "a b", "pattern"),
        ({"pattern": "(?i)^ab"}, "ABc", "b", "pattern"),
    ],
)
def test_rules(rule: dict[str, Any], good: Any, bad: Any, broken: str) -> None:
    made = schema({"f": rule})
    assert both(made, [{"f": good, "x": 1}]) == ([{"f": good, "x": 1}], [])
    assert both(made, [{"f": good, "x": 1}, {"f": bad, "x": 2}]) == ([{"f": good, "x": 1}], [(1, f"check.{broken}")])
    if not rule.get("required"):
        assert both(made, [{"f": None, "x": 1}, {"f": good, "x": 2}])[1] == []


def test_additional_fields() -> None:
    records = [{"a": 1, "b": 2}, {"a": 3, "b": None}]
    assert both(schema({"a": {}}, "allow"), records)[0] == [{"a": 1, "b": 2}, {"a": 3}]
    assert both(schema({"a": {}}, "drop"), records)[0] == [{"a": 1}, {"a": 3}]
    assert both(schema({"a": {}}, "reject"), records) == ([{"a": 3}], [(0, "check.additional")])


def test_unique_remembers_the_run_and_the_first_one_wins() -> None:
    checks = record_checks(schema({"k": {"unique": True}}))
    (unique,) = [check.fresh() for check in checks if isinstance(check, UniqueCheck)]
    assert unique.screen({"k": [1, None, 2, 1, None]})[0].position == 3
    assert [(verdict.position, verdict.rule, verdict.message) for verdict in unique.screen({"k": [3, 2.0, True]})] == [
        (1, "check.unique", "field 'k' must be unique: 2.0 was there before")
    ]
    assert unique.fresh().screen({"k": [1]}) == []


def test_a_duplicate_leaves_no_trace_in_the_other_fields() -> None:
    unique = UniqueCheck(fields={"a": "reject", "b": "reject"})
    verdicts = unique.screen({"a": [1, 1, 2], "b": ["x", "y", "y"]})
    assert [(verdict.position, verdict.field) for verdict in verdicts] == [(1, "a")]


def test_unique_remembers_over_the_chunks_of_a_frame() -> None:
    import polars as pl

    chunks = [[1, 2, None, 3], [4, 2, None, 4], [5, 6, 7, None], [7, 8, 9, 1]]
    for make in (lambda values: pl.Series(values, dtype=pl.Int64), lambda values: pl.Series(values).cast(pl.String)):
        unique = UniqueCheck(fields={"k": "reject"}).fresh()
        found = [unique.screen_frame(pl.DataFrame({"k": make(values)}), StepContext()) for values in chunks]
        assert [[verdict.position for verdict in verdicts] for verdicts in found] == [[], [1, 3], [], [0, 3]]


def test_unique_takes_nested_values() -> None:
    assert len(UniqueCheck(fields={"a": "reject"}).screen({"a": [{"x": 1, "y": 2}, {"y": 2, "x": 1}, [1], [1]]})) == 2


def test_an_empty_schema_needs_no_check() -> None:
    assert record_checks(RecordSchema()) == []


@pytest.mark.parametrize(
    "pattern", [r"a(?=b)", r"(a)\1", r"[a&&b]", r"\Aa\Z", "(?P<x>a)", r"a{,2}", r"[[:alpha:]]", r"\bx"]
)
def test_patterns_the_two_engines_may_read_otherwise_are_left_to_python(pattern: str) -> None:
    import polars as pl

    assert breaks("f", pl.String(), FieldRule(pattern=pattern)) is None
    assert breaks("f", pl.String(), FieldRule(pattern=r"^[A-Z]{2}-\d{3,4}(?:x|y)?$")) is not None


def test_types_are_strict() -> None:
    assert not is_of_type(True, "float")
    assert not is_of_type(1.0, "integer")
    assert is_of_type(True, "any")


def test_unique_knows_a_value_in_whatever_form_it_comes() -> None:
    import polars as pl

    unique = UniqueCheck(fields={"a": "reject", "b": "warn"}).fresh()
    first = [{"x": 1, "y": None}, [1, True], "s", 1, True, float("nan"), Decimal("0.5"), 2**70, None]
    again = [{"x": 1.0}, [1.0, True], "s", 1.0, True, float("nan"), 0.5, float(2**70), None]
    other = [{"x": "1"}, [1, 1], "S", "1", "True", "nan", "0.5", str(2**70), None]
    nothing = [None] * len(first)
    assert unique.screen({"a": first, "b": nothing}) == []
    assert [each.position for each in unique.screen({"a": again, "b": nothing})] == list(range(len(first) - 1))
    assert unique.screen({"a": other, "b": nothing}) == []
    numbers = pl.DataFrame({"a": [1, 9, 9], "b": [0.5, None, 0.5]})
    found = unique.screen_frame(numbers, StepContext())
    assert [(each.position, each.field) for each in found] == [(0, "a"), (2, "a")]
    assert [(each.position, each.field) for each in unique.screen({"a": [10, 11], "b": [0.5, 0.5]})] == [(1, "b")]


@pytest.mark.parametrize(
    "pattern", ["^(a|a)+$", "^(a|aa)+$", "^(a+)+$", "^(a*)*b$", "(.*)(.*)(.*)(.*)(.*)(.*)(.*)x$", "a*a*a*a*a*a*b"]
)
def test_a_pattern_cannot_hang_the_run(pattern: str) -> None:
    (check,) = record_checks(schema({"k": {"pattern": pattern}}))
    outcome = run_rows([check], [{"k": "a" * 2000 + "!"}])
    assert [rule for _, _, rule, _ in outcome.refused] == ["check.pattern"]
