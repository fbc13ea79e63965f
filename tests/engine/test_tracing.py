"""Following records from step to step changes nothing: the same records, ordinals, refusals and tallies come out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etlctl.batch import Batch, rows_to_frame
from etlctl.catalog import Catalog, Kind
from etlctl.contract.model import Step
from etlctl.engine.apply import apply_steps
from etlctl.engine.tracing import Outcome, StepTracer
from etlctl.sdk.context import StepContext

CATALOG = Catalog.for_workspace(None)


def steps() -> list[Step]:
    """Steps that change, drop, refuse and multiply, some of them without a frame form."""
    options: list[tuple[str, dict[str, Any]]] = [
        ("rename", {"fields": {"a": "b"}}),
        ("convert", {"fields": {"b": "integer"}}),
        ("filter", {"field": "b", "operator": "lt", "value": 50}),
        ("unnest", {"fields": ["c"]}),
        ("defaults", {"fields": {"c": "none"}}),
        ("filter", {"field": "c", "operator": "ne", "value": "y"}),
    ]
    made = []
    for number, (name, values) in enumerate(options):
        model = CATALOG.find(Kind.operation, name).options_model(import_code=True)
        made.append(Step(f"transform[{number}].{name}", model.model_validate(values).fresh()))  # type: ignore[attr-defined]
    return made


RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "a": st.one_of(st.none(), st.integers(0, 99).map(str), st.sampled_from(["x", "", "007"])),
            "c": st.lists(st.sampled_from(["x", "y", "z"]), max_size=3),
        }
    ),
    max_size=12,
)


def plain(applied: Any) -> Any:
    records = applied.records if applied.frame is None else applied.frame.to_dicts()
    ordinals = list(range(len(applied))) if applied.ordinals is None else list(applied.ordinals)
    refused = sorted(
        (one.step, one.rejection.index, one.rejection.rule, one.rejection.message) for one in applied.refused
    )
    tallies = [(sorted(one.filtered), sorted(one.added), sorted(one.rejected)) for one in applied.tallies]
    return records, ordinals, refused, tallies, applied.source


@pytest.mark.parametrize("form", ["rows", "frame"])
@settings(deadline=None)
@given(records=RECORDS, wanted=st.integers(0, 12))
def test_looking_on_changes_nothing(form: str, records: list[dict[str, Any]], wanted: int) -> None:
    def batch() -> Batch:
        if form == "frame" and any(one["c"] for one in records):
            return Batch.of_frame(rows_to_frame(records), {})
        return Batch.of_rows([dict(one) for one in records], {})

    both = steps()
    contexts = [StepContext(step=step.name) for step in both]
    tracer = StepTracer(wanted)
    expected = plain(apply_steps(both, batch(), contexts))
    assert plain(tracer(both, batch(), contexts)) == expected
    assert len(tracer.traces) == min(wanted, len(records))
    finals: dict[int, list[Any]] = {}
    for record, ordinal in zip(expected[0], expected[1], strict=True):
        finals.setdefault(ordinal, []).append(record)
    for number, trace in enumerate(tracer.traces):
        assert trace.number == number + 1
        assert trace.final == finals.get(number, [])
        rejected = [one for one in trace.passages if one.outcome is Outcome.rejected]
        assert sorted((one.step, one.rule) for one in rejected) == sorted(
            (step, rule) for step, index, rule, _ in expected[2] if index == number
        )


def test_only_the_first_records_of_all_chunks_are_followed() -> None:
    both = steps()
    contexts = [StepContext(step=step.name) for step in both]
    tracer = StepTracer(3)
    for start in (0, 2, 4):
        tracer(both, Batch.of_rows([{"a": str(start + n), "c": ["x"]} for n in range(2)], {}), contexts)
    assert [trace.source["a"] for trace in tracer.traces] == ["0", "1", "2"]
    assert [trace.number for trace in tracer.traces] == [1, 2, 3]
