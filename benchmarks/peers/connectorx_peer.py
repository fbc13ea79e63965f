"""A table of PostgreSQL into Parquet by hand: Polars with connectorx, as its documentation has it."""

from __future__ import annotations

import sys

import polars as pl


def main() -> None:
    """Run it: ``connectorx_peer.py URL TARGET``."""
    frame = pl.read_database_uri("SELECT * FROM flights", sys.argv[1], engine="connectorx")
    frame.write_parquet(sys.argv[2])


if __name__ == "__main__":
    main()
