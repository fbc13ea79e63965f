"""``type: database`` with URLs of SQLite and PostgreSQL, and the general way of databases without SQL of their own."""

# ruff: noqa: DTZ001 - databases keep datetimes without a zone

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from database_driving import Run, context, load, loader, numbered, put

from etlctl.errors import FatalError
from etlctl.kit.sql import database_places
from etlctl.sdk import Delivery

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20) NOT NULL DEFAULT 'none', n INT)"


def changed(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def found(url: str, sql: str = "SELECT * FROM t ORDER BY id") -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture(params=["own", "general"])
def postgres(request: pytest.FixtureRequest, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """PostgreSQL, its own way and the way of every database that SQLAlchemy knows."""
    if request.param == "general":
        monkeypatch.setattr(database_places, "PostgresTable", database_places.ServerTable)
    return postgres_url


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
async def test_the_methods(postgres: str, once) -> None:
    changed(postgres, TABLE, "INSERT INTO t VALUES (-1, 'old', 1)")
    number = 0

    async def loaded(method: str, *batches: Any, **options: Any) -> Run:
        nonlocal number
        number += 1
        ctx = {"publish_once": once, "run_id": f"run_{number}", "fence": number}
        key = {"primary_key": "id"} if method in {"upsert", "update", "delete"} else {}
        return await load(postgres, batches, ctx=ctx, write_method=method, **key, **options)

    done = await loaded("insert", [*numbered(0, 3), {"id": 1, "v": "twice"}], pl.DataFrame(numbered(3, 2)))
    assert [one.index for one in done.rejected] == [3]
    assert found(postgres, "SELECT id FROM t ORDER BY id") == [(n,) for n in (-1, 0, 1, 2, 3, 4)]
    done = await loaded("upsert", [{"id": 1, "v": "a"}, {"id": 7, "v": "b"}, {"id": 1, "v": "c"}], [{"id": 8, "n": 5}])
    assert found(postgres, "SELECT * FROM t WHERE id IN (1, 7, 8) ORDER BY id") == [
        (1, "c", None), (7, "b", None), (8, "none", 5),
    ]  # fmt: skip
    assert done.published.records == 4
    done = await loaded("update", [{"id": 1, "n": 9}, {"id": 99, "n": 9}])
    assert found(postgres, "SELECT v, n FROM t WHERE id = 1") == [("c", 9)]
    assert any("matched no row" in warning for warning in done.warnings)
    await loaded("delete", [{"id": 7}, {"id": 8, "v": "x"}])
    assert found(postgres, "SELECT count(*) FROM t WHERE id >= 7") == [(0,)]
    await loaded("replace", [{"id": 1, "v": "new", "w": "x"}], schema_evolution="evolve")
    assert found(postgres) == [(1, "new", None, "x")]
    names = found(postgres, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {name for (name,) in names} == {"t", "_etlctl_commits"}


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
async def test_poison_and_a_table_that_is_made(postgres: str, once) -> None:
    record = {
        "id": 1, "name": "é", "d": Decimal("1.50"), "at": datetime(2024, 1, 2, 3), "day": date(2024, 1, 2), "ok": True,
        "x": 0.1, "of": {"a": 1},
    }  # fmt: skip
    ctx = {"publish_once": once}
    await load(postgres, [[record, {**record, "id": 2}]], ctx=ctx, create_table=True, primary_key="id", table="made")
    row = found(postgres, "SELECT id, name, d, at::timestamp, day, ok, x FROM made ORDER BY id")[0]
    assert row == (1, "é", Decimal("1.50"), datetime(2024, 1, 2, 3), date(2024, 1, 2), True, 0.1)
    changed(postgres, TABLE)
    rows = [{"id": n, "v": "x" * 21 if n == 7 else None if n == 40 else "v\0" if n == 90 else "v"} for n in range(100)]
    done = await load(postgres, [rows], ctx={**ctx, "run_id": "run_b", "stream": "b"})
    assert [one.index for one in done.rejected] == [7, 40, 90]
    assert found(postgres, "SELECT count(*) FROM t") == [(97,)]


async def test_a_run_that_died_is_gone_on_with(postgres: str) -> None:
    changed(postgres, TABLE, "INSERT INTO t VALUES (-1, 'old', 1)")
    for method in ("insert", "replace"):
        first = context(run_id=method, fence=1, publish_once=True, stream=method)
        writer = await loader(postgres, write_method=method).open(first)
        await put(writer, first, numbered(0, 10), 1)
        await writer.suspend()
        assert found(postgres, "SELECT count(*) FROM t") == [(1 if method == "insert" else 21,)]
        again = context(run_id=method, fence=2, publish_once=True, stream=method, resume=True)
        writer = await loader(postgres, write_method=method).open(again)
        assert (await writer.committed()).seq == 1
        await put(writer, again, numbered(10, 10), 2)
        assert (await writer.finish()).records == 20
        await writer.close()
        held = await loader(postgres).held(again)
        assert (held.finished, held.seq) == (True, 2)
    assert found(postgres, "SELECT count(*), min(id) FROM t") == [(20, 0)]
    stored = await loader(postgres).stored(context())
    assert (stored.exists, stored.key, len(list(stored.records()))) == (True, ("id",), 20)


@pytest.mark.parametrize("once", [False, True], ids=["direct", "staged"])
async def test_sqlite(tmp_path: Path, once) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    ctx = {"publish_once": once, "base_dir": tmp_path}
    done = await load("sqlite:///x.db", [numbered(0, 3)], ctx=ctx, create_table=True, primary_key="id")
    assert done.published.records == 3
    done = await load(
        url, [[{"id": 1, "v": "new"}]], ctx={**ctx, "run_id": "b"}, write_method="upsert", primary_key="id"
    )
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        assert connection.execute("SELECT * FROM t").fetchall() == [(0, "v0"), (1, "new"), (2, "v2")]
    copy = loader(url).scratch(tmp_path / "copy", context(tmp_path))
    assert sum((await copy.contents(context(tmp_path))).values()) == 3
    assert (await loader(url).held(context(tmp_path))).run == "b"
    with pytest.raises(FatalError, match="no schemas"):
        await loader(url, schema="main").open(context(tmp_path))


@pytest.mark.parametrize(
    ("url", "method", "delivery"),
    [
        ("mysql://h/x", "insert", Delivery.exactly_once),
        ("sqlite:///x.db", "replace", Delivery.exactly_once),
        ("clickhouse://h/x", "insert", Delivery.at_least_once),
        ("clickhouse://h/x", "upsert", Delivery.idempotent_with_key),
    ],
)
def test_what_is_promised(url, method, delivery) -> None:
    assert loader(url, write_method=method, primary_key="id").delivery() is delivery


def test_validate_needs_no_sqlalchemy() -> None:
    code = "import sys, etlctl.loaders.database; print('sqlalchemy' in sys.modules, 'pymysql' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False False\n"
