"""Runs operations on records in rows form and in frame form, by the engine's own rules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from etlctl.batch import Batch, frame_to_rows
from etlctl.engine.applied import Applied
from etlctl.engine.apply import apply_steps
from etlctl.engine.preparing import prepare_steps
from etlctl.sdk import Operation, StepContext


@dataclass(frozen=True)
class Step:
    name: str
    operation: Operation


@dataclass(frozen=True)
class Outcome:
    """Records by source ordinal, and refused records as (ordinal, step, rule, message)."""

    records: list[dict[str, Any]]
    ordinals: list[int]
    refused: list[tuple[int, str, str, str]]
    forms: list[str]


def steps_of(operations: Sequence[Operation]) -> list[Step]:
    return [
        Step(f"{n}.{type(operation).__name__.lower()}", operation.fresh()) for n, operation in enumerate(operations)
    ]


def run_batch(operations: Sequence[Operation], chunk: Batch, **context: Any) -> Outcome:
    return run_ready(ready(operations, **context), chunk, **context)


def ready(operations: Sequence[Operation], **context: Any) -> list[Step]:
    """Return the steps as one run uses them."""
    steps = steps_of(operations)
    if any(type(step.operation).prepare is not Operation.prepare for step in steps):
        contexts = [StepContext(step=step.name, **context) for step in steps]
        asyncio.run(prepare_steps(steps, contexts))
    return steps


def run_ready(steps: Sequence[Step], chunk: Batch, **context: Any) -> Outcome:
    contexts = [StepContext(step=step.name, **context) for step in steps]
    applied: Applied = apply_steps(steps, chunk, contexts)
    records = frame_to_rows(applied.frame) if applied.frame is not None else applied.records
    assert records is not None
    ordinals = list(range(len(records)) if applied.ordinals is None else applied.ordinals)
    refused = sorted(
        (each.rejection.index, each.step, each.rejection.rule, each.rejection.message) for each in applied.refused
    )
    return Outcome(records, ordinals, refused, [tally.form for tally in applied.tallies])


def run_rows(operations: Sequence[Operation], records: list[dict[str, Any]], **context: Any) -> Outcome:
    return run_batch(operations, Batch.of_rows([dict(record) for record in records], position={}), **context)


def run_frame(operations: Sequence[Operation], frame: pl.DataFrame, **context: Any) -> Outcome:
    return run_batch(operations, Batch.of_frame(frame, position={}), **context)


def without_nulls(value: Any) -> Any:
    """Drop null fields, also nested ones: missing and null are the same to every simple operation."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def exact(value: Any) -> Any:
    """Make kinds visible to ==: 1, 1.0 and True are three things; NaN equals itself; missing equals null."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in sorted(value.items()) if item is not None}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return (type(value).__name__, repr(value) if isinstance(value, float) else value)


def compile_map(config: dict[str, Any]) -> list[Operation]:
    """Build the operations of a transform config: map form, then jsonata, then custom_function."""
    found = operation_classes()
    simple = config.get("transform", {})
    ordered = sorted(simple, key=lambda each: found[each].map_order or 99)
    operations = [build(found[name], simple[name]) for name in ordered]
    operations += [build(found[name], config[name]) for name in ("jsonata", "custom_function") if name in config]
    return operations


def build(kind: type[Operation], value: Any) -> Operation:
    if kind.shorthand is not None and (kind.shorthand_only or not isinstance(value, dict)):
        value = {kind.shorthand: value}
    return kind.model_validate(value)


def operation_classes() -> dict[str, type[Operation]]:
    from etlctl.transforms.add import Add
    from etlctl.transforms.aggregate import Aggregate
    from etlctl.transforms.convert import Convert
    from etlctl.transforms.custom_function import CustomFunction
    from etlctl.transforms.dedupe import Dedupe
    from etlctl.transforms.defaults import Defaults
    from etlctl.transforms.drop import Drop
    from etlctl.transforms.filter import Filter
    from etlctl.transforms.flatten import Flatten
    from etlctl.transforms.join import Join
    from etlctl.transforms.jsonata import Jsonata
    from etlctl.transforms.map import Map
    from etlctl.transforms.mask import Mask
    from etlctl.transforms.rename import Rename
    from etlctl.transforms.select import Select
    from etlctl.transforms.unnest import Unnest

    return {
        "rename": Rename,
        "convert": Convert,
        "defaults": Defaults,
        "add": Add,
        "select": Select,
        "drop": Drop,
        "filter": Filter,
        "unnest": Unnest,
        "flatten": Flatten,
        "jsonata": Jsonata,
        "custom_function": CustomFunction,
        "map": Map,
        "dedupe": Dedupe,
        "aggregate": Aggregate,
        "join": Join,
        "mask": Mask,
    }


def write_module(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path
