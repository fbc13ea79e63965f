"""Drives the PostgreSQL loader's writer the way the engine does, against a real server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from etlctl.loaders.postgres import Postgres

from etlctl.batch import Batch
from etlctl.quality import Drift
from etlctl.sdk import CommitToken, Published, Rejection, WriteContext, Writer

STREAM = "people"


@dataclass
class Run:
    published: Published | None = None
    rejected: list[Rejection] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    drift: list[Drift] = field(default_factory=list)

    @property
    def rules(self) -> list[str]:
        return [one.rule for one in self.rejected]


def context(**more: Any) -> WriteContext:
    return WriteContext(**{"base_dir": Path(), "run_id": "run_a", "stream": STREAM, "fence": 1, **more})


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


async def load(url: str, batches: Sequence[Any], *, ctx: dict[str, Any] | None = None, **options: Any) -> Run:
    """Load batches and publish them."""
    run = Run()
    context_ = context(warn=run.warnings.append, drift=run.drift.append, **(ctx or {}))
    options.setdefault("table", "t")
    writer = await Postgres(url=url, **options).open(context_)
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


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def query(url: str, sql: str = "SELECT * FROM t ORDER BY 1") -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute("SET timezone = 'UTC'") and connection.execute(sql).fetchall()


def tables(url: str) -> set[str]:
    sql = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    return {name for (name,) in query(url, sql)}


def column_types(url: str, table: str = "t") -> dict[str, str]:
    sql = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        f"WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    return dict(query(url, sql))


def numbered(first: int, count: int) -> list[dict[str, Any]]:
    return [{"id": number, "v": f"v{number}"} for number in range(first, first + count)]
