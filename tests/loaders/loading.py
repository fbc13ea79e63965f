"""What the tests of the file loader share: batches, contexts, and what a loader leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from etlctl.batch import Batch
from etlctl.sdk import Published, Rejection, WriteContext


@dataclass
class Loaded:
    published: Published
    rejected: list[Rejection] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def as_batch(content: Any, seq: int) -> Batch:
    if isinstance(content, pl.DataFrame):
        batch = Batch.of_frame(content, {"next": seq})
    else:
        batch = Batch.of_rows(content, {"next": seq})
    batch.seq = seq
    return batch


def context(folder: Path, run_id: str = "run_test", **more: Any) -> WriteContext:
    return WriteContext(base_dir=folder, run_id=run_id, **more)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
