"""What a run is made of, as values: status, counts, dead letters, progress and the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from etlctl.frozen import frozen
from etlctl.quality import CheckResult, Violation


class RunStatus(StrEnum):
    """Where a run stands."""

    running = "running"
    succeeded = "succeeded"
    partial = "partial"
    """Finished, but records went to the dead letters and no dead-letter budget allows for them."""
    failed = "failed"
    canceled = "canceled"

    @property
    def finished(self) -> bool:
        """Tell whether everything was done that there was to do."""
        return self in {RunStatus.succeeded, RunStatus.partial}


_SAY_WHAT_TO_DO = frozenset({"CheckpointError", "FencedError", "ResumeRefused", "RunBusyError"})
"""Errors that resuming again only meets again; their help says what to do."""


class ProcessingMode(StrEnum):
    """How far reading, transforming and loading overlap."""

    full = "full"
    streaming = "streaming"
    hybrid = "hybrid"


@dataclass(slots=True)
class Counts:
    """Records of a run or a batch. They balance: in + added = out + filtered + rejected + deduplicated.

    Attributes:
        extracted: Source records read, unreadable ones included.
        added: Records that steps made out of others (unnest).
        filtered: Records dropped on purpose.
        rejected: Records in the dead letters, whatever the stage.
        deduplicated: Records dropped because an equal one was there.
        loaded: Records handed to the destination.
    """

    extracted: int = 0
    added: int = 0
    filtered: int = 0
    rejected: int = 0
    deduplicated: int = 0
    loaded: int = 0

    @property
    def balanced(self) -> bool:
        """Tell whether every record is accounted for."""
        return self.missing == 0

    @property
    def missing(self) -> int:
        """Records that went in and are nowhere: positive when lost, negative when doubled."""
        return self.extracted + self.added - self.loaded - self.filtered - self.rejected - self.deduplicated

    def add(self, other: Counts) -> None:
        """Add another batch's counts to these."""
        self.extracted += other.extracted
        self.added += other.added
        self.filtered += other.filtered
        self.rejected += other.rejected
        self.deduplicated += other.deduplicated
        self.loaded += other.loaded

    def to_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in _COUNTS}


@dataclass(slots=True)
class StepCounts:
    """Records and time of one step of a run; ``records_in + added = records_out + filtered + rejected``.

    Attributes:
        name: Where in the contract, such as ``transform.convert``.
        seconds: Time spent in the step, summed over batches; 0 for steps that ran inside a shared frame plan.
        form: ``frame``, ``rows`` or ``mixed``: how the step ran.
        why: Why it did not run on the frame, or not for every record: the first reason seen.
    """

    name: str
    records_in: int = 0
    records_out: int = 0
    added: int = 0
    filtered: int = 0
    rejected: int = 0
    seconds: float = 0.0
    form: str = ""
    why: str = ""

    @property
    def balanced(self) -> bool:
        """Tell whether every record of the step is accounted for."""
        return self.records_in + self.added == self.records_out + self.filtered + self.rejected

    def to_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in _STEP_COUNTS}


# Called for every batch: dataclasses.asdict is ten times slower.
_COUNTS = tuple(one.name for one in fields(Counts))
_STEP_COUNTS = tuple(one.name for one in fields(StepCounts))


@frozen
class DestinationCounts:
    """What became of the records of a run at one of several destinations.

    Attributes:
        name: Name of the destination in the contract.
        place: Where the records are, such as a file; None when nothing was published.
        records: Records it took.
        rejected: Records it refused.
    """

    name: str
    place: str | None
    records: int
    rejected: int = 0


@frozen(kw_only=True)
class StepAttempt:
    """One try of a step that did not work out and was repeated, or ended the run.

    Attributes:
        position: 0-based place of the step in the run.
        name: Where in the contract, such as ``load``.
        batch: Number of the batch in hand, when one was.
        started_at: UTC.
        ended_at: UTC.
        error: Why it failed.
    """

    position: int
    name: str
    batch: int | None
    started_at: datetime
    ended_at: datetime
    error: str


@frozen
class DeadLetter:
    """A rejected record as the ledger keeps it. Keyed by (stream, seq, index, part), so a repeat overwrites.

    Attributes:
        id: ``dl_…``, stable over repeats of the same batch.
        run_id: The run that rejected it.
        contract: Name of the contract.
        stream: Contract and parameter set.
        seq: Batch number in the stream, from 1.
        index: 0-based ordinal of the source record in its batch.
        part: 0-based number among several rejections of the same source record.
        stage: ``extract``, ``transform``, ``check`` or ``load``.
        step: Where in the contract.
        rule: Stable dotted name of the rule that was broken.
        message: Which value broke it.
        field: The field concerned, if one.
        location: Where in the source, such as ``people.csv:17``.
        raw: The source record (JSON value) or its raw text.
        status: ``open``, ``replayed`` or ``discarded``.
        created_at: When it was rejected first, UTC.
        redacted: A secret was masked in ``raw``: it is no longer the exact source record.
        raw_of: Id of the letter with which ``raw`` is stored; None: with this one. A large source record of which many
            parts are rejected is stored once.
    """

    id: str
    run_id: str
    contract: str
    stream: str
    seq: int
    index: int
    part: int
    stage: str
    step: str
    rule: str
    message: str
    field: str | None
    location: str | None
    raw: Any
    status: str = "open"
    created_at: datetime | None = None
    redacted: bool = False
    raw_of: str | None = None


@frozen
class ETLProgress:
    """One progress event, handed to the progress callback after each stage of each batch.

    Attributes:
        stage: ``extract``, ``transform``, ``load`` or ``done``.
        batch_num: Number of the batch, from 1.
        total_batches: Batches in all, when the source tells.
        records_processed: Source records handled so far in this stage.
        records_total: Source records in all, when the source tells.
        elapsed_seconds: Seconds since the run began.
        estimated_remaining_seconds: Seconds left by the rate so far, when the total is known.
        memory_usage_mb: Resident memory of the process in MiB.
        error_count: Records rejected so far.
    """

    stage: str
    batch_num: int
    total_batches: int | None = None
    records_processed: int = 0
    records_total: int | None = None
    elapsed_seconds: float = 0.0
    estimated_remaining_seconds: float | None = None
    memory_usage_mb: float | None = None
    error_count: int = 0

    def __str__(self) -> str:
        of_batches = f"/{self.total_batches}" if self.total_batches else ""
        of_records = f"/{self.records_total:,}" if self.records_total else ""
        parts = [
            f"[{self.stage}] batch {self.batch_num}{of_batches}",
            f"{self.records_processed:,}{of_records} records",
            f"{self.elapsed_seconds:.1f} s",
        ]
        if self.estimated_remaining_seconds is not None:
            parts.append(f"about {self.estimated_remaining_seconds:.0f} s left")
        if self.memory_usage_mb is not None:
            parts.append(f"{self.memory_usage_mb:.0f} MiB")
        if self.error_count:
            parts.append(f"{self.error_count:,} rejected")
        return ", ".join(parts)


@frozen
class RunResult(Mapping[str, Any]):
    """How a run ended. Also readable as a mapping: ``result["success"]``.

    Attributes:
        run_id: ``run_…``.
        contract: Name of the contract.
        status: How it ended.
        counts: Records, over all batches.
        steps: Records and time of each step.
        batches: Batches handled.
        started_at: UTC.
        ended_at: UTC.
        error: Why it failed, when it did.
        error_type: Name of the error's class.
        exit_code: What the command line exits with.
        destinations: Where the records went, such as file paths.
        dry_run: Nothing was written.
        report: Path of the run report.
        params: Parameters of the run.
        would_load: Records a dry run would have loaded.
        error_help: What to do about the error.
        traceback: The traceback of the error, for reports and ``--debug``.
        peak_memory_mb: Largest resident memory seen between batches, in MiB.
        reused: Nothing ran: this is the result of the run that had finished with the same run key or checkpoint before.
        attempt: Which attempt of the run this was, from 1.
        checkpoint_id: What to resume a run by that did not finish; None when it cannot be resumed.
        run_key: Idempotency key of the run.
        failed_step: The step that failed, such as ``load``.
        by_destination: What became of the records at each of several destinations; empty when there is one.
        violations: Rules that records broke without being kept out by them (``on_violation: warn``).
        checks: How the checks of the whole run went.
        half_sent: Some of a batch that is not done may be in the destination; a resumed run completes it.
    """

    run_id: str
    contract: str
    status: RunStatus
    counts: Counts
    steps: tuple[StepCounts, ...] = ()
    batches: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    error_type: str | None = None
    exit_code: int = 0
    destinations: tuple[str, ...] = ()
    dry_run: bool = False
    report: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    would_load: int = 0
    error_help: str | None = None
    traceback: str | None = field(default=None, repr=False)
    peak_memory_mb: float | None = None
    reused: bool = False
    attempt: int = 1
    checkpoint_id: str | None = None
    run_key: str | None = None
    failed_step: str | None = None
    by_destination: tuple[DestinationCounts, ...] = ()
    violations: tuple[Violation, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    half_sent: bool = False

    @property
    def resume_command(self) -> str | None:
        """The command that carries on, for a run that did not finish and can be resumed."""
        if self.success or self.checkpoint_id is None or self.error_type in _SAY_WHAT_TO_DO:
            return None
        return f"etlctl resume --checkpoint {self.checkpoint_id}"

    @property
    def success(self) -> bool:
        """Tell whether the run finished; a partial run did."""
        return self.status.finished

    @property
    def records(self) -> int:
        """Records loaded."""
        return self.counts.loaded

    @property
    def duration_seconds(self) -> float:
        """Seconds from start to end."""
        if self.started_at is None or self.ended_at is None:
            return 0.0
        return (self.ended_at - self.started_at).total_seconds()

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "run_id": self.run_id,
            "contract": self.contract,
            "status": str(self.status),
            "success": self.success,
            "records": self.records,
            "counts": self.counts.to_dict(),
            "steps": [step.to_dict() for step in self.steps],
            "batches": self.batches,
            "started_at": self.started_at.isoformat() if self.started_at else None,
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "duration_seconds": self.duration_seconds,
            "error": self.error,
            "error_type": self.error_type,
            "error_help": self.error_help,
            "exit_code": self.exit_code,
            "destinations": list(self.destinations),
            "dry_run": self.dry_run,
            "would_load": self.would_load,
            "peak_memory_mb": self.peak_memory_mb,
            "report": self.report,
            "params": dict(self.params),
            "reused": self.reused,
            "attempt": self.attempt,
            "checkpoint_id": self.checkpoint_id,
            "resume_command": self.resume_command,
            "run_key": self.run_key,
            "failed_step": self.failed_step,
            "by_destination": [asdict(one) for one in self.by_destination],
            "violations": [violation.to_dict() for violation in self.violations],
            "checks": [check.to_dict() for check in self.checks],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunResult:
        """Return the result of ``to_dict``; keys of other versions are left out."""
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        known["status"] = RunStatus(known["status"])
        known["counts"] = Counts(**known["counts"])
        known["steps"] = tuple(StepCounts(**step) for step in known.get("steps", ()))
        known["destinations"] = tuple(known.get("destinations", ()))
        known["by_destination"] = tuple(DestinationCounts(**one) for one in known.get("by_destination", ()))
        known["violations"] = tuple(Violation.from_dict(one) for one in known.get("violations", ()))
        known["checks"] = tuple(CheckResult.from_dict(one) for one in known.get("checks", ()))
        for name in ("started_at", "ended_at"):
            if known.get(name):
                known[name] = datetime.fromisoformat(known[name])
        return cls(**known)

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())
