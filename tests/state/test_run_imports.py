"""A run on SQLite imports neither SQLAlchemy nor Alembic: importing them takes longer than many a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a workspace with a contract that loads two records and rejects one."""
    (tmp_path / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = tmp_path / "contracts" / "people"
    folder.mkdir(parents=True)
    (folder / "extract.yaml").write_text("type: file\npath: people.csv\n", encoding="utf-8")
    (folder / "transform.yaml").write_text("transform:\n  convert: {age: integer}\n", encoding="utf-8")
    (folder / "load.yaml").write_text("type: file\npath: out/people.csv\n", encoding="utf-8")
    (folder / "people.csv").write_text("name,age\nAnn,31\nBob,x\nCid,33\n", encoding="utf-8")
    return tmp_path


def imported(workspace: Path, *arguments: str, code: int, **environ: str) -> set[str]:
    """Run the command line; return the packages it imported, as the interpreter itself reports them."""
    env = {**os.environ, "PYTHONUTF8": "1", **environ}
    if "ETLCTL_STATE_URL" not in environ:
        env.pop("ETLCTL_STATE_URL", None)
    command = [sys.executable, "-X", "importtime", "-m", "etlctl", *arguments]
    done = subprocess.run(command, cwd=workspace, env=env, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_a_run_on_sqlite_imports_no_sqlalchemy(workspace: Path) -> None:
    for _ in ("a new store", "a store that is there"):
        seen = imported(workspace, "run", "contracts/people", code=4)
        assert {"sqlite3", "polars"} <= seen
        assert not {"sqlalchemy", "alembic"} & seen
    assert "sqlalchemy" in imported(workspace, "runs", "list", code=0), "the probe sees it"
    assert len(list((workspace / ".etlctl" / "reports").iterdir())) == 2


def test_nor_does_a_run_whose_store_is_named_by_a_url(workspace: Path) -> None:
    url = f"sqlite:///{(workspace / 'elsewhere.db').as_posix()}"
    seen = imported(workspace, "run", "contracts/people", code=4, ETLCTL_STATE_URL=url)
    assert not {"sqlalchemy", "alembic"} & seen
    assert (workspace / "elsewhere.db").is_file()
