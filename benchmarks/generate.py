"""Benchmark input: the real flights, replicated to any number of rows, as CSV and as JSONL.

Each copy of the 336,776 rows is moved one year on, so that rows stay distinct and every date stays a date (29 February
never occurs in 2013).
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import polars as pl

from benchmarks.nycflights import flights_text

COLUMNS = (
    *("dep_time", "dep_delay", "arr_delay", "carrier", "flight", "tailnum"),
    *("origin", "dest", "air_time", "distance", "time_hour"),
)
SLIM = ("id", "carrier", "flight", "origin", "dest", "distance")
INTEGERS = ("dep_time", "dep_delay", "arr_delay", "air_time", "flight", "distance")


def flights(rows: int) -> pl.DataFrame:
    """Return ``rows`` flights of 12 columns: a running ``id`` and eleven of the real ones."""
    text = pl.read_csv(io.BytesIO(flights_text().encode()), null_values=["NA"], infer_schema=False)
    year = text.select(COLUMNS).with_columns(pl.col(INTEGERS).cast(pl.Int64))
    copies = []
    for copy in range(-(-rows // year.height)):
        moved = pl.lit(str(2013 + copy)) + pl.col("time_hour").str.slice(4)
        copies.append(year.head(rows - copy * year.height).with_columns(moved.alias("time_hour")))
    return pl.concat(copies).with_row_index("id", offset=1).with_columns(pl.col("id").cast(pl.Int64))


def main() -> None:
    """Write one file; its suffix says the format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int)
    parser.add_argument("path", type=Path, help="ends in .csv, .jsonl or .parquet")
    parser.add_argument("--slim", action="store_true", help=f"only the columns {', '.join(SLIM)}")
    arguments = parser.parse_args()
    unfinished = arguments.path.with_suffix(".part")
    frame = flights(arguments.rows)
    if arguments.slim:
        frame = frame.select(SLIM)
    if arguments.path.suffix == ".csv":
        frame.write_csv(unfinished)
    elif arguments.path.suffix == ".parquet":
        frame.write_parquet(unfinished)
    else:
        frame.write_ndjson(unfinished)
    unfinished.replace(arguments.path)


if __name__ == "__main__":
    main()
