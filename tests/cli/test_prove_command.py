"""``etlctl prove`` and ``etlctl run --prove`` as real processes: table, JSON, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL")

FORGETFUL = '''
"""Appends lines to a file, and forgets what it has committed."""

import shutil
from collections import Counter

from etlctl.sdk import Loader, Published, Receipt, Writer


class Forgetful(Loader):
    """Appends lines to a file."""

    path: str
    """The file."""

    def scratch(self, folder, ctx):
        folder.mkdir(parents=True)
        return self.model_copy(update={"path": str(folder / "out.txt")})

    async def contents(self, ctx):
        path = ctx.path(self.path)
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()

    async def open(self, ctx):
        return ForgetfulWriter(ctx.path(self.path))


class ForgetfulWriter(Writer):
    def __init__(self, path):
        self.path, self.count = path, 0

    async def write(self, batch):
        with self.path.open("a") as file:
            file.writelines(f"{record['a']}\\n" for record in batch.to_rows())
        self.count += len(batch)
        return Receipt(len(batch))

    async def finish(self):
        return Published((str(self.path),), self.count)

    async def abort(self):
        return
'''


def etlctl(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "etlctl", *args]
    return subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False
    )


def workspace(root: Path, load: str, extract: str = "type: file\npath: in-${day}.csv\n") -> Path:
    (root / "etlctl.yaml").write_text("name: proofs\n", encoding="utf-8")
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True)
    params = "input_params: {day: {type: string, default: none}}\n"
    (folder / "extract.yaml").write_text(extract + params, encoding="utf-8")
    (folder / "load.yaml").write_text(load, encoding="utf-8")
    (folder / "in-mon.csv").write_text("a\n" + "\n".join(map(str, range(60))) + "\n", encoding="utf-8")
    return root


def test_a_proof_prints_a_table_and_the_verdict_last(tmp_path: Path) -> None:
    workspace(tmp_path, "type: file\npath: out.jsonl\nwrite_method: append\n")
    done = etlctl("prove", "contracts/c", "-p", "day=mon", "--seeds", "1", "--seed", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["fault", "what"]
    (after,) = (line for line in lines if line.startswith("load.after_commit"))
    assert after.split()[-7:] == ["6", "of", "12", "2", "0", "0", "equal"]
    assert [line.split()[0] for line in lines if line.startswith("random")] == ["random"]
    assert lines[-1].startswith("proved: ")
    assert lines[-1].endswith(" kills, 0 lost, 0 doubled")
    assert "this reads the source about" in done.stderr
    assert "(--seed 3)" in done.stderr
    assert not (tmp_path / ".etlctl").exists()
    assert not (tmp_path / "contracts/c/out.jsonl").exists()


def test_a_loader_that_forgets_is_caught(tmp_path: Path) -> None:
    workspace(
        tmp_path, "type: forgetful\npath: out.txt\n", "type: file\npath: in-mon.csv\nprocessing_mode: streaming\n"
    )
    (tmp_path / "loaders").mkdir()
    (tmp_path / "loaders" / "forgetful.py").write_text(FORGETFUL.lstrip(), encoding="utf-8")
    done = etlctl("prove", "contracts/c", "--seeds", "0", "--json", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    proof = json.loads(done.stdout)
    found = {one["fault"]: one for one in proof["trials"]}
    assert proof["proven"] is False
    assert found["load.after_commit"]["doubled"] == 30
    assert found["load.after_commit"]["examples"][0].startswith("doubled 1 ×: ")
    assert found["load.after_commit"]["lost"] == 0
    assert found["read.before"]["proven"] is True
    shown = etlctl("prove", "contracts/c", "--seeds", "0", cwd=tmp_path)
    assert shown.returncode == 1
    assert "load.after_commit: doubled 1 ×: " in shown.stdout
    assert shown.stdout.splitlines()[-1].startswith("NOT PROVED: ")
    assert "promises only at_least_once" in shown.stderr


def test_run_prove_does_the_same(tmp_path: Path) -> None:
    workspace(tmp_path, "type: file\npath: out.csv\n")
    done = etlctl("run", "contracts/c", "--prove", "-p", "day=mon", "--mode", "streaming", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    proof = json.loads(done.stdout)
    assert (proof["proven"], proof["mode"], proof["records"]) == (True, "streaming", 60)
    assert len([one for one in proof["trials"] if one["fault"].startswith("random")]) == 10
    assert not (tmp_path / "contracts/c/out.csv").exists()
    refused = etlctl("run", "contracts/c", "--prove", "--run-key", "k", "--restart", cwd=tmp_path)
    assert refused.returncode == 2
    assert "not --run-key, --restart" in " ".join(refused.stderr.split())


def test_what_cannot_be_proved_is_a_clear_error(tmp_path: Path) -> None:
    workspace(tmp_path, "type: file\npath: out.csv\n", "type: file\npath: '-'\nformat: csv\n")
    done = etlctl("prove", "contracts/c", cwd=tmp_path)
    assert done.returncode == 2
    assert "error: the source is standard input" in done.stderr
    assert "help: " in done.stderr
    assert done.stdout == ""
    (tmp_path / "contracts/c/load.yaml").write_text("type: file\npaht: out.csv\n", encoding="utf-8")
    assert etlctl("prove", "contracts/c", cwd=tmp_path).returncode == 3
