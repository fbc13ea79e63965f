"""Every case of `function_cases.jsonl`: what jsonata.js 2.2.2 gave, or the code it failed with, is what we give."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from etlctl.jsonata import JsonataError, JsonataSyntaxError, evaluate
from etlctl.jsonata.functions import BUILTINS

CASES: dict[str, list[dict[str, Any]]] = defaultdict(list)
for line in Path(__file__).with_name("function_cases.jsonl").read_text(encoding="utf-8").splitlines():
    case = json.loads(line)
    CASES[case["function"]].append(case)

BY_HAND = {
    "a": [1, 2, 3],
    "s": "abcabbcab",
    "o": {"x": 1, "y": 2},
    "recs": [{"k": 2, "v": "p"}, {"k": 1, "v": "q"}, {"k": 2, "v": "r"}, {"k": 1, "v": "s"}],
}
"""The data of the cases that were written by hand."""
FAILED = object()


def same(ours: Any, theirs: Any) -> bool:
    """Tell whether two results are the same JSON: order of keys included, true is not 1, 1.0 is 1."""
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return ours is theirs
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return float(ours) == float(theirs)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    return type(ours) is type(theirs) and ours == theirs


def outcome(case: dict[str, Any]) -> tuple[Any, str | None]:
    data = BY_HAND if case["function"] == "by hand" else case.get("data")
    try:
        return evaluate(case["expression"], data, case.get("bindings")), None
    except (JsonataError, JsonataSyntaxError) as error:
        return FAILED, error.code


@pytest.mark.parametrize("function", sorted(CASES))
def test_gives_what_the_reference_gives(function: str) -> None:
    wrong = []
    for case in CASES[function]:
        result, code = outcome(case)
        if "code" in case:
            agrees = result is FAILED and case["code"] in ("", code)
        else:
            agrees = result is not FAILED and same(result, case.get("result"))
        if not agrees:
            wrong.append((case, result, code))
    assert not wrong


def test_the_corpus_covers_the_library() -> None:
    text = "\n".join(case["expression"] for cases in CASES.values() for case in cases)
    assert [name for name in BUILTINS if f"${name}(" not in text] == []
    assert sum(map(len, CASES.values())) >= 2000
