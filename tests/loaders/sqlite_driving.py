"""Drives the SQLite loader's writer the way the engine does, in this process or as a child that faults may kill."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from etlctl.loaders.sqlite import Sqlite

from etlctl.batch import Batch
from etlctl.errors import EtlctlError, FencedError
from etlctl.sdk import CommitToken, Published, Rejection, WriteContext, Writer

STREAM = "people"


@dataclass
class Run:
    published: Published | None = None
    rejected: list[Rejection] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def rules(self) -> list[str]:
        return [one.rule for one in self.rejected]


def context(folder: Path, **more: Any) -> WriteContext:
    return WriteContext(**{"base_dir": folder, "run_id": "run_a", "stream": STREAM, "fence": 1, **more})


def batch_of(content: Any, seq: int) -> Batch:
    made = Batch.of_frame if isinstance(content, pl.DataFrame) else Batch.of_rows
    batch = made(content, {"next": seq})
    batch.seq = seq
    return batch


def token(ctx: WriteContext, seq: int) -> CommitToken:
    return CommitToken(ctx.stream, ctx.run_id, seq, ctx.fence, {"next": seq}, {"loaded": seq})


async def put(writer: Writer, ctx: WriteContext, content: Any, seq: int) -> list[Rejection]:
    """Write and commit one batch."""
    receipt = await writer.write(batch_of(content, seq))
    assert receipt.records + len(receipt.rejected) == len(content)
    assert await writer.commit(token(ctx, seq))
    return list(receipt.rejected)


async def load(folder: Path, batches: Sequence[Any], *, ctx: dict[str, Any] | None = None, **options: Any) -> Run:
    """Load batches and publish them."""
    run = Run()
    context_ = context(folder, warn=run.warnings.append, **(ctx or {}))
    options.setdefault("path", "x.db")
    options.setdefault("table", "t")
    writer = await Sqlite(**options).open(context_)
    try:
        await writer.committed()
        for seq, content in enumerate(batches, 1):
            run.rejected += await put(writer, context_, content, seq)
        run.published = await writer.finish()
    except BaseException:
        await writer.abort()
        raise
    await writer.close()
    return run


def execute(folder: Path, *statements: str, name: str = "x.db") -> None:
    with closing(sqlite3.connect(folder / name)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def query(folder: Path, sql: str = "SELECT * FROM t", name: str = "x.db") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / name)) as connection:
        return connection.execute(sql).fetchall()


def tables(folder: Path) -> set[str]:
    return {name for (name,) in query(folder, "SELECT name FROM sqlite_master WHERE type IN ('table', 'trigger')")}


def numbered(first: int, count: int) -> list[dict[str, Any]]:
    return [{"id": number, "v": f"v{number}"} for number in range(first, first + count)]


def child(folder: Path, fault: str = "", **job: Any) -> subprocess.CompletedProcess[str]:
    """Load in a process of its own; see ``main`` for the job."""
    return finished(started(folder, fault, **job))


def started(folder: Path, fault: str = "", **job: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "ETLCTL_FAULT": fault}
    return subprocess.Popen(
        [sys.executable, str(Path(__file__)), str(folder), json.dumps(job)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


async def main(folder: Path, job: dict[str, Any]) -> None:
    """Load ``count`` batches of ``size`` records from where the destination's token says; print how it ended.

    With ``pause``, say "ready" after that batch was written and wait for a line before committing it.
    """
    options = {"path": "x.db", "table": "t", **job.get("options", {})}
    ctx = context(folder, **job.get("ctx", {}))
    size, count = job.get("size", 100), job.get("count", 6)
    writer = await Sqlite(**options).open(ctx)
    held = await writer.committed()
    done = held.seq if held is not None and held.run == ctx.run_id else 0
    if held is None or not held.finished or held.run != ctx.run_id:
        for seq in range(done + 1, count + 1):
            records = numbered((seq - 1) * size, size)
            if job.get("pause") == seq:
                print("ready", flush=True)
                sys.stdin.readline()
            await put(writer, ctx, records if job.get("rows", True) else pl.DataFrame(records), seq)
        await writer.finish()
    await writer.close()
    print(f"from {done}")


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
    except FencedError as error:
        print(f"fenced: {error}")
    except EtlctlError as error:
        print(f"{type(error).__name__}: {error}")
