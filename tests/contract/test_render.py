"""Diagnostics in every format, and the words behind every code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from etlctl.contract.codes import Code
from etlctl.contract.render import as_json, concise, full, github, sarif
from etlctl.contract.rules.registry import all_rules
from etlctl.diagnostics import Diagnostic, Severity, Span

SPAN = Span(2, 7, 2, 11)


def finding(file: str, **changes: object) -> Diagnostic:
    given = {"message": "50% is: wrong,\nreally", "help": "try é", **changes}
    return Code.invalid_value.at(file, given.get("span", SPAN), str(given["message"]), help=given["help"])  # type: ignore[arg-type]


def test_concise_is_one_line_per_finding() -> None:
    text = concise([finding("a.yaml", message="m"), finding("b.yaml", message="n", span=None)])
    assert text == "a.yaml:2:7 E204 m\nb.yaml E204 n\n"


def test_full_underlines_characters_not_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("x: 1\nké: \tabcd # rest\n", encoding="utf-8")
    lines = full([finding(str(file), message="m", span=Span(2, 6, 2, 10))]).splitlines()
    assert lines[1] == "2 | ké:     abcd # rest"
    assert lines[2] == "  |         ^^^^"
    assert lines[3] == "  = help: try é"


def test_full_underlines_wide_and_combining_characters_by_their_width(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("日e\u0301: 本x\n", encoding="utf-8")
    lines = full([finding(str(file), message="m", span=Span(1, 6, 1, 8))]).splitlines()
    assert lines[2] == "  | " + " " * 5 + "^^^"


def test_full_shows_the_part_of_a_long_line_that_matters(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("k: " + "a" * 500_000 + "WRONG" + "b" * 500_000 + "\n", encoding="utf-8")
    lines = full([finding(str(file), message="m", span=Span(1, 500_004, 1, 500_009))]).splitlines()
    assert len(lines[1]) < 220
    start = lines[2].index("^")
    assert lines[1][start : start + 5] == "WRONG"
    assert lines[2].count("^") == 5
    assert lines[1].startswith("1 | …a")
    assert lines[1].endswith("b…")


def test_full_sends_no_control_characters_to_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("k: \x1b[31m\u202ered\n", encoding="utf-8")
    text = full([finding(str(file), message="m", span=Span(1, 4, 1, 5))])
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "k: \ufffd[31m\ufffdred" in text


def test_a_long_place_is_not_underlined_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "long.yaml"
    file.write_text(f"path: {'x' * 200}\n", encoding="utf-8")
    text = full([finding(str(file), span=Span(1, 7, 1, 207))])
    assert [line for line in text.splitlines() if "^" in line] == ["  |       " + "^" * 60]


def test_a_file_that_is_not_there_has_no_excerpt() -> None:
    related = (("git:main:old/contract.yaml", Span(1, 1, 1, 2), "it was there"),)
    assert full([Code.field_removed.at("a.yaml", None, "gone", help="look", related=related)]) == (
        "a.yaml E701 gone\n  = help: look\n"
    )


def test_colour_only_when_asked() -> None:
    assert "\x1b[" in full([finding("a.yaml")], color=True)
    assert "\x1b[" not in full([finding("a.yaml")])


def test_a_secret_is_masked_in_every_excerpt_of_its_line(tmp_path: Path) -> None:
    file = tmp_path / "load.yaml"
    file.write_text("{type: x, token: s3cr3t-t0ken, urll: y}\n", encoding="utf-8")
    secret = Code.literal_secret.at(str(file), Span(1, 18, 1, 30), "a secret")
    other = Code.unknown_key.at(str(file), Span(1, 32, 1, 36), "unknown key")
    text = full([secret, other])
    assert "s3cr3t" not in text
    assert text.count("{type: x, token: ************, urll: y}") == 2


def test_github_escapes_what_would_break_the_command() -> None:
    line = github([finding("a,b:c.yaml")])
    assert line == (
        "::error file=a%2Cb%3Ac.yaml,line=2,col=7,endLine=2,endColumn=11,title=E204::"
        "50%25 is: wrong,%0Areally%0Ahelp: try é\n"
    )
    assert github([Code.literal_secret.at("a.yaml", None, "m")]).startswith("::warning file=a.yaml,title=W602::")


def test_json_has_everything() -> None:
    related = (("a.yaml", Span(1, 1, 1, 2), "first"),)
    [found] = as_json([Code.duplicate_key.at("a.yaml", SPAN, "m", help="h", related=related)])
    assert found == {
        "code": "E102", "severity": "error", "file": "a.yaml", "line": 2, "column": 7, "end_line": 2, "end_column": 11,
        "message": "m", "help": "h",
        "related": [{"file": "a.yaml", "line": 1, "column": 1, "end_line": 1, "end_column": 2, "message": "first"}],
    }  # fmt: skip


def test_sarif_is_a_valid_log() -> None:
    log = json.loads(sarif([finding("x y/a.yaml"), finding("b.yaml", span=None)], version="1.2.3"))
    assert log["version"] == "2.1.0"
    [run] = log["runs"]
    assert run["tool"]["driver"]["version"] == "1.2.3"
    first, second = run["results"]
    assert run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == first["ruleId"] == "E204"
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "x%20y/a.yaml"
    assert place["region"] == {"startLine": 2, "startColumn": 7, "endLine": 2, "endColumn": 11}
    assert "region" not in second["locations"][0]["physicalLocation"]
    assert first["level"] in {"error", "warning", "note", "none"}


def test_sarif_without_findings() -> None:
    assert json.loads(sarif([], version="1"))["runs"][0]["results"] == []


def test_every_code_has_a_rule_with_words() -> None:
    rules = all_rules()
    assert list(rules) == [code.value for code in Code]
    for rule in rules.values():
        assert rule.what.endswith(".")
        assert rule.why.endswith(".")
        assert rule.bad.strip() != rule.good.strip() != ""


@pytest.mark.parametrize("code", list(Code))
def test_codes_tell_how_bad_they_are(code: Code) -> None:
    assert re.fullmatch(r"[EW][1-6][0-9]{2}|[EWI]7[0-9]{2}", code.value)
    assert code.severity is {"E": Severity.error, "W": Severity.warning, "I": Severity.info}[code.value[0]]
