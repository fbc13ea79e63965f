"""A small workspace with an incremental contract: a source that a test lets grow, and a database to look into."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from etlctl.orchestrator import ETLOrchestrator
from etlctl.run import RunResult
from etlctl.state.cursors import StoredCursor
from etlctl.state.ledger import open_ledger

FORMS = ("csv", "jsonl")
"""The source as frames, and as rows that are read slice by slice."""


class Shop:
    """One contract ``orders``, from ``in.csv`` or ``in.jsonl`` into the table ``orders`` of ``out.db``.

    Args:
        root: The workspace.
        form: ``csv`` or ``jsonl``.
        incremental: The section.
        extract: More keys of ``extract.yaml``.
        load: The whole ``load.yaml``; None: append to the table.
        transform: The whole ``transform.yaml``; None: there is none.
        name: Name of the contract.
    """

    def __init__(
        self,
        root: Path,
        form: str = "csv",
        *,
        incremental: Mapping[str, Any] | None = None,
        extract: Mapping[str, Any] | None = None,
        load: Any = None,
        transform: Any = None,
        name: str = "orders",
    ) -> None:
        self.root, self.form, self.name = root, form, name
        self.folder = root / "contracts" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        (root / "etlctl.yaml").write_text("name: shop\n", encoding="utf-8")
        section = {"cursor_field": "at", "initial": "2020-01-01", **(incremental or {})}
        self.section("extract", {"type": "file", "path": f"../../in.{form}", "incremental": section, **(extract or {})})
        self.section("load", load or {"type": "sqlite", "path": "../../out.db", "table": name, "create_table": True})
        if transform is not None:
            self.section("transform", transform)
        self.source: list[dict[str, Any]] = []

    def section(self, name: str, values: Any) -> None:
        """Write a file of the contract."""
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    def grow(self, *records: Mapping[str, Any]) -> None:
        """Add records to the source, and write all of it anew."""
        self.give([*self.source, *map(dict, records)])

    def give(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Let the source have exactly these records."""
        self.source = [dict(record) for record in records]
        if self.form == "jsonl":
            text = "".join(json.dumps(record) + "\n" for record in self.source)
        else:
            names = list(dict.fromkeys(name for record in self.source for name in record)) or ["id", "at"]
            lines = [",".join(str(record.get(name, "") or "") for name in names) for record in self.source]
            text = "\n".join([",".join(names), *lines]) + "\n"
        (self.root / f"in.{self.form}").write_text(text, encoding="utf-8")

    def run(self, **options: Any) -> RunResult:
        """Run the contract, and make sure that it went well unless ``fails`` says otherwise."""
        fails = options.pop("fails", False)
        said: list[str] = []
        orchestrator = ETLOrchestrator(self.folder, warn=said.append)
        result = asyncio.run(orchestrator.run(**options))
        assert result.success is not fails, result.error
        self.warnings = said
        return result

    def loaded(self, table: str | None = None) -> Counter[str]:
        """Return the ids in the destination, each as often as it is there."""
        if not (self.root / "out.db").exists():
            return Counter()
        with sqlite3.connect(self.root / "out.db") as connection:
            try:
                rows = connection.execute(f"SELECT id FROM {table or self.name}").fetchall()
            except sqlite3.OperationalError:
                return Counter()
        return Counter(str(row[0]) for row in rows)

    def cursor(self, stream: str | None = None, field: str = "at") -> StoredCursor | None:
        """Return the cursor."""
        with open_ledger(None, self.root / ".etlctl", create=False) as ledger:
            return ledger.cursor(stream or self.name, field)

    def value(self, stream: str | None = None) -> str | None:
        """Return where the cursor stands."""
        found = self.cursor(stream)
        return None if found is None else found.value


def row(identity: int, at: str | None) -> dict[str, Any]:
    """Return a record."""
    return {"id": str(identity), "at": at}
