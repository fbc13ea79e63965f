"""The acceptance cases of the file loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "load_cases.yaml").read_text(encoding="utf-8"))["cases"]


def source_frame() -> pl.DataFrame:
    n = range(2500)
    return pl.DataFrame(
        {
            "id": [str(i) for i in n],
            "name": [f"n{i}" for i in n],
            "qty": [None if i % 10 == 0 else str(i) for i in n],
            "zip": [f"{i:05}" for i in n],
        }
    )


def batches(given: dict[str, Any], form: str) -> list[Any]:
    frame = pl.DataFrame(given["rows"]) if "rows" in given else source_frame()
    rows = given.get("rows") or frame.to_dicts()
    size = given.get("batch_size", 1 if "rows" in given else 1000)
    if form == "frame":
        return list(frame.iter_slices(size))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@pytest.mark.parametrize("form", ["rows", "frame"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
async def test_case(load, tmp_path, case, form) -> None:
    options = {key: value for key, value in case["given"]["load"].items() if key != "type"}
    done = await load("out.file", batches(case["given"], form), **options)
    text = (tmp_path / "out.file").read_text(encoding="utf-8")
    found = {
        "rows_loaded": done.published.records,
        "file_lines": text.count("\n"),
        "file_text": text,
        "json_array_length": len(json.loads(text)) if options["format"] == "json" else None,
    }
    expected = case["expect"]
    assert {key: found[key] for key in expected} == expected
    if "rows" not in case["given"]:
        records = json.loads(text) if options["format"] == "json" else [json.loads(line) for line in text.splitlines()]
        assert records == source_frame().to_dicts()
