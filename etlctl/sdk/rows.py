"""A slice of records on its way through row steps: records, where they came from, and what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from etlctl.batch import Record
from etlctl.errors import RecordFailed, RecordRejected
from etlctl.frozen import frozen
from etlctl.quality import Action


@frozen
class RowRejection:
    """A record that an operation refused: ordinal of its source record, the rule, the message, the field."""

    index: int
    rule: str
    message: str
    field: str | None


@dataclass(slots=True)
class RowSlice:
    """At most some thousand records going through a step together.

    An operation changes ``records[i]`` in place (the top level only: the engine made shallow copies, nested values
    still belong to the source and must be replaced, never changed), and calls ``reject``, ``drop`` or ``replace``
    for records that leave or multiply. The engine settles those marks after each step.

    Attributes:
        records: The records, in order.
        indexes: For each record the 0-based ordinal of its source record in the batch.
        rejections: Refused records, in order of refusal.
        warned: Rules that records broke which go on nevertheless.
        filtered: Source ordinals of records dropped on purpose.
        added: Source ordinals of records that came in addition, one entry each.
    """

    records: list[Record]
    indexes: list[int]
    rejections: list[RowRejection] = field(default_factory=list)
    filtered: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    warned: list[RowRejection] = field(default_factory=list)
    _marks: dict[int, list[Record] | None] = field(default_factory=dict)

    def reject(self, position: int, rule: str, message: str, *, field: str | None = None) -> None:
        """Refuse ``records[position]``; it leaves the slice and its raw source record goes to the dead letters."""
        self._marks[position] = None
        self.rejections.append(RowRejection(self.indexes[position], rule, message, field))

    def reject_error(self, position: int, error: RecordRejected) -> None:
        """Refuse ``records[position]`` for an error that names rule, message and field."""
        self.reject(position, error.rule, error.message, field=error.field)

    def violate(self, position: int, action: Action, rule: str, message: str, *, field: str | None = None) -> None:
        """Do with ``records[position]``, which breaks a rule, what is to be done.

        Args:
            position: Its place in the slice.
            action: ``reject`` it, ``drop`` it, ``warn`` and let it go on, or ``fail``: end the run.
            rule: Stable dotted name.
            message: Which value broke which rule.
            field: The field concerned, if one.

        Raises:
            RecordFailed: It is to end the run.
        """
        if action == "fail":
            raise RecordFailed(self.indexes[position], rule, message)
        if action == "drop":
            self.drop(position)
        elif action == "warn":
            self.warned.append(RowRejection(self.indexes[position], rule, message, field))
        else:
            self.reject(position, rule, message, field=field)

    def drop(self, position: int) -> None:
        """Drop ``records[position]`` on purpose; it counts as filtered."""
        self._marks[position] = None
        self.filtered.append(self.indexes[position])

    def replace(self, position: int, records: list[Record]) -> None:
        """Put any number of records in the place of ``records[position]``; none counts as filtered."""
        if not records:
            self.drop(position)
            return
        self._marks[position] = records
        self.added.extend([self.indexes[position]] * (len(records) - 1))

    def exchange(self, records: list[Record]) -> None:
        """Put other records in the place of all of them, for operations that see a whole batch.

        A record that was there before keeps its source ordinal; when all are new, they take the ordinals in turn.
        Missing ones count as filtered, surplus ones as added.
        """
        known = {id(record): index for record, index in zip(self.records, self.indexes, strict=True)}
        if all(id(record) in known for record in records):
            indexes = [known[id(record)] for record in records]
        else:
            last = self.indexes[-1] if self.indexes else 0
            indexes = [*self.indexes, *[last] * (len(records) - len(self.indexes))][: len(records)]
        before, after = Counter(self.indexes), Counter(indexes)
        self.filtered.extend((before - after).elements())
        self.added.extend((after - before).elements())
        self.records, self.indexes = records, indexes

    def each(self, change: Callable[[Record], None]) -> None:
        """Apply a function to every record in place; a ``RecordRejected`` it raises refuses that record."""
        for position, record in enumerate(self.records):
            try:
                change(record)
            except RecordRejected as error:
                self.reject_error(position, error)

    def settle(self) -> None:
        """Carry out the marks: rejected and dropped records leave, replaced ones make room."""
        if not self._marks:
            return
        records: list[Record] = []
        indexes: list[int] = []
        for position, (record, index) in enumerate(zip(self.records, self.indexes, strict=True)):
            if position not in self._marks:
                records.append(record)
                indexes.append(index)
            elif (replacement := self._marks[position]) is not None:
                records.extend(replacement)
                indexes.extend([index] * len(replacement))
        self.records, self.indexes = records, indexes
        self._marks.clear()
