"""The three stages of a run, joined by bounded channels: read → apply → write.

Each stage does its CPU work and its blocking calls on threads, so that the stages overlap; order is kept because
each stage handles one item at a time. A stage that fails abandons its channels, which ends the others. Opening the
destination, asking the ledger and the first reads go on side by side.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from etlctl.batch import Batch, Position
from etlctl.engine.account import Account
from etlctl.engine.apply import apply_steps
from etlctl.engine.channel import AbandonedError, Channel
from etlctl.engine.chunks import AppliedChunk
from etlctl.engine.concealing import concealment
from etlctl.engine.concluding import conclude
from etlctl.engine.cutter import Cut, Cutter
from etlctl.engine.incremental import Reached, scanning
from etlctl.engine.letters import LetterMaker
from etlctl.engine.memory import size_of
from etlctl.engine.options import RunPlan, RunSettings
from etlctl.engine.preparing import close_steps, prepare_steps
from etlctl.engine.reading import probe, read_chunks
from etlctl.engine.recovery import Beginning, Opening
from etlctl.engine.services import Services
from etlctl.engine.straight import apply_straight
from etlctl.engine.writing import WriteStage
from etlctl.errors import RunStopped
from etlctl.faults import fault
from etlctl.frozen import frozen
from etlctl.run import ProcessingMode, StepCounts
from etlctl.sdk.context import StepContext
from etlctl.sdk.operation import Operation, Scope

if TYPE_CHECKING:
    from etlctl.engine.workers import Workers
    from etlctl.sdk.incremental import Scan

EVERYTHING = 1 << 62
"""A batch size that no data set reaches."""

_START: Position = {"at": None, "skip": 0}

_Chunks = Channel[tuple[Position, Batch]]


@frozen
class _RunStep:
    """A step with the operation to use in this run."""

    name: str
    operation: Operation


class Pipeline:
    """One run of a plan.

    Args:
        plan: The compiled contract.
        settings: Settings of the run.
        services: What the stages share.
    """

    def __init__(self, plan: RunPlan, settings: RunSettings, services: Services) -> None:
        self._plan = plan
        self._settings = settings
        self._services = services
        self._steps = [_RunStep(step.name, step.operation.fresh()) for step in plan.steps]
        self._whole = any(step.operation.scope is Scope.batch for step in plan.steps)
        self._writing: WriteStage | None = None
        self._in_hand, self._idle = 0, asyncio.Event()
        self._preparing: asyncio.Task[None] | None = None
        self._workers: Workers | None = None
        self._scan: Scan | None = None
        reached = Reached(settings.increment) if settings.increment is not None else None
        self.account = Account([StepCounts(step.name) for step in plan.steps], reached=reached)

    async def run(self) -> Account:
        """Run to the end and publish; on any failure nothing more is published and the first error is raised.

        Raises:
            RunStopped: Somebody asked; the batch in hand is safe.
        """
        opening = asyncio.create_task(self._open(), name="open")
        try:
            if self._settings.claim_first:
                await asyncio.shield(opening)
            finished = opening.done() and (await opening)[0].finished
            if not finished:
                await self._run_stages(opening)
            _, writing = await opening
            if not finished:
                await conclude(self._steps, self.account, self._settings, self._services)
            await writing.publish()
        except BaseException as error:
            await self._let_go(opening, error)
            raise
        finally:
            await asyncio.shield(asyncio.to_thread(self._close_steps))
        return self.account

    async def close(self) -> None:
        """Release the destination: the ledger knows that the run is over."""
        if self._writing is not None:
            await self._writing.close()

    async def _open(self) -> tuple[Beginning, WriteStage]:
        plan, services = self._plan, self._services
        beginning = await Opening(plan, self._settings, services.journal, services.ctx).begin()
        conceal = concealment(self._steps)
        letters = LetterMaker(self._settings.run_id, plan.name, plan.stream, conceal)
        self._writing = WriteStage(letters, self._settings, services, self.account, beginning)
        return beginning, self._writing

    async def _let_go(self, opening: asyncio.Task[tuple[Beginning, WriteStage]], error: BaseException) -> None:
        """Release what is open; the error that made it necessary matters more than one this raises itself."""
        outcome = (await asyncio.shield(asyncio.gather(opening, return_exceptions=True)))[0]
        if isinstance(outcome, BaseException):
            return
        try:
            await asyncio.shield(outcome[1].let_go(error))
        except Exception as another:  # noqa: BLE001 - see above
            self._services.warn(f"cleaning up after the failure also failed: {type(another).__name__}: {another}")

    async def _run_stages(self, opening: asyncio.Task[tuple[Beginning, WriteStage]]) -> None:
        chunks: _Chunks = Channel(self._services.memory.depth(self._settings.queue_depth))
        cuts: Channel[Cut] = Channel(self._services.memory.depth(2))
        memory = self._services.memory
        memory.watch("what was read and waits to be transformed", lambda: _size(chunk for _, chunk in chunks.waiting))
        memory.watch("what waits to be loaded", lambda: _size(cut.batch for cut in cuts.waiting))
        stages = [
            asyncio.create_task(self._read(chunks, opening), name="read"),
            asyncio.create_task(self._apply(chunks, cuts, opening), name="apply"),
            asyncio.create_task(self._write(cuts, opening), name="write"),
        ]
        stop = self._services.stop
        watchers = [
            asyncio.create_task(stop.wait(), name="stop"),
            asyncio.create_task(self._services.journal.keep_leased(), name="lease"),
        ]
        try:
            await _until_over(stages, watchers)
        finally:
            self._services.ended.set()
            await chunks.abandon()
            await cuts.abandon()
            # Only reading may wait for the outside world without end; the other stages end with the call they are in.
            stages[0].cancel()
            if self._preparing is not None:
                self._preparing.cancel()  # a step may be reading a source of its own
            for watcher in watchers:
                watcher.cancel()
            outcomes = await asyncio.shield(asyncio.gather(*stages, *watchers, return_exceptions=True))
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        real = [one for one in failures if not isinstance(one, AbandonedError | asyncio.CancelledError)]
        if real:
            raise real[0]
        if stop.requested and failures:
            error = RunStopped(f"stopped by {stop.reason} after batch {self.account.batches:,}")
            error.exit_code = stop.exit_code
            raise error

    async def _read(self, chunks: _Chunks, opening: asyncio.Task[tuple[Beginning, WriteStage]]) -> None:
        settings, ctx = self._settings, self._services.ctx
        position, done = settings.position, 0
        if settings.claim_first:
            beginning, _ = await opening
            if not beginning.replayed:
                position, done = beginning.position, self.account.counts.extracted
            elif beginning.position is not None:
                await probe(self._plan.extractor, ctx, beginning.position)
        limit = max(settings.max_records - done, 0) if settings.max_records is not None else None
        fault("read.before")
        began = time.perf_counter()
        ctx = replace(ctx, defers=self._may_defer)
        source = read_chunks(self._plan.extractor, ctx, position, limit, retrying=self._services.retrying)
        async with aclosing(source):
            async for start, chunk in source:
                self.account.extract.seconds += time.perf_counter() - began
                fault("read.chunk")
                self._hold(1)
                await chunks.send((start, chunk))
                del chunk
                await self._services.memory.room(self._idle)
                if self._scan is not None and self._scan.over:
                    break  # the rows are in order, and the window lies behind
                began = time.perf_counter()
        await chunks.close()

    @property
    def _may_defer(self) -> bool:
        """Tell whether records may be read slice by slice: no step sees several of them, or minds to see one again."""
        alone = not any(step.operation.scope is Scope.batch or step.operation.remembers for step in self._steps)
        return alone and self._settings.apply is None

    def _hold(self, more: int) -> None:
        """Keep count of the chunks and batches between the stages."""
        self._in_hand += more
        if self._in_hand:
            self._idle.clear()
        else:
            self._idle.set()

    async def _apply(
        self, chunks: _Chunks, cuts: Channel[Cut], opening: asyncio.Task[tuple[Beginning, WriteStage]]
    ) -> None:
        beginning, _ = await asyncio.shield(opening)
        encoder = beginning.writer.encoder() if beginning.writer is not None else None
        replay = self.account.counts.extracted if beginning.replayed else 0
        names = [step.name for step in self._plan.steps]
        redo = beginning.redo
        cutter = Cutter(names, self._settings.batch_size, encoder, done=beginning.seq, replay=replay, redo=redo)
        reached = None if beginning.replayed else self.account.reached
        self._scan = scanning(self._steps, self._settings.increment, reached)
        contexts = await self._ready_steps()
        before = None
        if self._whole and self._settings.mode is ProcessingMode.full:
            before = Cutter([], EVERYTHING)  # what is loaded already is left out behind the steps, not before them
        elif self._whole:
            before = Cutter([], self._settings.batch_size, replay=replay, redo=redo)
        memory = self._services.memory
        memory.watch("the batch that is being put together (batch_size)", cutter.size)
        if before is not None:
            step = next(step.name for step in self._steps if step.operation.scope is Scope.batch)
            memory.watch(f"the records that {step} must see at once", before.size)
        async for start, chunk in chunks:
            ready = [(start, chunk)] if before is None else await asyncio.to_thread(_units, before, start, chunk)
            del chunk  # nothing of it should be here when the steps are through with it
            while ready:
                await self._hand_on(cutter, contexts, ready.pop(0), cuts)
            self._hold(-1)
        if before is not None:
            for held in before.flush():
                await self._hand_on(cutter, contexts, _unit(held), cuts)
        for cut in cutter.flush():
            self._hold(1)
            await cuts.send(_outer_position(cut) if before is not None else cut)
        await cuts.close()

    async def _ready_steps(self) -> list[StepContext]:
        """Let every step get ready, and return what it gets to know."""
        whole = self._settings.mode is ProcessingMode.full
        contexts = [
            self._services.ctx.shared_with(StepContext, step=step.name, whole=whole) for step in self._plan.steps
        ]
        self._preparing = asyncio.create_task(prepare_steps(self._steps, contexts, self._services.retrying))
        await self._preparing
        if self._settings.workers > 1 and self._settings.reference is not None:
            from etlctl.engine.workers import workers_for  # noqa: PLC0415 - few runs have any

            self._workers = workers_for(self._settings.workers, self._settings.reference, contexts)
        return contexts

    def _close_steps(self) -> None:
        if self._workers is not None:
            self._workers.close()
        close_steps(self._steps, self._services.warn)

    async def _hand_on(
        self, cutter: Cutter, contexts: Sequence[StepContext], unit: tuple[Position, Batch], cuts: Channel[Cut]
    ) -> None:
        async def apply() -> AppliedChunk:
            applied = await asyncio.to_thread(self._through_steps, cutter, contexts, unit)
            fault("apply.batch")
            return applied

        # Steps that remember would see the records of a repeated chunk twice.
        if any(step.operation.remembers for step in self._steps):
            applied = await apply()
        else:
            applied = await self._services.retrying.call(apply, step="transform")
        if self._scan is not None:
            applied.marks = self._scan.take()
        if unit[1].deferred is not None and not applied.size:
            return  # blank lines, as it turned out
        made = await asyncio.to_thread(self._cut, cutter, applied)
        for cut in made:
            self._hold(1)
            await cuts.send(cut)

    def _through_steps(
        self, cutter: Cutter, contexts: Sequence[StepContext], unit: tuple[Position, Batch]
    ) -> AppliedChunk:
        start, chunk = unit
        ended = self._services.ended.is_set
        self._rewind()
        spans = cutter.spans(len(chunk)) if chunk.deferred is not None and self._workers is None else None
        if spans is not None:
            encoder = cutter.encoder
            applied = apply_straight(self._steps, chunk, contexts, spans, encoder=encoder, stopped=ended)
            if applied is not None:
                return AppliedChunk(chunk, applied, start)
            self._rewind()
        chunk = chunk.settled()
        run = self._settings.apply or partial(apply_steps, elsewhere=self._workers)
        return AppliedChunk(chunk, run(self._steps, chunk, contexts, stopped=ended), start)

    def _rewind(self) -> None:
        """Let the incremental step forget a chunk that it is shown again."""
        if self._scan is not None:
            self._scan.rewind()

    def _cut(self, cutter: Cutter, chunk: AppliedChunk) -> list[Cut]:
        cuts = list(cutter.feed(chunk))
        return [_outer_position(cut) for cut in cuts] if self._whole else cuts

    async def _write(self, cuts: Channel[Cut], opening: asyncio.Task[tuple[Beginning, WriteStage]]) -> None:
        _, writing = await asyncio.shield(opening)
        async for cut in cuts:
            await self._services.journal.claim()
            await writing.take(cut)
            self._hold(-1)


async def _until_over(stages: Sequence[asyncio.Task[None]], watchers: Sequence[asyncio.Task[None]]) -> None:
    """Wait until all stages are done, one has failed, or a watcher has something to say."""
    left = set(stages)
    while left:
        done, _ = await asyncio.wait([*left, *watchers], return_when=asyncio.FIRST_COMPLETED)
        left -= done
        if any(watcher in done and not (watcher.get_name() == "lease" and _fine(watcher)) for watcher in watchers):
            return
        if any(not _fine(task) for task in done):
            return
        watchers = [watcher for watcher in watchers if watcher not in done]


def _fine(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is None


def _size(batches: Iterable[Batch]) -> int:
    return sum(size_of(batch) for batch in batches)


def _units(before: Cutter, start: Position, chunk: Batch) -> list[tuple[Position, Batch]]:
    """Return the whole batches that batch-scoped steps should see, as far as they are full."""
    untouched = apply_steps([], chunk, [])
    return [_unit(cut) for cut in before.feed(AppliedChunk(chunk, untouched, start))]


def _unit(cut: Cut) -> tuple[Position, Batch]:
    """Turn a batch of untouched source records back into a chunk for the steps."""
    return _START, replace(cut.batch, rejected=cut.rejections)


def _outer_position(cut: Cut) -> Cut:
    """Unpack the position of a batch whose chunk was a batch already."""
    inner = cut.batch.position["at"]
    return replace(cut, batch=replace(cut.batch, position=inner)) if inner is not None else cut
