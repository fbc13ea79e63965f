"""Deals rows out and encodes them for several destinations slice by slice, right after the last step.

Only where every destination encodes rows: a whole batch of dicts is slow to hold, and slow to come back to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from etlctl.batch import Batch, Encoded, Record
from etlctl.engine.routing import Route, Routed, Router
from etlctl.frozen import frozen
from etlctl.sdk.destinations import Destination
from etlctl.sdk.loader import Encoder


@frozen
class _Dealt:
    """A slice, dealt out and encoded.

    Attributes:
        parts: What each destination gets, in order.
        added: By how many the copies are more than the records that go anywhere.
        filtered: Records that go nowhere because no ``where`` holds.
    """

    parts: tuple[Encoded, ...]
    added: int
    filtered: int


class SliceEncoder:
    """The encoder of several destinations.

    Args:
        destinations: The destinations.
        encoders: The encoder of each.
        router: Deals slices out; nobody else's.
    """

    def __init__(self, destinations: Sequence[Destination], encoders: Sequence[Encoder], router: Router) -> None:
        self._steps = [item.step for item in destinations]
        self._encoders = encoders
        self._router = router

    def __call__(self, records: list[Record]) -> Encoded:
        """Return a slice as ``gathered`` takes it, with every refusal of a condition or of a destination."""
        routed = self._router.route(Batch.of_rows(records, {}))
        refused, parts = list(routed.refused), []
        for step, encoder, route in zip(self._steps, self._encoders, routed.routes, strict=True):
            part = encoder(route.batch.records or [])
            refused += [replace(one, index=route.place(one.index), step=step) for one in part.rejected]
            parts.append(part)
        return Encoded(len(records), _Dealt(tuple(parts), routed.added, routed.filtered), refused)


def gathered(names: Sequence[str], batch: Batch) -> Routed:
    """Return a batch of encoded slices as it was dealt out; what was refused then is told already.

    Args:
        names: Of the destinations, in order.
        batch: The batch.
    """
    slices: list[_Dealt] = [part.payload for part in batch.encoded or ()]
    routes = []
    for number, name in enumerate(names):
        parts = [one.parts[number] for one in slices]
        routes.append(Route(name, Batch(None, None, batch.position, seq=batch.seq, encoded=parts), None))
    added, filtered = sum(one.added for one in slices), sum(one.filtered for one in slices)
    return Routed(batch, tuple(routes), added=added, filtered=filtered)
