"""What the ledger keeps of a run, as values: how it began, how it stands, and its rejected records by rule."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from etlctl.run import Counts, DeadLetter, RunStatus
from etlctl.state.payload import readable

CRASHED = "crashed"
"""How a run is shown whose process ended without saying so; never stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """What is known when a run begins.

    Attributes:
        run_id: ``run_…``.
        contract: Name of the contract.
        stream: Contract and parameter set.
        started_at: UTC.
        contract_path: Folder or file of the contract.
        contract_version: The contract's own version.
        contract_hash: Hash of each part of the contract, such as ``{"extract": "…"}``.
        run_key: Idempotency key.
        trigger: What started it, such as ``manual`` or ``schedule``.
        params: Parameters of the run.
        mode: Processing mode.
        batch_size: Source records per batch.
        dry_run: Nothing is written.
        destinations: Where the records go, as far as known.
        host: The machine it runs on.
        pid: Its process.
    """

    run_id: str
    contract: str
    stream: str
    started_at: datetime
    contract_path: str = ""
    contract_version: str | None = None
    contract_hash: Mapping[str, str] = field(default_factory=dict)
    run_key: str | None = None
    trigger: str = "manual"
    params: Mapping[str, Any] = field(default_factory=dict)
    mode: str = ""
    batch_size: int | None = None
    dry_run: bool = False
    destinations: tuple[str, ...] = ()
    host: str = field(default_factory=platform.node)
    pid: int = field(default_factory=os.getpid)


@dataclass(frozen=True, slots=True, kw_only=True)
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
        for name in ("started_at", "updated_at", "ended_at"):
            shown[name] = shown[name].isoformat() if shown[name] else None
        shown["duration_seconds"] = self.duration_seconds
        return shown


@dataclass(frozen=True, slots=True)
class RuleSummary:
    """The rejected records that broke one rule: how many, and the first few of them."""

    rule: str
    stage: str
    count: int
    examples: tuple[DeadLetter, ...] = ()


def dead_letter_dict(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as JSON values."""
    shown = {one.name: getattr(letter, one.name) for one in fields(letter)}
    shown["raw"] = readable(letter.raw)
    shown["created_at"] = letter.created_at.isoformat() if letter.created_at else None
    return shown
