"""The law of JSONata's forms: rows, columns and the reference implementation give the same, refused records included."""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "transforms"))
sys.path.insert(0, str(Path(__file__).parent))

from jsonata_cases import expressions, tables
from operations_driver import build, operation_classes, run_frame, run_rows

from etlctl.batch import frame_to_rows
from etlctl.jsonata import NOTHING, JsonataError
from etlctl.jsonata.engine import Engine
from etlctl.sdk import Operation

NOW = datetime(2024, 1, 5, 10, tzinfo=UTC)
_LENIENT = "exists|boolean|not|string|count|merge|now|rate"
_STRICT = re.compile(rf"\$(?!{_LENIENT}|[xyv]\b)[a-z]")
CONTEXT: dict[str, Any] = {"now": NOW, "environ": {}}
SETTINGS = settings(
    max_examples=int(os.environ.get("ETLCTL_TEST_EXAMPLES", "250")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def exact(value: Any) -> Any:
    """Make everything visible that JSON text would show: kinds of numbers, missing fields, the order of fields."""
    if isinstance(value, dict):
        return [(key, exact(item)) for key, item in value.items()]
    if isinstance(value, list):
        return ["list", *map(exact, value)]
    return (type(value).__name__, repr(value))


def jsonata(expression: str) -> Operation:
    return build(operation_classes()["jsonata"], {"expression": expression, "bindings": {"rate": 2}})


def agree(chain: list[Operation], frame: pl.DataFrame) -> list[str]:
    by_rows = run_rows(chain, frame_to_rows(frame), **CONTEXT)
    by_frame = run_frame(chain, frame, **CONTEXT)
    assert by_frame.refused == by_rows.refused
    assert by_frame.ordinals == by_rows.ordinals
    assert [exact(record) for record in by_frame.records] == [exact(record) for record in by_rows.records]
    return by_frame.forms


_NO_TOKEN = re.compile(r'\$contains\(.*?, (?!")')
NEIGHBOURS: dict[str, tuple[str, Any]] = {
    "jsonata": ("jsonata", {"expression": '{"x": $string(x), "y": y, "n": $count(l)}'}),
    "keep": ("filter", {"expression": "$exists(x) and x != 2"}),
    "convert": ("convert", {"x": {"type": "string", "on_error": "null"}}),
    "drop": ("drop", ["i"]),
}


@SETTINGS
@given(expression=expressions(), frame=tables(), neighbour=st.sampled_from([None, *NEIGHBOURS]))
def test_columns_give_what_rows_give(expression: str, frame: pl.DataFrame, neighbour: str | None) -> None:
    operation = jsonata(expression)
    assume(operation.frame_reason() is None)
    after = [build(operation_classes()[kind], value) for kind, value in [NEIGHBOURS[neighbour]]] if neighbour else []
    event(" ".join(agree([operation, *after], frame)))


def by_reference(expression: str, records: list[dict[str, Any]]) -> tuple[list[Any], list[int]]:
    """Return what jsonata-python makes of each record, and which records it refuses."""
    engine, made, refused = Engine(expression), [], []
    for number, record in enumerate(records):
        try:
            result = engine.evaluate(record, {"rate": 2}, seconds=60, depth=500)
        except JsonataError:
            refused.append(number)
            continue
        if result is not NOTHING:
            made.append(numbers(result))
    return made, refused


def reference_is_wrong(expression: str, frame: pl.DataFrame) -> bool:
    """Tell of what is known.

    Its clock, large integers, an index of -1.5, functions that take null for nothing, and ``$contains`` without a token.
    """
    has_null = "None" in str(frame.drop("n").to_dicts())
    elsewhere = any(text in expression for text in ("9007199254740993", "$now", "items[p]"))
    return (
        elsewhere or _NO_TOKEN.search(expression) is not None or (has_null and _STRICT.search(expression) is not None)
    )


def numbers(value: Any) -> Any:
    """Make 3 and 3.0 one number, but keep true apart from 1, and null from missing."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return ("boolean", value) if isinstance(value, bool) else value


@SETTINGS
@given(expression=expressions(), frame=tables(tame=True))
def test_columns_give_what_the_reference_gives(expression: str, frame: pl.DataFrame) -> None:
    operation = jsonata(expression)
    assume(operation.frame_reason() is None and not reference_is_wrong(expression, frame))
    found = run_frame([operation], frame, **CONTEXT)
    made, refused = by_reference(expression, frame_to_rows(frame))
    assert [ordinal for ordinal, *_ in found.refused] == refused
    assert [numbers(record) for record in found.records] == made
