"""Misspelt names that no record has are found before a run, and nothing is claimed where the fields are not certain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etlctl.contract.compile import check
from etlctl.jsonata.reads import fields_made, fields_read

EXTRACT = {"type": "file", "path": "people.csv"}
LOAD = {"type": "file", "path": "out.jsonl"}


@pytest.fixture
def found(tmp_path: Path, make: Any) -> Callable[..., list[tuple[str, str]]]:
    """Return a function that writes a contract over people.csv and returns what is found: codes and excerpts."""

    def look(**sections: Any) -> list[tuple[str, str]]:
        folder = make("people", **{"extract": EXTRACT, "load": LOAD, **sections})
        (folder / "people.csv").write_text("id,name,n\n1,Ann,5\n", encoding="utf-8")
        return [(each.code, _at(each)) for each in check(folder)]

    return look


def _at(found: Any) -> str:
    if found.span is None:
        return ""
    line = Path(found.file).read_text(encoding="utf-8").split("\n")[found.span.line - 1]
    return str(line[found.span.column - 1 : found.span.end_column - 1])


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("a.b + `c d`.e", ["a", "`c d`"]),
        ("items[p > 1]{k: v}.x", ["items"]),
        ("$map(items, function($i) { $i.p + q })", ["items"]),
        ("x^(y)[0]", ["x"]),
        ("$.a + $$.b + *.c + **.d", []),
        ("a ~> $f(b) ~> |c|{'d': e}|", ["a", "b"]),
        ("$exists(a) ? a : b", ["b"]),
        ("a ?? b", ["b"]),
        ("a ?: b", ["b"]),
        ("($v := a; {'k': -b, 'l': [c, d..e]})", ["a", "b", "c", "d", "e"]),
        ("(a ? b : c).d", ["a", "b", "c"]),
        ("'a' & \"b\"", []),
    ],
)
def test_only_what_is_surely_read_of_the_record_counts(expression: str, names: list[str]) -> None:
    assert [expression[read.start : read.end] for read in fields_read(expression)] == names


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("{'a': x, 'b': y}", ("a", "b")),
        ("($v := 1; {'a': $v})", ("a",)),
        ("items.{'a': x}", ("a",)),
        ("[{'a': 1}, {'a': 2}]", ("a",)),
        ("n > 1 ? {'a': 1}", ("a",)),
        ("n > 1 ? {'a': 1} : {'b': 1}", None),
        ("{name: x}", None),
        ("items{'a': x}", None),
        ("$merge([$, {'a': 1}])", None),
        ("$", None),
        ("{'a': 1} ~> |$|{'b': 2}|", None),
    ],
)
def test_fields_of_the_records_an_expression_makes(expression: str, names: tuple[str, ...] | None) -> None:
    assert fields_made(expression) == names


def test_a_condition_of_a_destination(found: Any) -> None:
    load = {"load": [{"type": "file", "path": "a.jsonl", "where": "nn > 5"}, {"type": "file", "path": "b.jsonl"}]}
    assert found(load=load) == [("E501", "nn")]


def test_a_destination_gets_what_the_schema_lets_through(found: Any) -> None:
    load = {"load": [{"type": "file", "path": "a.jsonl", "where": "n > 5 and later = 1"}]}
    schema = {"fields": {"id": {}, "later": {}}, "additional_fields": "drop"}
    assert found(load=load, contract={"schema": schema}) == [("E502", "n")]


def test_a_primary_key(found: Any) -> None:
    load = {"type": "sqlite", "path": "a.db", "table": "t", "write_method": "upsert", "primary_key": "idd"}
    assert found(load=load) == [("E501", "idd")]
    assert found(load={**load, "primary_key": ["ID", "name"]}) == []
    several = {"load": [{"type": "file", "path": "x.jsonl"}, {**load, "primary_key": ["id", "nam"]}]}
    assert found(load=several) == [("E501", "nam")]


def test_a_key_that_the_table_gives_itself_is_no_mistake(found: Any) -> None:
    load = {"type": "sqlite", "path": "a.db", "table": "t", "write_method": "append", "primary_key": "rowno"}
    assert found(load=load) == []


def test_rules_over_several_fields(found: Any) -> None:
    rules = [{"name": "r", "expression": "nn > 0"}, {"name": "s", "expression": "later > 0 and n > 0"}]
    assert found(contract={"schema": {"fields": {"later": {}}, "rules": rules}}) == [("E501", "nn")]


def test_the_object_a_step_makes(found: Any) -> None:
    steps = [{"jsonata": {"expression": "{'x': nam}"}}, {"select": ["y"]}]
    assert found(transform={"transform": steps}) == [("W622", "nam"), ("E501", "y")]


def test_a_key_that_may_be_nothing_is_never_said_to_be_missing(found: Any) -> None:
    steps = [{"jsonata": {"expression": "{'x': n > 9 ? n}"}}]
    schema = {"fields": {"x": {"required": True}}}
    assert found(transform={"transform": steps}, contract={"schema": schema}) == []


def test_all_records_at_once_are_not_one_record(found: Any) -> None:
    steps: list[Any] = [{"jsonata": {"expression": "nothing", "mode": "batch"}}]
    assert found(transform={"transform": steps}) == []
    steps[0]["jsonata"]["mode"] = "record"
    assert found(transform={"transform": steps}) == [("W622", "nothing")]


# --- nothing follows from what could not be read

SCHEMA = {"fields": {"total": {"required": True}}, "rules": [{"name": "r", "expression": "total > 0"}]}


@pytest.mark.parametrize(
    ("transform", "codes"),
    [
        ("transform:\n  add: {total: 1\n", ["E101"]),
        ("transform:\n- rename: {n: total}\n  drop: [id]\n- filter: {field: total, value: 1}\n", ["E210"]),
        ("transform:\n- renam: {n: total}\n- select: [total]\n", ["E302"]),
        ("transform: {renam: {n: total}, select: [total]}\n", ["E302"]),
        ("transform: {jsonata: {expression: '$'}, select: [total]}\n", ["E210"]),
        ("transform: add\n", ["E210"]),
        ("transfrom:\n- add: {total: 1}\n", ["E201"]),
        ("transform:\n- add: {total: 1}\ntransform:\n- drop: [id]\n", ["E102"]),
        ("transform:\n- add: {total: 1}\njsonatta: {expression: '$'}\n", ["E201"]),
    ],
)
def test_one_mistake_is_told_once(found: Any, transform: str, codes: list[str]) -> None:
    assert [code for code, _ in found(transform=transform, contract={"schema": SCHEMA})] == codes


def test_a_misspelt_step_that_adds_nothing_hides_no_other_mistake(found: Any) -> None:
    transform = "transform:\n- covnert: {n: integer}\n- filter: {field: n, value: 5}\n- select: [nmae]\n"
    assert found(transform=transform) == [("E302", "covnert"), ("E501", "nmae")]


def test_steps_before_the_one_that_cannot_be_read_are_checked(found: Any) -> None:
    transform = "transform:\n- drop: [n]\n- select: [nn]\n- 5\n- select: [whatever]\n"
    assert [code for code, _ in found(transform=transform)] == ["E501", "E210"]


def test_a_broken_schema_says_nothing_of_destinations(found: Any) -> None:
    load = {"load": [{"type": "file", "path": "a.jsonl", "where": "later > 5"}]}
    assert [code for code, _ in found(load=load, contract="schema: {fields: {later: {}\n")] == ["E101"]


def test_a_single_file_that_is_broken(make: Any) -> None:
    folder = make("one", extract=None, load=None)
    (folder / "pipeline.yaml").write_text("extract: {type: file, path: x.csv\n", encoding="utf-8")
    assert [each.code for each in check(folder)] == ["E101"]
