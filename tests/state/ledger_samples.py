"""Values the ledger tests work with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from etlctl.checkpoint import Checkpoint
from etlctl.run import Counts, DeadLetter, RunResult, RunStatus, StepAttempt, StepCounts
from etlctl.state.records import RunStart

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ENDED = datetime(2026, 3, 1, 12, 0, 2, 500_000, tzinfo=UTC)


def start(run_id: str = "run_1", **changes: Any) -> RunStart:
    """Return the beginning of a run."""
    return replace(RunStart(run_id=run_id, contract="people", stream="people", started_at=BEGAN), **changes)


def result(run_id: str = "run_1", **changes: Any) -> RunResult:
    """Return the end of a run that balances."""
    base = RunResult(
        run_id,
        "people",
        RunStatus.partial,
        Counts(extracted=10, added=1, filtered=2, rejected=3, loaded=6),
        steps=(
            StepCounts("extract", 10, 10, seconds=0.5, form="frame"),
            StepCounts("transform.convert", 10, 7, rejected=3, form="frame"),
            StepCounts("load", 6, 6, seconds=0.25),
        ),
        batches=2,
        started_at=BEGAN,
        ended_at=ENDED,
        exit_code=4,
        destinations=("out/people.parquet",),
        params={"day": "2026-03-01"},
    )
    return replace(base, **changes)


def letter(run_id: str = "run_1", seq: int = 1, index: int = 0, part: int = 0, **changes: Any) -> DeadLetter:
    """Return a rejected record."""
    base = DeadLetter(
        id=f"dl_{run_id.removeprefix('run_')}_{seq}_{index}" + (f"_{part}" if part else ""),
        run_id=run_id,
        contract="people",
        stream="people",
        seq=seq,
        index=index,
        part=part,
        stage="transform",
        step="transform.convert",
        rule="convert.integer",
        message="'x' is not an integer",
        field="age",
        location=f"people.csv:{index + 2}",
        raw={"name": "Ann", "age": "x"},
    )
    return replace(base, **changes)


def attempt(**changes: Any) -> StepAttempt:
    """Return a try of the last step that did not work out."""
    base = StepAttempt(
        position=2, name="load", batch=3, started_at=BEGAN, ended_at=ENDED, error="connection reset by the server"
    )
    return replace(base, **changes)


def checkpoint(checkpoint_id: str = "cp", **changes: Any) -> Checkpoint:
    """Return where a run stands after its third batch."""
    base = Checkpoint(
        id=checkpoint_id,
        run_id="run_1",
        stream="people",
        contract="people",
        contract_path="contracts/people",
        contract_hash={"extract": "ab", "load": "cd"},
        params={"day": "2026-03-01", "n": 3},
        mode="streaming",
        batch_size=10,
        started_at=BEGAN,
        seq=3,
        fence=1,
        position={"at": {"page": 4, "token": "é\x00"}, "skip": 30},
        account={"counts": {"extracted": 30, "loaded": 29}, "steps": [{"name": "load", "seconds": 0.25}]},
        updated_at=ENDED,
    )
    return replace(base, **changes)
