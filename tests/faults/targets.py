"""The destinations of the fault matrix."""

from __future__ import annotations

from harness import Target

_TABLE = 'CREATE TABLE t (id INTEGER PRIMARY KEY, qty INTEGER, kind TEXT, "when" TEXT);'
_OLD = (-1, -2)
_WITH_OLD = _TABLE + "INSERT INTO t (id) VALUES (-1), (-2);"

TARGETS = [
    Target("jsonl-replace", "type: file\npath: out.jsonl\n", "out.jsonl"),
    Target("csv-replace", "type: file\npath: out.csv\n", "out.csv"),
    Target("parquet-replace", "type: file\npath: out.parquet\n", "out.parquet"),
    Target("json-replace", "type: file\npath: out.json\n", "out.json"),
    Target("gz-append", "type: file\npath: out.jsonl.gz\nwrite_method: append\n", "out.jsonl.gz"),
    Target("jsonl-append", "type: file\npath: out.jsonl\nwrite_method: append\n", "out.jsonl", _OLD, stays=True),
    Target("csv-append", "type: file\npath: out.csv\nwrite_method: append\n", "out.csv", _OLD, stays=True),
    Target("parquet-append", "type: file\npath: out.parquet\nwrite_method: append\n", "out.parquet", _OLD, stays=True),
    Target("parts-replace", "type: file\npath: out/\nformat: parquet\n", "out"),
    Target("parts-append", "type: file\npath: out/\nformat: jsonl\nwrite_method: append\n", "out"),
    Target("excel-replace", "type: file\npath: out.xlsx\n", "out.xlsx"),
    Target(
        "jsonl-unique",
        "type: file\npath: out.jsonl\n",
        "out.jsonl",
        extra="schema: {fields: {id: {type: integer, unique: true}}}\n",
    ),
    Target(
        "sqlite-insert", "type: sqlite\npath: out.db\ntable: t\n", "out.db", _OLD, stays=True, tables=_WITH_OLD
    ),
    Target("sqlite-create", "type: sqlite\npath: out.db\ntable: t\ncreate_table: true\n", "out.db"),
    Target(
        "sqlite-refusing",
        "type: sqlite\npath: out.db\ntable: t\n",
        "out.db",
        tables=_TABLE.replace("qty INTEGER", "qty INTEGER CHECK (qty % 9 <> 1)"),
    ),
    Target(
        "sqlite-upsert",
        "type: sqlite\npath: out.db\ntable: t\nwrite_method: upsert\nprimary_key: id\n",
        "out.db",
        _OLD,
        stays=True,
        tables=_WITH_OLD,
    ),
    Target(
        "sqlite-replace", "type: sqlite\npath: out.db\ntable: t\nwrite_method: replace\n", "out.db", _OLD,
        tables=_WITH_OLD,
    ),
    Target(
        "sqlite-truncate", "type: sqlite\npath: out.db\ntable: t\nwrite_method: truncate_and_load\n", "out.db", _OLD,
        tables=_WITH_OLD,
    ),
    Target(
        "sqlite-unique",
        "type: sqlite\npath: out.db\ntable: t\n",
        "out.db",
        tables=_TABLE,
        extra="schema: {fields: {id: {type: integer, unique: true}}}\n",
    ),
]  # fmt: skip
"""Every way to write that a run must survive."""


def prepare(target: Target, folder) -> None:
    """Put what is there before the run where it belongs (tables are made by the harness)."""
    if not target.before or target.tables:
        return
    rows = [{"id": number, "qty": 0, "kind": "old", "when": "2025-01-01"} for number in target.before]
    import polars as pl

    frame = pl.DataFrame(rows).with_columns(pl.col("when").str.to_date())
    path = folder / target.path
    if path.suffix == ".jsonl":
        frame.write_ndjson(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
