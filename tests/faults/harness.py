"""Runs contracts in real processes that die at chosen places, and holds the destination against the source."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from etlctl.state import open_ledger

ZYGOTE = Path(__file__).with_name("zygote.py")
FILES, PER_FILE = 5, 13
"""Source files and records in each: chunks end where batches do not."""
BATCH = 10
JOB = "job"


@dataclass
class Ended:
    """How a command ended: the exit code, negative for a signal."""

    code: int
    out: str
    err: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Shop:
    """A process that starts etlctl commands quickly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environ = {key: value for key, value in os.environ.items() if not key.startswith("ETLCTL_")}
        self._zygote = subprocess.Popen(
            [sys.executable, str(ZYGOTE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )

    def close(self) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        self._zygote.wait(30)

    def run(self, cwd: Path, *argv: str, fault: str = "", **env: str) -> Ended:
        with self.started(cwd, *argv, fault=fault, **env) as (_, wait):
            return wait()

    @contextmanager
    def started(self, cwd: Path, *argv: str, fault: str = "", **env: str) -> Iterator[tuple[int, Any]]:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        out, err = cwd / ".stdout", cwd / ".stderr"
        # The child may be killed before it makes them, and what an earlier one has said is not its own.
        for file in (out, err):
            file.write_bytes(b"")
        command = {
            "argv": list(argv),
            "cwd": str(cwd),
            "env": {"ETLCTL_FAULT": fault, **env},
            "out": str(out),
            "err": str(err),
        }
        self._zygote.stdin.write(json.dumps(command) + "\n")
        self._zygote.stdin.flush()
        process = int(self._zygote.stdout.readline())
        ended: list[Ended] = []

        def wait() -> Ended:
            if not ended:
                code = int(self._zygote.stdout.readline())
                ended.append(Ended(code, out.read_text("utf-8", "replace"), err.read_text("utf-8", "replace")))
            return ended[0]

        try:
            yield process, wait
        finally:
            wait()


def _any(_number: int) -> bool:
    return True


def _none(_number: int) -> bool:
    return False


@dataclass
class Part:
    """One of several destinations.

    Attributes:
        name: Its name in the contract.
        path: The file or folder, relative to the contract.
        table: The table in it.
        keeps: Tells which ids it gets.
        refuses: Tells which of those it refuses.
        before: Ids that are there before the run.
        stays: They are there afterwards, too.
    """

    name: str
    path: str
    table: str = "t"
    keeps: Callable[[int], bool] = _any
    refuses: Callable[[int], bool] = _none
    before: tuple[int, ...] = ()
    stays: bool = False


@dataclass
class Target:
    """A destination to prove: its ``load.yaml`` and how to read it.

    Attributes:
        load: Content of ``load.yaml``.
        path: The file or folder, relative to the contract.
        before: Ids that are there before the run.
        stays: They are there afterwards, too.
        extra: Content of ``contract.yaml``.
        tables: SQL that makes what is there before the run.
        parts: The destinations, when there are several; ``path`` is the database among them then.
    """

    name: str
    load: str
    path: str
    before: tuple[int, ...] = ()
    stays: bool = False
    extra: str = ""
    tables: str = ""
    parts: tuple[Part, ...] = ()

    def read(self, folder: Path) -> Counter[int]:
        return _ids(folder / self.path)


def _ids(place: Path, table: str = "t") -> Counter[int]:
    if not place.exists():
        return Counter()
    if place.suffix == ".db":
        with sqlite3.connect(place) as database:
            return Counter(row[0] for row in database.execute(f"SELECT id FROM {table}"))
    if place.is_dir():
        parts = sorted(one for one in place.iterdir() if not one.name.startswith("."))
        return sum((_file_ids(part) for part in parts), Counter())
    return _file_ids(place)


def _file_ids(path: Path) -> Counter[int]:
    if not path.stat().st_size:
        return Counter()
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        frame = pl.read_ndjson(path)
    elif path.name.endswith(".csv"):
        frame = pl.read_csv(path)
    elif path.suffix == ".json":
        frame = pl.DataFrame(json.loads(path.read_text()))
    elif path.suffix == ".xlsx":
        frame = pl.read_excel(path)
    else:
        frame = pl.read_parquet(path)
    return Counter(frame["id"].cast(pl.Int64).to_list()) if frame.width else Counter()


def source_records() -> list[dict[str, Any]]:
    """Records with ids from 0; some cannot be converted, some are filtered, one the table refuses."""
    records = []
    for number in range(FILES * PER_FILE):
        qty = "many" if number % 11 == 5 else str(number)
        kind = "skip" if number % 7 == 3 else "keep"
        records.append({"id": str(number), "qty": qty, "kind": kind, "when": f"2026-01-{number % 28 + 1:02}"})
    return records


def write_contract(root: Path, target: Target, *, mode: str, interval: int | None = 1, extract: str = "") -> Path:
    """Make a workspace with the contract ``c``; returns the contract's folder."""
    (root / "etlctl.yaml").write_text("name: proof\n", encoding="utf-8")
    folder = root / "contracts" / "c"
    (folder / "in").mkdir(parents=True)
    records = source_records()
    for number in range(FILES):
        with (folder / "in" / f"part-{number}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "qty", "kind", "when"])
            writer.writeheader()
            writer.writerows(records[number * PER_FILE : (number + 1) * PER_FILE])
    checkpoint = f"checkpoint: {{interval: {interval}}}\n" if interval else ""
    (folder / "extract.yaml").write_text(
        f"type: file\npath: in/part-*.csv\nprocessing_mode: {mode}\nbatch_size: {BATCH}\n{checkpoint}{extract}"
    )
    (folder / "transform.yaml").write_text(
        "transform:\n  - convert: {id: integer, qty: integer, when: date}\n"
        "  - filter: {field: kind, operator: ne, value: skip}\n"
    )
    (folder / "load.yaml").write_text(target.load)
    if target.extra:
        (folder / "contract.yaml").write_text(target.extra)
    if target.tables:
        with sqlite3.connect(folder / target.path) as database:
            database.executescript(target.tables)
    return folder


def letter_ids(root: Path) -> Counter[int]:
    """Ids of the records in the dead letters."""
    with open_ledger(state_dir=root / ".etlctl") as ledger:
        return Counter(int(letter.raw["id"]) for letter in ledger.dead_letters(status=None, limit=100_000))


def check_equality(root: Path, target: Target) -> None:
    """Destination + dead letters + filtered = source, and nothing twice."""
    folder = root / "contracts" / "c"
    if target.parts:
        check_parts(root, target)
        return
    loaded = target.read(folder)
    letters = letter_ids(root)
    filtered = Counter(int(one["id"]) for one in source_records() if one["kind"] == "skip" and one["qty"] != "many")
    source = Counter(int(one["id"]) for one in source_records())
    expected = source + Counter(target.before if target.stays else ())
    assert loaded + letters + filtered == expected, {
        "lost": expected - (loaded + letters + filtered),
        "doubled": (loaded + letters + filtered) - expected,
    }


def check_parts(root: Path, target: Target) -> None:
    """Each destination holds exactly what it is to get, and what it refused is in the dead letters under its name."""
    records = source_records()
    good = [int(one["id"]) for one in records if one["kind"] != "skip" and one["qty"] != "many"]
    expected: dict[str, Counter[int]] = {
        "transform": Counter(int(one["id"]) for one in records if one["qty"] == "many")
    }
    for part in target.parts:
        mine = [number for number in good if part.keeps(number)]
        loaded = _ids(root / "contracts" / "c" / part.path, part.table)
        wanted = Counter(number for number in mine if not part.refuses(number))
        wanted += Counter(part.before if part.stays else ())
        assert loaded == wanted, {"of": part.name, "lost": wanted - loaded, "doubled": loaded - wanted}
        expected[f"load.{part.name}"] = Counter(number for number in mine if part.refuses(number))
    letters: dict[str, Counter[int]] = {step: Counter() for step in expected}
    with open_ledger(state_dir=root / ".etlctl") as ledger:
        for letter in ledger.dead_letters(status=None, limit=100_000):
            step = letter.step if letter.step.startswith("load") else "transform"
            letters[step][int(letter.raw["id"])] += 1
    assert letters == expected


def finish(shop: Shop, root: Path, ended: Ended, *, tries: int = 30, fault: str = "") -> list[Ended]:
    """Resume until the run is done, as a person would who follows what the messages say; returns all attempts."""
    attempts = [ended]
    while attempts[-1].code not in {0, 4} and len(attempts) < tries:
        resumed = shop.run(root, "resume", "--checkpoint", JOB, fault=fault)
        if resumed.code == 2 and "there is no checkpoint" in resumed.err:
            resumed = shop.run(root, "run", "contracts/c", "--checkpoint", JOB, fault=fault)
        attempts.append(resumed)
    assert attempts[-1].code in {0, 4}, attempts[-1].err
    return attempts


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)
