"""One try of one step of a run, as the ledger knows it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from etlctl.frozen import frozen
from etlctl.run import StepCounts
from etlctl.state.column_values import instant
from etlctl.state.rows import step_counts


@frozen(kw_only=True)
class StepRecord:
    """One try of one step.

    Attributes:
        position: 0-based place of the step in the run.
        attempt: Which try of this step it was, from 1, over all attempts of the run.
        counts: Name, records and time; a try that was repeated has its time only.
        status: ``succeeded``, ``failed`` or ``canceled``; None for runs of older versions that did not succeed.
        batch: Number of the batch in hand, for a try that was repeated.
        started_at: UTC.
        ended_at: UTC.
        error: Why it failed, when it did.
    """

    position: int
    attempt: int
    counts: StepCounts
    status: str | None = None
    batch: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the try as JSON values."""
        return {
            "position": self.position,
            "attempt": self.attempt,
            "status": self.status,
            "batch": self.batch,
            "started_at": self.started_at.isoformat() if self.started_at else None,
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "error": self.error,
            **self.counts.to_dict(),
        }


def step_record(row: Mapping[str, Any]) -> StepRecord:
    """Return the try of a row."""
    return StepRecord(
        position=row["position"],
        attempt=row["attempt"],
        counts=step_counts(row),
        status=row["status"],
        batch=row["batch"],
        started_at=instant(row["started_at"]),
        ended_at=instant(row["ended_at"]),
        error=row["error"],
    )
