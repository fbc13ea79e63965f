"""The destinations of the fault matrix."""

from __future__ import annotations

from harness import Part, Target

_TABLE = 'CREATE TABLE t (id INTEGER PRIMARY KEY, qty INTEGER, kind TEXT, "when" TEXT);'
_OLD = (-1, -2)
_WITH_OLD = _TABLE + "INSERT INTO t (id) VALUES (-1), (-2);"


def _even(number: int) -> bool:
    return number % 2 == 0


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
    Target(
        "several-sqlite-and-file",
        "load:\n"
        "  - {name: even, type: sqlite, path: out.db, table: t, where: id % 2 = 0}\n"
        "  - {type: file, path: all.jsonl, write_method: append}\n",
        "out.db",
        tables=_WITH_OLD.replace("qty INTEGER", "qty INTEGER CHECK (qty % 9 <> 1)"),
        parts=(
            Part("even", "out.db", keeps=_even, refuses=lambda number: number % 9 == 1, before=_OLD, stays=True),
            Part("file", "all.jsonl", before=_OLD, stays=True),
        ),
    ),
    Target(
        "several-file-and-sqlite",
        "load:\n"
        "  - {type: file, path: big.csv, where: {field: qty, operator: gte, value: 30}}\n"
        "  - {name: all, type: sqlite, path: out.db, table: t, write_method: replace}\n",
        "out.db",
        tables=_WITH_OLD,
        parts=(Part("file", "big.csv", keeps=lambda number: number >= 30), Part("all", "out.db", before=_OLD)),
    ),
    Target(
        "several-tables-of-one-file",
        "load:\n"
        "  - {name: even, type: sqlite, path: out.db, table: t, where: id % 2 = 0}\n"
        "  - {name: odd, type: sqlite, path: out.db, table: u, create_table: true, where: id % 2 = 1}\n"
        "  - {name: all, type: sqlite, path: out.db, table: v, create_table: true, write_method: replace}\n",
        "out.db",
        tables=_WITH_OLD.replace("qty INTEGER", "qty INTEGER CHECK (qty % 9 <> 1)"),
        parts=(
            Part("even", "out.db", keeps=_even, refuses=lambda number: number % 9 == 1, before=_OLD, stays=True),
            Part("odd", "out.db", "u", keeps=lambda number: number % 2 == 1),
            Part("all", "out.db", "v"),
        ),
    ),
    Target(
        "several-files",
        "load:\n"
        "  - {name: old, type: file, path: old.jsonl, write_method: append, where: id % 2 = 0}\n"
        "  - {name: parts, type: file, path: parts/, format: parquet, where: id % 3 = 0}\n"
        "  - {name: new, type: file, path: new.csv}\n",
        "old.jsonl",
        parts=(
            Part("old", "old.jsonl", keeps=_even, before=_OLD, stays=True),
            Part("parts", "parts", keeps=lambda number: number % 3 == 0),
            Part("new", "new.csv"),
        ),
    ),
]  # fmt: skip
"""Every way to write that a run must survive."""


def prepare(target: Target, folder) -> None:
    """Put what is there before the run where it belongs (tables are made by the harness)."""
    if target.before and not target.tables:
        _put(folder / target.path, target.before)
    for part in target.parts:
        if part.before and not part.path.endswith(".db"):
            _put(folder / part.path, part.before)


def _put(path, ids: tuple[int, ...]) -> None:
    rows = [{"id": number, "qty": 0, "kind": "old", "when": "2025-01-01"} for number in ids]
    import polars as pl

    frame = pl.DataFrame(rows).with_columns(pl.col("when").str.to_date())
    if path.suffix == ".jsonl":
        frame.write_ndjson(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
