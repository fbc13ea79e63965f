"""The same job written by hand in streaming Polars: CSV, seven operations, Parquet or JSONL."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl


def job(source: Path) -> pl.LazyFrame:
    """Return the seven operations over the source."""
    return (
        pl.scan_csv(source, schema_overrides={"tailnum": pl.String}, infer_schema_length=10_000)
        .rename({"carrier": "airline", "dest": "destination", "distance": "distance_mi"})
        .with_columns(
            pl.col("flight").cast(pl.Int32),
            pl.col("distance_mi").cast(pl.Float64),
            pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC"),
            pl.col("dep_delay").fill_null(0),
            (pl.col("origin") + " " + pl.col("destination")).alias("route"),
        )
        .drop("dep_time", "arr_delay")
        .filter(pl.col("distance_mi") >= 300)
    )


def main() -> None:
    """Run it: ``polars_peer.py SOURCE TARGET``."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    if target.suffix == ".parquet":
        job(source).sink_parquet(target)
    else:
        job(source).sink_ndjson(target)


if __name__ == "__main__":
    main()
