"""How far the records of a chunk bring the cursor: asked for any range of its source records, when batches are cut."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from etlctl.batch import Record
from etlctl.cursor import own_text
from etlctl.frozen import frozen

if TYPE_CHECKING:
    import polars as pl

    from etlctl.kit.cursor_column import CursorColumn

BOUNDARY = 10_000
"""Records at the cursor, or within the lag below it, that are remembered so as not to be loaded again."""

ReadRaw: TypeAlias = Callable[[list[int]], Sequence[Record]]
"""Gives source records by their places among the readable ones of the chunk."""


@frozen
class Stretch:
    """How far a range of source records brings the cursor.

    Attributes:
        top: The largest key that may move the cursor; None: no record may.
        text: Its value in the source's own text.
        places: Records at ``top``, within the lag below it, or too far ahead: their places, the largest keys first.
        keys: The key of each.
        dropped: What was left out because a run before has loaded it: cursor value and hash.
        ahead: Records dated too far ahead to move the cursor.
        left_over: Largest key among the records for which there was no room in ``places``; None: there was room.
    """

    top: Any
    text: str | None
    places: Sequence[int]
    keys: Sequence[Any]
    dropped: Sequence[tuple[str, str]]
    ahead: int
    left_over: Any = None


class Marks(Protocol):
    """The marks of one chunk."""

    dropped: list[tuple[int, str, str]]

    def stretch(self, low: int, high: int, raw: ReadRaw) -> Stretch:
        """Return how far readable records ``low`` up to ``high`` bring the cursor."""

    def text(self, place: int, record: Record) -> str:
        """Return the cursor value of a record in the source's own text."""


def _dropped(dropped: Sequence[tuple[int, str, str]], low: int, high: int) -> list[tuple[str, str]]:
    return [(text, one) for place, text, one in dropped if low <= place < high]


def _chosen(found: list[tuple[Any, int]]) -> tuple[list[Any], list[int], Any]:
    """Return keys and places of the largest ones, and the largest key that was left over."""
    if len(found) <= BOUNDARY:
        return [key for key, _ in found], [place for _, place in found], None
    best = nlargest(BOUNDARY + 1, found, key=lambda one: one[0])
    return [key for key, _ in best[:-1]], [place for _, place in best[:-1]], best[-1][0]


@dataclass(slots=True)
class RowMarks:
    """Marks of a chunk that went through as rows.

    Attributes:
        name: The cursor field.
        span: The lag, in keys.
        ceiling: The largest key that may move the cursor; None: any.
        places: Records that were kept, in order.
        keys: The key of each.
        dropped: Records that a run before has loaded: place, cursor value, hash.
        absent: Records without the field.
        seen: Records looked at.
    """

    name: str
    span: Any
    ceiling: Any
    places: list[int] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    dropped: list[tuple[int, str, str]] = field(default_factory=list)
    absent: int = 0
    seen: int = 0

    def stretch(self, low: int, high: int, raw: ReadRaw) -> Stretch:
        """Return how far readable records ``low`` up to ``high`` bring the cursor."""
        first, last = bisect_left(self.places, low), bisect_left(self.places, high)
        keys, ceiling = self.keys[first:last], self.ceiling
        counting = keys if ceiling is None else [key for key in keys if key <= ceiling]
        top = max(counting, default=None)
        floor = ceiling if top is None else (top - self.span if self.span else top)
        near = (
            []
            if floor is None
            else [(key, place) for key, place in zip(keys, self.places[first:last], strict=True) if key >= floor]
        )
        own, places, left_over = _chosen(near)
        text = None
        if top is not None:
            at = self.places[first + keys.index(top)]
            text = self.text(at, raw([at])[0])
        dropped = _dropped(self.dropped, low, high)
        return Stretch(top, text, places, own, dropped, len(keys) - len(counting), left_over)

    def text(self, place: int, record: Record) -> str:  # noqa: ARG002
        """Return the cursor value of a record in the source's own text."""
        return own_text(record[self.name])


@dataclass(slots=True)
class FrameMarks:
    """Marks of a chunk that went through as a frame.

    Attributes:
        frame: The chunk.
        column: Its cursor field.
        kept: Rows that are in the window and were not loaded before.
        span: The lag, in keys.
        ceiling: The largest key that may move the cursor; None: any.
        dropped: Records that a run before has loaded: place, cursor value, hash.
    """

    frame: pl.DataFrame
    column: CursorColumn
    kept: pl.Series
    span: Any
    ceiling: Any
    dropped: list[tuple[int, str, str]] = field(default_factory=list)

    def stretch(self, low: int, high: int, raw: ReadRaw) -> Stretch:  # noqa: ARG002
        """Return how far rows ``low`` up to ``high`` bring the cursor."""
        column, kept = self.column, self.kept.slice(low, high - low)
        counting = kept if self.ceiling is None else kept & column.at_most(self.ceiling, low, high)
        top = column.largest(counting, low, high)
        floor = self.ceiling if top is None else (top - self.span if self.span else top)
        near: list[tuple[Any, int]] = []
        text = None
        if floor is not None:
            part = (kept & column.at_least(floor, low, high)).arg_true().to_list()
            near = [(column.key(low + place), low + place) for place in part]
        if top is not None:
            text = column.text(next(place for key, place in near if key == top))
        own, places, left_over = _chosen(near)
        ahead = kept.arg_true().len() - counting.arg_true().len()
        return Stretch(top, text, places, own, _dropped(self.dropped, low, high), ahead, left_over)

    def text(self, place: int, record: Record) -> str:  # noqa: ARG002
        """Return the cursor value of a row in the source's own text."""
        return self.column.text(place)
