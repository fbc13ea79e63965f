"""Messages about wrong values name what may stand there, whatever form it is written in."""

from __future__ import annotations

from pathlib import Path

import pytest

from etlctl.contract.compile import check_contract
from etlctl.diagnostics import Diagnostic


def check(folder: Path, **files: str) -> list[Diagnostic]:
    given = {"extract": "type: file\npath: in.csv\n", "load": "type: file\npath: out.jsonl\n", **files}
    for name, text in given.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return check_contract(folder).diagnostics


@pytest.mark.parametrize("pattern", ["[[[[", "(a", "*", "a{2,1}", "(?P<n>"])
def test_a_pattern_that_is_no_expression_is_found_before_the_run(tmp_path: Path, pattern: str) -> None:
    text = f"name: x\nschema:\n  fields:\n    b: {{type: string, pattern: '{pattern}'}}\n"
    [found] = check(tmp_path, contract=text)
    assert found.code == "E205"
    assert found.span is not None
    assert (found.span.line, found.span.column) == (4, 32)
    assert "is not a regular expression" in found.message


def test_an_expression_that_python_only_warns_about_holds(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    assert check(tmp_path, contract="name: x\nschema: {fields: {b: {pattern: '[[]x'}}}\n") == []
    assert not list(recwarn)


def test_an_empty_list_is_called_empty(tmp_path: Path) -> None:
    [found] = check(tmp_path, extract="type: file\npath: []\n")
    assert found.message == "'path' must have at least 1 item, not an empty list"


def test_a_shorthand_may_be_a_mapping_too(tmp_path: Path) -> None:
    [found] = check(tmp_path, transform="transform:\n  filter: 1\n")
    assert found.message == "'transform.filter' must be a list or a mapping, not 1"


def test_what_is_always_a_shorthand_is_no_mapping_of_options(tmp_path: Path) -> None:
    [found] = check(tmp_path, transform="transform:\n  rename: 1\n")
    assert found.message == "'transform.rename' must be a mapping, not 1"
