"""JSONata on columns: what stays a frame, what does not and why, and that nothing around it has to pay."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from operations_driver import Step, build, operation_classes, run_frame, run_rows

from etlctl import ETLOrchestrator
from etlctl.batch import Batch, frame_to_rows
from etlctl.engine.applied import Applied
from etlctl.engine.apply import apply_steps
from etlctl.kit.frame_jsonata import functions, subset
from etlctl.sdk import Operation, StepContext

NOW = datetime(2024, 1, 5, 10, tzinfo=UTC)
ORDERS = pl.DataFrame(
    {
        "id": [1, 2],
        "customer": [{"name": "Ada", "city": None}, {"name": "Grace", "city": "Kiel"}],
        "items": [[{"price": 250, "qty": 2, "name": "pen"}], [{"price": 99, "qty": 1, "name": "ink"}] * 2],
        "rate": [1.19, 1.07],
        "tags": [["a"], ["b", "c"]],
        "paid": [True, False],
        "note": [None, "x"],
    }
)


def jsonata(expression: str, **options: Any) -> Operation:
    return build(operation_classes()["jsonata"], {"expression": expression, **options})


def other(kind: str, value: Any) -> Operation:
    return build(operation_classes()[kind], value)


def applied(chain: list[Operation], chunk: Batch) -> Applied:
    steps = [Step(f"{place}.{type(one).__name__.lower()}", one) for place, one in enumerate(chain)]
    return apply_steps(steps, chunk, [StepContext(step=step.name, now=NOW, environ={}) for step in steps])


def on_frame(frame: pl.DataFrame, *chain: Operation) -> Applied:
    return applied(list(chain), Batch.of_frame(frame, {}))


def forms(outcome: Applied) -> list[tuple[str, str]]:
    return [(tally.form, tally.why) for tally in outcome.tallies]


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ('{"id": id, "cents": $sum(items.(price * qty))}', {"id": 1, "cents": 500}),
        ('{"who": $uppercase(customer.name) & "!"}', {"who": "ADA!"}),
        ('paid ? {"id": id}', {"id": 1}),
        ("$not(paid) ? $", {**frame_to_rows(ORDERS)[1]}),
        ('paid ? {"x": id} : {"x": -id}', {"x": 1}),
        ('$merge([{"id": id}, {"n": $count(items)}])', {"id": 1, "n": 1}),
        ('($n := $count(items); {"n": $n, "many": $n > 1})', {"n": 1, "many": False}),
        ('{"names": [items.name], "tags": $join(tags, "-")}', {"names": ["pen"], "tags": "a"}),
        ('{"lines": [items.{"n": name, "t": price * qty}]}', {"lines": [{"n": "pen", "t": 500}]}),
        ('{"dear": [items[price > 100].name], "first": items[0].name}', {"dear": ["pen"], "first": "pen"}),
        ('{"l": [$map(items, function($i){$i.qty + 1})]}', {"l": [3]}),
        (
            '{"f": $floor(rate * 100), "c": $ceil(rate), "s": $substring(customer.name, -2)}',
            {"f": 119, "c": 2, "s": "da"},
        ),
        ('{"gross": rate * 1.5}', {"gross": 1.785}),
        ('{"city": customer.city, "note": note = null ? "-" : note}', {"city": None, "note": "-"}),
        ('{"x": "a" in tags, "y": id in [1, 5], "z": $exists(note)}', {"x": True, "y": True, "z": True}),
        ('{"net": rate * $factor}', {"net": 2.38 + 0.0}),
    ],
)
def test_the_everyday_expression_stays_a_frame(expression: str, first: dict[str, Any]) -> None:
    operation = jsonata(expression, bindings={"factor": 2})
    outcome = on_frame(ORDERS, operation)
    assert forms(outcome) == [("frame", "")]
    assert outcome.frame is not None
    made = frame_to_rows(outcome.frame)
    assert made[0] == first
    assert made == run_rows([operation], frame_to_rows(ORDERS), now=NOW, environ={}).records


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ('{"x": $contains(note, /x/)}', "a regular expression has no columnar form"),
        ('{"x": $keys(customer)}', "$keys has no columnar form"),
        ('{"x": items^(price).name}', "sorting (^) has no columnar form"),
        ('{"x": **.price}', "the wildcard ** has no columnar form"),
        ('{"x": items{name: price}}', "grouping ({…} behind an expression) has no columnar form"),
        (
            "items",
            "the expression is no object with constant keys: {…}, condition ? {…}, $merge([$, {…}]) or $ ~> |$|{…}|",
        ),
    ],
)
def test_why_not_is_told_without_data(expression: str, reason: str) -> None:
    operation = jsonata(expression)
    assert operation.frame_reason() == reason
    assert forms(on_frame(ORDERS, operation)) == [("rows", reason)]


def test_both_lists_of_functions_agree() -> None:
    assert functions.NAMES | {"merge"} == subset.FUNCTIONS


def test_a_batch_and_a_variable_that_is_a_list_need_rows() -> None:
    assert jsonata("$", mode="batch").frame_reason() == "mode: batch evaluates all records at once"
    assert jsonata('{"x": $l}', bindings={"l": [1]}).frame_reason() == "$l is bound to a list or an object"


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ('{"x": nowhere}', "there is no field 'nowhere'"),
        ('{"x": day}', "a column of type Date"),
        ('{"x": items.name}', "'x' may be one value or several: put it in [ ]"),
        ('{"x": rate & ""}', "a number with a fraction as text"),
        ('{"x": paid ? id : note}', "a choice between an integer and a text"),
        ('{"x": customer.name + 1}', "+ of a text"),
    ],
)
def test_why_not_is_told_of_columns(expression: str, reason: str) -> None:
    frame = ORDERS.with_columns(day=pl.lit(date(2024, 1, 5)))
    assert forms(on_frame(frame, jsonata(expression))) == [("rows", reason)]


def test_neighbours_of_a_step_without_columns_keep_their_plan() -> None:
    frame = ORDERS.with_columns(day=pl.lit(date(2024, 1, 5)))
    chain = [other("rename", {"id": "key"}), other("drop", ["tags"]), jsonata('{"x": day}'), other("drop", ["y"])]
    assert forms(on_frame(frame, *chain)) == [
        ("frame", ""),
        ("frame", ""),
        ("rows", "a column of type Date"),
        ("rows", "2.jsonata gives rows"),
    ]


def test_rows_from_the_source_are_the_reason() -> None:
    outcome = applied([jsonata('{"x": id}'), other("drop", ["y"])], Batch.of_rows(frame_to_rows(ORDERS), {}))
    assert forms(outcome) == [("rows", "the source gives rows")] * 2


def test_doubtful_records_take_the_rows_form_in_their_place() -> None:
    frame = pl.DataFrame({"id": [1, 2, 3, 4], "n": [1, None, 2**62, 4]})
    outcome = on_frame(frame, jsonata('{"id": id, "n": n * 2}'))
    assert forms(outcome) == [
        ("rows", "some records left to the rows form come out in a shape that the columns cannot hold")
    ]
    assert outcome.records == [{"id": 1, "n": 2}, {"id": 3, "n": 2**63}, {"id": 4, "n": 8}]
    outcome = on_frame(frame.head(2), jsonata('{"id": id, "n": n * 2}'))
    assert forms(outcome) == [("mixed", "some records were left to the rows form")]
    assert [(one.rejection.index, one.rejection.rule) for one in outcome.refused] == [(1, "jsonata.error")]


@pytest.mark.parametrize(
    ("prices", "made", "dtype"),
    [
        ([1.25, 2.75], [2.5, 5.5], pl.Float64),
        ([1.5, 2.5], [3, 5], pl.Int64),
        ([1.5, 2.75], [3, 5.5], None),
    ],
)
def test_whole_numbers_come_out_as_the_rows_form_gives_them(prices: list[float], made: list[Any], dtype: Any) -> None:
    outcome = on_frame(pl.DataFrame({"p": prices}), jsonata('{"x": p * 2}'), other("convert", {"x": "string"}))
    assert outcome.tallies[0].form == "frame"
    records = frame_to_rows(outcome.frame) if outcome.frame is not None else outcome.records
    assert records == [{"x": str(number)} for number in made]
    alone = on_frame(pl.DataFrame({"p": prices}), jsonata('{"x": p * 2}'))
    if dtype is None:
        assert alone.records == [{"x": number} for number in made]
        assert [type(record["x"]) for record in alone.records] == [int, float]
        assert alone.tallies[0].why == "gives rows: 'x' may be an integer in one record and a fraction in the next"
    else:
        assert alone.frame is not None
        assert alone.frame.schema == {"x": dtype}


def test_steps_behind_mixed_numbers_see_what_the_rows_form_gives() -> None:
    frame = pl.DataFrame({"i": [1, 2], "p": [1.5, 2.75]})
    made = jsonata('{"x": p * 2, "y": i}')
    for step, expected in [
        (other("drop", ["x"]), [{"y": 1}, {"y": 2}]),
        (other("rename", {"x": "z"}), [{"y": 1, "z": 3}, {"y": 2, "z": 5.5}]),
    ]:
        outcome = on_frame(frame, made, step)
        assert outcome.records == expected
        assert forms(outcome)[1] == ("rows", "the records come as rows")


def test_a_quotient_is_rounded_once() -> None:
    numbers = [n / 7 for n in range(1, 2000)]
    outcome = on_frame(pl.DataFrame({"n": numbers}), jsonata('{"x": n / 3}'))
    found = outcome.records or frame_to_rows(outcome.frame)  # type: ignore[arg-type] # one of the two is there
    assert [record["x"] for record in found] == [n / 3 for n in numbers]


def test_a_filter_by_expression_stays_a_frame() -> None:
    for expression, kept in [("$count(items) > 1 and rate < 1.1", [2]), ('customer.city = null or note = "x"', [1, 2])]:
        chain = [other("filter", {"expression": expression})]
        assert run_frame(chain, ORDERS, now=NOW, environ={}).forms == ["frame"]
        assert [record["id"] for record in run_frame(chain, ORDERS, now=NOW, environ={}).records] == kept


def test_the_result_of_a_run_says_why(tmp_path: Path) -> None:
    ORDERS.select("id", "note").write_parquet(tmp_path / "in.parquet")
    (tmp_path / "extract.yaml").write_text("type: file\npath: in.parquet\n")
    (tmp_path / "transform.yaml").write_text(
        'transform:\n- jsonata: {expression: \'{"id": id, "note": note}\'}\n'
        '- jsonata: {expression: \'{"id": id, "x": $type(note)}\'}\n- drop: [y]\n'
    )
    (tmp_path / "load.yaml").write_text("type: file\npath: out.jsonl\n")
    result = asyncio.run(ETLOrchestrator(tmp_path).run())
    assert result.success, result.error
    expected = [("frame", ""), ("rows", "$type has no columnar form"), ("rows", "transform[1].jsonata gives rows")]
    assert [(step.form, step.why) for step in result.steps[1:-1]] == expected
    report = json.loads(Path(str(result.report)).read_text())
    assert [(step["form"], step["why"]) for step in report["steps"][1:-1]] == expected
