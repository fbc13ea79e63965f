"""A workspace with one contract and a module of functions; runs it as a process and tells what became of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operations_driver import Outcome, build, operation_classes, run_rows

from etlctl.sdk import Operation


def write_contract(root: Path, code: str, transform: str, records: list[dict[str, Any]], **parts: str) -> Path:
    """Write the contract; ``parts`` are more lines of its files."""
    (root / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "functions.py").write_text(code, encoding="utf-8")
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "in.jsonl").write_text(lines, encoding="utf-8")
    (folder / "extract.yaml").write_text("type: file\npath: in.jsonl\n" + parts.get("extract", ""), encoding="utf-8")
    (folder / "transform.yaml").write_text(transform, encoding="utf-8")
    load = parts.get("load", "type: file\npath: out.jsonl\n")
    (folder / "load.yaml").write_text(load, encoding="utf-8")
    return folder


@dataclass
class Ran:
    code: int
    result: dict[str, Any]
    records: list[dict[str, Any]]
    stderr: str
    root: Path

    @property
    def counts(self) -> dict[str, int]:
        return self.result["counts"]

    def letters(self) -> list[dict[str, Any]]:
        return json.loads(etlctl(self.root, "dead-letters", "list", "--json").stdout)

    @property
    def balanced(self) -> bool:
        c = self.counts
        return c["extracted"] + c["added"] == c["loaded"] + c["filtered"] + c["rejected"] + c["deduplicated"]


def etlctl(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "etlctl", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=120)


def run(root: Path, *options: str) -> Ran:
    done = etlctl(root, "run", "contracts/c", "--json", *options)
    out = root / "contracts" / "c" / "out.jsonl"
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] if out.exists() else []
    return Ran(done.returncode, json.loads(done.stdout), records, done.stderr, root)


def custom_function(**options: Any) -> Operation:
    return build(operation_classes()["custom_function"], options)


def call(folder: Path, records: list[dict[str, Any]], **options: Any) -> Outcome:
    """Run one custom function of ``functions.py`` in this process."""
    operation = custom_function(**options if "callable" in options else {"module": "functions", **options})
    return run_rows([operation], records, base_dir=folder)


def rules(outcome: Outcome) -> dict[int, str]:
    """Return the rule of each refused record by its ordinal."""
    return {index: rule for index, _, rule, _ in outcome.refused}
