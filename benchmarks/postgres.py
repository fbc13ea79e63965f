"""Loading PostgreSQL: etlctl against psql, which copies a file that is ready and knows of no tokens."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import jobs
from benchmarks.measure import Command, CommandFailed, run_once

_COLUMNS = """id bigint PRIMARY KEY, dep_delay bigint, airline text, flight bigint, tailnum text, origin text,
    destination text, air_time bigint, distance_mi double precision, time_hour timestamptz, route text"""
_KEY = " PRIMARY KEY"
_NAMES = ", ".join(part.split()[0] for part in _COLUMNS.split(","))


class Server:
    """A database with a table for each competitor.

    Args:
        cluster: The server, as the tests start it.
        source: CSV file with the flights.
    """

    def __init__(self, cluster: Any, source: Path) -> None:
        self._cluster = cluster
        self._source = source
        self.ready = self._ready()
        self.sql("CREATE DATABASE bench", database="postgres")

    @property
    def url(self) -> str:
        """The database."""
        return f"{self._cluster.url}/bench"

    def _ready(self) -> Path:
        """Return what the seven operations make of the source, as the CSV that psql copies."""
        made = jobs.etlctl("postgres-ready", self._source, "ready.csv")
        run_once(made)
        if made.result is None:
            raise CommandFailed("there is no file to copy")
        kept = jobs.OUT / "peers" / f"ready-{self._source.name}"  # what is in the workspace goes with any benchmark
        kept.parent.mkdir(parents=True, exist_ok=True)
        return made.result.replace(kept)

    def sql(self, *statements: str, database: str = "bench") -> str:
        """Run statements with psql; return what it prints."""
        command = self._psql(*statements, database=database)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandFailed(done.stderr)
        return done.stdout

    def _psql(self, *statements: str, database: str = "bench") -> list[str]:
        wanted = [part for statement in statements for part in ("-c", statement)]
        return [
            str(self._cluster.psql),
            "-X",
            "-q",
            "-At",
            "-v",
            "ON_ERROR_STOP=1",
            f"{self._cluster.url}/{database}",
            *wanted,
        ]

    def empty(self, table: str) -> None:
        """Make a table without a row and without an index."""
        self.sql(f"DROP TABLE IF EXISTS {table}", f"CREATE TABLE {table} ({_COLUMNS.replace(_KEY, '')})", "CHECKPOINT")

    def full(self, table: str, delay: int) -> None:
        """Make a table with all rows and a key.

        Args:
            table: Its name.
            delay: Added to a column of every row: 0 leaves nothing to change.
        """
        self.sql(
            f"DROP TABLE IF EXISTS {table}",
            f"CREATE TABLE {table} ({_COLUMNS.replace(_KEY, '')})",
            f"\\copy {table} FROM '{self.ready}' (FORMAT csv, HEADER)",
        )
        if delay:
            moved = _NAMES.replace("dep_delay", f"dep_delay + {delay} AS dep_delay")
            self.sql(
                f"CREATE TABLE {table}_moved AS SELECT {moved} FROM {table}",
                f"DROP TABLE {table}",
                f"ALTER TABLE {table}_moved RENAME TO {table}",
            )
        self.sql(f"ALTER TABLE {table} ADD PRIMARY KEY (id)", f"VACUUM ANALYZE {table}", "CHECKPOINT")

    def etlctl(self, name: str, table: str, more: str = "") -> Command:
        """Return the command that loads the source through the seven operations."""
        load = f'type: postgres\ntable: {table}\nurl: "{self.url}"\n{more}'
        made = jobs.etlctl(name, self._source, "", load=load)
        text = jobs.WORKSPACE / "contracts" / name / "load.yaml"
        text.write_text(load, encoding="utf-8")
        made.result = None
        return made

    def copy(self, name: str, table: str) -> Command:
        """Return psql's own COPY of the file that is ready."""
        return Command(name, self._psql(f"\\copy {table} FROM '{self.ready}' (FORMAT csv, HEADER)"), jobs.OUT)

    def upsert(self, name: str, table: str) -> Command:
        """Return psql's COPY into a temporary table, and an upsert written by hand."""
        sets = ", ".join(f"{one} = excluded.{one}" for one in _NAMES.split(", ")[1:])
        statements = (
            f"CREATE TEMPORARY TABLE s (LIKE {table})",
            f"\\copy s FROM '{self.ready}' (FORMAT csv, HEADER)",
            f"INSERT INTO {table} SELECT * FROM s ON CONFLICT (id) DO UPDATE SET {sets}",
        )
        return Command(name, self._psql(*statements), jobs.OUT)

    def require_same(self, one: str, other: str) -> None:
        """Compare two tables.

        Raises:
            CommandFailed: They differ.
        """
        found = self.sql(f"SELECT count(*) FROM ((TABLE {one} EXCEPT ALL TABLE {other}) "
                         f"UNION ALL (TABLE {other} EXCEPT ALL TABLE {one})) d")  # fmt: skip
        if int(found):
            raise CommandFailed(f"the tables {one} and {other} differ in {found.strip()} rows")


@contextmanager
def server(source: Path) -> Iterator[Server]:
    """Start the server that the tests use.

    Raises:
        CommandFailed: PostgreSQL is not installed.
    """
    clusters = _clusters()
    programs = clusters.binaries()
    if programs is None:
        raise CommandFailed("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with clusters.running(programs) as cluster:
        yield Server(cluster, source)


@cache
def _clusters() -> Any:
    path = jobs.HERE.parent / "tests" / "postgres_cluster.py"
    spec = importlib.util.spec_from_file_location("postgres_cluster", path)
    if spec is None or spec.loader is None:
        raise CommandFailed(f"cannot load {path}")
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made
