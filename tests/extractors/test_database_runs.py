"""Whole runs from a database: killed and resumed, in the ledger's words, without a password anywhere."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from database_reading import workspace

from etlctl.contract.compile import check, load_contract

COLUMNS = "id, n, s, at, ok"
EXTRACT = 'url: "${{env:SOURCE}}"\n{what}\nbatch_size: 1000\nprocessing_mode: streaming\n'


def etlctl(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("ETLCTL_")}
    return subprocess.run(
        [sys.executable, "-m", "etlctl", *arguments],
        cwd=folder,
        env={**environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def source(postgres_url: str) -> str:
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, n numeric(9, 2), s text, at timestamptz, ok boolean)"
        )
        connection.execute(
            "INSERT INTO t SELECT n * 3, n / 7.0, CASE n % 3 WHEN 0 THEN '' WHEN 1 THEN repeat('x', 1500) END, "
            "timestamptz '2024-01-01Z' + n * interval '1 second', n % 2 = 0 FROM generate_series(1, 10000) n"
        )
    return postgres_url


def rows(contract: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(contract / "out.db")) as connection:
        return connection.execute(f"SELECT {COLUMNS} FROM out ORDER BY rowid").fetchall()


@pytest.mark.parametrize("what", ["table: t", f"query: SELECT {COLUMNS} FROM t ORDER BY id"], ids=["key", "counted"])
def test_killed_and_resumed_is_as_if_nothing_had_been(tmp_path: Path, source: str, what: str) -> None:
    whole, broken = (workspace(tmp_path / name, EXTRACT.format(what=what)) for name in ("whole", "broken"))
    assert etlctl(whole.parents[1], "run", "contracts/job", SOURCE=source).returncode == 0
    where, again = broken.parents[1], ("resume", "--checkpoint", "job")
    for command, fault, code in (
        (("run", "contracts/job", "--checkpoint", "job"), "load.after_commit:3=kill", -signal.SIGKILL),
        (again, "load.write:4=kill", -signal.SIGKILL),
        (again, "", 0),
    ):
        done = etlctl(where, *command, SOURCE=source, ETLCTL_FAULT=fault)
        assert done.returncode == code, done.stderr
    assert rows(broken) == rows(whole)
    assert len(rows(whole)) == 10_000


def test_no_password_anywhere(tmp_path: Path, source: str) -> None:
    workspace(tmp_path, EXTRACT.format(what="query: SELECT * FROM nowhere"))
    said = ""
    for url in (source.replace("etl@", "etl:canary%23word@"), "postgresql://etl:canary%23word@127.0.0.1:1/d"):
        done = etlctl(tmp_path, "--debug", "run", "contracts/job", SOURCE=url)
        assert done.returncode in {1, 6}
        said += done.stdout + done.stderr
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "nowhere" in said
    assert "does not answer" in said
    assert "canary" not in said
    assert b"canary" not in stored


def test_a_password_put_into_a_url_is_a_secret_and_a_key_is_none(tmp_path: Path) -> None:
    url = "postgresql://etl:${env:WORD}@127.0.0.1:1/d"
    contract = workspace(tmp_path, f"url: {url}\nquery: SELECT 1 AS number\nkey: [number]\n")
    made = load_contract(contract, environ={"WORD": "canary#word"})
    assert set(made.secrets) == {"canary#word"}
    assert check(contract, environ={"WORD": "canary#word"}) == []


def test_validate_asks_no_server_and_imports_no_driver(tmp_path: Path) -> None:
    workspace(tmp_path, "url: postgresql://etl@127.0.0.1:1/d\ntable: t\n", "type: file\npath: o.jsonl\n")
    code = (
        "import sys\nfrom etlctl.contract.compile import load_contract\nload_contract('contracts/job')\n"
        "print(sorted({'psycopg', 'sqlalchemy', 'pymysql', 'polars', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
