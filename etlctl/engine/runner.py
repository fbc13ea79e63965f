"""Execute one run: the pipeline, the ledger beside it, and a result however it ends."""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from collections.abc import Callable
from dataclasses import field, replace
from datetime import datetime

from etlctl.clock import Clock, SystemClock
from etlctl.cursor import CursorMove
from etlctl.engine.account import Account
from etlctl.engine.journal import Journal, LedgerOpener
from etlctl.engine.memory import MemoryBudget
from etlctl.engine.options import Claim, RunPlan, RunSettings
from etlctl.engine.pipeline import Pipeline
from etlctl.engine.progress import ProgressCallback, ProgressReporter
from etlctl.engine.retrying import Retrying
from etlctl.engine.services import Services, StopRequest
from etlctl.errors import ComponentError, EtlctlError, RunStopped
from etlctl.frozen import frozen
from etlctl.run import Counts, ProcessingMode, RunResult, RunStatus
from etlctl.sdk.concealing import Concealing
from etlctl.sdk.context import ReadContext
from etlctl.sdk.destinations import Destinations

PARTIAL = 4
CANCELED = 130


@frozen(kw_only=True)
class Surroundings:
    """What a run works with besides its contract.

    Attributes:
        open_ledger: Opens the ledger; None keeps none (previews).
        progress: Gets progress events.
        warn: Reports something the user should know.
        clock: Where the time comes from.
        stop: Asks the run to stop.
    """

    open_ledger: LedgerOpener | None = None
    progress: ProgressCallback | None = None
    warn: Callable[[str], None] = lambda _message: None
    clock: Clock = field(default_factory=SystemClock)
    stop: StopRequest | None = None


async def execute(plan: RunPlan, settings: RunSettings, around: Surroundings) -> RunResult:
    """Run a plan and return how it ended; only cancellation and a broken ledger are raised.

    Args:
        plan: The compiled contract.
        settings: Settings of the run.
        around: Ledger, progress, warnings and clock.

    Raises:
        StateError: The ledger could not record how the run ended.
        asyncio.CancelledError: The run was canceled; nothing was published, the ledger says so.
    """
    started = around.clock.now()
    journal = Journal(around.open_ledger, settings.run_id, started)
    base = RunResult(
        settings.run_id,
        plan.name,
        RunStatus.running,
        Counts(),
        started_at=started,
        dry_run=settings.dry_run,
        params=plan.params,
        checkpoint_id=settings.checkpoint_id,
    )
    if settings.claim_first:
        try:
            claim = await journal.claim()
        except EtlctlError as error:
            return _failed(replace(base, checkpoint_id=None), Account([]), around, error)
        if claim.finished is not None:
            return claim.finished
        settings, base = _taken_up(claim, settings, base)
    services = _services(plan, settings, around, journal, base.started_at or started)
    pipeline = Pipeline(plan, settings, services)
    result = await _outcome(pipeline, base, settings, around, journal)
    peak = services.progress.peak_memory_mb
    result = replace(result, peak_memory_mb=peak, checkpoint_id=result.checkpoint_id if journal.recorded else None)
    await journal.finish(result, _moved(pipeline.account, settings, around) if result.success else None)
    if result.success:
        try:
            await pipeline.close()
        except Exception as error:  # noqa: BLE001 - everything is published and recorded
            around.warn(f"the destination was not released cleanly: {type(error).__name__}: {error}")
    return result


def _moved(account: Account, settings: RunSettings, around: Surroundings) -> CursorMove | None:
    """Return where a run that went well moves the cursor of its stream, and warn of what keeps it from doing so."""
    reached = account.reached
    if reached is None:
        return None
    for warning in reached.warnings():
        around.warn(warning)
    window, limit = reached.increment.window, settings.max_records
    if settings.dry_run:
        return None
    if limit is not None and account.counts.extracted >= limit and window.row_order != "asc":
        around.warn(
            f"max_records ended the run after {limit:,} records, which may not be the first ones by {window.field}: "
            "the cursor does not move; with row_order: asc (a source that sorts by it) it would"
        )
        return None
    return reached.move()


def _taken_up(claim: Claim, settings: RunSettings, base: RunResult) -> tuple[RunSettings, RunResult]:
    """Return settings and result of the run that was claimed: its id, its instant, its mode, its checkpoint's name."""
    settings = replace(settings, run_id=claim.run_id)
    base = replace(base, run_id=claim.run_id, attempt=claim.attempt, started_at=claim.started_at or base.started_at)
    if claim.checkpoint is None:
        return settings, base
    # An attempt goes on in the mode of the first one: what is prepared in the destination depends on it.
    settings = replace(settings, mode=ProcessingMode(claim.checkpoint.mode))
    return settings, replace(base, checkpoint_id=claim.checkpoint.id)


def _services(plan: RunPlan, settings: RunSettings, around: Surroundings, journal: Journal, now: datetime) -> Services:
    progress = ProgressReporter(around.progress, around.warn, around.clock)
    names = ["extract", *(step.name for step in plan.steps), "load", *_destination_steps(plan)]
    memory = MemoryBudget(settings.max_memory_mb, progress.memory_mb)
    return Services(
        journal=journal,
        progress=progress,
        memory=memory,
        retrying=Retrying(settings.recovery, journal.attempted, around.warn, around.clock, steps=names),
        warn=around.warn,
        stop=around.stop or StopRequest(),
        ctx=_read_context(plan, settings, around, now, memory.chunk_bytes(settings.chunk_bytes)),
        ended=threading.Event(),
    )


def _destination_steps(plan: RunPlan) -> list[str]:
    return [item.step for item in plan.loader.items] if isinstance(plan.loader, Destinations) else []


async def _outcome(
    pipeline: Pipeline, base: RunResult, settings: RunSettings, around: Surroundings, journal: Journal
) -> RunResult:
    try:
        await pipeline.run()
        await journal.claim()
    except asyncio.CancelledError:
        result = _ended(base, pipeline.account, around, status=RunStatus.canceled, exit_code=CANCELED)
        await asyncio.shield(journal.finish(replace(result, error="canceled", error_type="CancelledError")))
        raise
    except RunStopped as stopped:
        return replace(
            _ended(base, pipeline.account, around, status=RunStatus.canceled, exit_code=stopped.exit_code),
            error=str(stopped),
            error_type=type(stopped).__name__,
        )
    except Exception as error:  # noqa: BLE001 - whatever went wrong is how the run ended
        return _failed(base, pipeline.account, around, error)
    return _succeeded(base, pipeline.account, around, settings)


def _read_context(
    plan: RunPlan, settings: RunSettings, around: Surroundings, now: datetime, chunk_bytes: int
) -> ReadContext:
    return ReadContext(
        base_dir=plan.base_dir,
        now=now,
        params=plan.params,
        environ=dict(settings.environ if settings.environ is not None else os.environ),
        run_id=settings.run_id,
        stream=plan.stream,
        warn=around.warn,
        batch_size=settings.batch_size,
        chunk_bytes=chunk_bytes,
        conceals=any(isinstance(step.operation, Concealing) for step in plan.steps),
        cassette=settings.cassette,
        cassette_mode=settings.cassette_mode,
        window=settings.increment.window if settings.increment is not None else None,
    )


def _ended(base: RunResult, account: Account, around: Surroundings, *, status: RunStatus, exit_code: int) -> RunResult:
    published = account.published
    return replace(
        base,
        status=status,
        counts=account.counts,
        steps=(account.extract, *account.steps, account.load, *account.destinations),
        batches=account.batches,
        ended_at=around.clock.now(),
        exit_code=exit_code,
        destinations=published.places if published else (),
        would_load=account.would_load,
        by_destination=account.by_destination(),
        violations=tuple(account.violations),
        checks=tuple(account.checks),
        half_sent=account.half_sent,
    )


def _succeeded(base: RunResult, account: Account, around: Surroundings, settings: RunSettings) -> RunResult:
    """A run that rejected records is only a full success when a budget says that so many are acceptable."""
    partial = account.counts.rejected > 0 and settings.budget is None
    status = RunStatus.partial if partial else RunStatus.succeeded
    return _ended(base, account, around, status=status, exit_code=PARTIAL if partial else 0)


def _failed(base: RunResult, account: Account, around: Surroundings, error: Exception) -> RunResult:
    exit_code = error.exit_code if isinstance(error, EtlctlError) else 1
    result = _ended(base, account, around, status=RunStatus.failed, exit_code=exit_code)
    return replace(
        result,
        error=str(error) or type(error).__name__,
        error_type=type(error.__cause__ or error).__name__ if isinstance(error, EtlctlError) else type(error).__name__,
        error_help=error.help if isinstance(error, EtlctlError) else None,
        traceback="".join(traceback.format_exception(error)),
        failed_step=error.step if isinstance(error, ComponentError) else None,
    )
