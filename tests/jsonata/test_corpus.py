"""Expressions over every construct give what the reference implementation (jsonata.js 2.2.2) gave for them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from etlctl import jsonata

FOLDER = Path(__file__).parent / "corpus"
DATASETS = json.loads((FOLDER / "datasets.json").read_text("utf-8"))
CASES = [json.loads(line) for line in (FOLDER / "cases.jsonl").read_text("utf-8").splitlines()]


def same(result: Any, expected: Any) -> bool:
    if isinstance(result, bool) or isinstance(expected, bool):
        return result is expected
    if isinstance(result, int | float) and isinstance(expected, int | float):
        return math.isclose(result, expected, rel_tol=1e-15)
    if isinstance(result, dict) and isinstance(expected, dict):
        return result.keys() == expected.keys() and all(same(item, expected[key]) for key, item in result.items())
    if isinstance(result, list) and isinstance(expected, list):
        return len(result) == len(expected) and all(map(same, result, expected))
    return type(result) is type(expected) and bool(result == expected)


def problem(case: dict[str, Any]) -> str | None:
    """Return what is wrong with what a case gives, None when it is what the reference gave."""
    data = DATASETS[case["set"]] if "set" in case else case.get("data", jsonata.NOTHING)
    before = json.dumps(data) if data is not jsonata.NOTHING else ""
    try:
        result = jsonata.compile(case["expression"]).evaluate(data)
    except (jsonata.JsonataError, jsonata.JsonataSyntaxError) as error:
        if "error" not in case:
            return f"failed: {error.code} {error}"
        return None if case["error"] in ("", error.code) else f"failed with {error.code}, not {case['error']}"
    if before and json.dumps(data) != before:
        return "the input was changed"
    if "error" in case:
        return f"gave {result!r} where the error {case['error']} was due"
    if case.get("nothing"):
        return None if result is jsonata.NOTHING else f"gave {result!r} where nothing was due"
    return None if same(result, case["result"]) else f"gave {result!r} instead of {case['result']!r}"


@pytest.mark.parametrize("part", range(0, len(CASES), 100))
def test_like_the_reference(part: int) -> None:
    found = {case["expression"]: problem(case) for case in CASES[part : part + 100]}
    assert {expression: why for expression, why in found.items() if why is not None} == {}


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 600
    assert sum("error" in case for case in CASES) >= 100
