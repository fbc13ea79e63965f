"""Operation ``map``: tables in the contract and from files, keys by kind, what the table does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from etlctl.transforms.map import Map
from operations_driver import build, run_frame, run_rows
from pydantic import ValidationError

from etlctl.contract.compile import check
from etlctl.contract.render import full
from etlctl.errors import FatalError
from etlctl.sdk import FieldSet

NAMES = {"DE": "Germany", "FR": "France"}


def lookup(**fields: Any) -> Map:
    operation = build(Map, fields)
    assert isinstance(operation, Map)
    return operation


@pytest.mark.parametrize(
    ("options", "value", "expected"),
    [
        ({"values": {"1": "x"}}, "1", "x"),
        ({"values": {"1": "x"}, "on_missing": "keep"}, 1, 1),
        ({"values": {"1": "x"}, "key_type": "integer"}, 1, "x"),
        ({"values": {"1": "x"}, "key_type": "integer"}, 1.0, "x"),
        ({"values": {"1": "x"}, "key_type": "integer", "default": None}, "1", None),
        ({"values": {"1": "x"}, "key_type": "integer", "default": "?"}, True, "?"),
        ({"values": {"yes": 1}, "key_type": "boolean"}, True, 1),
        ({"values": {"2024-01-05": "day"}, "key_type": "date", "default": "?"}, "2024-01-05", "?"),
        ({"values": {str(10**30): "big"}, "key_type": "integer"}, 10**30, "big"),
        ({"values": {"ß": "sharp"}}, "ß", "sharp"),
        ({"values": {"a": {"b": [1]}}}, "a", {"b": [1]}),
        ({"values": {"a": None}}, "a", None),
        ({"values": {}, "default": 5}, float("nan"), 5),
        ({"values": {"a": 1}, "on_missing": None}, ["a"], None),
        ({"values": {"a": 1}, "default": 0}, {"a": 1}, 0),
    ],
)
def test_a_value_is_found_by_kind(options: dict[str, Any], value: Any, expected: Any) -> None:
    assert run_rows([lookup(a=options)], [{"a": value}]).records == [{"a": expected}]


def test_null_and_missing_are_not_looked_up_and_a_target_is_always_there() -> None:
    operation = lookup(a={"values": NAMES, "default": "?", "to": "b"})
    given = [{"a": None, "b": "old"}, {"b": "old"}, {"a": "DE"}, {"a": "XX"}]
    assert run_rows([operation], given).records == [
        {"a": None, "b": None},
        {"b": None},
        {"a": "DE", "b": "Germany"},
        {"a": "XX", "b": "?"},
    ]


def test_fields_are_looked_up_at_once_so_a_swap_works() -> None:
    operation = lookup(a={"values": {"1": "one"}, "to": "b"}, b={"values": {"2": "two"}, "to": "a"})
    given = [{"a": "1", "b": "2"}]
    assert run_rows([operation], given).records == [{"a": "two", "b": "one"}]
    assert run_frame([operation], pl.DataFrame(given)).records == [{"a": "two", "b": "one"}]


def test_what_the_table_does_not_know_is_rejected_or_ends_the_run() -> None:
    outcome = run_frame([lookup(a={"values": NAMES})], pl.DataFrame({"a": ["DE", "XX", None]}))
    assert outcome.records == [{"a": "Germany"}, {"a": None}]
    assert outcome.refused == [(1, "0.map", "map.unknown", "field 'a': the table does not know 'XX'")]
    with pytest.raises(FatalError, match="does not know 'XX'; on_missing is fail"):
        run_rows([lookup(a={"values": NAMES, "on_missing": "fail"})], [{"a": "XX"}])


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("t.csv", "code,name\nDE,Germany\n\nFR,France\n", {}),
        (
            "t.csv",
            "\ufeffname,region,code\nGermany,EU,DE\nFrance,EU,FR\n",
            {"key_column": "code", "value_column": "name"},
        ),
        ("t.csv", 'code,name\n"DE","Germany"\nDE,Germany\nFR,France\n', {}),
        ("t.json", '{"DE": "Germany", "FR": "France"}', {}),
        ("t.json", '[{"c": "DE", "n": "Germany"}, {"c": "FR", "n": "France"}]', {"value_column": "n"}),
    ],
)
def test_tables_from_files(tmp_path: Path, name: str, content: str, options: dict[str, Any]) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    outcome = run_rows([lookup(a={"file": name, **options})], [{"a": "DE"}, {"a": "FR"}], base_dir=tmp_path)
    assert outcome.records == [{"a": "Germany"}, {"a": "France"}]
    assert lookup(a={"file": name, **options}).code(tmp_path) == (tmp_path / name,)


@pytest.mark.parametrize(
    ("name", "content", "options", "problem"),
    [
        ("t.csv", None, {}, r"cannot be read: No such file"),
        ("t.csv", "", {}, "is empty"),
        ("t.csv", "a,b,c\n", {}, "has 3 columns: a, b, c"),
        ("t.csv", "a,b\n1\n", {}, "has 1 values in line 2"),
        ("t.csv", "a,b\nx,1\nx,2\n", {}, "the key 'x' with two values: '1', and in t.csv:3 '2'"),
        ("t.csv", "a,b\nx,1\n", {"key_type": "integer"}, "t.csv:2: 'x' is not an integer"),
        ("t.csv", "a,b\n", {"key_column": "c"}, "has no column 'c'; there are a, b"),
        ("t.csv", 'a,b\n"x,1\n', {}, "is no CSV in line"),
        ("t.csv", "a,a\nx,1\n", {}, "has two columns 'a'"),
        ("t.json", '{"a": NaN}', {}, "NaN is no number of JSON"),
        ("t.json", '{"a": -1e999}', {}, "-1e999 is beyond the range of a float"),
        ("t.json", "[1]", {}, "neither a JSON object nor a list of objects"),
        ("t.json", "{", {}, "is not JSON"),
        ("t.json", '{"x": 1, "x": 2}', {}, "the key 'x' with two values"),
        ("t.json", '[{"k": null, "v": 1}]', {}, "has no key in t.json, item 1"),
    ],
)
def test_a_broken_table_ends_the_run_before_it_begins(
    tmp_path: Path, name: str, content: str | None, options: dict[str, Any], problem: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(FatalError, match=problem):
        run_rows([lookup(a={"file": name, **options})], [], base_dir=tmp_path)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "either values or file"),
        ({"values": {}, "file": "x"}, "either values or file"),
        ({"values": {}, "default": 1, "on_missing": "keep"}, "with a default nothing is missing"),
        ({"values": {"x": 1}, "key_type": "integer"}, "key 'x': 'x' is not an integer"),
        ({"values": {}, "key_column": "a"}, "are for a table from a file"),
        ({"valeus": {}}, "valeus"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        lookup(a=options)


def test_two_fields_with_one_target_are_refused() -> None:
    with pytest.raises(ValidationError, match="b and a would both set the field b"):
        lookup(a={"values": {}, "to": "b"}, b={"values": {}})


def test_the_effect_knows_types_and_missing_fields() -> None:
    after = lookup(a={"values": NAMES, "to": "name"}, b={"values": {"x": 1}}).effect(
        FieldSet({"a": "string"}, closed=True)
    )
    assert after.types == {"a": "string", "name": "string", "b": "integer"}
    assert [problem.field for problem in after.problems] == ["b"]


@pytest.mark.parametrize(
    "options",
    [
        {"values": NAMES},
        {"values": NAMES, "default": "?"},
        {"values": NAMES, "on_missing": "keep"},
        {"values": NAMES, "on_missing": "null", "to": "b"},
        {"values": {"DE": 1}, "default": 0},
    ],
)
def test_the_everyday_case_stays_a_frame(options: dict[str, Any]) -> None:
    frame = pl.DataFrame({"a": ["DE", None, "DE"]})
    outcome = run_frame([lookup(a=options)], frame)
    assert outcome.forms == ["frame"]
    assert outcome.records == run_rows([lookup(a=options)], frame.to_dicts()).records
    assert run_frame([lookup(a=options)], frame.clear()).records == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("{c: no.csv}", "transform.yaml:2:12 E205 the table"),
        ("{c: {file: no.json, default: x}}", "No such file or directory"),
        ("{c: {file: three.csv, value_column: b}}", "three.csv has 3 columns: a, b, c"),
        ("{c: {file: three.csv, key_column: q, value_column: b}}", "has no column 'q'; there are a, b, c"),
        ("{c: {file: three.csv, key_column: a, value_column: b, key_type: integer}}", "'x' is not an integer"),
    ],
)
def test_validate_finds_a_table_that_cannot_be_used(tmp_path: Path, options: str, expected: str) -> None:
    (tmp_path / "three.csv").write_text("a,b,c\nx,2,3\n")
    (tmp_path / "in.csv").write_text("c\n1\n")
    (tmp_path / "extract.yaml").write_text("type: file\npath: in.csv\n")
    (tmp_path / "load.yaml").write_text("type: file\npath: out.csv\n")
    (tmp_path / "transform.yaml").write_text(f"transform:\n- map: {options}\n")
    assert expected in full(check(tmp_path, environ={}))
