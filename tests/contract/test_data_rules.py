"""What ``contract.yaml`` says of the data is checked by ``validate``: every mistake at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etlctl.contract.compile import check, load_contract
from etlctl.contract.data_rules import RunChecks
from etlctl.contract.formats import PATTERNS, accepts


def found(make: Any, text: str, **sections: Any) -> list[str]:
    """Return what is said about a contract.yaml: line, column, code and message."""
    path: Path = make(**sections)
    (path / "contract.yaml").write_text(text, encoding="utf-8")
    problems = check(path, environ={})
    return [f"{one.span.line}:{one.span.column} {one.code} {one.message}" for one in problems if one.span]


def test_a_broken_expression_is_shown_inside_its_yaml_block(make: Any) -> None:
    text = "schema:\n  rules:\n    - name: in_order\n      expression: |\n        end >=\n          ) start\n      message: no\n"
    (problem,) = found(make, text)
    assert problem.split()[1] == "E512"
    assert problem.split()[0] == "6:11"


def test_a_good_contract_of_every_kind_compiles(make: Any) -> None:
    text = """
schema:
  on_violation: warn
  fields:
    id: {unique: true, format: uuid, on_violation: fail}
    n: {exclusive_minimum: 0, exclusive_maximum: 10.5}
  rules:
    - {name: a, expression: "n > 1", on_violation: drop}
checks:
  row_count: {min: 1, max: 10, max_change_percent: 20, over_runs: 5, on_violation: warn}
  freshness: {field: at, max_age: 1d12h}
  null_share: {n: 0, id: {max: 0.5, on_violation: warn}}
"""
    path: Path = make(extract="type: file\npath: x.jsonl\n", load="type: file\npath: y.jsonl\n")
    (path / "contract.yaml").write_text(text, encoding="utf-8")
    contract = load_contract(path, environ={})
    assert [step.name for step in contract.steps] == ["check", "check.rules", "check.unique", "check.run"]
    assert [type(step.operation).__name__ for step in contract.steps] == [
        "RecordCheck",
        "RuleCheck",
        "UniqueCheck",
        "ValuesCheck",
    ]
    assert contract.checks is not None
    assert contract.checks.freshness is not None
    assert contract.checks.freshness.age.total_seconds() == 36 * 3600


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema: {on_violation: warm}", "E204 'schema.on_violation' must be one of"),
        ("schema:\n  fields: {a: {format: mail}}", "2:24 E204 'schema.fields.a.format' must be one of"),
        ("schema:\n  rules: [{name: a b, expression: x}]", "2:18 E204 'schema.rules[0].name'"),
        ("schema:\n  rules: [{name: a}]", "E202 'schema.rules[0]' needs 'expression'"),
        (
            "schema:\n  rules: [{name: a, expression: x}, {name: a, expression: y}]",
            "2:3 E205 'schema.rules': two rules are named 'a'",
        ),
        ("checks: {row_count: {}}", "E205 'checks.row_count': row_count needs min, max or max_change_percent"),
        ("checks:\n  freshness: {field: a, max_age: 2 hours}", "2:34 E205 'checks.freshness.max_age': '2 hours' is no"),
        (
            "checks:\n  freshness: {field: a, max_age: 99999999999w}",
            "E205 'checks.freshness.max_age': '99999999999w' is",
        ),
        ("checks: {row_count: {min: 5, max: 3}}", "no number of records is at least 5 and at most 3"),
        ("schema:\n  fields:\n    a: {minimum: 5, maximum: 3}", "3:5 E205 'schema.fields.a': no value could pass"),
        ("schema:\n  fields:\n    a: {minimum: 5, exclusive_maximum: 5}", "exclusive_maximum is 5"),
        ("schema:\n  fields:\n    a: {min_length: 5, max_length: 3}", "no value could pass: min_length is 5"),
        ("schema:\n  fields:\n    a: {enum: []}", "no value could pass: enum is empty"),
        ("schema:\n  fields:\n    a: {type: string, maximum: 3}", "maximum is for numbers, and the type is string"),
        ("schema:\n  fields:\n    a: {type: integer, format: uuid}", "format is for text, and the type is integer"),
        ("checks:\n  null_share: {a: 5}", "E205 'checks.null_share': null_share of 'a' is a share from 0 to 1, not 5"),
        ("checks:\n  nul_share: {a: 1}", "2:3 E201 unknown key 'nul_share' in checks"),
        ("checks:\n  row_count: {min: 1, on_violation: reject}", "2:37 E204 'checks.row_count.on_violation' must be"),
    ],
)
def test_mistakes_are_told(make: Any, text: str, said: str) -> None:
    assert any(said in problem for problem in found(make, text)), found(make, text)


def test_checks_on_fields_that_cannot_be_there_are_told(make: Any) -> None:
    text = "checks:\n  freshness: {field: total, max_age: 2h}\n  null_share: {mial: 0}\n"
    path: Path = make(extract="type: file\npath: x.csv\n", transform={"transform": {"convert": {"total": "float"}}})
    (path / "contract.yaml").write_text(text, encoding="utf-8")
    (path / "x.csv").write_text("id,mail,total\n1,a,2\n", encoding="utf-8")
    problems = [(one.span and one.span.line, one.code, one.help) for one in check(path, environ={})]
    assert problems == [
        (2, "E504", "convert it in transform.yaml: convert: {total: datetime}"),
        (3, "E501", "did you mean 'mail'?"),
    ]


def test_durations() -> None:
    for text, seconds in (("90s", 90), ("1.5h", 5400), ("2w", 14 * 86400), ("1d1m", 86460)):
        checks = RunChecks.model_validate({"freshness": {"field": "a", "max_age": text}})
        assert checks.freshness is not None
        assert checks.freshness.age.total_seconds() == seconds


GOOD = {
    "email": "a@b.c jane.doe+x@example.co.uk o'neil@x",
    "uri": "http://a.b/c?d=e#f mailto:a@b urn:x:y http://[::1]:80/ file:///etc http://ex.com:8080 http://[v7.x]/",
    "uuid": "123e4567-e89b-12d3-a456-426614174000 123E4567-E89B-12D3-A456-426614174000",
    "date": "2024-02-29 0001-01-01 9999-12-31",
    "date-time": "2024-02-29T10:00:00Z 1998-12-31T23:59:60Z 1998-12-31T15:59:60.123-08:00 2024-01-01t10:00:00.1+02:00",
    "time": "10:00:00Z 23:59:60Z 00:29:60+00:30 10:00:00.123456789-11:30",
    "ipv4": "1.2.3.4 255.255.255.255 0.0.0.0",
    "ipv6": "::1 1:2:3:4:5:6:7:8 ::ffff:1.2.3.4 fe80:: :: 1:2:3:4:5:6:7::",
    "hostname": "a localhost ex-am.com 1a.b " + "a" * 63,
}
BAD = {
    "email": "a.b @. a@ @b a@b..c a@-b.c a@b@c é@b.c",
    "uri": "//a /a a http://[::x]/ http://a%zz http://h:ab/ http://[1/ 1http://x http://é",
    "uuid": "123e4567e89b12d3a456426614174000 g23e4567-e89b-12d3-a456-426614174000 {123e4567-e89b-12d3-a456-426614174000}",
    "date": "2023-02-29 0000-01-01 2024-1-1 20240101 2024-01-01T 2024-13-01",
    "date-time": "2023-02-29T10:00:00Z 1998-12-31T22:59:60Z 2024-01-01T10:00:00 2024-01-01T24:00:00Z 2024-01-01",
    "time": "10:00:00 10:00Z 22:59:60Z 24:00:00Z 10:00:00+24:00",
    "ipv4": "1.2.3 256.1.1.1 01.2.3.4 1.2.3.4.5 1.2.3.4/8",
    "ipv6": "1:2:3:4:5:6:7 ::1%eth0 12345:: 1::2::3 :1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 ::1.2.3",
    "hostname": "-a a- a..b a_b a. " + "a" * 64 + " " + ".".join(["a" * 63] * 4),
}


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_formats_are_those_of_their_standards(name: str) -> None:
    of_format = accepts(name)
    assert [text for text in GOOD[name].split() if not of_format(text)] == []
    assert [text for text in BAD[name].split() if of_format(text)] == []
    assert [
        text for text in ("", " ", GOOD[name].split()[0] + "\n", " " + GOOD[name].split()[0]) if of_format(text)
    ] == []
