"""Operation ``aggregate``: exact measures, null, groups, values that cannot be measured, counts that balance."""

from __future__ import annotations

import asyncio
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from etlctl.transforms.aggregate import Aggregate
from operations_driver import build, run_frame, run_rows
from pydantic import ValidationError

from etlctl import ETLOrchestrator
from etlctl.contract.compile import check
from etlctl.errors import FatalError
from etlctl.kit.measures import FUNCTIONS
from etlctl.sdk import FieldSet

INF, NAN = math.inf, math.nan


def aggregate(measures: Any, by: Any = ()) -> Aggregate:
    operation = build(Aggregate, {"by": by, "measures": measures})
    assert isinstance(operation, Aggregate)
    return operation


def of(function: str, values: list[Any]) -> Any:
    (record,) = run_rows([aggregate({"m": {function: "a"}})], [{"a": value} for value in values]).records
    return record["m"]


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        ("sum", [1, None, 2], 3),
        ("sum", [2**63 - 1, 2**63 - 1], 2**64 - 2),
        ("sum", [10**400, 1], 10**400 + 1),
        ("sum", [0.1] * 10, 1.0),
        ("sum", [1e308, 1e308, -1e308], 1e308),
        ("sum", [1e308, 1e308], INF),
        ("sum", [INF, 1.0], INF),
        ("sum", [1e16, 1, -1e16], 1.0),
        ("sum", [Decimal("0.1"), Decimal("0.2")], Decimal("0.3")),
        ("sum", [Decimal("1e30"), Decimal("1e-30"), 1], Decimal("1000000000000000000000000000001." + "0" * 29 + "1")),
        ("sum", [None], None),
        ("mean", [1, 2], 1.5),
        ("mean", [10**30, 10**30 + 2], 1e30),
        ("mean", [0.1, 0.2], (0.1 + 0.2) / 2),
        ("mean", [Decimal(1), Decimal(2)], Decimal("1.5")),
        ("mean", [Decimal(1), Decimal(1), Decimal(0)], Decimal("0." + "6" * 37 + "7")),
        ("mean", [], None),
        ("min", [3, 1.5, Decimal(2)], 1.5),
        ("max", ["b", "ä", None], "ä"),
        ("min", [NAN, 2.0, 1.0], 1.0),
        ("max", [date(2024, 1, 5), date(2024, 1, 6)], date(2024, 1, 6)),
        ("max", [datetime(2024, 1, 5, tzinfo=UTC)], datetime(2024, 1, 5, tzinfo=UTC)),
        ("count", [1, None, "x"], 2),
        ("count", [None], 0),
        ("count_distinct", [1, 1.0, "1", True, None, NAN, NAN, [1], [1.0]], 5),
        ("first", [None, "x", "y"], "x"),
        ("last", ["x", {"b": 1}, None], {"b": 1}),
        ("list", [1, None, "x"], [1, "x"]),
        ("list", [None], []),
        ("any", [False, None, True], True),
        ("all", [True, False], False),
        ("all", [None], None),
    ],
)
def test_a_measure(function: str, values: list[Any], expected: Any) -> None:
    found = of(function, values or [None])
    assert (found, type(found)) == (expected, type(expected))


def test_infinities_cancel_to_nan_and_nan_alone_is_the_minimum() -> None:
    assert math.isnan(of("sum", [INF, -INF]))
    assert math.isnan(of("sum", [NAN, 1.0]))
    assert math.isnan(of("min", [NAN, None]))


@pytest.mark.parametrize(
    ("function", "values", "rule", "place"),
    [
        ("sum", [1, "2"], "not_a_number", 1),
        ("mean", [True, 1], "not_a_number", 0),
        ("sum", [1, [1]], "not_a_number", 1),
        ("any", [True, 1], "not_a_boolean", 1),
        ("max", [1, "2"], "unlike_types", 1),
        ("max", ["2", 1], "unlike_types", 1),
        ("min", [datetime(2024, 1, 5, tzinfo=UTC), datetime(2024, 1, 5)], "unlike_types", 1),  # noqa: DTZ001
        ("min", [True], "unlike_types", 0),
        ("min", [{"a": 1}], "unlike_types", 0),
    ],
)
def test_a_value_that_cannot_be_measured_rejects_its_record(
    function: str, values: list[Any], rule: str, place: int
) -> None:
    outcome = run_rows([aggregate({"m": {function: "a"}, "n": "count"})], [{"a": value} for value in values])
    assert [(index, found) for index, _, found, _ in outcome.refused] == [(place, f"aggregate.{rule}")]
    assert [record["n"] for record in outcome.records] == [len(values) - 1] * (len(values) > 1)


def test_a_mean_beyond_floats_ends_the_run() -> None:
    with pytest.raises(FatalError, match="beyond the range of a float"):
        of("mean", [10**400])


def test_groups_stand_in_order_of_first_appearance_with_null_as_one() -> None:
    operation = aggregate({"n": "count", "last": {"last": "v"}}, ["k", "j"])
    given = [
        {"k": "b", "v": 1},
        {"k": None, "v": 2},
        {"k": "a", "j": None, "v": 3},
        {"v": 4},
        {"k": "b", "j": None, "v": 5},
    ]
    expected = [
        {"k": "b", "j": None, "n": 2, "last": 5},
        {"k": None, "j": None, "n": 2, "last": 4},
        {"k": "a", "j": None, "n": 1, "last": 3},
    ]
    by_rows, by_frame = run_rows([operation], given), run_frame([operation], pl.DataFrame(given))
    assert by_rows.records == by_frame.records == expected
    assert by_rows.ordinals == by_frame.ordinals == [0, 1, 2]
    assert by_frame.forms == ["frame"]


def test_kinds_make_groups_and_the_first_value_stands_for_its_group() -> None:
    operation = aggregate({"n": "count"}, "k")
    given = [{"k": key} for key in (1, "1", 1.0, True, [1], [1.0], {"a": None}, {})]
    assert [(record["k"], record["n"]) for record in run_rows([operation], given).records] == [
        (1, 2), ("1", 1), (True, 1), ([1], 2), ({"a": None}, 2)
    ]  # fmt: skip


def test_without_records_there_are_no_groups() -> None:
    operation = aggregate({"n": "count"})
    assert run_rows([operation], []).records == []
    assert run_frame([operation], pl.DataFrame({"a": []})).records == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_columns_of_the_usual_types_stay_a_frame(function: str) -> None:
    values: list[Any] = [True, None, False, True] if function in {"any", "all"} else [3, None, 2**62, 2**62]
    frame = pl.DataFrame({"k": ["a", "b", "a", "a"], "v": values})
    operation = aggregate({"v": {function: "v"}, "n": "count", "gone": {function: "nowhere"}}, "k")
    by_frame, by_rows = run_frame([operation], frame), run_rows([operation], frame.to_dicts())
    assert by_frame.forms == ["frame"]
    assert by_frame.records == by_rows.records
    assert list(by_frame.records[0]) == list(by_rows.records[0]) == ["k", "v", "n", "gone"]


def test_a_frame_of_huge_integers_sums_exactly() -> None:
    frame = pl.DataFrame({"v": [2**126, 2**126, 2**126]}, schema={"v": pl.Int128})
    for function in ("sum", "mean"):
        operation = aggregate({"m": {function: "v"}})
        assert run_frame([operation], frame).records == run_rows([operation], frame.to_dicts()).records


@pytest.mark.parametrize(
    ("measures", "by", "problem"),
    [
        ({}, (), "needs measures, or fields to group by"),
        ({"n": "sum"}, (), r"n: a measure of a field is written \{function: field\}"),
        ({"n": {"summ": "a"}}, (), "n: there is no measure summ"),
        ({"n": {"sum": "a", "min": "a"}}, (), "n: a measure has one function"),
        ({"a": "count"}, "a", "measure a has the name of a field of the group"),
    ],
)
def test_measures_that_cannot_be(measures: Any, by: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        aggregate(measures, by)


def test_the_effect_is_the_group_and_its_measures() -> None:
    operation = aggregate({"n": "count", "t": {"sum": "v"}, "m": {"mean": "v"}, "l": {"list": "gone"}}, "k")
    after = operation.effect(FieldSet({"k": "string", "v": "integer"}, closed=True))
    assert after.types == {"k": "string", "n": "integer", "t": "integer", "m": "float", "l": "array"}
    assert after.closed
    assert [(each.field, each.path) for each in after.problems] == [("gone", ("measures", "l", "list"))]


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    folder = tmp_path / "contracts" / "sales"
    folder.mkdir(parents=True)
    (tmp_path / "etlctl.yaml").write_text("name: t\n")
    (folder / "in.csv").write_text("k,v\n" + "".join(f"{'abc'[n % 3]},{n}\n" for n in range(1000)))
    (folder / "extract.yaml").write_text("type: file\npath: in.csv\n")
    (folder / "transform.yaml").write_text(
        "transform:\n- convert: {v: integer}\n- aggregate: {by: k, measures: {n: count, total: {sum: v}}}\n"
    )
    (folder / "load.yaml").write_text("type: file\npath: out.jsonl\n")
    return folder


def test_a_run_sees_everything_and_its_counts_balance(sales: Path) -> None:
    result = asyncio.run(ETLOrchestrator(sales).run(batch_size=7))
    assert result.success, result.error
    found = [json.loads(line) for line in (sales / "out.jsonl").read_text().splitlines()]
    assert found == [
        {"k": key, "n": len(range(start, 1000, 3)), "total": sum(range(start, 1000, 3))}
        for start, key in enumerate("abc")
    ]
    assert (result.counts.extracted, result.counts.filtered, result.counts.loaded) == (1000, 997, 3)


def test_validate_warns_of_batches_and_suggests_a_function(sales: Path) -> None:
    (sales / "extract.yaml").write_text("type: file\npath: in.csv\nprocessing_mode: streaming\n")
    assert [found.code for found in check(sales)] == ["W601"]
    (sales / "transform.yaml").write_text("transform:\n- aggregate: {by: k, measures: {n: {summ: v}}}\n")
    (problem,) = [found for found in check(sales) if found.code.startswith("E")]
    assert problem.help == "did you mean 'sum'?"
