"""The same job written by hand: Polars for the seven operations, ``executemany`` into SQLite, 50,000 rows a commit.

No tokens, no checkpoints, no dead letters: what a person would write in ten minutes.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import polars as pl

ROWS = 50_000


def main() -> None:
    """Run it: ``sqlite_loop.py SOURCE TARGET``."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    frame = (
        pl.scan_csv(source, schema_overrides={"tailnum": pl.String}, infer_schema_length=10_000)
        .rename({"carrier": "airline", "dest": "destination", "distance": "distance_mi"})
        .with_columns(
            pl.col("flight").cast(pl.Int32),
            pl.col("distance_mi").cast(pl.Float64),
            pl.col("dep_delay").fill_null(0),
            (pl.col("origin") + " " + pl.col("destination")).alias("route"),
        )
        .drop("dep_time", "arr_delay")
        .filter(pl.col("distance_mi") >= 300)
    )
    database = sqlite3.connect(target)
    names = frame.collect_schema().names()
    database.execute(f"CREATE TABLE flights ({', '.join(names)})")
    places = ", ".join("?" * len(names))
    for part in frame.collect_batches(chunk_size=ROWS, maintain_order=True):
        with database:
            database.executemany(f"INSERT INTO flights VALUES ({places})", part.iter_rows())
    database.close()


if __name__ == "__main__":
    main()
