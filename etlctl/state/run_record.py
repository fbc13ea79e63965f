"""A run as the ledger knows it, for people and programs to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from etlctl.frozen import frozen
from etlctl.quality import PastRun
from etlctl.run import Counts, RunResult, RunStatus
from etlctl.state.column_values import aware, instant
from etlctl.state.liveness import is_gone
from etlctl.state.payload import readable
from etlctl.state.records import RunStart
from etlctl.state.result_text import stored_result

_COUNTS = ("extracted", "added", "filtered", "rejected", "deduplicated", "loaded")
CRASHED = "crashed"
"""How a run is shown whose process ended without saying so; never stored."""


@frozen(kw_only=True)
class RunRecord(RunStart):
    """A run as the ledger knows it.

    Attributes:
        status: As recorded.
        counts: Records so far, or over all batches once it ended.
        batches: Batches handled.
        updated_at: When the run last reported, UTC.
        ended_at: UTC; None while it runs.
        error: Why it failed, when it did.
        error_type: Name of the error's class.
        exit_code: What the command line exited with.
        report: Path of the run report.
        etlctl_version: The version that ran it.
        crashed: Recorded as running, but its process on this machine is gone.
        attempt: Which attempt is the last one, from 1.
        fence: Generation of the lease of that attempt; 0 when it had none.
        result: How it ended, in full; None while it runs and for runs of older versions.
    """

    status: RunStatus
    counts: Counts
    batches: int = 0
    updated_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    error_type: str | None = None
    exit_code: int | None = None
    report: str | None = None
    etlctl_version: str = ""
    crashed: bool = False
    attempt: int = 1
    fence: int = 0
    result: RunResult | None = None

    @property
    def shown_status(self) -> str:
        """The status to show: ``crashed`` for a run whose process is gone, else as recorded."""
        return CRASHED if self.crashed else str(self.status)

    @property
    def duration_seconds(self) -> float | None:
        """Seconds from start to end; None while it runs."""
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else None

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON values; ``status`` is the one to show."""
        shown: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "crashed"}
        shown["status"] = self.shown_status
        shown["counts"] = self.counts.to_dict()
        shown["params"], shown["contract_hash"] = readable(self.params), dict(self.contract_hash)
        shown["destinations"] = list(self.destinations)
        shown["result"] = readable(self.result.to_dict()) if self.result else None
        for name in ("started_at", "updated_at", "ended_at"):
            shown[name] = shown[name].isoformat() if shown[name] else None
        shown["duration_seconds"] = self.duration_seconds
        return shown


def run_record(row: Mapping[str, Any]) -> RunRecord:
    """Return the run of a row, as SQLAlchemy or a plain statement gives it."""
    status = RunStatus(row["status"])
    updated_at = aware(row["updated_at"])
    return RunRecord(
        run_id=row["id"],
        **{name: row[name] for name in _AS_STORED},
        contract_hash=_json(row["contract_hash"]),
        params=_json(row["params"]),
        dry_run=bool(row["dry_run"]),
        destinations=tuple(_json(row["destinations"])),
        started_at=aware(row["started_at"]),
        updated_at=updated_at,
        ended_at=instant(row["ended_at"]),
        status=status,
        counts=Counts(**{name: row[name] for name in _COUNTS}),
        crashed=status is RunStatus.running and is_gone(row["host"], row["pid"], updated_at),
        result=stored_result(row["result"]),
    )


def past_run(row: Mapping[str, Any]) -> PastRun:
    """Return a run that finished, as later runs of its stream compare themselves with it."""
    result = stored_result(row["result"])
    checks = result.checks if result is not None else ()
    return PastRun(row["id"], aware(row["started_at"]), row["extracted"], row["loaded"], checks)


_AS_STORED = (
    "contract",
    "contract_path",
    "contract_version",
    "stream",
    "run_key",
    "trigger",
    "mode",
    "batch_size",
    "host",
    "pid",
    "batches",
    "error",
    "error_type",
    "exit_code",
    "report",
    "etlctl_version",
    "checkpoint_id",
    "attempt",
    "fence",
)


def _json(stored: Any) -> Any:
    """Return a JSON column, which some drivers read and some leave as text."""
    return json.loads(stored) if isinstance(stored, str) else stored
