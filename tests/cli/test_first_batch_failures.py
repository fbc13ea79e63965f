"""A run that fails before its first batch has loaded nothing: what is said of it, and how it goes on once repaired."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

LOADS = {
    "sqlite": "type: sqlite\npath: out.db\ntable: t\ncreate_table: true\nwrite_method: append\n",
    "jsonl": "type: file\npath: out.jsonl\n",
}
STEP = "transform:\n- custom_function: {module: fix, function: work, mode: record}\n"


def etlctl(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "NO_COLOR": "1"}
    environ.pop("ETLCTL_STATE_URL", None)
    command = [sys.executable, "-m", "etlctl", *args]
    return subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False
    )


def contract(root: Path, **parts: str) -> Path:
    (root / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True)
    for part, text in {"extract": "type: file\npath: in.jsonl\n", **parts}.items():
        (folder / f"{part}.yaml").write_text(text, encoding="utf-8")
    lines = [json.dumps({"zeta": n, "id": n, "alpha": "x"}) for n in range(3)]
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("load", list(LOADS))
def test_a_repaired_function_may_be_resumed_by_its_checkpoint(tmp_path: Path, load: str) -> None:
    folder = contract(tmp_path, transform=STEP, load=LOADS[load])
    (folder / "fix.py").write_text("import not_there\ndef work(record): return record\n", encoding="utf-8")
    failed = etlctl("run", "contracts/c", cwd=tmp_path)
    assert failed.returncode != 0
    assert "nothing was loaded: put right what is wrong, and run it again" in failed.stderr
    assert "resume" not in failed.stderr + failed.stdout
    (report,) = (tmp_path / ".etlctl" / "reports").iterdir()
    (folder / "fix.py").write_text("def work(record): return record\n", encoding="utf-8")
    resumed = etlctl("resume", "--checkpoint", report.stem, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    if load == "sqlite":
        with closing(sqlite3.connect(folder / "out.db")) as database:
            assert database.execute("SELECT count(*) FROM t").fetchone() == (3,)
    else:
        assert len((folder / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_a_preview_names_the_copies_for_several_destinations(tmp_path: Path) -> None:
    load = "load:\n- {name: a, type: file, path: a.jsonl}\n- {name: b, type: file, path: b.jsonl}\n"
    contract(tmp_path, load=load)
    done = etlctl("preview", "contracts/c", cwd=tmp_path)
    assert "3 source records read and 3 added (copies, parts): 6 would be loaded" in done.stderr, done.stderr


def test_a_plan_shows_fields_as_they_are_written_and_calls_the_destination_by_its_name(tmp_path: Path) -> None:
    folder = contract(tmp_path, load="type: file\npath: out.jsonl\n")
    shown = etlctl("plan", "contracts/c", "--key", "id", cwd=tmp_path)
    assert 'id 0, zeta 0, alpha "x"' in shown.stdout, shown.stdout
    (folder / "load.yaml").write_text("type: file\npath: out.parquet\nwrite_method: append\n", encoding="utf-8")
    (folder / "out.parquet").write_bytes(b"no parquet at all")
    failed = etlctl("plan", "contracts/c", cwd=tmp_path)
    assert "out.parquet" in failed.stderr + failed.stdout
    assert "etlctl-plan-" not in failed.stderr + failed.stdout
