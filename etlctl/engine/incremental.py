"""How far an incremental run is: it travels in the account of each commit token, and moves the cursor in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etlctl.cursor import CursorMove, Increment, Recent, comparable, span_of
from etlctl.errors import CheckpointError
from etlctl.frozen import frozen
from etlctl.sdk.incremental import Incremental, Scan, record_hash
from etlctl.sdk.marks import BOUNDARY, Marks, ReadRaw

if TYPE_CHECKING:
    from etlctl.engine.apply import StepLike

KEY = "incremental"
"""Where an account keeps it."""


@frozen
class Advance:
    """How far a part of a batch brings the cursor.

    Attributes:
        top: The largest key that may move the cursor; None: no record may.
        text: Its value in the source's own text.
        near: Records to remember: key, cursor value and hash.
        dropped: What was left out because a run before has loaded it: cursor value and hash.
        ahead: Records dated too far ahead to move the cursor.
        left_over: Largest key among the records for which there was no room; None: there was.
    """

    top: Any
    text: str | None
    near: Sequence[tuple[Any, str, str]]
    dropped: Sequence[tuple[str, str]]
    ahead: int
    left_over: Any


def advance(marks: Marks, low: int, high: int, raw: ReadRaw) -> Advance:
    """Return how far readable records ``low`` up to ``high`` of a chunk bring the cursor."""
    found = marks.stretch(low, high, raw)
    records = raw(list(found.places))
    near = [
        (key, marks.text(place, record), record_hash(record))
        for key, place, record in zip(found.keys, found.places, records, strict=True)
    ]
    return Advance(found.top, found.text, near, found.dropped, found.ahead, found.left_over)


class Reached:
    """How far a run is.

    Args:
        increment: What the run goes by.
    """

    def __init__(self, increment: Increment) -> None:
        self.increment = increment
        self._kind = increment.window.value_type
        self._span = span_of(increment.lag, self._kind)
        self._dropped: list[tuple[str, str]] = []
        self._begin(increment.start, increment.seen)

    def _begin(self, mark: str | None, recent: Recent) -> None:
        self._mark = mark
        self._top = None if mark is None else comparable(mark, self._kind)
        self._near: list[tuple[Any, str, str]] = self._keyed(recent)
        self._dropped = []
        self._ahead = 0
        self._left_over: Any = None

    @property
    def mark(self) -> str | None:
        """The high-water mark, in the source's own text; None: no record was there yet."""
        return self._mark

    @property
    def dropped(self) -> Recent:
        """What was left out because runs before have loaded it."""
        return _by_text(self._dropped)

    def add(self, parts: Iterable[Advance]) -> None:
        """Add a batch."""
        for part in parts:
            self._dropped += part.dropped
            self._ahead += part.ahead
            self._near += part.near
            if part.top is not None and (self._top is None or part.top > self._top):
                self._top, self._mark = part.top, part.text
            self._left(part.left_over)
        self._trim()

    def _trim(self) -> None:
        if self._top is not None:
            floor = self._top - self._span if self._span else self._top
            self._near = [one for one in self._near if one[0] >= floor]
        if len(self._near) > BOUNDARY:
            self._near.sort(key=lambda one: one[0], reverse=True)
            self._left(self._near[BOUNDARY][0])
            del self._near[BOUNDARY:]

    def _left(self, key: Any) -> None:
        if key is not None and (self._left_over is None or key > self._left_over):
            self._left_over = key

    def warnings(self) -> list[str]:
        """Return what a user should know when the run has ended."""
        said, name = [], self.increment.window.field
        if self._ahead:
            said.append(
                f"{self._ahead:,} records have a {name} beyond {self.increment.ceiling} (max_future_skew): they were "
                "loaded, and do not move the cursor"
            )
        floor = self._top - self._span if self._span and self._top is not None else self._top
        if self._left_over is not None and floor is not None and self._left_over >= floor:
            said.append(
                f"more than {BOUNDARY:,} records are at the cursor {name} = {self._mark} or within its lag, too many "
                "to remember: the next run may load some of them again; with write_method: upsert that does no harm"
            )
        return said

    def move(self) -> CursorMove | None:
        """Return where the cursor of the stream is to move; None: there is nothing to move it to."""
        if self._mark is None or not self.increment.moves:
            return None
        recent = _by_text((text, one) for _, text, one in self._near)
        return CursorMove(
            stream=self.increment.stream,
            field=self.increment.window.field,
            value=self._mark,
            value_type=self._kind,
            recent=recent,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        left = self._left_over
        return {
            "of": self.increment.to_dict(),
            "mark": self._mark,
            "recent": _by_text((text, one) for _, text, one in self._near),
            "dropped": _by_text(self._dropped),
            "ahead": self._ahead,
            "left_over": left if left is None or isinstance(left, str | int | float) else str(left),
        }

    def account(self) -> dict[str, Any]:
        """Return the account of a run that has done nothing yet, for the checkpoint it begins with."""
        return {KEY: self.to_dict()}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on from what ``to_dict`` wrote; nothing written is the beginning.

        Raises:
            CheckpointError: It is of another window.
        """
        if not values:
            self._begin(self.increment.start, self.increment.seen)
            return
        before = Increment.of(values["of"])
        if before.window != self.increment.window:
            raise _another_window(before, self.increment)
        self._begin(values["mark"], values["recent"])
        self._dropped = [(text, one) for text, own in values["dropped"].items() for one in own]
        self._ahead = values["ahead"]
        left = values.get("left_over")
        self._left_over = left if left is None else comparable(left, "decimal") if self._kind == "decimal" else left

    def _keyed(self, recent: Recent) -> list[tuple[Any, str, str]]:
        found = []
        for text, own in recent.items():
            key = comparable(text, self._kind)
            found += [(key, text, one) for one in own]
        return found


def scanning(steps: Sequence[StepLike], increment: Increment | None, reached: Reached | None) -> Scan | None:
    """Let the incremental step go by what the run goes by; returns what it knows, None when nothing is incremental.

    Args:
        steps: The steps of the run.
        increment: What the run goes by.
        reached: Where it begins; None: where it has left out nothing yet.
    """
    operation = next((step.operation for step in steps if isinstance(step.operation, Incremental)), None)
    if operation is None or increment is None:
        return None
    scan = Scan.of(increment, reached.dropped if reached is not None else {})
    operation.begin(scan)
    return scan


def _by_text(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    made: dict[str, list[str]] = {}
    for text, one in pairs:
        made.setdefault(text, []).append(one)
    return made


def _another_window(before: Increment, now: Increment) -> CheckpointError:
    field, old, new = now.window.field, before.window, now.window
    return CheckpointError(
        f"the run began with {field} from {old.low or 'the beginning'} to {old.high or 'the end'}, and would go on "
        f"with {new.low or 'the beginning'} to {new.high or 'the end'}: what it read so far would not fit the rest",
        help=f"the record of the run was lost; set the cursor to where it stood and resume again: "
        f"etlctl cursor set {now.stream} {field} {old.low or '…'}; or begin anew: etlctl run … --restart",
    )
