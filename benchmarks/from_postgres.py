"""Reading PostgreSQL into Parquet: etlctl against Polars with connectorx, which holds the whole table in memory."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from benchmarks import jobs
from benchmarks.measure import Command, CommandFailed
from benchmarks.postgres import Server

_COLUMNS = """id bigint PRIMARY KEY, dep_time bigint, dep_delay bigint, arr_delay bigint, carrier text, flight bigint,
    tailnum text, origin text, dest text, air_time bigint, distance double precision, time_hour timestamptz"""
_TIMES = 5
_COMPARED = """\
import sys, polars as pl
instant = pl.col("time_hour").cast(pl.Datetime("us", "UTC"))
one, other = (pl.scan_parquet(path).with_columns(instant) for path in sys.argv[1:])
counts = [frame.select(pl.len()).collect().item() for frame in (one, other)]
left = one.join(other, on=one.collect_schema().names(), how="anti", nulls_equal=True).select(pl.len()).collect().item()
sys.exit(f"{counts} rows, {left} of them differ" if left or counts[0] != counts[1] else 0)
"""


def fill(place: Server, rows: int) -> None:
    """Make the tables ``flights`` and ``many``, which has five times the rows."""
    source = jobs.data(rows, "csv")
    more = (
        f"INSERT INTO many SELECT id + {rows} * n, dep_time, dep_delay, arr_delay, carrier, flight, tailnum, origin, "
    )
    place.sql(
        f"CREATE TABLE flights ({_COLUMNS})",
        f"\\copy flights FROM '{source}' (FORMAT csv, HEADER)",
        f"CREATE TABLE many ({_COLUMNS})",
        f"{more}dest, air_time, distance, time_hour FROM flights, generate_series(0, {_TIMES - 1}) n",
        "VACUUM ANALYZE",
    )


def etlctl(place: Server, name: str, table: str) -> Command:
    """Return the command that reads a table into one Parquet file."""
    made = jobs.etlctl(name, jobs.HERE, "out.parquet", transform="")
    extract = f'type: database\nurl: "{place.url}"\ntable: {table}\nprocessing_mode: streaming\n'
    folder = jobs.WORKSPACE / "contracts" / name
    (folder / "extract.yaml").write_text(extract, encoding="utf-8")
    (folder / "transform.yaml").unlink()
    return made


def connectorx(place: Server) -> Command | None:
    """Return the command that does the same with Polars and connectorx; None when that is not installed."""
    if importlib.util.find_spec("connectorx") is None:
        print("connectorx is not installed: its check is left out (pip install connectorx)", file=sys.stderr)
        return None
    result = jobs.OUT / "peers" / "connectorx.parquet"
    result.parent.mkdir(parents=True, exist_ok=True)
    script = [sys.executable, str(jobs.HERE / "peers" / "connectorx_peer.py"), place.url, str(result)]
    return Command("Polars + connectorx", script, jobs.OUT, result)


def require_same(one: Command, other: Command) -> None:
    """Compare two Parquet files row by row.

    Raises:
        CommandFailed: They differ.
    """
    files = [str(one.result), str(other.result)]
    done = subprocess.run([sys.executable, "-c", _COMPARED, *files], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"the results of {one.name} and {other.name} differ: {done.stderr[-2000:]}")
