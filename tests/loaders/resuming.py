"""What the tests of resumed runs share: a case, attempts at it, and what the destination holds afterwards."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import zstandard
from attempt import attempt, batch_of, records_of
from etlctl.loaders.file import File

from etlctl.sdk import CommitToken, WriteContext, Writer

ROOT = Path(__file__).resolve().parents[2]
BATCHES, SIZE = 5, 7
FILES = ["o.jsonl", "o.csv", "o.parquet", "o.json", "o.jsonl.gz", "o.csv.zst", "o.xlsx", "o/:parquet", "o/:jsonl"]


@dataclass(frozen=True)
class Case:
    """A destination, and what a run writes to it."""

    folder: Path
    name: str
    method: str
    interval: int | None = 1
    batches: int = BATCHES
    size: int = SIZE

    @property
    def path(self) -> str:
        return self.name.partition(":")[0]

    @property
    def late(self) -> int:
        """CSV cannot add a column to an existing file."""
        return 1 if "csv" in self.name and self.method == "append" else 4

    @property
    def options(self) -> dict[str, Any]:
        form = self.name.partition(":")[2]
        return {"path": self.path, "write_method": self.method, **({"format": form} if form else {})}

    def given(self, *, run: str = "run_1", resume: bool = True, fence: int = 1, close: bool = True) -> dict[str, Any]:
        ctx = {
            "base_dir": str(self.folder),
            "run_id": run,
            "stream": "orders",
            "fence": fence,
            "resume": resume,
            "commit_interval": self.interval,
        }
        return {
            "options": self.options,
            "ctx": ctx,
            "batches": self.batches,
            "size": self.size,
            "late": self.late,
            "close": close,
        }

    def run(self, **how: Any) -> dict[str, Any]:
        return asyncio.run(attempt(self.given(**how)))

    def child(self, fault: str = "", **how: Any) -> subprocess.Popen[str]:
        env = {name: value for name, value in os.environ.items() if name != "ETLCTL_FAULT"}
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("attempt.py")), json.dumps(self.given(**how))],
            cwd=ROOT,
            env={**env, **({"ETLCTL_FAULT": fault} if fault else {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def killed(self, fault: str, **how: Any) -> None:
        with self.child(f"{fault}=kill", **how) as child:
            _, err = child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL, err

    def before(self) -> list[dict[str, Any]]:
        """Write the records that are there before the run, with another run."""
        old = replace(self, batches=1, size=3)
        old.run(run="run_0", resume=False)
        return records_of(1, 3, self.late)

    def new(self) -> list[dict[str, Any]]:
        return [one for seq in range(1, self.batches + 1) for one in records_of(seq, self.size, self.late)]

    def expected(self, before: list[dict[str, Any]]) -> list[str]:
        return canonical([*(before if self.method == "append" else []), *self.new()])

    def found(self) -> list[str]:
        path = self.folder / self.path
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return canonical([record for file in files for record in records_in(file)])


def records_in(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    if path.suffix == ".xlsx":
        header, *rows = openpyxl.load_workbook(path).active.values
        return [dict(zip(header, row, strict=True)) for row in rows]
    if ".csv" in path.name:
        return list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    return json.loads(data) if path.suffix == ".json" else [json.loads(line) for line in data.splitlines()]


def canonical(records: list[dict[str, Any]]) -> list[str]:
    """In order, values as text where a format has nothing else, nulls as good as no field."""

    def text(value: Any) -> str:
        return f"{float(value):g}" if not isinstance(value, str) or value.replace(".", "").isdigit() else value

    return [
        json.dumps({name: text(value) for name, value in one.items() if value not in (None, "")}) for one in records
    ]


def publishing(case: Case) -> list[str]:
    """The instants inside the publication of a case."""
    if case.name.startswith("o/"):
        steps = BATCHES + 1 if case.method == "append" else 2
        return [f"publish.during:{step}" for step in range(1, steps + 1)]
    extends = case.method == "append" and case.name[-5:] != ".json" and case.name not in {"o.parquet", "o.xlsx"}
    return ["publish.during:1", "publish.during:2"] if extends else ["publish.during:1"]


def context_of(case: Case, *, stream: str = "orders", **more: Any) -> WriteContext:
    ctx = {**case.given()["ctx"], "base_dir": case.folder, "stream": stream, **more}
    return WriteContext(**ctx)


async def opened(case: Case, **more: Any) -> Writer:
    return await File(**case.options).open(context_of(case, **{"fence": 1, **more}))


def token(seq: int, fence: int = 1, run: str = "run_1") -> CommitToken:
    return CommitToken("orders", run, seq, fence, {"next": seq})


async def put(case: Case, writer: Writer, seq: int, *, fence: int = 1, run: str = "run_1") -> bool:
    await writer.write(batch_of(writer, seq, case.size, case.late))
    return await writer.commit(token(seq, fence, run))


async def suspended(case: Case) -> None:
    """Run to the end, and suspend when that fails, as the engine does."""
    writer = await opened(case, resume=False)
    try:
        for seq in range(1, case.batches + 1):
            await put(case, writer, seq)
        await writer.finish()
    finally:
        await writer.suspend()


async def finished(case: Case, **more: Any) -> None:
    writer = await opened(case, **more)
    try:
        for seq in range(1, case.batches + 1):
            await put(case, writer, seq)
        await writer.finish()
        await writer.close()
    except BaseException:
        await writer.abort()
        raise
