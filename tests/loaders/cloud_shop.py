"""What the tests of the object store loader share: a bucket seen by another library, a case, and what it holds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attempt import records_of
from cloud_attempt import attempt
from etlctl.loaders.cloud_storage import CloudStorage
from resuming import canonical, records_in
from s3_shelf import Shelf

from etlctl.sdk import WriteContext, Writer

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Case:
    """A destination, and what a run writes to it."""

    shelf: Shelf
    folder: Path
    name: str
    method: str
    interval: int | None = 1
    batches: int = 4
    size: int = 5

    @property
    def path(self) -> str:
        return self.name.partition(":")[0]

    @property
    def options(self) -> dict[str, Any]:
        form = self.name.partition(":")[2]
        more = {"format": form} if form else {}
        return {**self.shelf.options, "path": self.path, "write_method": self.method, **more}

    @property
    def late(self) -> int:
        return 1 if "csv" in self.name and self.method == "append" else 3

    def given(self, *, run: str = "run_1", resume: bool = True, fence: int = 1, close: bool = True) -> dict[str, Any]:
        ctx = {"base_dir": str(self.folder), "run_id": run, "stream": "orders", "fence": fence, "resume": resume}
        ctx["commit_interval"] = self.interval
        sizes = {"batches": self.batches, "size": self.size, "late": self.late}
        return {"options": self.options, "ctx": ctx, "close": close, **sizes}

    def run(self, **how: Any) -> dict[str, Any]:
        return asyncio.run(attempt(self.given(**how)))

    def child(self, fault: str = "", **how: Any) -> subprocess.Popen[str]:
        env = {name: value for name, value in os.environ.items() if name != "ETLCTL_FAULT"}
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("cloud_attempt.py")), json.dumps(self.given(**how))],
            cwd=ROOT,
            env={**env, **({"ETLCTL_FAULT": fault} if fault else {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, child: subprocess.Popen[str]) -> bool:
        """Wait; tell whether it was killed."""
        _, err = child.communicate(timeout=120)
        assert child.returncode in {0, -signal.SIGKILL}, err
        return child.returncode != 0

    def before(self) -> list[dict[str, Any]]:
        """Write the records that are there before the run, with another run."""
        replace(self, batches=1, size=3).run(run="run_0", resume=False)
        return records_of(1, 3, self.late)

    def expected(self, before: list[dict[str, Any]]) -> list[str]:
        new = [one for seq in range(1, self.batches + 1) for one in records_of(seq, self.size, self.late)]
        return canonical([*(before if self.method == "append" else []), *new])

    def found(self) -> list[str]:
        keys = self.shelf.shown(self.path) if self.path.endswith("/") else [self.path]
        return canonical([record for key in keys for record in self._records(key)])

    def _records(self, key: str) -> list[dict[str, Any]]:
        path = self.folder / key.rpartition("/")[2]
        path.write_bytes(self.shelf.get(key))
        return records_in(path)

    async def opened(self, **more: Any) -> Writer:
        ctx = {**self.given()["ctx"], "base_dir": self.folder, "resume": False, **more}
        return await CloudStorage(**self.options).open(WriteContext(**ctx))
