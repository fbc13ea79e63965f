"""The first step of an incremental run: keeps what is in the window and was not loaded before, and marks how far it is.

What a record's cursor value says is decided here, once, in rows and in frame form alike. How far a *batch* is follows
when it is cut: the engine asks the marks of each chunk for a range of its source records.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr

from etlctl.batch import Record, frame_to_rows
from etlctl.cursor import Increment, OnMissing, ValueType, comparable, own_text, span_of
from etlctl.errors import FatalError
from etlctl.sdk.context import StepContext
from etlctl.sdk.fields import FieldSet
from etlctl.sdk.marks import FrameMarks, Marks, RowMarks
from etlctl.sdk.rows import RowSlice
from etlctl.sdk.screening import Screening, Verdict
from etlctl.temporal import Unparsable
from etlctl.types import shown

if TYPE_CHECKING:
    import polars as pl

    from etlctl.kit.cursor_column import CursorColumn

STEP = "incremental"
"""Name of the step."""

MISSING, WRONG = "incremental.missing", "incremental.type"


def record_hash(record: Mapping[str, Any]) -> str:
    """Return what stands for a record among those that were loaded: 96 bits as text; null is the same as missing."""
    held = {name: value for name, value in record.items() if value is not None}
    text = json.dumps(held, sort_keys=True, separators=(",", ":"), default=_told)
    return base64.b64encode(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:12]).decode()


def _told(value: Any) -> str:
    return f"{type(value).__name__}:{value}"


@dataclass(slots=True)
class Scan:
    """What the step knows while a run goes on; ``tentative`` until the chunk has gone through all steps.

    Attributes:
        increment: What the run goes by.
        left: How often a record that was loaded before, by its hash, is still to be left out.
    """

    increment: Increment
    left: Counter[str]
    low: Any = None
    high: Any = None
    ceiling: Any = None
    span: Any = 0
    seen: frozenset[Any] = frozenset()
    last: Any = None
    over: bool = False
    chunks: int = 0
    marks: Marks | None = None
    before: Any = None

    @classmethod
    def of(cls, increment: Increment, dropped: Mapping[str, Sequence[str]]) -> Scan:
        """Begin, or go on.

        Args:
            increment: What the run goes by.
            dropped: What attempts before have left out already, as in ``Increment.seen``.
        """
        window = increment.window
        kind = window.value_type
        left = Counter(one for own in increment.seen.values() for one in own)
        left.subtract(one for own in dropped.values() for one in own)
        low, high, ceiling = (
            None if text is None else comparable(text, kind) for text in (window.low, window.high, increment.ceiling)
        )
        seen = frozenset(comparable(text, kind) for text in increment.seen)
        return cls(increment, left, low, high, ceiling, span_of(increment.lag, kind), seen)

    def rewind(self) -> None:
        """Forget the chunk that is about to be tried again."""
        if self.marks is not None:
            self.left.update(one for _, _, one in self.marks.dropped)
            self.marks, self.last = None, self.before

    def take(self) -> Marks | None:
        """Return the marks of the chunk that went through, and make ready for the next one."""
        marks, self.marks, self.before = self.marks, None, self.last
        self.chunks += 1
        return marks

    def was_loaded(self, record: Mapping[str, Any]) -> str | None:
        """Return the hash of a record that a run before has loaded, and count it off."""
        found = record_hash(record)
        if self.left[found] <= 0:
            return None
        self.left[found] -= 1
        return found


class Incremental(Screening):
    """Keeps the records of the run's window; does nothing in what is no run (tests of a contract, replays)."""

    cursor_field: str
    """Field that grows with every change of the source."""
    value_type: ValueType = "datetime"
    """What its values are."""
    on_missing: OnMissing = "reject"
    """What becomes of a record without a usable value."""

    stays: ClassVar[bool] = True

    _scan: Scan | None = PrivateAttr(default=None)
    _verdicts: list[Verdict] = PrivateAttr(default_factory=list)

    def fresh(self) -> Incremental:
        """Return a step that knows of no run."""
        return Incremental(cursor_field=self.cursor_field, value_type=self.value_type, on_missing=self.on_missing)

    def begin(self, scan: Scan) -> None:
        """Go by what a run goes by."""
        self._scan = scan

    @property
    def scan(self) -> Scan | None:
        """What it goes by."""
        return self._scan

    def needs(self) -> tuple[str, ...]:
        """Return the cursor field."""
        return (self.cursor_field,)

    def screen(self, columns: Mapping[str, Sequence[Any]]) -> list[Verdict]:  # noqa: ARG002
        """Let every record pass: ``rows`` and ``sift`` decide, with the whole record at hand."""
        return []

    def effect(self, known: FieldSet) -> FieldSet:
        """Fields stay as they are."""
        return known

    # rows

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        """Decide on a slice of records."""
        scan = self._scan
        if scan is None:
            return
        marks = scan.marks
        if not isinstance(marks, RowMarks):
            marks = scan.marks = RowMarks(self.cursor_field, scan.span, scan.ceiling)
        for position, record in enumerate(rows.records):
            value = record.get(self.cursor_field)
            if value is None:
                marks.absent += self.cursor_field not in record
                self._unusable(rows, position, MISSING, f"field {self.cursor_field!r} has no value")
                continue
            try:
                key = comparable(value, self.value_type)
            except Unparsable as why:
                text = f"field {self.cursor_field!r}: {shown(value)} {why} (value_type: {self.value_type})"
                self._unusable(rows, position, WRONG, text)
                continue
            self._hold_order(scan, key, value)
            if self._is_outside(scan, key):
                rows.drop(position)
                continue
            loaded = scan.was_loaded(record) if key in scan.seen else None
            if loaded is not None:
                marks.dropped.append((rows.indexes[position], own_text(value), loaded))
                rows.drop(position)
                continue
            marks.places.append(rows.indexes[position])
            marks.keys.append(key)
        marks.seen += len(rows.records)
        self._refuse_absent(scan, ctx, rows.records[0] if rows.records else {}, marks.absent, marks.seen)

    def _unusable(self, rows: RowSlice, position: int, rule: str, message: str) -> None:
        if self.on_missing == "reject":
            rows.reject(position, rule, message, field=self.cursor_field)
        elif self.on_missing == "drop":
            rows.drop(position)

    def _refuse_absent(self, scan: Scan, ctx: StepContext, sample: Record, absent: int, seen: int) -> None:
        """A field that no record of the first chunk has is misspelt: better said once than of every record."""
        if scan.chunks or not seen or absent < seen or self.on_missing == "load":
            return
        near = ", ".join(map(repr, list(sample)[:20]))
        error = FatalError(
            f"the source has no field {self.cursor_field!r}, the cursor_field of incremental",
            help=f"it has: {near}; correct cursor_field in extract.yaml",
        )
        raise error.at(step=ctx.step)

    @staticmethod
    def _is_outside(scan: Scan, key: Any) -> bool:
        order = scan.increment.window.row_order
        if scan.low is not None and key < scan.low:
            scan.over = scan.over or order == "desc"
            return True
        if scan.high is not None and (key >= scan.high if scan.increment.window.open_high else key > scan.high):
            scan.over = scan.over or order == "asc"
            return True
        return False

    def _hold_order(self, scan: Scan, key: Any, value: Any) -> None:
        order = scan.increment.window.row_order
        if order is None:
            return
        if scan.last is not None and (key < scan.last if order == "asc" else key > scan.last):
            raise self._disordered(order, value)
        scan.last = key

    def _disordered(self, order: str, value: Any) -> FatalError:
        error = FatalError(
            f"the records are not in the order that row_order: {order} promises: {shown(value)} of field "
            f"{self.cursor_field!r} comes after a {'larger' if order == 'asc' else 'smaller'} value",
            help="let the source sort by the field, or take row_order away: the cursor then moves when the run has "
            "finished",
        )
        error.at(step=STEP)
        return error

    # frames

    def sift(self, frame: pl.DataFrame) -> pl.Series | None:
        """Decide on all rows of a frame at once; None when some are refused (``screen_frame`` tells which)."""
        import polars as pl  # noqa: PLC0415

        scan = self._scan
        if scan is None:
            return pl.repeat(value=True, n=frame.height, dtype=pl.Boolean, eager=True)
        if self.cursor_field not in frame.columns:
            self._refuse_absent(scan, StepContext(step=STEP), dict.fromkeys(frame.columns), frame.height, frame.height)
            frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(self.cursor_field))
        from etlctl.kit.cursor_column import CursorColumn  # noqa: PLC0415

        column = CursorColumn.of(frame.get_column(self.cursor_field), self.value_type)
        self._hold_column(scan, column)
        kept = self._inside(scan, column)
        marks = scan.marks = FrameMarks(frame, column, kept, scan.span, scan.ceiling)
        if scan.seen:
            marks.dropped = self._loaded_before(scan, frame, column, kept)
            if marks.dropped:
                marks.kept = kept = kept.scatter([place for place, _, _ in marks.dropped], values=False)
        unusable = (
            (~column.missing).scatter(list(column.unusable), values=False) if column.unusable else ~column.missing
        )
        if self.on_missing == "load":
            return kept | ~unusable
        if self.on_missing == "drop" or unusable.all():
            return kept
        self._verdicts = self._told_of(column, kept)
        return None

    def screen_frame(self, frame: pl.DataFrame, ctx: StepContext) -> list[Verdict]:  # noqa: ARG002
        """Return what ``sift`` has decided, when some rows are refused."""
        found, self._verdicts = self._verdicts, []
        return found

    def _hold_column(self, scan: Scan, column: CursorColumn) -> None:
        order = scan.increment.window.row_order
        if order is None:
            return
        wrong = column.in_order(descending=order == "desc", last=scan.last)
        if wrong is not None:
            raise self._disordered(order, column.values[wrong])
        last = column.last()
        scan.last = scan.last if last is None else last

    @staticmethod
    def _inside(scan: Scan, column: CursorColumn) -> pl.Series:
        window = scan.increment.window
        inside = column.keys.is_not_null()
        if column.apart:
            inside = inside.scatter(list(column.apart), values=True)
        usable = inside
        if scan.low is not None:
            inside &= column.at_least(scan.low)
            scan.over = scan.over or (window.row_order == "desc" and not inside.eq(usable).all())
        if scan.high is not None:
            low = inside
            below = ~column.at_least(scan.high) if window.open_high else column.at_most(scan.high)
            inside = inside & below
            scan.over = scan.over or (window.row_order == "asc" and not inside.eq(low).all())
        return inside

    @staticmethod
    def _loaded_before(
        scan: Scan, frame: pl.DataFrame, column: CursorColumn, kept: pl.Series
    ) -> list[tuple[int, str, str]]:
        """Return the rows that a run before has loaded: place, cursor value, hash."""
        doubtful = kept & column.at_least(min(scan.seen)) & column.at_most(max(scan.seen))
        places = [place for place in doubtful.arg_true().to_list() if column.key(place) in scan.seen]
        found = []
        for place, record in zip(places, frame_to_rows(frame[places]), strict=True):
            loaded = scan.was_loaded(record)
            if loaded is not None:
                found.append((place, column.text(place), loaded))
        return found

    def _told_of(self, column: CursorColumn, kept: pl.Series) -> list[Verdict]:
        missing, verdicts = column.missing, []
        for place in (~kept).arg_true().to_list():
            if missing[place]:
                text = f"field {self.cursor_field!r} has no value"
                verdicts.append(Verdict(place, MISSING, text, self.cursor_field))
            elif place in column.unusable:
                why = f"{shown(column.values[place])} {column.unusable[place]} (value_type: {self.value_type})"
                verdicts.append(Verdict(place, WRONG, f"field {self.cursor_field!r}: {why}", self.cursor_field))
            else:
                verdicts.append(Verdict(place, None))
        return verdicts
