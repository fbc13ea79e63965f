"""A workspace with a copy of ``contracts/people_daily``, and its commands in real processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
_FILE = ROOT / "tests" / "cases" / "flowledger_cases.yaml"
CASES: Mapping[str, Any] = {case["id"]: case for case in yaml.safe_load(_FILE.read_text(encoding="utf-8"))["cases"]}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Daily:
    """The workspace."""

    root: Path

    @classmethod
    def at(cls, root: Path) -> Daily:
        ignored = shutil.ignore_patterns("out")
        shutil.copytree(
            ROOT / "contracts" / "people_daily", root / "contracts" / "people_daily", ignore=ignored, dirs_exist_ok=True
        )
        shutil.copy(ROOT / "etlctl.yaml", root)
        return cls(root)

    @property
    def contract(self) -> Path:
        return self.root / "contracts" / "people_daily"

    def published(self, date: str) -> Path:
        return self.contract / "out" / "published" / f"{date}.jsonl"

    def letters(self, date: str) -> Path:
        return self.contract / "out" / "dead-letter" / f"{date}.jsonl"

    def give(self, date: str, records: Sequence[Any] | str) -> None:
        """Write the input of a day: records, or text as it is."""
        text = records if isinstance(records, str) else "".join(json.dumps(one) + "\n" for one in records)
        (self.contract / "data" / "input" / f"records-{date}.jsonl").write_text(text, encoding="utf-8")

    def etlctl(self, *arguments: str, **environ: str) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "etlctl", *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1", **environ},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def run(self, date: str, *options: str, **environ: str) -> Ended:
        return self.etlctl("run", "contracts/people_daily", "--run-date", date, *options, "--json", **environ)

    def shown(self, run_id: str) -> Any:
        return self.etlctl("runs", "show", run_id, "--json").data


def lines(path: Path) -> list[Any]:
    """Return the JSON lines of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
