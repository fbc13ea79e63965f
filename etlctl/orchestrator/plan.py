"""A plan, as values: what a run of a contract would do to its destinations, and by which way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from etlctl.frozen import frozen
from etlctl.orchestrator.field_changes import FieldChange
from etlctl.run import RunResult, StepCounts


@frozen
class ChangedRecord:
    """A record that is there before and after, with other values.

    Attributes:
        key: What finds it.
        changes: What differs, field by field.
    """

    key: Mapping[str, Any]
    changes: tuple[FieldChange, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"key": dict(self.key), "changes": [change.to_dict() for change in self.changes]}


@frozen(kw_only=True)
class Differences:
    """How a destination would differ after the run.

    Attributes:
        inserted: Records that are not there now.
        changed: Records that are found by their key, and have other values.
        removed: Records that would be gone.
        unchanged: Records that stay as they are.
        key: What finds a record; empty when whole records are compared: then a change is a removal and an insertion.
        inserts: Some of those inserted.
        changes: Some of those changed.
        removals: Some of those removed.
        fields_added: Fields that no record has now.
        note: What the comparison could not do.
    """

    inserted: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    key: tuple[str, ...] = ()
    inserts: tuple[Mapping[str, Any], ...] = ()
    changes: tuple[ChangedRecord, ...] = ()
    removals: tuple[Mapping[str, Any], ...] = ()
    fields_added: tuple[str, ...] = ()
    note: str | None = None

    @property
    def none(self) -> bool:
        """Tell whether nothing would differ."""
        return not (self.inserted or self.changed or self.removed)

    def to_dict(self) -> dict[str, Any]:
        """Return them as plain values."""
        return {
            "counts": {name: getattr(self, name) for name in ("inserted", "changed", "removed", "unchanged")},
            "key": list(self.key),
            "inserts": [dict(one) for one in self.inserts],
            "changes": [one.to_dict() for one in self.changes],
            "removals": [dict(one) for one in self.removals],
            "note": self.note,
        }


@frozen(kw_only=True)
class DestinationPlan:
    """What a run would do to one destination.

    Attributes:
        name: Its name, where the contract has several; else empty.
        type: The loader.
        place: Where it is, in words.
        method: How records are written.
        delivery: What it promises.
        where: It gets only some of the records.
        exists: It is there now; None when that cannot be told.
        created: The run would make it.
        new_columns: Columns the run would add, with their types.
        differences: What would differ; None when that cannot be told.
        unknown: Why it cannot be told.
        help: What to do about it.
    """

    name: str
    type: str
    place: str
    method: str
    delivery: str
    where: bool = False
    exists: bool | None = None
    created: bool = False
    new_columns: Mapping[str, str] = field(default_factory=dict)
    differences: Differences | None = None
    unknown: str | None = None
    help: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        plain = {
            name: getattr(self, name)
            for name in ("name", "type", "place", "method", "delivery", "where", "exists", "created", "unknown", "help")
        }
        found = self.differences.to_dict() if self.differences is not None else None
        return {**plain, "new_columns": dict(self.new_columns), "differences": found}


@frozen(kw_only=True)
class Plan:
    """What a run of a contract would do.

    Attributes:
        contract: Its name.
        version: Its version.
        source: The extractor and what it reads, in words.
        mode: How far the stages overlap.
        steps: The account of each step, its form and why it is not columnar.
        result: How the run would end.
        rejected: Records that would be dead letters, by rule.
        examples: Some of them: where, and what is wrong.
        destinations: What would become of each destination.
        sampled: Only so many source records were read; None: all of them.
        notes: What the plan does not tell.
        seconds: What it took.
        copied_bytes: What was copied to make it.
    """

    contract: str
    version: str | None
    source: str
    mode: str
    steps: tuple[StepCounts, ...]
    result: RunResult
    rejected: Mapping[str, int]
    examples: tuple[Mapping[str, Any], ...]
    destinations: tuple[DestinationPlan, ...]
    sampled: int | None
    notes: tuple[str, ...]
    seconds: float
    copied_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {
            "contract": self.contract,
            "version": self.version,
            "source": self.source,
            "mode": self.mode,
            "steps": [step.to_dict() for step in self.steps],
            "counts": self.result.counts.to_dict(),
            "would_succeed": self.result.error is None,
            "exit_code": self.result.exit_code,
            "error": self.result.error,
            "rejected": dict(self.rejected),
            "rejected_examples": [dict(one) for one in self.examples],
            "destinations": [one.to_dict() for one in self.destinations],
            "sampled": self.sampled,
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
            "copied_bytes": self.copied_bytes,
        }
