"""Values the ledger tests work with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from etlctl.run import Counts, DeadLetter, RunResult, RunStatus, StepCounts
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
