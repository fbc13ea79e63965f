"""What a result contains, so that a fast wrong answer is noticed: ``summary.py RESULT`` prints it as JSON."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import polars as pl


def scan(path: Path) -> pl.LazyFrame:
    """Open a result: a Parquet, JSONL or SQLite file, or a folder dlt has loaded into."""
    if path.is_dir():
        return pl.scan_parquet(sorted(path.glob("data/main/flights/*.parquet")))
    if path.suffix == ".db":
        with sqlite3.connect(path) as database:
            cursor = database.execute("SELECT * FROM flights")
            names = [column[0] for column in cursor.description]
            return pl.LazyFrame(cursor.fetchall(), schema=names, orient="row", infer_schema_length=None)
    return pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_ndjson(path)


def main() -> None:
    """Print rows, sums, and the names of the columns that are not dlt's own."""
    frame = scan(Path(sys.argv[1]))
    names = sorted(name for name in frame.collect_schema().names() if not name.startswith("_dlt"))
    if "km" in names:  # the reshaped flights of the check "columnar"
        columns = [pl.col(name).sum() for name in ("id", "delay", "late", "km")]
        columns += [pl.col(name).n_unique() for name in ("carrier", "flight", "haul")]
    else:
        columns = [pl.col(name).sum() for name in ("id", "dep_delay", "flight", "air_time", "distance_mi")]
    found = frame.select(pl.len().alias("rows"), *columns, pl.col("route").n_unique()).collect().to_dicts()[0]
    print(json.dumps({**found, "columns": names}))


if __name__ == "__main__":
    main()
