"""Rules that records broke: those that end the run, named for people, and those that are only counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from etlctl.batch import Batch, frame_to_rows
from etlctl.errors import RecordFailed
from etlctl.quality import Violation
from etlctl.types import to_text

if TYPE_CHECKING:
    import polars as pl

_SHOWN = 200


@contextmanager
def renumbered(before: list[int] | pl.Series | None) -> Iterator[None]:
    """Tell a failure in terms of the chunk's source records, when it was found by place in a group's input."""
    try:
        yield
    except RecordFailed as failure:
        if before is not None:
            failure.index = before[failure.index]
        raise


def named(failure: RecordFailed, chunk: Batch, conceal: Callable[[Any], Any] | None) -> RecordFailed:
    """Return the failure of a record with the words to find it: where it stands in the source, and the record.

    Args:
        failure: As a step told it; changed.
        chunk: Where the record came from.
        conceal: Takes out of a record what the contract masks.
    """
    index = failure.index
    if chunk.deferred is not None:
        raw = chunk.deferred.one(index)
    else:
        raw = frame_to_rows(chunk.frame[[index]])[0] if chunk.frame is not None else (chunk.records or [])[index]
    where = f"{chunk.locate(index)}: " if chunk.locate else ""
    text = to_text(raw if conceal is None else conceal(raw))
    text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    failure.message = f"{where}{failure.message} ({failure.rule}, on_violation: fail); the record: {text}"
    failure.help = failure.help or (
        "correct the record at its source, or let the rule reject it instead: on_violation: reject in contract.yaml"
    )
    return failure


@dataclass(slots=True)
class Violations:
    """Rules that records broke and which were loaded nevertheless, by rule and field."""

    found: dict[tuple[str, str | None], Violation] = field(default_factory=dict)

    def add(self, violation: Violation) -> None:
        """Count records more; the first example stays."""
        key = (violation.rule, violation.field)
        known = self.found.get(key)
        self.found[key] = violation if known is None else known.more(violation.count)

    def update(self, others: Iterable[Violation]) -> None:
        """Add several."""
        for violation in others:
            self.add(violation)

    def __iter__(self) -> Iterator[Violation]:
        return iter(self.found.values())

    def to_list(self) -> list[dict[str, Any]]:
        """Return them as JSON values."""
        return [violation.to_dict() for violation in self]

    @classmethod
    def of(cls, values: Iterable[Mapping[str, Any]]) -> Violations:
        """Return what ``to_list`` told."""
        made = cls()
        made.update(Violation.from_dict(value) for value in values)
        return made
