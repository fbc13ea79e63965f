"""The acceptance cases of records held to a schema, each as a run of its own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from etlctl.orchestrator import ETLOrchestrator

KNOWN = yaml.safe_load((Path(__file__).parents[1] / "cases" / "validation_cases.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in KNOWN["cases"]])
@pytest.mark.parametrize("mode", ["full", "streaming"])
def test_case(tmp_path: Path, case: dict[str, Any], mode: str) -> None:
    (tmp_path / "etlctl.yaml").touch()
    rows = case.get("rows", KNOWN["rows"])
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sections = {
        "extract": {"type": "file", "path": "in.jsonl", "processing_mode": mode},
        "load": {"type": "file", "path": "out.jsonl"},
        "contract": {"schema": {"fields": KNOWN["fields"], "on_violation": case["on_violation"]}},
    }
    for name, section in sections.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(section), encoding="utf-8")
    result = asyncio.run(ETLOrchestrator(tmp_path, warn=lambda _: None).run())
    expect = case["expect"]
    assert (result.success, result.counts.loaded if result.success else 0) == (expect["success"], expect["rows_loaded"])
    assert result.counts.rejected == expect.get("rejected", 0)
    if "rows" in expect:
        out = tmp_path / "out.jsonl"
        loaded = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] if out.exists() else []
        assert loaded == expect["rows"]
