"""The law of the two forms for a contract's checks: whatever is to become of a record, rows and frame agree on it."""

from __future__ import annotations

import string
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import event, given
from hypothesis import strategies as st
from pydantic import ValidationError
from test_operations_agree import SETTINGS, tables

from etlctl.batch import Batch, frame_to_rows
from etlctl.contract.data_rules import FieldRule, RecordSchema, RunChecks
from etlctl.contract.formats import PATTERNS, accepts
from etlctl.contract.record_check import record_checks
from etlctl.contract.run_check import run_checks
from etlctl.engine.apply import apply_steps
from etlctl.errors import RecordFailed
from etlctl.sdk import ConclusionContext, Operation, StepContext

FIELDS = ["a", "b", "c"]
ACTIONS = st.sampled_from(["reject", "warn", "drop", "fail"])
BOUNDS = st.sampled_from([-1, 0, 0.1, 5, 5.5, 2**53, 2.0**63])
LIKELY = [
    *["a@b.c", "1.2.3.4", "::1", "1:2:3:4:5:6:7:8", "2024-02-29", "2023-02-29", "0000-01-01", "localhost", "a.b"],
    *["10:00:00Z", "23:59:60Z", "2024-01-05T10:00:00Z", "2024-01-05T23:59:60+00:00", "http://[::1]/x", "urn:x:y"],
    *["123e4567-e89b-12d3-a456-426614174000", "http://a b", "é@b.c", "a@b.c\n", "ü.de", "x" * 64 + ".de", ""],
]
TEXTS = st.sampled_from(LIKELY) | st.text(string.ascii_letters + string.digits + ".:-@/[]%+TZ é\n", max_size=12)
INSTANTS = st.integers(0, 3).map(lambda n: datetime(2024, 1, 1, 0, 0, n, 500_000 * (n == 2), tzinfo=UTC))
COLUMNS = st.one_of(
    st.just((pl.String, TEXTS)),
    st.just((pl.Int64, st.integers(-3, 8) | st.sampled_from([2**53, 2**53 + 1, -(2**63)]))),
    st.just((pl.Float64, st.sampled_from([0.0, -0.0, 0.1, 5.0, 5.5, float("nan"), float("inf"), 2.0**63]))),
    st.just((pl.Decimal(38, 3), st.sampled_from(["0.1", "0.100", "5", "5.5", "-1", "9007199254740993"]).map(Decimal))),
    st.just((pl.Date, st.dates(date(2024, 1, 1), date(2024, 1, 4)))),
    st.just((pl.Datetime("us", "UTC"), INSTANTS)),
    st.just((pl.Datetime("us"), INSTANTS.map(lambda instant: instant.replace(tzinfo=None)))),
    st.just((pl.Boolean, st.booleans())),
)
RULE = st.fixed_dictionaries(
    {},
    optional={
        "required": st.booleans(),
        "unique": st.booleans(),
        "on_violation": ACTIONS,
        "format": st.sampled_from(sorted(PATTERNS)),
        "enum": st.lists(st.sampled_from([1, 5, 5.0, True, "a@b.c", ""]), min_size=1, max_size=3),
        "exclusive_minimum": BOUNDS,
        "exclusive_maximum": BOUNDS,
        "minimum": BOUNDS,
        "maximum": BOUNDS,
    },
)
EXPRESSIONS = [
    *["a >= b", "a < b and b < c", "a = b or c != 5", "a > 1", "b != 'a@b.c'", "c <= '2024-01-05'", "a + 1 > b"],
    *["$exists(a)", "$count($keys($)) > 1", "a > b or (b > c and c > 0)", "a.x = 1", "$not(a = b)", "5 > a", "'x' < a"],
]


@st.composite
def typed(draw: st.DrawFn) -> pl.DataFrame:
    """A frame of a few typed columns with nulls."""
    height = draw(st.integers(0, 7))
    columns = {}
    for name in draw(st.lists(st.sampled_from(FIELDS), min_size=1, unique=True)):
        dtype, values = draw(COLUMNS)
        columns[name] = pl.Series(
            name, draw(st.lists(values | st.none(), min_size=height, max_size=height)), dtype=dtype
        )
    return pl.DataFrame(columns)


def can_be_kept(rule: dict[str, Any]) -> bool:
    """Tell whether the contract takes a rule: it refuses those that no value could pass."""
    try:
        FieldRule.model_validate(rule)
    except ValidationError:
        return False
    return True


@st.composite
def schemas(draw: st.DrawFn) -> RecordSchema:
    """A schema with every kind of rule and of outcome."""
    rules = draw(st.lists(st.tuples(st.sampled_from(EXPRESSIONS), st.none() | ACTIONS), max_size=2))
    return RecordSchema.model_validate(
        {
            "fields": draw(st.dictionaries(st.sampled_from(FIELDS), RULE.filter(can_be_kept), max_size=3)),
            "additional_fields": draw(st.sampled_from(["allow", "drop", "reject"])),
            "on_violation": draw(ACTIONS),
            "rules": [
                {"name": f"r{n}", "expression": text, "on_violation": action} for n, (text, action) in enumerate(rules)
            ],
        }
    )


class Step:
    """A step of the test."""

    def __init__(self, operation: Operation) -> None:
        self.name, self.operation = "check", operation.fresh()


def outcome(operations: list[Operation], chunks: list[Batch]) -> Any:
    """Return all that came of some chunks: records, where from, and each list of the tallies."""
    steps, told = [Step(operation) for operation in operations], []
    try:
        for chunk in chunks:
            applied = apply_steps(steps, chunk, [StepContext(step="check") for _ in steps])
            records = frame_to_rows(applied.frame) if applied.frame is not None else applied.records
            records = [{key: repr(value) for key, value in one.items() if value is not None} for one in records or ()]
            refused = sorted(
                (one.rejection.index, one.rejection.rule, one.rejection.message) for one in applied.refused
            )
            tallies = [(sorted(t.filtered), sorted(t.rejected), sorted(t.warned, key=repr)) for t in applied.tallies]
            told.append((records, list(applied.source_ordinals()), refused, tallies))
    except RecordFailed as failure:
        return told, failure.index, failure.rule, failure.message
    return told


def halves(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """Two chunks: a check that remembers must remember."""
    return [frame.head(frame.height // 2), frame.slice(frame.height // 2)]


@SETTINGS
@given(schema=schemas(), frame=typed() | tables())
def test_both_forms_do_the_same_with_every_record(schema: RecordSchema, frame: pl.DataFrame) -> None:
    by_frame = outcome(record_checks(schema), [Batch.of_frame(part, {}) for part in halves(frame)])
    by_rows = outcome(record_checks(schema), [Batch.of_rows(frame_to_rows(part), {}) for part in halves(frame)])
    event("failed" if isinstance(by_rows, tuple) else "went through")
    assert by_frame == by_rows


@SETTINGS
@given(name=st.sampled_from(sorted(PATTERNS)), texts=st.lists(TEXTS, max_size=8))
def test_a_column_is_passed_over_only_where_every_text_is_of_the_format(name: str, texts: list[str]) -> None:
    from etlctl.contract.formats import doubts

    frame = pl.DataFrame({"a": pl.Series(texts, dtype=pl.String)})
    doubted = frame.select(pl.any_horizontal(*doubts(name, pl.col("a"))).alias("d")).get_column("d").to_list()
    assert [text for text, doubt in zip(texts, doubted, strict=True) if not doubt and not accepts(name)(text)] == []


@SETTINGS
@given(frame=typed())
def test_both_forms_judge_a_whole_run_the_same(frame: pl.DataFrame) -> None:
    checks = RunChecks.model_validate(
        {"freshness": {"field": "a", "max_age": "2h"}, "null_share": {"a": 0.5, "b": 0}, "row_count": {"min": 3}}
    )
    found = []
    for chunks in (
        [Batch.of_frame(part, {}) for part in halves(frame)],
        [Batch.of_rows(frame_to_rows(part), {}) for part in halves(frame)],
    ):
        judge = run_checks(checks)
        assert judge is not None
        step = Step(judge)
        for chunk in chunks:
            apply_steps([step], chunk, [StepContext(step="check.run")])
        now = datetime(2024, 1, 2, tzinfo=UTC)
        found.append(step.operation.conclude(ConclusionContext(records=frame.height, now=now)))
    assert found[0] == found[1]
