"""What the engine is told about one run, and what it needs of a contract and a ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from etlctl.batch import Batch, Position
from etlctl.engine.apply import StepLike
from etlctl.run import Counts, DeadLetter, ProcessingMode, RunResult
from etlctl.sdk.extractor import Extractor
from etlctl.sdk.loader import Loader


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


class RunLedger(Protocol):
    """What the engine needs of the ledger; all calls come from a thread."""

    def start_run(self, run_id: str, started_at: datetime) -> None:
        """Record that the run began."""

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep rejected records; a repeat overwrites."""

    def progress(self, run_id: str, counts: Counts, batches: int) -> None:
        """Record how far the run is."""

    def finish_run(self, result: RunResult) -> None:
        """Record how the run ended."""


class BatchSink(Protocol):
    """Gets every batch that would be loaded, in order; for previews."""

    def __call__(self, batch: Batch) -> None:
        """Take a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
        dry_run: Read and transform, write nothing.
        position: Where to start; None is the beginning.
        sink: Gets every batch that would be loaded.
        environ: Environment variables for components; None is the process's own.
    """

    run_id: str
    mode: ProcessingMode = ProcessingMode.full
    batch_size: int = 50_000
    chunk_bytes: int = 8 << 20
    queue_depth: int = 2
    max_records: int | None = None
    max_memory_mb: int | None = None
    budget: BudgetLike | None = None
    dry_run: bool = False
    position: Position | None = None
    sink: BatchSink | None = None
    environ: Mapping[str, str] | None = field(default=None)
