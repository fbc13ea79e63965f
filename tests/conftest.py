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
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from postgres_cluster import Cluster, binaries
from postgres_cluster import running as running_cluster

if TYPE_CHECKING:
    from hostile_server import HostileServer

HOW_TO_GET_IT = "install PostgreSQL (Debian: apt-get install postgresql; macOS: brew install postgresql)"
HOW_TO_GET_MARIADB = "install MariaDB (Debian: apt-get install mariadb-server; macOS: brew install mariadb)"


def _account(*names: str) -> dict[str, Any]:
    """Servers refuse to run as root."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return {}
    import pwd

    for name in (*names, "nobody"):
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
def postgres_cluster() -> Iterator[Cluster]:
    """Start a server; a test that stops it starts it again."""
    programs = binaries()
    if programs is None or sys.platform == "win32":
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail(f"no PostgreSQL on the build machine: {HOW_TO_GET_IT}")
        pytest.skip(f"no PostgreSQL: {HOW_TO_GET_IT}")
    pytest.importorskip("psycopg", reason="pip install 'etlctl[postgres]'")
    with running_cluster(programs) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_server(postgres_cluster: Cluster) -> str:
    """Give the URL of a server without a database."""
    return postgres_cluster.url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Give the URL of a new, empty database; it is dropped afterwards, before its pages reach the disk."""
    import psycopg

    name = f"test_{uuid4().hex}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield f"{postgres_server}/{name}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    """Start a MariaDB server; gives its URL without a database."""
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    found = [shutil.which(name, path=search) for name in ("mariadb-install-db", "mariadbd")]
    if None in found or sys.platform == "win32":
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail(f"no MariaDB on the build machine: {HOW_TO_GET_MARIADB}")
        pytest.skip(f"no MariaDB: {HOW_TO_GET_MARIADB}")
    pytest.importorskip("pymysql", reason="pip install 'etlctl[mysql]'")
    account, port = _account("mysql"), _free_port()
    folder = Path(tempfile.mkdtemp(prefix="etlctl-my-"))
    try:
        if account:
            os.chown(folder, account["user"], account["group"])
        install, server = map(str, found)
        data = f"--datadir={folder / 'data'}"
        made = [install, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db"]
        _run([*made, f"--tmpdir={folder}"], account, folder)
        options = [f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve", f"--socket={folder / 'socket'}"]
        quick = ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=128M", "--local-infile=OFF"]
        with (folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                [server, "--no-defaults", data, f"--pid-file={folder / 'pid'}", f"--tmpdir={folder}", *options, *quick],
                stdout=log, stderr=log, cwd=folder, **account,
            )  # fmt: skip
        try:
            _wait_for_mariadb(process, port, folder / "server.log")
            yield f"mysql://root@127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_mariadb(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import pymysql

    until = time.monotonic() + 60
    while True:
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="root").close()
        except pymysql.err.OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"MariaDB did not start:\n{log.read_text(encoding='utf-8', errors='replace')}")
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def mariadb_url(mariadb_server: str) -> Iterator[str]:
    """Give the URL of a new, empty MariaDB database; it is dropped afterwards."""
    import pymysql

    name = f"test_{uuid4().hex}"
    port = int(mariadb_server.rpartition(":")[2])
    with closing(pymysql.connect(host="127.0.0.1", port=port, user="root", autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        yield f"{mariadb_server}/{name}"
        # A session that a failed test has left behind would keep its tables locked.
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (name,))
        for (session,) in cursor.fetchall():
            with suppress(pymysql.err.OperationalError):  # it has ended meanwhile
                cursor.execute(f"KILL {session}")
        cursor.execute(f"DROP DATABASE `{name}`")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start a server that speaks S3; gives its URL. It takes any credentials."""
    pytest.importorskip("obstore", reason="pip install 'etlctl[cloud]'")
    pytest.importorskip("moto.server", reason="pip install 'moto[server]'")
    with _http_server([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p"], "/moto-api/") as url:
        yield url


@pytest.fixture
def s3_bucket(s3_server: str) -> str:
    """Give the name of a new, empty bucket of the S3 server."""
    name = f"test{uuid4().hex}"
    urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{name}", method="PUT"), timeout=30).close()
    return name


AZURITE = Path.home() / ".cache" / "etlctl-tests" / "azurite"
HOW_TO_GET_AZURITE = f"npm install --prefix {AZURITE} azurite"


@pytest.fixture(scope="session")
def azure_server() -> Iterator[str]:
    """Start Azurite, which speaks Azure Blob Storage; gives the URL of its one account ``devstoreaccount1``."""
    pytest.importorskip("obstore", reason="pip install 'etlctl[cloud]'")
    found = shutil.which("azurite-blob", path=os.pathsep.join((f"{AZURITE}/node_modules/.bin", os.environ["PATH"])))
    if found is None:
        pytest.skip(f"no Azurite: {HOW_TO_GET_AZURITE}")
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--silent", "--blobPort"]
    with _http_server([found, *options], "/") as url:
        yield f"{url}/devstoreaccount1"


@contextmanager
def _http_server(command: list[str], path: str) -> Iterator[str]:
    """Run a server whose command ends with the port until it answers; gives its URL."""
    url = f"http://127.0.0.1:{(port := _free_port())}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, str(port)], stdout=log, stderr=log)
        try:
            until = time.monotonic() + 60
            while not _answers(url + path):
                if process.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    pytest.fail(f"{command[0]} did not start:\n{log.read().decode(errors='replace')}")
                time.sleep(0.05)
            yield url
        finally:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def hostile_server() -> Iterator[HostileServer]:
    """Start the HTTP server that misbehaves on request; ``tests/hostile_server.py`` tells its routes."""
    from hostile_server import running

    with running() as server:
        yield server


@pytest.fixture
def hostile(hostile_server: HostileServer) -> HostileServer:
    """Give the HTTP server that misbehaves on request, its counters at zero and every host forgotten."""
    from etlctl.kit.http.hosts import forget

    hostile_server.reset()
    forget()
    return hostile_server
