"""Runs a contract through the real engine without destination and ledger, and keeps what would have happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from etlctl.clock import Clock, SystemClock
from etlctl.engine.runner import Surroundings, execute
from etlctl.engine.tracing import StepTracer
from etlctl.frozen import frozen
from etlctl.orchestrator.preview_ledger import PreviewLedger

if TYPE_CHECKING:
    from etlctl.batch import Batch, Record
    from etlctl.engine.options import RunPlan, RunSettings
    from etlctl.engine.tracing import RecordTrace
    from etlctl.run import DeadLetter, RunResult


@frozen
class Tried:
    """What a run would have done.

    Attributes:
        records: Those that would be loaded, in order.
        rejected: Those that would be dead letters, in order.
        result: The account; ``would_load`` instead of ``loaded``.
        traces: The first source records after each step, when they were to be followed.
    """

    records: list[Record]
    rejected: list[DeadLetter]
    result: RunResult
    traces: Sequence[RecordTrace] = field(default=())


async def try_out(
    plan: RunPlan,
    settings: RunSettings,
    *,
    warn: Callable[[str], None],
    clock: Clock | None = None,
    follow: int = 0,
) -> Tried:
    """Read and transform; write nothing.

    Args:
        plan: The contract.
        settings: Of a dry run.
        warn: Reports something the user should know.
        clock: Where the time comes from.
        follow: How many source records to follow from step to step.
    """
    records: list[Record] = []
    rejected: list[DeadLetter] = []

    def take(batch: Batch) -> None:
        records.extend(batch.to_rows())

    tracer = StepTracer(follow)
    around = Surroundings(
        open_ledger=lambda: PreviewLedger(rejected), warn=warn, clock=clock if clock is not None else SystemClock()
    )
    settings = replace(settings, sink=take, apply=tracer if follow else None)
    result = await execute(plan, settings, around)
    return Tried(records, rejected, result, tracer.traces)
