"""A workspace with rejected records, and what a test of replays asks of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etlctl import ETLOrchestrator
from etlctl.orchestrator.replay import Replayer
from etlctl.orchestrator.replay_book import Wanted
from etlctl.orchestrator.replay_plan import Outcome, Planner
from etlctl.run import DeadLetter, RunResult
from etlctl.state import open_ledger
from etlctl.state.ledger import Ledger

SQLITE = "type: sqlite\npath: out.db\ntable: t\ncreate_table: true\nwrite_method: append\n"
JSONL = "type: file\npath: out.jsonl\nwrite_method: append\n"
BAD = {"3": "x3", "7": "x7", "8": "x8", "14": "x14"}
STRICT = "transform: {convert: {n: integer}}\n"
FIXED = "transform: {convert: {n: string}}\n"
HALF_FIXED = "transform:\n- custom_function: {module: fix, function: work, mode: record}\n- convert: {n: integer}\n"
"""x3 and x7 become numbers, x8 is filtered, x14 is rejected again."""


@dataclass
class Shop:
    """A contract ``orders`` whose source has 20 records, four of them with a bad ``n``."""

    root: Path
    warned: list[str]

    @property
    def folder(self) -> Path:
        return self.root / "contracts" / "orders"

    @property
    def ledger(self) -> Ledger:
        return open_ledger(state_dir=self.root / ".etlctl")

    def write(self, **parts: str) -> None:
        for part, text in parts.items():
            (self.folder / f"{part}.yaml").write_text(text, encoding="utf-8")

    def source(self, records: list[dict[str, Any]]) -> None:
        lines = [json.dumps(record) for record in records]
        (self.folder / "in.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def run(self, **options: Any) -> RunResult:
        return asyncio.run(ETLOrchestrator(self.folder, warn=self.warned.append).run(**options))

    def replayer(self, **options: Any) -> Replayer:
        planner = Planner(self.root / ".etlctl", root=self.root, **options)
        return Replayer(planner, self.warned.append)

    def replay(self, wanted: Wanted | None = None, **options: Any) -> Outcome:
        return asyncio.run(self.replayer(**options).replay(wanted or Wanted(contract="orders")))

    def letters(self, status: str | None = "open", run: str | None = None) -> list[DeadLetter]:
        with self.ledger as ledger:
            return ledger.dead_letters(run_id=run, status=status, limit=1000)

    def rows(self) -> list[dict[str, Any]]:
        """What is at the destination, whichever it is."""
        if (self.folder / "out.db").exists():
            with sqlite3.connect(self.folder / "out.db") as database:
                database.row_factory = sqlite3.Row
                return [dict(row) for row in database.execute("SELECT * FROM t")]
        path = self.folder / "out.jsonl"
        return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []

    def ids(self) -> Counter[str]:
        return Counter(str(row["id"]) for row in self.rows())


def shop(root: Path, load: str = SQLITE, **parts: str) -> Shop:
    made = Shop(root, [])
    (root / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    made.folder.mkdir(parents=True)
    extract = "type: file\npath: in.jsonl\nbatch_size: 6\nprocessing_mode: streaming\n"
    made.write(**{"extract": extract, "transform": STRICT, "load": load, **parts})
    (made.folder / "fix.py").write_text(
        "def work(record):\n"
        "    if record['n'] == 'x8':\n"
        "        return None\n"
        "    return record if record['n'] == 'x14' else {**record, 'n': record['n'].lstrip('x')}\n"
    )
    made.source([{"id": str(n), "n": BAD.get(str(n), str(n))} for n in range(20)])
    return made


def every(but: str = "") -> Counter[str]:
    return Counter(str(n) for n in range(20) if str(n) not in but.split())
