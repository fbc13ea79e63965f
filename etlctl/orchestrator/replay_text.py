"""The text that tells which source records of which run a replay is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from etlctl.errors import StateError
from etlctl.frozen import frozen

REPLAY = "+replay"
"""Ending of the stream of replays, and the name under which a replay's parameters tell what it replays."""

Place = tuple[int, int]
"""A source record of a run: number of its batch, 0-based ordinal in the batch."""


@frozen
class Selection:
    """Which source records of a run are replayed, in the order of the source.

    Attributes:
        run_id: The run that rejected them.
        places: Where they stood.
    """

    run_id: str
    places: tuple[Place, ...]

    @classmethod
    def of(cls, run_id: str, places: Iterable[Place]) -> Selection:
        """Return the selection of some source records of a run."""
        return cls(run_id, tuple(sorted(set(places))))

    @classmethod
    def parse(cls, text: str) -> Selection:
        """Return the selection that a text tells.

        Raises:
            StateError: It is none.
        """
        run_id, *batches = text.split(" ")
        try:
            return cls.of(run_id, (place for batch in batches for place in _places(batch)))
        except ValueError as error:
            raise StateError(f"{text[:80]!r} does not tell what was replayed: the ledger was edited") from error

    def __str__(self) -> str:
        """Return the selection as text: ``run_01… 1:0,4-7 3:2``, batches with the ordinals in them."""
        batches: dict[int, list[int]] = {}
        for seq, index in self.places:
            batches.setdefault(seq, []).append(index)
        return " ".join([self.run_id, *(f"{seq}:{_ranges(found)}" for seq, found in batches.items())])


def _ranges(ordinals: Sequence[int]) -> str:
    """Return ascending ordinals as ``0,4-7``."""
    runs: list[list[int]] = []
    for ordinal in ordinals:
        if runs and ordinal == runs[-1][1] + 1:
            runs[-1][1] = ordinal
        else:
            runs.append([ordinal, ordinal])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _places(batch: str) -> list[Place]:
    seq, _, ranges = batch.partition(":")
    found = []
    for one in ranges.split(","):
        first, _, last = one.partition("-")
        found += [(int(seq), ordinal) for ordinal in range(int(first), int(last or first) + 1)]
    return found
