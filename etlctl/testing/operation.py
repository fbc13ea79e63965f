"""The conformance checks of operations: examples, both forms, splitting, purity, declared effect."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etlctl.batch import Batch, Record, frame_to_rows, rows_to_frame
from etlctl.contract.model import Step
from etlctl.engine.apply import apply_steps
from etlctl.errors import ConversionError
from etlctl.frozen import frozen
from etlctl.sdk.component import Example
from etlctl.sdk.context import StepContext
from etlctl.sdk.fields import FieldSet
from etlctl.sdk.operation import Operation, Scope
from etlctl.testing.component import check_component
from etlctl.testing.examples import EXAMPLE_NOW, compile_example, example_folder, type_of
from etlctl.testing.findings import Findings, findings, same


@frozen
class Outcome:
    """What an operation made of records.

    Attributes:
        records: Records coming out.
        rejected: Ordinal, rule, message and field of each refused record.
        filtered: Ordinals of records dropped on purpose, in order.
        added: Ordinals of records that came in addition, in order.
    """

    records: list[Record]
    rejected: list[tuple[int, str, str, str | None]]
    filtered: list[int]
    added: list[int]


def check_operation(cls: type[Operation]) -> None:
    """Check an operation class by its examples.

    Each example must compile and give what it says; both forms must agree, rejections included; record by record it
    must give the same as all at once; source records must stay as they were; the declared effect must cover the
    fields that come out.

    Raises:
        ConformanceError: Something does not hold; every problem is listed.
    """
    check_component(cls)
    with findings(f"operation {type_of(cls)!r} ({cls.__name__})") as found:
        runnable = [example for example in cls.examples if example.given is not None]
        found.expect(runnable, "no example can be run: give one records under 'given' and 'expect'")
        for example in runnable:
            with example_folder(example) as folder:
                contract = compile_example(cls, example, folder, found)
                if contract is not None:
                    _check_example(contract.steps[0].operation, example, _context(folder), found)


def check_operation_on(operation: Operation, records: Sequence[Record]) -> None:
    """Check the laws of an operation on records of your own: forms agree, splitting is harmless, sources stay.

    Raises:
        ConformanceError: A law does not hold; every problem is listed.
    """
    with findings(f"operation {type_of(type(operation))!r}") as found:
        _check_laws(operation, list(records), "on these records", _context(Path.cwd()), found)


def run_rows(operation: Operation, records: list[Record], ctx: StepContext | None = None) -> Outcome:
    """Return what the rows form makes of records."""
    ctx = ctx or _context(Path.cwd())
    return _applied(_ready(operation, ctx), Batch.of_rows(records, {}), ctx)


def _context(base_dir: Path) -> StepContext:
    return StepContext(now=EXAMPLE_NOW, step="example", base_dir=base_dir)


def _ready(operation: Operation, ctx: StepContext) -> Operation:
    """Return the operation as one run uses it."""
    fresh = operation.fresh()
    asyncio.run(fresh.prepare(ctx))
    return fresh


def _applied(operation: Operation, chunk: Batch, ctx: StepContext) -> Outcome:
    applied = apply_steps([Step("example", operation)], chunk, [ctx])
    records = frame_to_rows(applied.frame) if applied.frame is not None else applied.records or []
    refusals = [refused.rejection for refused in applied.refused]
    rejected = [(refusal.index, refusal.rule, refusal.message, refusal.field) for refusal in refusals]
    (tally,) = applied.tallies
    return Outcome(records, sorted(rejected, key=lambda item: item[0]), sorted(tally.filtered), sorted(tally.added))


def _check_example(operation: Operation, example: Example, ctx: StepContext, found: Findings) -> None:
    what = f"example {example.title!r}"
    given = [dict(record) for record in example.given]
    outcome = run_rows(operation, copy.deepcopy(given), ctx)
    found.equal(outcome.records, list(example.expect or ()), f"{what} gives other records")
    found.equal([rule for _, rule, _, _ in outcome.rejected], list(example.rejected), f"{what} rejects otherwise")
    _check_laws(operation, given, what, ctx, found)
    _check_effect(operation, given, outcome, what, found)


def _check_laws(operation: Operation, given: list[Record], what: str, ctx: StepContext, found: Findings) -> None:
    source = copy.deepcopy(given)
    whole = run_rows(operation, source, ctx)
    found.equal(source, given, f"{what}: it changed the source records")
    if operation.scope is Scope.record:
        found.equal(_one_by_one(operation, given, ctx), whole.records, f"{what}: record by record gives other records")
    _check_frame(operation, given, what, ctx, found)


def _one_by_one(operation: Operation, given: list[Record], ctx: StepContext) -> list[Record]:
    ready = _ready(operation, ctx)  # one run: it may remember the records before
    chunks = (Batch.of_rows([record], {}) for record in copy.deepcopy(given))
    return [made for chunk in chunks for made in _applied(ready, chunk, ctx).records]


def _check_frame(operation: Operation, given: list[Record], what: str, ctx: StepContext, found: Findings) -> None:
    if operation.frame_reason() is not None:
        return
    try:
        frame = rows_to_frame(given)
    except ConversionError:
        # Records of mixed kinds never travel as a frame.
        return
    by_frame = _applied(_ready(operation, ctx), Batch.of_frame(frame, {}), ctx)
    by_rows = run_rows(operation, frame_to_rows(frame), ctx)
    found.equal(
        _without_nulls(by_frame.records), _without_nulls(by_rows.records), f"{what}: the frame form gives other records"
    )
    found.equal(by_frame.rejected, by_rows.rejected, f"{what}: the frame form rejects otherwise")
    found.equal(by_frame.filtered, by_rows.filtered, f"{what}: the frame form drops others")
    found.equal(by_frame.added, by_rows.added, f"{what}: the frame form multiplies others")


def _without_nulls(records: list[Record]) -> list[Record]:
    """A frame cannot tell a missing field from a null one, and neither can any simple operation."""
    return [{name: value for name, value in record.items() if value is not None} for record in records]


def _check_effect(operation: Operation, given: list[Record], outcome: Outcome, what: str, found: Findings) -> None:
    names: dict[str, str] = dict.fromkeys((name for record in given for name in record), "any")
    after = operation.effect(FieldSet(names, closed=True))
    unknown: dict[str, Any] = {name: None for record in outcome.records for name in record if not after.has(name)}
    found.expect(same(list(unknown), []), f"{what}: fields come out that its declared effect denies: {list(unknown)}")
