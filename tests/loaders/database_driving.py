"""Drives the database loader's writer the way the engine does, in this process or as a child that faults may kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pymysql
from etlctl.loaders.database import Database

from etlctl import faults
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

    @property
    def said(self) -> list[str]:
        return [one.message for one in self.rejected]


def context(folder: Path | None = None, **more: Any) -> WriteContext:
    return WriteContext(**{"base_dir": folder or Path.cwd(), "run_id": "run_a", "stream": STREAM, "fence": 1, **more})


def batch_of(content: Any, seq: int) -> Batch:
    made = Batch.of_frame if isinstance(content, pl.DataFrame) else Batch.of_rows
    batch = made(content, {"next": seq})
    batch.seq = seq
    return batch


def token(ctx: WriteContext, seq: int) -> CommitToken:
    return CommitToken(ctx.stream, ctx.run_id, seq, ctx.fence, {"next": seq}, {"loaded": seq})


def loader(url: str, **options: Any) -> Database:
    return Database(**{"url": url, "table": "t", **options})


async def put(writer: Writer, ctx: WriteContext, content: Any, seq: int) -> list[Rejection]:
    """Write and commit one batch."""
    receipt = await writer.write(batch_of(content, seq))
    assert receipt.records + len(receipt.rejected) == len(content)
    assert await writer.commit(token(ctx, seq))
    return list(receipt.rejected)


async def load(url: str, batches: Sequence[Any], *, ctx: dict[str, Any] | None = None, **options: Any) -> Run:
    """Load batches and publish them."""
    run = Run()
    context_ = context(**{"warn": run.warnings.append, **(ctx or {})})
    writer = await loader(url, **options).open(context_)
    try:
        await writer.committed()
        for seq, content in enumerate(batches, 1):
            run.rejected += await put(writer, context_, content, seq)
        run.published = await writer.finish()
    except BaseException:
        await writer.suspend()
        raise
    await writer.close()
    return run


def connected(url: str) -> pymysql.Connection:
    rest, _, name = url.rpartition("/")
    port = int(rest.rpartition(":")[2])
    return pymysql.connect(host="127.0.0.1", port=port, user="root", database=name, autocommit=True)


def execute(url: str, *statements: str) -> None:
    with closing(connected(url)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def query(url: str, sql: str = "SELECT * FROM t") -> list[tuple[Any, ...]]:
    with closing(connected(url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def tables(url: str) -> set[str]:
    return {name for (name,) in query(url, "SHOW TABLES")}


def numbered(first: int, count: int) -> list[dict[str, Any]]:
    return [{"id": number, "v": f"v{number}"} for number in range(first, first + count)]


@dataclass
class Child:
    """A process that loads, started by the nursery."""

    pid: int
    out: Path
    nursery: Nursery

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def is_over(self) -> bool:
        return state_of(self.pid) == "Z"


@dataclass
class Ended:
    returncode: int
    stdout: str


class Nursery:
    """A process that has imported everything once and forks a real child for each job."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, url: str, fault: str, job: dict[str, Any]) -> Child:
        self._number += 1
        out = Path(self._folder.name) / str(self._number)
        return Child(self._asked({"url": url, "fault": fault, "job": job, "out": str(out)}), out, self)

    def wait(self, child: Child) -> Ended:
        return Ended(self._asked({"wait": child.pid}), child.out.read_text("utf-8") if child.out.exists() else "")

    def _asked(self, command: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@cache
def nursery() -> Nursery:
    return Nursery()


def child(url: str, fault: str = "", **job: Any) -> Ended:
    """Load in a process of its own; see ``main`` for the job."""
    return finished(started(url, fault, **job))


def started(url: str, fault: str = "", **job: Any) -> Child:
    return nursery().start(url, fault, job)


def finished(process: Child) -> Ended:
    return process.nursery.wait(process)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


async def main(url: str, job: dict[str, Any]) -> None:
    """Load ``count`` batches of ``size`` records from where the destination's token says; print how it ended."""
    ctx = context(**job.get("ctx", {}))
    size, count = job.get("size", 100), job.get("count", 6)
    writer = await loader(url, **job.get("options", {})).open(ctx)
    held = await writer.committed()
    done = held.seq if held is not None and held.run == ctx.run_id else 0
    if held is None or not held.finished or held.run != ctx.run_id:
        for seq in range(done + 1, count + 1):
            records = numbered((seq - 1) * size, size)
            await put(writer, ctx, records if job.get("rows", True) else pl.DataFrame(records), seq)
        await writer.finish()
    await writer.close()
    print(f"from {done}")


def born(command: dict[str, Any]) -> None:
    """Load in this process, which was just forked, and end it."""
    os.dup2(os.open(command["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    code = 0
    try:
        faults.arm(command["fault"] or None)
        asyncio.run(main(command["url"], command["job"]))
    except FencedError as error:
        print(f"fenced: {error}")
    except EtlctlError as error:
        print(f"{type(error).__name__}: {error}")
    except BaseException:  # noqa: BLE001
        traceback.print_exc(file=sys.stdout)
        code = 1
    sys.stdout.flush()
    os._exit(code)


def serve() -> None:
    import etlctl.kit.sql.database_transfer
    import etlctl.sdk.transferring  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            answer = os.waitstatus_to_exitcode(os.waitpid(command["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                born(command)
        print(answer, file=answers, flush=True)


if __name__ == "__main__":
    serve()
