"""A worker process: compiles the contract, then runs slices of records through its steps until the parent is gone.

Messages in: a ``WorkOrder``, then ``SliceOrder`` after ``SliceOrder``. Out: None once it is ready, then for each slice
the ``RanSlice`` and the warnings it gave. A ``Failure`` in the place of either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from etlctl.contract.compile import load_contract
from etlctl.contract.model import Contract
from etlctl.engine.applied import Tally
from etlctl.engine.preparing import prepare_steps
from etlctl.engine.row_steps import RanSlice, run_row_steps
from etlctl.engine.worker_orders import Failure, SliceOrder, WorkOrder
from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.child_process import Channel, open_channel
from etlctl.sdk.context import StepContext
from etlctl.sdk.operation import Operation
from etlctl.sdk.rows import RowSlice


def main() -> None:
    """Serve slices until the parent is gone."""
    channel = open_channel()
    order: WorkOrder = channel.receive()
    try:
        bench = _Bench.of(order)
    except Exception as error:  # noqa: BLE001 - told by the parent
        channel.send(Failure.of(error))
        return
    channel.send(None)
    while True:
        _serve(channel, bench)


def _serve(channel: Channel, bench: _Bench) -> None:
    order: SliceOrder = channel.receive()
    answer: Any
    try:
        answer = (bench.run(order), bench.told())
    except Exception as error:  # noqa: BLE001
        answer = Failure.of(error)
    try:
        channel.send(answer)
    except Exception as error:  # noqa: BLE001 - a value that cannot be pickled
        text = f"a record holds a value that cannot leave a worker process: {type(error).__name__}: {error}"
        failure = FatalError(text, help="make it plain data in the step that made it, or run without workers")
        channel.send(Failure.of(failure.at(step=order_name(bench, order))))


def order_name(bench: _Bench, order: SliceOrder) -> str:
    """Return the name of the last step of an order."""
    return bench.steps[order.steps[-1]].name


@frozen
class _Step:
    name: str
    operation: Operation


@dataclass(slots=True)
class _Bench:
    """The steps of a contract, ready to run here."""

    steps: Sequence[_Step]
    contexts: Sequence[StepContext]
    warnings: list[str]
    ready: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, order: WorkOrder) -> _Bench:
        contract = _compiled(order)
        steps = [_Step(step.name, step.operation.fresh()) for step in contract.steps]
        warnings: list[str] = []
        contexts = [StepContext(**order.shared, step=step.name, warn=warnings.append) for step in steps]
        return cls(steps, contexts, warnings)

    def run(self, order: SliceOrder) -> RanSlice:
        self._prepare([number for number in order.steps if number not in self.ready])
        part = RowSlice(list(order.records), list(order.indexes))
        tallies = [Tally() for _ in order.steps]
        members = [
            (self.steps[number], self.contexts[number], tally)
            for number, tally in zip(order.steps, tallies, strict=True)
        ]
        refused = run_row_steps(members, part)
        return RanSlice(part.records, part.indexes, refused, tallies)

    def told(self) -> list[str]:
        """Return the warnings that were given since this was asked."""
        warnings = list(self.warnings)
        self.warnings.clear()
        return warnings

    def _prepare(self, numbers: list[int]) -> None:
        if numbers:
            steps, contexts = [self.steps[number] for number in numbers], [self.contexts[number] for number in numbers]
            asyncio.run(prepare_steps(steps, contexts))
            self.ready.update(numbers)


def _compiled(order: WorkOrder) -> Contract:
    """Compile the contract.

    Raises:
        FatalError: It is not what the run began with.
    """
    asked, shared = order.contract, order.shared
    begun = asked.increment
    contract = load_contract(
        asked.path,
        params=asked.params,
        environ=shared["environ"],
        now=shared["now"],
        increment_of=None if begun is None else lambda _sought: begun,
    )
    if dict(contract.part_hashes) != dict(asked.hashes) or tuple(step.name for step in contract.steps) != order.steps:
        raise FatalError(
            f"contract {asked.path} was edited while the run was going on, and a worker process cannot go by it",
            help="run it again, or etlctl resume … --accept-changes",
        )
    return contract
