"""The examples of ``etlctl explain`` are true: the bad one has the code, the good one has no error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etlctl.contract.compile import check
from etlctl.contract.rules.registry import all_rules
from etlctl.diagnostics import Severity

# These need more than one file, the command line, or fields of a source that the example only describes.
_ELSEWHERE = {"E103", "E105", "E206", "E207", "E208", "E211", "E304", "E403", "E404", "E405", "E501", "E503", "E504"}  # fmt: skip
RULES = [rule for rule in all_rules().values() if rule.bad.startswith(("transform:", "jsonata:", "type:"))]
_ENVIRON = {"DATA_DIR": "data"}


def codes(make: Any, name: str, text: str, environ: dict[str, str]) -> set[str]:
    """Return the errors of an example, put into the file it belongs to."""
    if text.startswith("type:"):
        path: Path = make(name, extract=text.replace("type: file", "type: made").replace("type: fille", "type: maed"))
    else:
        path = make(name, transform=text)
    return {found.code for found in check(path, environ=environ) if found.severity is Severity.error}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code.value)
def test_the_good_example_holds(make: Any, rule: Any) -> None:
    assert codes(make, "good", rule.good, _ENVIRON) == set()


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.code.value not in _ELSEWHERE | {"E202"}], ids=lambda rule: rule.code.value
)
def test_the_bad_example_has_the_code(make: Any, rule: Any) -> None:
    environ = {} if rule.code.value == "E402" else _ENVIRON
    assert codes(make, "bad", rule.bad, environ) == {rule.code.value}


def test_enough_rules_are_tried() -> None:
    assert len(RULES) >= 18


def test_only_warnings_have_a_check_so_a_run_loads_no_other_rule():
    assert {rule.severity for rule in all_rules().values() if rule.check is not None} == {Severity.warning}
    assert all((rule.severity is Severity.warning) == code.startswith("W") for code, rule in all_rules().items())
