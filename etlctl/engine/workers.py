"""Worker processes for row steps: slices of a chunk go to whoever is free, and come back in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue

from etlctl.batch import Record
from etlctl.engine.channel import AbandonedError
from etlctl.engine.options import ContractReference
from etlctl.engine.row_steps import RanSlice
from etlctl.engine.worker_orders import Failure, SliceOrder, WorkOrder, shared_values
from etlctl.errors import RetryableError
from etlctl.kit.child_process import ChildEnded, ChildProcess
from etlctl.sdk.context import StepContext

LONGEST, SHORTEST = 1000, 50
"""Records of a slice: many, so that messages are few, unless the chunk is so small that not everybody had work."""

_MODULE = "etlctl.engine.worker_child"
_SLICES_EACH = 4
_GLANCE = 0.1


class Workers:
    """Processes that run row steps; started when there is work for them, one after the other.

    Args:
        count: How many there may be.
        order: What they are told first.
        warn: Gets what their steps warn of; each message once.
    """

    def __init__(self, count: int, order: WorkOrder, warn: Callable[[str], None]) -> None:
        self._count = count
        self._order = order
        self._warn = warn
        self._warned: set[str] = set()
        self._workers = [_Worker(order) for _ in range(count)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="etlctl-worker")

    def run(
        self, steps: range, records: Sequence[Record], ordinals: Sequence[int], stopped: Callable[[], bool]
    ) -> Iterator[RanSlice]:
        """Run records through steps, slice by slice; yield the slices in order.

        Args:
            steps: Numbers of the steps, from 0.
            records: The records.
            ordinals: For each the ordinal of its source record.
            stopped: Tells whether the run is over and the rest not wanted.

        Raises:
            RetryableError: A process died; with the next call another takes its place.
            ComponentError: A step cannot go on; the step's name is attached.
            AbandonedError: The run is over.
        """
        size = min(LONGEST, max(SHORTEST, -(-len(records) // (_SLICES_EACH * self._count))))
        starts = iter(range(0, len(records), size))
        under_way: deque[Future[tuple[RanSlice, list[str]]]] = deque()
        try:
            while True:
                while len(under_way) < 2 * self._count and (start := next(starts, None)) is not None:
                    end = start + size
                    order = SliceOrder(steps, records[start:end], ordinals[start:end])
                    under_way.append(self._threads.submit(self._one, order))
                if not under_way:
                    return
                ran, warnings = self._awaited(under_way[0], stopped)
                under_way.popleft()
                self._tell(warnings)
                yield ran
        finally:
            for future in under_way:
                future.cancel()
            wait(under_way)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown()
        for worker in self._workers:
            worker.close()

    def _one(self, order: SliceOrder) -> tuple[RanSlice, list[str]]:
        worker = self._idle.get()
        try:
            return worker.run(order)
        finally:
            self._idle.put(worker)

    def _awaited(
        self, future: Future[tuple[RanSlice, list[str]]], stopped: Callable[[], bool]
    ) -> tuple[RanSlice, list[str]]:
        while True:
            if wait((future,), _GLANCE).done:
                return future.result()
            if stopped():
                for worker in self._workers:
                    worker.kill()
                raise AbandonedError

    def _tell(self, warnings: Sequence[str]) -> None:
        for message in warnings:
            if message not in self._warned:
                self._warned.add(message)
                self._warn(message)


def workers_for(count: int, contract: ContractReference, contexts: Sequence[StepContext]) -> Workers | None:
    """Return workers for the steps of a run; None when there are no steps.

    Args:
        count: How many there may be.
        contract: What they compile the contract from.
        contexts: One context per step.
    """
    if not contexts:
        return None
    shared = {**shared_values(contexts[0]), "whole": contexts[0].whole}
    order = WorkOrder(contract, tuple(ctx.step for ctx in contexts), shared)
    return Workers(count, order, contexts[0].warn)


class _Worker:
    """One process, or the place of one that is not there yet or any more."""

    def __init__(self, order: WorkOrder) -> None:
        self._order = order
        self._child: ChildProcess | None = None

    def run(self, order: SliceOrder) -> tuple[RanSlice, list[str]]:
        child = self._child or self._started(order)
        try:
            child.send(order)
            answer = child.receive()
        except ChildEnded:
            raise self._died(child, order) from None
        if isinstance(answer, Failure):
            raise answer.error()
        return answer  # type: ignore[no-any-return]

    def kill(self) -> None:
        """End the process at once, from any thread."""
        if self._child is not None:
            self._child.kill()

    def close(self) -> None:
        """Release what is left of the process."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _started(self, order: SliceOrder) -> ChildProcess:
        child = self._child = ChildProcess(_MODULE)
        try:
            child.send(self._order)
            answer = child.receive()
        except ChildEnded:
            raise self._died(child, order) from None
        if isinstance(answer, Failure):
            self.close()
            raise answer.error()
        return child

    def _died(self, child: ChildProcess, order: SliceOrder) -> RetryableError:
        self._child = None
        names = self._order.steps[order.steps.start : order.steps.stop]
        shown = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
        first, last = order.indexes[0] + 1, order.indexes[-1] + 1
        error = RetryableError(
            f"a worker process (pid {child.pid}) ended with {child.ending()}, at work on {shown} "
            f"for records {first:,} to {last:,} of the chunk",
            help="if memory ran out, use fewer workers or a smaller batch_size; if a custom function ended it, "
            "isolate: true rejects only the record in hand",
        )
        error.step = names[0]
        return error
