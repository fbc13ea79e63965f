"""The same pages by dlt's REST source into SQLite. Runs where ``dlt[parquet]`` and SQLAlchemy are."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run it: ``dlt_http_peer.py URL TARGET_FOLDER``; the table is ``flights`` in ``flights.db`` there."""
    url, target = sys.argv[1], Path(sys.argv[2]).resolve()
    base, _, path = url.rpartition("/")
    os.environ.update(
        {
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "RUNTIME__LOG_LEVEL": "WARNING",
            "DLT_DATA_DIR": str(target / "state"),
            "EXTRACT__WORKERS": "2",
            "NORMALIZE__WORKERS": "2",
            "LOAD__WORKERS": "1",
            "DATA_WRITER__BUFFER_MAX_ITEMS": "50000",
            "DATA_WRITER__FILE_MAX_ITEMS": "250000",
            "DATA_WRITER__DISABLE_COMPRESSION": "true",
            "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
        }
    )
    target.mkdir(parents=True, exist_ok=True)
    import dlt
    from dlt.sources.rest_api import rest_api_source

    paginator = {"type": "page_number", "base_page": 1, "total_path": "total_pages"}
    source = rest_api_source(
        {
            "client": {"base_url": base, "paginator": paginator},
            "resource_defaults": {"write_disposition": "append", "parallelized": True},
            "resources": [{"name": "flights", "endpoint": {"path": path, "data_selector": "data"}}],
        }
    )
    database = dlt.destinations.sqlalchemy(f"sqlite:///{target}/flights.db")
    folder = str(target / "pipelines")
    dlt.pipeline("benchmark_http", destination=database, dataset_name="main", pipelines_dir=folder).run(source)


if __name__ == "__main__":
    main()
