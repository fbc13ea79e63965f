"""The pinned rules of the operations, each by hand, in both forms."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from operations_driver import build, operation_classes, run_frame, run_rows, without_nulls, write_module
from pydantic import ValidationError

from etlctl import jsonata
from etlctl.batch import rows_to_frame
from etlctl.errors import ConversionError, FatalError
from etlctl.sdk import FieldSet, Scope

OPERATIONS = operation_classes()


def both(kind: str, config: Any, records: list[dict[str, Any]], **context: Any) -> tuple[list[Any], list[Any]]:
    """Run in both forms, which must agree; return the records and (ordinal, rule) of the refused."""
    operations = [build(OPERATIONS[kind], config)]
    by_rows = run_rows(operations, records, **context)
    try:
        frame = rows_to_frame(records)
    except ConversionError:
        frame = None
    if frame is not None:
        by_frame = run_frame(operations, frame, **context)
        assert without_nulls(by_frame.records) == without_nulls(by_rows.records)
        assert by_frame.refused == by_rows.refused
    return without_nulls(by_rows.records), [(index, rule) for index, _, rule, _ in by_rows.refused]


@pytest.mark.parametrize(
    ("kind", "config", "records", "expected", "refused"),
    [
        ("rename", {"a": "b", "b": "a"}, [{"a": 1, "b": 2}], [{"a": 2, "b": 1}], []),
        ("rename", {"a": "b", "b": "c"}, [{"a": 1, "b": 2}], [{"b": 1, "c": 2}], []),
        (
            "rename",
            {"a": "b"},
            [{"a": 1, "b": 2}, {"a": None, "b": 3}, {"b": 4}],
            [{"b": 3}, {"b": 4}],
            [(0, "rename.collision")],
        ),
        (
            "convert",
            {"a": {"type": "integer", "on_error": "keep"}},
            [{"a": "x"}, {"a": "1"}],
            [{"a": "x"}, {"a": 1}],
            [],
        ),
        ("convert", {"a": {"type": "integer", "on_error": None}}, [{"a": "x"}, {"a": "1"}], [{}, {"a": 1}], []),
        ("convert", {"a": "integer", "b": "integer"}, [{"a": "x", "b": "y"}], [], [(0, "convert.integer")]),
        ("add", {"x": "${a}", "y": "${a}!"}, [{"a": 5}, {}], [{"a": 5, "x": 5, "y": "5!"}, {"y": "!"}], []),
        ("add", {"x": "${a.b}"}, [{"a": {"b": 1}}], [{"a": {"b": 1}, "x": 1}], []),
        ("add", {"x": "${a.b}"}, [{"a.b": 2, "a": {"b": 1}}], [{"a.b": 2, "a": {"b": 1}, "x": 2}], []),
        ("add", {"x": "Total (net)", "y": 5}, [{}], [{"x": "Total (net)", "y": 5}], []),
        ("add", {"x": "int(${a})"}, [{"a": "5"}, {"a": "x"}], [{"a": "5", "x": 5}], [(1, "convert.integer")]),
        ("add", {"x": "${a:?}"}, [{"a": ""}, {"a": "q"}], [{"a": "q", "x": "q"}], [(0, "add.required")]),
        ("add", {"x": "len(${a})"}, [{"a": 5}], [], [(0, "add.len")]),
        ("filter", {"field": "n", "operator": "ne", "value": 5}, [{"n": 5}, {"n": 6}, {}], [{"n": 6}, {}], []),
        ("filter", {"field": "n", "value": 1}, [{"n": True}, {"n": 1.0}, {"n": 2}], [{"n": True}, {"n": 1.0}], []),
        (
            "filter",
            {"field": "n", "value": 1},
            [{"n": "1"}, {"n": "2"}],
            [],
            [(0, "filter.unlike_types"), (1, "filter.unlike_types")],
        ),
        ("filter", {"field": "n", "operator": "is_null"}, [{"n": 5}, {"n": None}], [{}], []),
        ("filter", {"field": "n", "operator": "gt", "value": 5.5}, [{"n": 5}, {"n": 6}], [{"n": 6}], []),
        (
            "filter",
            {"field": "n", "operator": "gte", "value": 2**53 + 1},
            [{"n": 2**53}, {"n": 2**53 + 1}],
            [{"n": 2**53 + 1}],
            [],
        ),
        ("filter", {"field": "n", "operator": "in", "value": [1, "a"]}, [{"n": "a"}, {"n": "b"}], [{"n": "a"}], []),
        (
            "filter",
            {"field": "t", "operator": "contains", "value": 2},
            [{"t": [1, 2]}, {"t": [1]}],
            [{"t": [1, 2]}],
            [],
        ),
        ("filter", [], [{"n": 1}], [{"n": 1}], []),
        (
            "unnest",
            {"fields": ["a", "b"]},
            [{"a": [1, 2], "b": [3, 4]}],
            [{"a": x, "b": y} for x in (1, 2) for y in (3, 4)],
            [],
        ),
        ("unnest", ["a"], [{"a": "x"}, {"b": 1}, {"a": [None]}], [{}], [(0, "unnest.not_a_list")]),
        (
            "unnest",
            {"fields": "a", "keep_empty": True},
            [{"a": [], "i": 1}, {"a": [5, 6], "i": 2}],
            [{"i": 1}, {"a": 5, "i": 2}, {"a": 6, "i": 2}],
            [],
        ),
        (
            "unnest",
            {"fields": "a", "keep_empty": True},
            [{"a": [], "i": 1}, {"a": [None], "i": 2}],
            [{"i": 1}, {"i": 2}],
            [],
        ),
        ("unnest", "a", [{"a": [], "i": 1}, {"a": [None], "i": 2}], [{"i": 2}], []),
        (
            "convert",
            {"a": "integer"},
            [{"a": "1_000"}, {"a": "٣"}, {"a": "+5"}],
            [{"a": 5}],
            [(0, "convert.integer"), (1, "convert.integer")],
        ),
        ("convert", {"a": "datetime"}, [{"a": "2013-W01-1T10:00:00Z"}], [], [(0, "convert.datetime")]),
        ("flatten", "a", [{"a": {"b": {"c": 1}}, "d": {"e": 1}}], [{"a_b_c": 1, "d": {"e": 1}}], []),
        ("flatten", {"max_depth": 1, "separator": "."}, [{"a": {"b": {"c": 1}}}], [{"a.b": {"c": 1}}], []),
        (
            "flatten",
            "a",
            [{"a": {"b": 1}, "a_b": 2}, {"a": {"b": None}, "a_b": 3}],
            [{"a_b": 3}],
            [(0, "flatten.collision")],
        ),
    ],
)
def test_rules(kind: str, config: Any, records: list[Any], expected: list[Any], refused: list[Any]) -> None:
    made, broken = both(kind, config, records)
    assert broken == refused
    assert made == expected


def test_a_rename_leaves_no_trace_of_the_old_name_in_either_form() -> None:
    operations = [build(OPERATIONS["rename"], {"a": "z", "missing": "y"})]
    records = [{"a": 1, "b": 2}]
    assert run_rows(operations, records).records == [{"z": 1, "b": 2}]
    assert run_frame(operations, rows_to_frame(records)).records == [{"z": 1, "b": 2}]


@pytest.mark.parametrize("function", ["lower", "upper"])
def test_case_is_pythons_for_every_letter(function: str) -> None:
    letters = [chr(code) for code in range(0x20000) if not 0xD800 <= code <= 0xDFFF]
    outcome = run_frame([build(OPERATIONS["add"], {"x": f"{function}(${{a}})"})], pl.DataFrame({"a": letters}))
    assert [record["x"] for record in outcome.records] == [getattr(letter, function)() for letter in letters]


def test_accents_do_not_cost_the_frame() -> None:
    outcome = run_frame(
        [build(OPERATIONS["add"], {"x": "upper(${a})"})], pl.DataFrame({"a": ["Łódź", "Ελλάς", "東京"]})
    )
    assert outcome.forms == ["frame"]
    assert [record["x"] for record in outcome.records] == ["ŁÓDŹ", "ΕΛΛΆΣ", "東京"]


def test_now_is_one_instant_and_keeps_its_type() -> None:
    now = datetime(2024, 1, 5, 10, 30, tzinfo=UTC)
    records, _ = both("add", {"t": "now()", "d": "now('%Y-%m-%d')"}, [{"a": 1}, {"a": 2}], now=now)
    assert records == [{"a": n, "t": now, "d": "2024-01-05"} for n in (1, 2)]


def test_two_uuids_of_a_record_differ_in_frame_form() -> None:
    outcome = run_frame([build(OPERATIONS["add"], {"u": "uuid()", "v": "uuid()"})], pl.DataFrame({"a": [1, 2]}))
    assert outcome.forms == ["frame"]
    assert len({value for record in outcome.records for value in (record["u"], record["v"])}) == 4


def test_scoped_variables_of_add_come_from_the_run() -> None:
    records, _ = both("add", {"x": "${env:X}-${param:p}"}, [{"X": "field"}], environ={"X": "1"}, params={"p": "2"})
    assert records == [{"X": "field", "x": "1-2"}]
    with pytest.raises(FatalError, match="field 'x' needs environment variable 'X': it is not set"):
        both("add", {"x": "${env:X}"}, [{"a": 1}], environ={})


def test_a_mixed_batch_of_times_is_the_same_in_both_forms() -> None:
    records = [{"a": "2024-01-05T10:00:00Z"}, {"a": "2024-01-05T10:00:00"}]
    made, _ = both("convert", {"a": "datetime"}, records)
    assert [record["a"].tzinfo for record in made] == [UTC, None]


@pytest.mark.parametrize(
    ("kind", "config", "error_type", "message"),
    [
        ("convert", {"a": "integr"}, "unknown_type", "unknown type 'integr'"),
        ("convert", {"a": {"type": "integer", "format": "%Y"}}, "bad_option", "format is for date"),
        ("convert", {"a": {"type": "date", "format": "%Q"}}, "bad_format", "bad directive"),
        ("convert", {"a": {"type": "integer", "on_error": "explode"}}, "literal_error", "'reject'"),
        ("rename", {"a": "c", "b": "c"}, "duplicate_target", "'a' and 'b' cannot all be renamed to c"),
        ("add", {"a": "frobnicate(${b})"}, "unknown_function", "unknown function 'frobnicate'"),
        ("add", {"a": "${b"}, "bad_expression", "not closed"),
        ("add", {"a": "${secret:TOKEN}"}, "bad_expression", "secret"),
        ("filter", {"field": "a", "operator": "regex", "value": 1}, "literal_error", "'eq'"),
        ("filter", {"field": "a"}, "bad_condition", "eq needs a value"),
        ("filter", {"field": "a", "operator": "in", "value": 1}, "bad_condition", "needs a list"),
        ("filter", {"expression": "n >"}, "bad_jsonata", "Unexpected end"),
        ("filter", {}, "bad_condition", "exactly one"),
        ("jsonata", {"expression": "{"}, "bad_jsonata", "Expected"),
    ],
)
def test_options_that_cannot_work(kind: str, config: Any, error_type: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        build(OPERATIONS[kind], config)
    (error,) = caught.value.errors()
    assert error["type"] == error_type
    assert message in error["msg"]


def test_problems_carry_what_a_suggestion_needs() -> None:
    with pytest.raises(ValidationError) as caught:
        build(OPERATIONS["add"], {"a": "concat(${b}, uper(${c}))"})
    context = caught.value.errors()[0]["ctx"]
    assert (context["given"], context["offset"]) == ("uper", 13)
    assert "upper" in context["candidates"]


def test_effects_follow_the_fields() -> None:
    known = FieldSet(types={"a": "string", "b": "integer"}, closed=True)
    known = build(OPERATIONS["rename"], {"a": "x"}).effect(known)
    known = build(OPERATIONS["convert"], {"x": "date", "nope": "integer"}).effect(known)
    known = build(OPERATIONS["add"], {"n": "len(${x})", "m": "${a}"}).effect(known)
    known = build(OPERATIONS["drop"], ["b"]).effect(known)
    known = build(OPERATIONS["filter"], {"field": "b", "value": 1}).effect(known)
    known = build(OPERATIONS["filter"], {"field": "n", "value": "x"}).effect(known)
    assert dict(known.types) == {"x": "date", "n": "integer", "m": "any"}
    assert [(problem.code, problem.field) for problem in known.problems] == [
        ("unknown-field", "nope"),
        ("dropped-field", "a"),
        ("dropped-field", "b"),
        ("unlike-types", "n"),
    ]


# --- jsonata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "records", "expected", "refused"),
    [
        ('{"n": n}', [{"n": 1}], [{"n": 1}], []),
        ("[{'a': n}, {'a': n + 1}]", [{"n": 1}], [{"a": 1}, {"a": 2}], []),
        ("missing", [{"n": 1}], [], []),
        ("n", [{"n": 1}], [], [(0, "jsonata.not_an_object")]),
        ("null", [{"n": 1}], [], [(0, "jsonata.not_an_object")]),
        ("[n]", [{"n": 1}], [], [(0, "jsonata.not_an_object")]),
        ('{"q": 1 / n}', [{"n": 0}, {"n": 2}], [{"q": 0.5}], [(0, "jsonata.error")]),
        (
            '{"d": d}',
            [{"d": Decimal("1.10")}, {"d": Decimal("0.12345678901234567890")}],
            [{"d": 1.1}],
            [(1, "jsonata.error")],
        ),
        ('{"t": t}', [{"t": datetime(2024, 1, 5, tzinfo=UTC)}], [{"t": "2024-01-05T00:00:00Z"}], []),
    ],
)
def test_jsonata_per_record(expression: str, records: list[Any], expected: list[Any], refused: list[Any]) -> None:
    assert both("jsonata", {"expression": expression}, records) == (expected, refused)


def test_jsonata_stays_within_its_bounds_and_recovers() -> None:
    endless = jsonata.compile("($f := function($x){ $f($x + 1) }; $go ? $f(0) : 1)")
    limits = jsonata.Limits(seconds=0.1)
    for _ in range(2):
        with pytest.raises(jsonata.JsonataError, match="time limit") as caught:
            endless.evaluate({}, {"go": True}, limits=limits)
        assert caught.value.code == "D1012"
        assert endless.evaluate({}, {"go": False}, limits=limits) == 1


def test_jsonata_bindings_and_batch_scope() -> None:
    operation = build(
        OPERATIONS["jsonata"], {"expression": "$.{'p': price * $rate}", "mode": "batch", "bindings": {"rate": 2}}
    )
    assert operation.scope is Scope.batch
    assert run_rows([operation], [{"price": 1}, {"price": 2}]).records == [{"p": 2}, {"p": 4}]


# --- custom functions ------------------------------------------------------------------------------------------------

MODULE = """
import asyncio
from neighbour import SUFFIX

async def slowly(record, **_):
    await asyncio.sleep(0)
    if record["a"] == 2:
        raise ValueError("two is bad")
    return {**record, "name": SUFFIX}

def spoil(record):
    record["nested"]["x"] = "spoiled"
    raise KeyError("zap")

def number(record):
    return 5

def keep_even(records):
    return [record for record in records if record["a"] % 2 == 0]

class Run:
    def run(self, records, **kwargs):
        return [{**record, **kwargs} for record in records]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_module(tmp_path, "my_functions", MODULE)
    write_module(tmp_path, "neighbour", "SUFFIX = 'one'")
    return tmp_path


def custom(folder: Path, records: list[Any], **config: Any) -> Any:
    return run_rows([build(OPERATIONS["custom_function"], config)], records, base_dir=folder)


def test_async_record_functions_reject_only_their_record(folder: Path) -> None:
    outcome = custom(folder, [{"a": 1}, {"a": 2}, {"a": 3}], callable="my_functions.slowly", mode="record")
    assert outcome.records == [{"a": 1, "name": "one"}, {"a": 3, "name": "one"}]
    ((index, _, rule, message),) = outcome.refused
    assert (index, rule) == (1, "custom_function.raised")
    assert message == "custom function my_functions.slowly raised ValueError: two is bad (my_functions.py line 8)"


async def test_async_functions_work_beside_a_running_loop(folder: Path) -> None:
    outcome = custom(folder, [{"a": 1}], callable="my_functions.slowly", mode="record")
    assert outcome.records == [{"a": 1, "name": "one"}]


def test_a_function_cannot_spoil_the_source(folder: Path) -> None:
    source = [{"nested": {"x": 1}}]
    outcome = custom(folder, source, callable="my_functions.spoil", mode="record")
    assert [rule for _, _, rule, _ in outcome.refused] == ["custom_function.raised"]
    assert source == [{"nested": {"x": 1}}]


def test_records_that_stay_keep_their_ordinal(folder: Path) -> None:
    outcome = custom(folder, [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}], callable="my_functions.keep_even")
    assert (outcome.records, outcome.ordinals) == ([{"a": 2}, {"a": 4}], [1, 3])


def test_results_that_are_no_records(folder: Path) -> None:
    outcome = custom(folder, [{"a": 1}], callable="my_functions.number", mode="record")
    assert [rule for _, _, rule, _ in outcome.refused] == ["custom_function.result"]
    with pytest.raises(FatalError, match=r"my_functions\.number returned a number"):
        custom(folder, [{"a": 1}], callable="my_functions.number")


def test_classes_and_kwargs(folder: Path) -> None:
    assert custom(folder, [{"a": 1}], module="my_functions", function="Run", kwargs={"k": 3}).records == [
        {"a": 1, "k": 3}
    ]


def test_nothing_is_imported_before_a_run(folder: Path) -> None:
    write_module(folder, "never_imported", "raise RuntimeError('imported')")
    operation = build(OPERATIONS["custom_function"], {"callable": "never_imported.f"})
    assert operation.fresh().scope is Scope.batch
    assert "never_imported" not in sys.modules
    with pytest.raises(FatalError, match="module 'never_imported' cannot be imported: RuntimeError: imported"):
        run_rows([operation], [{"a": 1}], base_dir=folder)


def test_two_contracts_may_have_modules_of_one_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_module(tmp_path / name, "same_name", f"def f(records): return [{{'from': {name!r}}}]")
    for name in ("one", "two", "one"):
        assert custom(tmp_path / name, [{}], callable="same_name.f").records == [{"from": name}]


def test_a_module_of_ours_does_not_take_an_installed_ones_place(tmp_path: Path) -> None:
    import colorsys

    write_module(tmp_path, "colorsys", "def f(records): return [{'from': 'ours'}]")
    assert custom(tmp_path, [{}], callable="colorsys.f").records == [{"from": "ours"}]
    assert sys.modules["colorsys"] is colorsys


def test_the_workspace_comes_after_the_contract(tmp_path: Path) -> None:
    contract = tmp_path / "contracts" / "c"
    contract.mkdir(parents=True)
    (tmp_path / "etlctl.yaml").write_text("", encoding="utf-8")
    write_module(tmp_path, "shared_functions", "def f(records): return [{'from': 'workspace'}]")
    assert custom(contract, [{}], callable="shared_functions.f").records == [{"from": "workspace"}]


def test_missing_names_say_where_they_were_looked_for(folder: Path) -> None:
    with pytest.raises(FatalError, match=f"no module 'nowhere_at_all' in {folder}"):
        custom(folder, [{}], callable="nowhere_at_all.f")
    with pytest.raises(FatalError, match="has no function 'slowlly'") as caught:
        custom(folder, [{}], callable="my_functions.slowlly")
    assert caught.value.help == "did you mean 'slowly'?"
