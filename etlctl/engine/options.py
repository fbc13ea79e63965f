"""What the engine is told about one run, and what it needs of a contract and a ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from etlctl.batch import Batch, Position
from etlctl.checkpoint import Checkpoint
from etlctl.cursor import CursorMove, Increment
from etlctl.engine.applied import Applied
from etlctl.engine.apply import StepLike
from etlctl.frozen import frozen
from etlctl.quality import Drift, PastRun
from etlctl.run import Counts, DeadLetter, ProcessingMode, RunResult, StepAttempt
from etlctl.sdk.context import StepContext
from etlctl.sdk.extractor import Extractor
from etlctl.sdk.guard import DeclaredField, ReplaceGuard
from etlctl.sdk.loader import CommitToken, Loader

if TYPE_CHECKING:
    from etlctl.sdk.outbox import Outbox


class BudgetLike(Protocol):
    """How many rejected records are acceptable."""

    @property
    def max(self) -> int | None:
        """Rejected records allowed."""

    @property
    def max_percent(self) -> float | None:
        """Share of the source records allowed, in percent."""


class RunPlan(Protocol):
    """What the engine needs of a compiled contract; anything with these attributes can be run."""

    @property
    def name(self) -> str:
        """Name of the contract."""

    @property
    def base_dir(self) -> Path:
        """Folder that relative paths start at."""

    @property
    def stream(self) -> str:
        """Contract and parameter set."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Parameters of the run."""

    @property
    def extractor(self) -> Extractor:
        """Where records come from."""

    @property
    def steps(self) -> Sequence[StepLike]:
        """What happens to them."""

    @property
    def loader(self) -> Loader:
        """Where they go."""

    @property
    def fields(self) -> Mapping[str, DeclaredField]:
        """Declared fields of the records to load."""

    @property
    def guard(self) -> ReplaceGuard:
        """Keeps a replace from emptying or shrinking what is there."""


@frozen(kw_only=True)
class Claim:
    """What the ledger gives a run that begins.

    Attributes:
        run_id: The run; another than asked for when a run key names one that did not finish.
        fence: Generation of the lease on the stream; 0 without a lease.
        attempt: Which attempt of the run this is, from 1.
        started_at: When the first attempt began, UTC: the one instant of the run.
        checkpoint: Where the attempt before came to; None for a new run.
        checkpoint_lost: The checkpoint is not to be had; this one only names the run.
        edited: Parts of the contract that were changed since that checkpoint.
        finished: The run had finished before: its result, and nothing is to be done.
    """

    run_id: str
    fence: int = 0
    attempt: int = 1
    started_at: datetime | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_lost: bool = False
    edited: tuple[str, ...] = ()
    finished: RunResult | None = None


class RunLedger(Protocol):
    """What the engine needs of the ledger; all calls come from threads, one at a time."""

    def begin(self, started_at: datetime) -> Claim:
        """Record that the run begins, and take the lease on its stream.

        Raises:
            RunBusyError: Another process runs it.
        """

    def renew(self) -> None:
        """Keep the lease.

        Raises:
            FencedError: Another process has taken the run over.
        """

    def raise_fence(self, at_least: int) -> int:
        """Take a newer fence than a destination has seen; returns it."""

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep rejected records; a repeat overwrites."""

    def clear_dead_letters(self, after_seq: int) -> None:
        """Forget those of batches that will be done again."""

    def save_checkpoint(self, token: CommitToken, error: str | None = None) -> None:
        """Remember how far the destination is."""

    def history(self, limit: int) -> Sequence[PastRun]:
        """Return the runs of the stream that finished before this one, the newest first."""

    def add_attempts(self, attempts: Sequence[StepAttempt]) -> None:
        """Record tries that failed."""

    def add_drift(self, found: Sequence[Drift]) -> None:
        """Record what differs between the records and the destination; a repeat overwrites."""

    def outbox(self) -> Outbox | None:
        """Return what keeps requests before they are sent; None: nothing is kept."""

    def progress(self, run_id: str, counts: Counts, batches: int) -> None:
        """Record how far the run is."""

    def finish_run(self, result: RunResult, moved: CursorMove | None = None) -> None:
        """Record how the run ended, and let go of the lease; forget the checkpoint of a run that is done.

        Args:
            result: How it ended.
            moved: Where it moves the cursor of its stream, in the same transaction.
        """

    def move_cursor(self, moved: CursorMove) -> None:
        """Move the cursor while the run goes on: what is committed can be seen, and the rows are in order."""


class BatchSink(Protocol):
    """Gets every batch that would be loaded, in order; for previews."""

    def __call__(self, batch: Batch) -> None:
        """Take a batch."""


class ApplySteps(Protocol):
    """Runs a chunk through the steps: ``apply_steps``, or something that looks on."""

    def __call__(
        self,
        steps: Sequence[StepLike],
        chunk: Batch,
        contexts: Sequence[StepContext],
        *,
        stopped: Callable[[], bool] = ...,
    ) -> Applied:
        """Run a chunk through all steps."""


@frozen(kw_only=True)
class ContractReference:
    """A contract by where it is, and by what it was compiled with.

    Attributes:
        path: Its folder or file.
        params: Values of its parameters.
        hashes: SHA-256 of each section's content, to see that it still is the same.
        increment: What an incremental run goes by: ``${cursor}`` in it says the same everywhere.
    """

    path: Path
    params: Mapping[str, Any]
    hashes: Mapping[str, str]
    increment: Increment | None = None


@frozen(kw_only=True)
class Recovery:
    """What happens when something fails.

    Attributes:
        max_retries: How often the same batch (or read) is tried again. None: 2 times, and only after failures that say
            themselves that waiting may help; a number: after every failure that is not known to be final.
        backoff: Seconds before the first retry; the n-th waits n times as long, plus up to a tenth at random.
        max_backoff: Seconds to wait at most.
        error_threshold: Share of batches (0 to 1) that may fail after all retries; their records become dead letters.
            Also the share of records that may be rejected. None: the first failed batch ends the run.
    """

    max_retries: int | None = None
    backoff: float = 1.0
    max_backoff: float = 60.0
    error_threshold: float | None = None


@frozen(kw_only=True)
class RunSettings:
    """Settings of one run.

    Attributes:
        run_id: ``run_…``.
        mode: How far the stages overlap.
        batch_size: Source records per batch.
        chunk_bytes: Bytes worth reading at once.
        queue_depth: Chunks or batches that may wait between two stages.
        max_records: Stop after so many source records.
        max_memory_mb: Stop cleanly when the process holds more than this many MiB.
        budget: How many rejected records are acceptable.
        recovery: What happens when something fails.
        dry_run: Read and transform, write nothing.
        claim_first: The run may have begun before (resume, run key): ask the ledger before anything else.
        restart: Begin anew although an unfinished run has left records in the destination.
        accept_changes: Resume although the contract was edited.
        refuse_edited: Never begin anew by the edited contract instead, even if nothing can be seen yet.
        unknown_run: The ledger does not know the run to resume: only the destination's own token can be gone by.
        checkpoint_id: What to resume the run by, should it not finish; None: it cannot be resumed.
        commit_interval: Batches between two durable commits; None: whenever it pays.
        position: Where to start, for a run without a ledger; None is the beginning.
        sink: Gets every batch that would be loaded.
        apply: Runs chunks through the steps in the place of ``apply_steps``, to look on; None: nobody looks.
        workers: Processes that run the row steps; 1: the run's own.
        reference: What workers compile the contract from; None: there can be no workers.
        environ: Environment variables for components; None is the process's own.
        increment: What an incremental run goes by; None: everything is read.
        cassette: File of recorded HTTP answers, if there is one.
        cassette_mode: Whether it is recorded or answers.
    """

    run_id: str
    mode: ProcessingMode = ProcessingMode.full
    batch_size: int = 50_000
    chunk_bytes: int = 8 << 20
    queue_depth: int = 2
    max_records: int | None = None
    max_memory_mb: int | None = None
    budget: BudgetLike | None = None
    recovery: Recovery = field(default_factory=Recovery)
    dry_run: bool = False
    claim_first: bool = False
    restart: bool = False
    accept_changes: bool = False
    refuse_edited: bool = False
    unknown_run: bool = False
    checkpoint_id: str | None = None
    commit_interval: int | None = None
    position: Position | None = None
    sink: BatchSink | None = None
    apply: ApplySteps | None = None
    workers: int = 1
    reference: ContractReference | None = None
    environ: Mapping[str, str] | None = field(default=None)
    increment: Increment | None = None
    cassette: Path | None = None
    cassette_mode: Literal["record", "replay"] | None = None
