"""The commands that are compared: etlctl's contracts, written out for each job, and the peers' scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import Command, CommandFailed, clear

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
WORKSPACE = OUT / "workspace"

TRANSFORM = """\
transform:
  rename: {carrier: airline, dest: destination, distance: distance_mi}
  convert:
    {id: integer, flight: integer, dep_delay: integer, air_time: integer, distance_mi: float, time_hour: datetime}
  defaults: {dep_delay: 0}
  add: {route: "${origin} ${destination}"}
  drop: [dep_time, arr_delay]
  filter: {field: distance_mi, operator: gte, value: 300}
"""


JSONATA = """\
transform:
  - jsonata:
      expression: |
        distance >= 300 ? {
          "id": id,
          "route": origin & "-" & dest,
          "carrier": $uppercase(carrier),
          "flight": carrier & flight,
          "delay": dep_delay = null ? 0 : dep_delay,
          "late": dep_delay != null and dep_delay > 15,
          "haul": distance > 1500 ? "long" : "short",
          "km": $round(distance * 1.609344)
        }
"""
ON_ROWS = "      bindings: {unused: []}\n"
"""Below ``JSONATA``: a variable that is a list has no columnar form, and costs nothing."""

FUNCTION = """\
def judge(record):
    record["route"] = record["origin"] + "-" + record["dest"]
    record["km"] = round(record["distance"] * 1.609344, 1)
    if record["carrier"] == "9E" and record["distance"] < 150:
        return None
    return record


def labour(record):  # about 100 µs
    total = 0
    for number in range(1800):
        total += number * number % 7
    record["total"] = total
    return record
"""


RESHAPE = """\
{
  "order_id": id,
  "customer": $uppercase(customer.name),
  "email": customer.email,
  "city": customer.address.city,
  "n_items": $count(items),
  "total": $round($sum(items.(price * qty)), 2),
  "skus": [items.sku]
}
"""


def orders(count: int) -> Path:
    """Return the path of so many nested orders as JSON lines, generated the first time they are asked for."""
    path = OUT / "data" / f"orders-{count}.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"generating {path.relative_to(HERE)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "benchmarks.orders", str(count), str(path)], cwd=HERE.parent, check=True)
    return path


def orders_peer(name: str, source: Path, limit: int | None = None) -> Command:
    """Return the command that reshapes orders without etlctl: ``function`` or ``jsonata-python``."""
    result = OUT / "peers" / f"orders-{name}.jsonl"
    result.parent.mkdir(parents=True, exist_ok=True)
    script = [sys.executable, "-m", "benchmarks.peers.orders_peer", name, str(source), str(result)]
    return Command(f"orders by {name}", [*script, *([] if limit is None else [str(limit)])], HERE.parent, result)


def data(rows: int, suffix: str, *, slim: bool = False) -> Path:
    """Return the path of ``rows`` flights, generated the first time they are asked for; slim ones have six fields."""
    path = OUT / "data" / f"flights-{rows}{'-slim' if slim else ''}.{suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"generating {path.relative_to(HERE)}", file=sys.stderr)
        command = [sys.executable, "-m", "benchmarks.generate", str(rows), str(path), *(["--slim"] if slim else [])]
        subprocess.run(command, cwd=HERE.parent, check=True)
    return path


def etlctl(
    name: str,
    source: Path,
    target: str,
    *,
    batch_size: int | None = None,
    extract: str = "",
    transform: str = TRANSFORM,
    load: str = "type: file",
) -> Command:
    """Write a contract and return the command that runs it.

    Args:
        name: Name of the contract, and of the command in the table.
        source: CSV or JSONL file.
        target: Name of the file to write, in the contract's folder.
        batch_size: Records per batch; the default when None.
        extract: More lines of ``extract.yaml``.
        transform: ``transform.yaml``.
        load: ``load.yaml`` without the path.
    """
    WORKSPACE.mkdir(parents=True, exist_ok=True)
    (WORKSPACE / "etlctl.yaml").write_text("# The workspace of the benchmarks.\n", encoding="utf-8")
    folder = WORKSPACE / "contracts" / name
    folder.mkdir(parents=True, exist_ok=True)
    batch = "" if batch_size is None else f"batch_size: {batch_size}\n"
    extract = f"type: file\npath: {json.dumps(str(source))}\nprocessing_mode: streaming\n{batch}{extract}"
    (folder / "extract.yaml").write_text(extract, encoding="utf-8")
    (folder / "transform.yaml").write_text(transform, encoding="utf-8")
    (folder / "bench_function.py").write_text(FUNCTION, encoding="utf-8")
    (folder / "load.yaml").write_text(f"{load}\npath: {target}\n", encoding="utf-8")
    arguments = [sys.executable, "-m", "etlctl", "run", str(folder)]
    return Command(name, arguments, WORKSPACE, folder / target)


def step_seconds(command: Command, step: str) -> float:
    """Run a contract once more; return the seconds its steps of a name report.

    Raises:
        CommandFailed: It exited with an error.
    """
    clear(command.result)
    asked = [*command.arguments, "--json"]
    done = subprocess.run(asked, cwd=command.folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"{command.name} ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    steps = json.loads(done.stdout)["steps"]
    return sum(float(one["seconds"]) for one in steps if step in str(one["name"]))


def sqlite_loop(name: str, source: Path, target: str) -> Command:
    """Return the command that does the same in Polars and a loop of ``executemany``."""
    result = OUT / "peers" / target
    result.parent.mkdir(parents=True, exist_ok=True)
    arguments = [sys.executable, str(HERE / "peers" / "sqlite_loop.py"), str(source), str(result)]
    return Command(name, arguments, OUT, result)


def polars(name: str, source: Path, target: str) -> Command:
    """Return the command that does the same in Polars."""
    result = OUT / "peers" / target
    result.parent.mkdir(parents=True, exist_ok=True)
    arguments = [sys.executable, str(HERE / "peers" / "polars_peer.py"), str(source), str(result)]
    return Command(name, arguments, OUT, result)


def dlt_python(asked: Path | None, *, install: bool) -> Path | None:
    """Return an interpreter that has dlt: the one asked for, else the one installed under ``benchmarks/out``."""
    home = OUT / "dlt-environment"
    found = asked or home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if install and not found.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(found), "-m", "pip", "install", "--quiet", "dlt[parquet,sqlalchemy]"], check=True)
    return found if found.exists() else None


def dlt(name: str, python: Path, source: Path) -> Command:
    """Return the command that does the same on dlt's Arrow path."""
    result = OUT / "peers" / "dlt"
    result.mkdir(parents=True, exist_ok=True)
    arguments = [str(python), str(HERE / "peers" / "dlt_peer.py"), str(source), str(result)]
    return Command(name, arguments, OUT, result)


def summary(command: Command) -> object:
    """Return what a command's result contains: rows, sums and column names."""
    arguments = [sys.executable, str(HERE / "peers" / "summary.py"), str(command.result)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"the result of {command.name} cannot be read:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def require_same_result(*commands: Command) -> None:
    """Compare the results of commands that do the same job.

    Raises:
        CommandFailed: They differ.
    """
    first, *others = [(command.name, summary(command)) for command in commands]
    for name, found in others:
        if found != first[1]:
            raise CommandFailed(f"the results differ:\n{first[0]}: {first[1]}\n{name}: {found}")


def require_same_orders(ours: Command, theirs: Command) -> None:
    """Compare reshaped orders record by record; totals may differ by a cent, for ties are rounded in decimals or not.

    Raises:
        CommandFailed: They differ.
    """
    if ours.result is None or theirs.result is None:
        raise CommandFailed("there is nothing to compare")
    with ours.result.open("rb") as one, theirs.result.open("rb") as other:
        for number, (left, right) in enumerate(zip(one, other, strict=True), 1):
            a, b = json.loads(left), json.loads(right)
            if abs(a.pop("total") - b.pop("total")) > 0.0101 or a != b:
                raise CommandFailed(f"line {number} differs:\n{ours.name}: {left!r}\n{theirs.name}: {right!r}")
