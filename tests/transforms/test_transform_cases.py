"""The shared acceptance cases of the operations, in rows form and wherever possible in frame form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from operations_driver import compile_map, run_frame, run_rows, without_nulls, write_module
from pydantic import ValidationError

from etlctl.batch import rows_to_frame
from etlctl.errors import ConversionError, FatalError

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "transform_cases.yaml").read_text(encoding="utf-8"))
# What a case's error text must mention here, and whether it is the config, a record or the run that is wrong.
ERRORS = {
    "ot-tx-filter-gt-type-mismatch": ("record", r"'n'.*text.*gt.*number"),
    "ot-tx-filter-unknown-op": ("config", r"operator"),
    "ot-tx-jsonata-scalar": ("run", r"not an object or an array of objects"),
    "ot-tx-jsonata-syntax-error": ("config", r"Expected \} before end of expression"),
    "ot-tx-cf-no-keys": ("config", r"custom_function requires either 'callable' or 'module' \+ 'function'"),
    "ot-tx-cf-raises": ("run", r"probe_fn\.boom raised KeyError: 'zap'"),
    "ot-tx-cf-bad-callable": ("config", r"Invalid callable path: nodots. Use 'module.function' format."),
}
# Where the pinned semantics say otherwise than the case.
DIFFERS = {
    "ot-tx-filter-expression-key": {"rows": [{"n": 6}]},
    # A template that is exactly one reference keeps the value's type, and so keeps null.
    "ot-tx-add-after-rename": {"rows": [{"b": "1", "x": "1", "y": None}]},
}


@pytest.fixture
def context(tmp_path: Path) -> dict[str, Any]:
    write_module(tmp_path, "probe_fn", CASES["probe_fn"])
    return {"base_dir": tmp_path, "environ": {"SEED_PROBE": "hello"}}


def outcomes(case: dict[str, Any], context: dict[str, Any]) -> list[Any]:
    operations = compile_map(case["config"])
    made = [run_rows(operations, case["rows"], **context)]
    try:
        frame = rows_to_frame(case["rows"])
    except ConversionError:
        return made
    if frame.width:
        made.append(run_frame(operations, frame, **context))
    return made


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES["cases"]])
def test_case(case: dict[str, Any], context: dict[str, Any]) -> None:
    expect = DIFFERS.get(case["id"], case["expect"])
    if "error" in expect:
        kind, pattern = ERRORS[case["id"]]
        if kind == "record":
            for outcome in outcomes(case, context):
                assert not outcome.records
                assert re.search(pattern, outcome.refused[0][3])
            return
        with pytest.raises(ValidationError if kind == "config" else FatalError, match=pattern):
            outcomes(case, context)
        return
    for outcome in outcomes(case, context):
        if "rows" in expect:
            assert without_nulls(outcome.records) == without_nulls(expect["rows"])
        else:
            for record, patterns in zip(outcome.records, expect["rows_match"], strict=True):
                assert all(re.search(pattern, record[name]) for name, pattern in patterns.items())
            values = [record[expect["distinct"]] for record in outcome.records]
            assert len(set(values)) == len(values) > 1


def test_environment_never_wins_over_a_field(context: dict[str, Any]) -> None:
    operations = compile_map({"transform": {"add": {"x": "${nm}-${missing:-N/A}", "y": "${HOME}", "z": "${nm:-zz}"}}})
    records = [{"nm": "Ann", "zip": "00123"}]
    context["environ"] = {"HOME": "/root"}
    for outcome in (run_rows(operations, records, **context), run_frame(operations, rows_to_frame(records), **context)):
        assert outcome.records == [{"nm": "Ann", "zip": "00123", "x": "Ann-N/A", "y": None, "z": "Ann"}]
