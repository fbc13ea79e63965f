"""Real servers for tests, started when a test asks for one and stopped with the test run.

On a user's machine a server that is not installed skips the test and says how to get it; on a build machine it fails.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

HOW_TO_GET_IT = "install PostgreSQL (Debian: apt-get install postgresql; macOS: brew install postgresql)"


def _binaries() -> Path | None:
    found = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)]
    on_path = shutil.which("initdb")
    return found[0] if found else Path(on_path).parent if on_path else None


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return {}


def _run(command: list[str], account: dict[str, Any], folder: Path) -> None:
    # Not a pipe: the server would inherit it and keep it open.
    with (folder / "commands.log").open("a", encoding="utf-8") as log:
        done = subprocess.run(command, stdout=log, stderr=log, check=False, cwd=folder, **account)
    if done.returncode:
        pytest.fail(f"{command[0]} failed:\n{(folder / 'commands.log').read_text(encoding='utf-8')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Start a server; gives its URL without a database."""
    binaries = _binaries()
    if binaries is None or sys.platform == "win32":
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail(f"no PostgreSQL on the build machine: {HOW_TO_GET_IT}")
        pytest.skip(f"no PostgreSQL: {HOW_TO_GET_IT}")
    pytest.importorskip("psycopg", reason="pip install 'etlctl[postgres]'")
    account, port = _account(), _free_port()
    folder = Path(tempfile.mkdtemp(prefix="etlctl-pg-"))
    try:
        if account:
            os.chown(folder, account["user"], account["group"])
        data, log = str(folder / "data"), str(folder / "server.log")
        initdb = [str(binaries / "initdb"), "-D", data, "-U", "etl", "-A", "trust", "--no-sync", "-E", "UTF8"]
        _run([*initdb, "--locale=C"], account, folder)
        control = [str(binaries / "pg_ctl"), "-D", data, "-w"]
        options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
        _run([*control, "-l", log, "-o", options, "start"], account, folder)
        try:
            yield f"postgresql://etl@127.0.0.1:{port}"
        finally:
            _run([*control, "-m", "immediate", "stop"], account, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Give the URL of a new, empty database; it is dropped afterwards, before its pages reach the disk."""
    import psycopg

    name = f"test_{uuid4().hex}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield f"{postgres_server}/{name}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
