"""Execute one run: the pipeline, the ledger beside it, and a result however it ends."""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from etlctl.clock import Clock, SystemClock
from etlctl.engine.account import Account
from etlctl.engine.options import RunLedger, RunPlan, RunSettings
from etlctl.engine.pipeline import Pipeline
from etlctl.engine.progress import ProgressCallback, ProgressReporter
from etlctl.errors import EtlctlError, StateError
from etlctl.run import DeadLetter, RunResult, RunStatus
from etlctl.sdk.context import ReadContext

LedgerOpener = Callable[[], RunLedger]
"""Opens the ledger; called on a thread while the source is already being read."""

PARTIAL = 4
CANCELED = 130
PROGRESS_SECONDS = 2.0
"""How often a long run tells the ledger how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run works with besides its contract.

    Attributes:
        open_ledger: Opens the ledger; None keeps none (previews).
        progress: Gets progress events.
        warn: Reports something the user should know.
        clock: Where the time comes from.
    """

    open_ledger: LedgerOpener | None = None
    progress: ProgressCallback | None = None
    warn: Callable[[str], None] = lambda _message: None
    clock: Clock = field(default_factory=SystemClock)


class _Ledger:
    """The ledger, opened beside the first reads because importing and opening it takes its time."""

    def __init__(self, opener: LedgerOpener | None, run_id: str, started_at: datetime) -> None:
        self._task: asyncio.Task[RunLedger] | None = None
        self._run_id = run_id
        self._reported = time.monotonic()
        if opener is not None:
            self._task = asyncio.create_task(asyncio.to_thread(_opened, opener, run_id, started_at))

    async def ready(self) -> None:
        """Wait until the run is recorded."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters durably."""
        if letters and self._task is not None:
            ledger = await self._task
            await asyncio.to_thread(ledger.add_dead_letters, letters)

    async def progress(self, account: Account) -> None:
        """Record how far the run is, at most once in a while."""
        if self._task is None or time.monotonic() - self._reported < PROGRESS_SECONDS:
            return
        self._reported = time.monotonic()
        ledger = await self._task
        await asyncio.to_thread(ledger.progress, self._run_id, account.counts, account.batches)

    async def finish(self, result: RunResult) -> None:
        """Record how the run ended."""
        if self._task is not None:
            ledger = await self._task
            await asyncio.to_thread(ledger.finish_run, result)


def _opened(opener: LedgerOpener, run_id: str, started_at: datetime) -> RunLedger:
    try:
        ledger = opener()
        ledger.start_run(run_id, started_at)
    except EtlctlError:
        raise
    except Exception as error:
        raise StateError(f"the ledger cannot be opened: {type(error).__name__}: {error}") from error
    return ledger


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
    progress = ProgressReporter(around.progress, around.warn, around.clock)
    ledger = _Ledger(around.open_ledger, settings.run_id, started)
    pipeline = Pipeline(
        plan,
        settings,
        progress=progress,
        keep_letters=ledger.keep,
        report=ledger.progress,
        ready=ledger.ready,
        read_context=_read_context(plan, settings, around, started),
        warn=around.warn,
    )
    base = RunResult(
        settings.run_id,
        plan.name,
        RunStatus.running,
        pipeline.account.counts,
        started_at=started,
        dry_run=settings.dry_run,
        params=plan.params,
    )
    try:
        await pipeline.run()
        await ledger.ready()
    except asyncio.CancelledError:
        result = _ended(base, pipeline.account, around, status=RunStatus.canceled, exit_code=CANCELED)
        await asyncio.shield(ledger.finish(replace(result, error="canceled", error_type="CancelledError")))
        raise
    except Exception as error:  # noqa: BLE001 - whatever went wrong is how the run ended
        result = _failed(base, pipeline.account, around, error)
    else:
        result = _succeeded(base, pipeline.account, around, settings)
    result = replace(result, peak_memory_mb=progress.peak_memory_mb)
    await _record(ledger, result)
    progress.send("done", result.batches, result.counts.extracted, result.counts.rejected)
    return result


async def _record(ledger: _Ledger, result: RunResult) -> None:
    """Record the result; when the ledger is why the run failed, that error is in the result already."""
    try:
        await ledger.finish(result)
    except EtlctlError:
        if result.success:
            raise


def _read_context(plan: RunPlan, settings: RunSettings, around: Surroundings, now: datetime) -> ReadContext:
    return ReadContext(
        base_dir=plan.base_dir,
        now=now,
        params=plan.params,
        environ=dict(settings.environ if settings.environ is not None else os.environ),
        run_id=settings.run_id,
        stream=plan.stream,
        warn=around.warn,
        batch_size=settings.batch_size,
        chunk_bytes=settings.chunk_bytes,
    )


def _ended(base: RunResult, account: Account, around: Surroundings, *, status: RunStatus, exit_code: int) -> RunResult:
    published = account.published
    return replace(
        base,
        status=status,
        counts=account.counts,
        steps=(account.extract, *account.steps, account.load),
        batches=account.batches,
        ended_at=around.clock.now(),
        exit_code=exit_code,
        destinations=published.places if published else (),
        would_load=account.would_load,
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
    )
