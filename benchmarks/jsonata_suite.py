"""Runs the official JSONata test suite through ``etlctl.jsonata.evaluate`` and says what does not pass, and why.

    python benchmarks/jsonata_suite.py path/to/jsonata/test/test-suite

The folder is ``test/test-suite`` of https://github.com/jsonata-js/jsonata, with ``groups/`` and ``datasets/`` in it.
An error case passes with any error; how many have the very code is told apart. Integers are exact here where the
reference rounds to doubles at every step, so whole numbers beyond 2^53 count as equal to 14 digits.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from etlctl import jsonata


@dataclass(frozen=True)
class Case:
    """One case: its place in the suite, and what it says."""

    name: str
    expression: str
    data: Any
    bindings: dict[str, Any]
    spec: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a case; ``reason`` is empty when it passed, ``code`` tells whether an error had the right code."""

    reason: str = ""
    is_error: bool = False
    code: bool = False


def read_cases(folder: Path) -> Iterator[Case]:
    """Yield every case below ``groups/``, in order."""
    datasets = {path.stem: json.loads(path.read_text("utf-8")) for path in (folder / "datasets").glob("*.json")}
    for path in sorted((folder / "groups").rglob("*.json")):
        content = json.loads(path.read_text("utf-8"))
        specs = content if isinstance(content, list) else [content]
        for number, spec in enumerate(specs):
            name = str(path.relative_to(folder / "groups").with_suffix(""))
            source = spec.get("expr-file")
            expression = spec["expr"] if source is None else (path.parent / source).read_text("utf-8")
            data = spec["data"] if "data" in spec else datasets.get(spec.get("dataset"))
            if "data" not in spec and spec.get("dataset") is None:
                data = jsonata.NOTHING
            where = name if len(specs) == 1 else f"{name}[{number}]"
            yield Case(where, expression, data, spec.get("bindings") or {}, spec)


def wanted_error(spec: dict[str, Any]) -> str | None:
    """Return the code of the error a case expects, None when it expects a result."""
    if "code" in spec:
        return str(spec["code"])
    error = spec.get("error")
    return str(error.get("code", "")) if isinstance(error, dict) else None


def run(case: Case) -> Outcome:
    """Evaluate one case and compare."""
    code = wanted_error(case.spec)
    try:
        result = jsonata.evaluate(case.expression, case.data, case.bindings)
    except (jsonata.JsonataError, jsonata.JsonataSyntaxError) as error:
        if code is not None:
            return Outcome(is_error=True, code=error.code == code)
        return Outcome(f"failed with {error.code or 'an error'}: {error}")
    if code is not None:
        return Outcome(f"gave {short(result)} where the error {code} was due", is_error=True)
    if case.spec.get("undefinedResult"):
        return Outcome() if result is None else Outcome(f"gave {short(result)} where nothing was due")
    expected = case.spec.get("result")
    if same(result, expected, unordered=bool(case.spec.get("unordered"))):
        return Outcome()
    return Outcome(f"gave {short(result)} instead of {short(expected)}")


def same(result: Any, expected: Any, *, unordered: bool = False) -> bool:
    """Tell whether a result is the expected one."""
    if isinstance(result, bool) or isinstance(expected, bool):
        return result is expected
    if isinstance(result, int | float) and isinstance(expected, int | float):
        exact = isinstance(result, int) and abs(result) > 2**53
        return math.isclose(result, expected, rel_tol=1e-14) if exact else float(result) == float(expected)
    if isinstance(result, dict) and isinstance(expected, dict):
        return result.keys() == expected.keys() and all(same(result[key], expected[key]) for key in result)
    if isinstance(result, list) and isinstance(expected, list):
        if unordered:
            result, expected = (sorted(items, key=json.dumps) for items in (result, expected))
        return len(result) == len(expected) and all(map(same, result, expected))
    return bool(result == expected) and type(result) is type(expected)


def short(value: Any) -> str:
    """Return a value in at most 80 characters."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else text[:79] + "…"


def main() -> int:
    """Run the suite of the folder given."""
    parser = argparse.ArgumentParser(description="Runs the official JSONata test suite.")
    parser.add_argument("folder", type=Path, help="test/test-suite of jsonata-js/jsonata")
    parser.add_argument("--codes", action="store_true", help="list error cases with another code as well")
    options = parser.parse_args()
    total = passed = errors = codes = 0
    started = perf_counter()
    for case in read_cases(options.folder):
        outcome = run(case)
        total += 1
        passed += not outcome.reason
        errors += outcome.is_error
        codes += outcome.code
        if outcome.reason:
            print(f"{case.name}: {short(case.expression)}\n    {outcome.reason}")
        elif options.codes and outcome.is_error and not outcome.code:
            print(f"{case.name}: {short(case.expression)}\n    another code than {wanted_error(case.spec)}")
    print(f"{passed}/{total} passed in {perf_counter() - started:.1f} s; of {errors} errors {codes} with the very code")
    return 0 if total else 2


if __name__ == "__main__":
    sys.exit(main())
