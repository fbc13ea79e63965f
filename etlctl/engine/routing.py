"""Which records of a batch go to which of several destinations: their ``where`` runs like a step of the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from etlctl.batch import Batch, Rejection
from etlctl.engine.apply import apply_steps
from etlctl.frozen import frozen
from etlctl.sdk.context import Context, StepContext
from etlctl.sdk.destinations import Destination
from etlctl.sdk.operation import Operation

if TYPE_CHECKING:
    from etlctl.engine.applied import Applied

RULE = "load.where"
"""Rule of a record whose ``where`` fails: it goes nowhere."""


@frozen
class Route:
    """What one destination gets of a batch.

    Attributes:
        name: The destination.
        batch: Its records, in the order of the batch.
        places: For each of them its 0-based place in the batch; None: all of them.
    """

    name: str
    batch: Batch
    places: Sequence[int] | None

    def place(self, index: int) -> int:
        """Return the place in the batch of one of its records."""
        return index if self.places is None else self.places[index]


@frozen
class Routed:
    """A batch, dealt out.

    Attributes:
        batch: The batch.
        routes: One for each destination, in the order of the contract.
        refused: Records whose ``where`` fails; no destination gets them.
        added: By how many the copies are more than the records that go anywhere.
        filtered: Records that go nowhere because no ``where`` holds.
    """

    batch: Batch
    routes: tuple[Route, ...]
    refused: list[Rejection] = field(default_factory=list)
    added: int = 0
    filtered: int = 0


@frozen
class _Where:
    """A ``where`` as a step."""

    name: str
    operation: Operation


class Router:
    """Deals batches out. Synchronous: called on threads, one call at a time.

    Args:
        destinations: The destinations.
        ctx: Of the run.
    """

    def __init__(self, destinations: Sequence[Destination], ctx: Context) -> None:
        self._names = [item.name for item in destinations]
        self._wheres = [
            None if item.where is None else _Where(f"{item.step}.where", item.where.fresh()) for item in destinations
        ]
        self._steps = [item.step for item in destinations]
        self._ctx = ctx

    def route(self, batch: Batch) -> Routed:
        """Deal a batch out.

        Raises:
            ComponentError: A ``where`` cannot go on at all.
        """
        chosen = [None if where is None else self._chosen(where, batch) for where in self._wheres]
        refused = self._refused(chosen)
        last = max((number for number, one in enumerate(chosen) if one is None), default=-1)
        routes = []
        for number, (name, one) in enumerate(zip(self._names, chosen, strict=True)):
            made, places = _taken(batch, one, keep=number == last)
            routes.append(_route(batch, name, *_without(made, places, refused)))
        added, filtered = _balance(len(batch), len(refused), routes)
        return Routed(batch, tuple(routes), list(refused.values()), added, filtered)

    def _chosen(self, where: _Where, batch: Batch) -> Applied:
        source = Batch(batch.records, batch.frame, {})
        return apply_steps([where], source, [self._ctx.shared_with(StepContext, step=where.name)])

    def _refused(self, chosen: Sequence[Applied | None]) -> dict[int, Rejection]:
        """Return the records for which a ``where`` fails, by place; the first destination that says so is named."""
        found: dict[int, Rejection] = {}
        for step, one in zip(self._steps, chosen, strict=True):
            for refusal in one.refused if one is not None else ():
                said = refusal.rejection
                message = f"where of {step} cannot be decided: {said.message}"
                found.setdefault(said.index, Rejection(said.index, "load", "load", RULE, message, None, said.field))
        return dict(sorted(found.items()))


def _taken(batch: Batch, one: Applied | None, *, keep: bool) -> tuple[Batch, Sequence[int] | None]:
    """Return the records of a destination and their places; it may keep rows, or change them without harm to others."""
    if one is None:
        if batch.records is None or keep:
            return Batch(batch.records, batch.frame, {}), None
        return Batch([record.copy() for record in batch.records], None, {}), None
    if one.ordinals is None:
        return Batch(one.records if batch.frame is None else None, batch.frame, {}), None
    places = one.source_ordinals()
    if batch.frame is not None and one.frame is None:  # the condition needed rows, the destination does not
        return Batch(None, batch.frame[places] if places else batch.frame.clear(), {}), places
    return Batch(one.records, one.frame, {}), places


def _without(
    made: Batch, places: Sequence[int] | None, refused: dict[int, Rejection]
) -> tuple[Batch, Sequence[int] | None]:
    """Leave out the records that go nowhere, because another ``where`` fails for them."""
    if not refused:
        return made, places
    numbers = range(len(made)) if places is None else places
    keep = [number for number, place in enumerate(numbers) if place not in refused]
    if len(keep) == len(made):
        return made, places
    kept_places = [numbers[number] for number in keep]
    if made.frame is not None:
        return Batch(None, made.frame[keep] if keep else made.frame.clear(), {}), kept_places
    records = made.records or []
    return Batch([records[number] for number in keep], None, {}), kept_places


def _route(batch: Batch, name: str, made: Batch, places: Sequence[int] | None) -> Route:
    locate = batch.locate
    if locate is not None and places is not None:
        locate = _located(locate, places)
    return Route(name, replace(made, position=batch.position, seq=batch.seq, locate=locate), places)


def _located(locate: Callable[[int], str], places: Sequence[int]) -> Callable[[int], str]:
    return lambda index: locate(places[index])


def _balance(records: int, refused: int, routes: Sequence[Route]) -> tuple[int, int]:
    """Return how many records came in addition, because some go to several places, and how many go nowhere."""
    copies = sum(len(route.batch) for route in routes)
    going = records - refused
    if all(route.places is not None for route in routes):
        somewhere: set[int] = set()
        for route in routes:
            somewhere.update(route.places or ())
        return copies - len(somewhere), going - len(somewhere)
    return copies - going, 0
