"""The acceptance cases of configuration and variables."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from etlctl.contract.compile import check, load_contract
from etlctl.sdk import RowSlice, StepContext

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "contract_cases.yaml").read_text(encoding="utf-8"))


def params(area: str) -> list[Any]:
    return [pytest.param(case["given"], case["expect"], id=case["id"]) for case in CASES[area]]


@pytest.mark.parametrize(("given", "expect"), params("variables"))
def test_variables(make: Any, given: dict[str, Any], expect: dict[str, Any]) -> None:
    environ = given.get("env", {})
    if "transform" in given:
        contract = load_contract(make(transform={"transform": given["transform"]}), environ=environ)
        rows = RowSlice([dict(row) for row in given["rows"]], list(range(len(given["rows"]))))
        ctx = StepContext(environ=environ, now=datetime(2026, 1, 1, tzinfo=UTC))
        for step in contract.steps:
            step.operation.rows(rows, ctx)
            rows.settle()
        assert rows.records == expect["rows"]
        return
    path = make(extract={"type": "made", "path": given["value"]})
    contract = load_contract(path, environ=environ, params=given.get("variables"))
    assert contract.extractor.model_dump()["path"] == expect["value"]


@pytest.mark.parametrize(("given", "expect"), params("config"))
def test_config(make: Any, given: dict[str, Any], expect: dict[str, Any]) -> None:
    sections = {**given, "load": {"type": "file", "path": "out.jsonl"}}
    path = make(**sections)
    (path / "in.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    found = check(path, environ={})
    if expect.get("valid"):
        assert found == []
        return
    assert [one.code for one in found] == [expect["code"]]
    assert expect["error_contains"] in found[0].message
