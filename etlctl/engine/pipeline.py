"""The three stages of a run, joined by bounded channels: read → apply → write.

Each stage does its CPU work and its blocking calls on threads, so that the stages overlap; order is kept because
each stage handles one item at a time. A stage that fails abandons its channels, which ends the others.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from etlctl.batch import Batch, Position, Rejection
from etlctl.engine.account import Account
from etlctl.engine.apply import apply_steps
from etlctl.engine.attribution import attributed
from etlctl.engine.channel import AbandonedError, Channel
from etlctl.engine.chunks import AppliedChunk
from etlctl.engine.cutter import Cut, Cutter
from etlctl.engine.options import RunPlan, RunSettings
from etlctl.engine.progress import ProgressReporter
from etlctl.engine.reading import read_chunks
from etlctl.errors import LimitError
from etlctl.run import DeadLetter, ProcessingMode, StepCounts
from etlctl.sdk.context import ReadContext, StepContext, WriteContext
from etlctl.sdk.loader import Writer
from etlctl.sdk.operation import Operation, Scope

EVERYTHING = 1 << 62
"""A batch size that no data set reaches."""

KeepLetters = Callable[[Sequence[DeadLetter]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _RunStep:
    """A step with the operation to use in this run."""

    name: str
    operation: Operation


class Pipeline:
    """One run of a plan.

    Args:
        plan: The compiled contract.
        settings: Settings of the run.
        progress: Where progress goes.
        keep_letters: Keeps dead letters durably.
        report: Told the account after each batch.
        ready: Awaited before the first write: the run must be in the ledger before anything reaches the destination.
        warn: Reports something the user should know.
        read_context: Context of the extractor; the other components' contexts are derived from it.
    """

    def __init__(
        self,
        plan: RunPlan,
        settings: RunSettings,
        *,
        progress: ProgressReporter,
        keep_letters: KeepLetters,
        report: Callable[[Account], Awaitable[None]],
        ready: Callable[[], Awaitable[None]],
        read_context: ReadContext,
        warn: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._progress = progress
        self._keep_letters = keep_letters
        self._report = report
        self._ready = ready
        self._read_context = read_context
        self._warn = warn
        self._steps = [_RunStep(step.name, step.operation.fresh()) for step in plan.steps]
        self._whole = any(step.operation.scope is Scope.batch for step in plan.steps)
        self._stopped = threading.Event()
        self.account = Account([StepCounts(step.name) for step in plan.steps])

    async def run(self) -> Account:
        """Run to the end and publish; on any failure nothing is published and the first error is raised."""
        chunks: Channel[tuple[Position | None, Batch]] = Channel(self._settings.queue_depth)
        cuts: Channel[Cut] = Channel(self._settings.queue_depth)
        writer: Writer | None = None
        try:
            writer = await self._open_writer()
            await self._run_stages(chunks, cuts, writer)
            await self._publish(writer)
        except BaseException:
            if writer is not None:
                await _quietly(writer.abort(), self._warn)
            raise
        return self.account

    async def _open_writer(self) -> Writer | None:
        if self._settings.dry_run or self._settings.sink is not None:
            return None
        ctx = self._read_context.shared_with(WriteContext)
        with attributed("load"):
            return await self._plan.loader.open(ctx)

    async def _run_stages(
        self, chunks: Channel[tuple[Position | None, Batch]], cuts: Channel[Cut], writer: Writer | None
    ) -> None:
        stages = [
            asyncio.create_task(self._read(chunks), name="read"),
            asyncio.create_task(self._apply(chunks, cuts, writer), name="apply"),
            asyncio.create_task(self._write(cuts, writer), name="write"),
        ]
        try:
            await asyncio.wait(stages, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._stopped.set()
            await chunks.abandon()
            await cuts.abandon()
            # Only reading may wait for the outside world without end; the other stages end with the call they are in.
            stages[0].cancel()
            outcomes = await asyncio.shield(asyncio.gather(*stages, return_exceptions=True))
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        real = [one for one in failures if not isinstance(one, AbandonedError | asyncio.CancelledError)]
        if real:
            raise real[0]

    async def _read(self, chunks: Channel[tuple[Position | None, Batch]]) -> None:
        settings = self._settings
        began = time.perf_counter()
        source = read_chunks(self._plan.extractor, self._read_context, settings.position, settings.max_records)
        async for start, chunk in source:
            self.account.extract.seconds += time.perf_counter() - began
            await chunks.send((start, chunk))
            began = time.perf_counter()
        await chunks.close()

    async def _apply(
        self, chunks: Channel[tuple[Position | None, Batch]], cuts: Channel[Cut], writer: Writer | None
    ) -> None:
        encoder = writer.encoder() if writer is not None else None
        cutter = Cutter([step.name for step in self._plan.steps], self._settings.batch_size, encoder)
        contexts = [self._read_context.shared_with(StepContext, step=step.name) for step in self._plan.steps]
        before = Cutter([], self._unit_size()) if self._whole else None
        async for start, chunk in chunks:
            for ready in await asyncio.to_thread(self._prepared, before, start, chunk):
                for cut in await asyncio.to_thread(self._applied, cutter, contexts, ready):
                    await cuts.send(cut)
        if before is not None:
            for held in before.flush():
                for cut in await asyncio.to_thread(self._applied, cutter, contexts, _unit(held)):
                    await cuts.send(cut)
        for cut in cutter.flush():
            await cuts.send(_outer_position(cut) if before is not None else cut)
        await cuts.close()

    def _unit_size(self) -> int:
        """What a batch-scoped step sees at once: one batch when streaming, everything in full mode."""
        return EVERYTHING if self._settings.mode is ProcessingMode.full else self._settings.batch_size

    @staticmethod
    def _prepared(before: Cutter | None, start: Position | None, chunk: Batch) -> list[tuple[Position | None, Batch]]:
        """Return the units that steps should see: the chunk as it is, or whole batches for batch-scoped steps."""
        if before is None:
            return [(start, chunk)]
        untouched = apply_steps([], chunk, [])
        return [_unit(cut) for cut in before.feed(AppliedChunk(chunk, untouched, start))]

    def _applied(
        self, cutter: Cutter, contexts: Sequence[StepContext], unit: tuple[Position | None, Batch]
    ) -> list[Cut]:
        start, chunk = unit
        applied = apply_steps(self._steps, chunk, contexts, stopped=self._stopped.is_set)
        cuts = list(cutter.feed(AppliedChunk(chunk, applied, start)))
        return [_outer_position(cut) for cut in cuts] if self._whole else cuts

    async def _write(self, cuts: Channel[Cut], writer: Writer | None) -> None:
        async for cut in cuts:
            await self._ready()
            seq, counts = cut.batch.seq, self.account.counts
            self._progress.send("extract", seq, counts.extracted + cut.counts.extracted, counts.rejected)
            self._progress.send(
                "transform", seq, counts.extracted + cut.counts.extracted, counts.rejected + cut.counts.rejected
            )
            parts: dict[int, int] = {}
            await self._keep_letters(self._letters(seq, cut.rejections, parts))
            began = time.perf_counter()
            loaded, late = await self._load(cut.batch, writer)
            self.account.load.seconds += time.perf_counter() - began
            refused = cut.refused + [cut.from_source(rejection) for rejection in late]
            if refused:
                await self._keep_letters(self._letters(seq, refused, parts))
            self.account.add(cut, loaded, len(refused), dry=writer is None)
            self._progress.send("load", seq, counts.extracted, counts.rejected)
            await self._report(self.account)
            self.account.check_budget(self._settings.budget)
            self._check_memory()

    async def _load(self, batch: Batch, writer: Writer | None) -> tuple[int, Sequence[Rejection]]:
        if writer is None:
            if self._settings.sink is not None:
                self._settings.sink(batch)
            return len(batch), ()
        with attributed("load", batch.seq):
            receipt = await writer.write(batch)
        return receipt.records, receipt.rejected

    def _letters(self, seq: int, rejections: Sequence[Rejection], parts: dict[int, int]) -> list[DeadLetter]:
        """Make dead letters; ``parts`` counts those of each source record over all stages of the batch."""
        letters = []
        for rejection in rejections:
            part = parts.get(rejection.index, 0)
            parts[rejection.index] = part + 1
            letters.append(_letter(self._settings.run_id, self._plan, seq, part, rejection))
        return letters

    def _check_memory(self) -> None:
        used, limit = self._progress.memory_mb(), self._settings.max_memory_mb
        if limit is not None and used > limit:
            raise LimitError(
                f"the run holds {used:.0f} MiB, over its limit of {limit} MiB (max_memory_mb), "
                f"after batch {self.account.batches}",
                help="raise max_memory_mb, lower batch_size, or use processing_mode: streaming",
            )

    async def _publish(self, writer: Writer | None) -> None:
        self.account.check_budget(self._settings.budget, final=True)
        self.account.verify_steps()
        if writer is None:
            return
        await self._ready()
        began = time.perf_counter()
        with attributed("load"):
            published = await writer.finish()
        self.account.load.seconds += time.perf_counter() - began
        self.account.publish(published)


def _letter(run_id: str, plan: RunPlan, seq: int, part: int, rejection: Rejection) -> DeadLetter:
    return DeadLetter(
        id=f"dl_{run_id.removeprefix('run_')}_{seq}_{rejection.index}" + (f"_{part}" if part else ""),
        run_id=run_id,
        contract=plan.name,
        stream=plan.stream,
        seq=seq,
        index=rejection.index,
        part=part,
        stage=rejection.stage,
        step=rejection.step,
        rule=rejection.rule,
        message=rejection.message,
        field=rejection.field,
        location=rejection.location,
        raw=rejection.raw,
    )


def _unit(cut: Cut) -> tuple[Position | None, Batch]:
    """Turn a batch of untouched source records back into a chunk for the steps."""
    return None, replace(cut.batch, rejected=cut.rejections)


def _outer_position(cut: Cut) -> Cut:
    """Unpack the position of a batch whose chunk was a batch already."""
    inner = cut.batch.position["at"]
    return replace(cut, batch=replace(cut.batch, position=inner)) if inner is not None else cut


async def _quietly(call: Awaitable[None], warn: Callable[[str], None]) -> None:
    """Await a clean-up; the error that made it necessary matters more than one it raises itself."""
    try:
        await call
    except Exception as error:  # noqa: BLE001 - see above
        warn(f"cleaning up after the failure also failed: {type(error).__name__}: {error}")
