"""A PostgreSQL server of one's own, for tests and benchmarks: started, stopped and started again on the same port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class ClusterFailed(RuntimeError):  # noqa: N818
    """A command of the server failed; the message is what it said."""


def binaries() -> Path | None:
    """Return the folder of the newest server's programs; None when there is none."""
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


class Cluster:
    """A server with its data in a folder of its own.

    Args:
        programs: Folder of the server's programs.
        folder: An empty folder.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._account = _account()
        if self._account:
            os.chown(folder, self._account["user"], self._account["group"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        data = ["-D", str(folder / "data"), "-U", "etl", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        self._run("initdb", *data)

    @property
    def url(self) -> str:
        """The server's URL, without a database."""
        return f"postgresql://etl@127.0.0.1:{self.port}"

    @property
    def psql(self) -> Path:
        """The command-line client."""
        return self._programs / "psql"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder} -c fsync=off"
        self._control("-l", str(self._folder / "server.log"), "-o", options, "start")

    def stop(self, how: str = "immediate") -> None:
        """Stop it: ``immediate`` as a crash does, ``fast`` as an administrator does."""
        self._control("-m", how, "stop")

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        # Not a pipe: the server would inherit it and keep it open.
        said = self._folder / "commands.log"
        with said.open("a", encoding="utf-8") as log:
            command = [str(self._programs / program), *arguments]
            done = subprocess.run(command, stdout=log, stderr=log, check=False, cwd=self._folder, **self._account)
        if done.returncode:
            raise ClusterFailed(f"{program} failed:\n{said.read_text(encoding='utf-8')}")


@contextmanager
def running(programs: Path) -> Iterator[Cluster]:
    """Start a server that is stopped and removed in the end.

    Args:
        programs: Folder of the server's programs.
    """
    folder = Path(tempfile.mkdtemp(prefix="etlctl-pg-"))
    try:
        cluster = Cluster(programs, folder)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
