"""A proof finds nothing wrong with the loaders there are, and finds what is wrong with broken ones."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from etlctl.errors import ContractError
from etlctl.faults import POINTS
from etlctl.orchestrator.proof import NotProvable, Proof, ProofSettings, Trial
from etlctl.orchestrator.proving import prove

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL")

RECORDS = 240
TRANSFORM = (
    "transform:\n  - convert: {id: integer, qty: integer}\n  - filter: {field: kind, operator: ne, value: skip}\n"
)
ALWAYS = {point for point in POINTS if not point.startswith("outbox.")} - {
    "load.write",
    "load.before_commit",
    "publish.during",
}
"""Points that any contract with rejected records comes to; the others are up to the loader."""

LEAKY = '''
"""Appends lines to a file, and keeps its token wrongly in a way of choice."""

import json
import shutil
from collections import Counter
from typing import Literal

from etlctl.sdk import CommitToken, Delivery, Loader, Published, Receipt, Writer


class Leaky(Loader):
    """Appends lines to a file."""

    path: str
    """The file."""
    defect: Literal["none", "token_late", "rows_late", "litters", "sweeps"]
    """What is wrong with it."""

    def delivery(self):
        return Delivery.exactly_once

    def scratch(self, folder, ctx):
        folder.mkdir(parents=True)
        copy = folder / "leaky.jsonl"
        if ctx.path(self.path).exists():
            shutil.copy(ctx.path(self.path), copy)
        return self.model_copy(update={"path": str(copy)})

    async def contents(self, ctx):
        path = ctx.path(self.path)
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()

    async def open(self, ctx):
        return LeakyWriter(self, ctx)


def write_whole(path, text):
    draft = path.with_name("draft")
    draft.write_text(text)
    draft.replace(path)


class LeakyWriter(Writer):
    keeps_tokens = True

    def __init__(self, loader, ctx):
        self.defect, self.path = loader.defect, ctx.path(loader.path)
        self.home = self.path.parent / "state"
        self.home.mkdir(exist_ok=True)
        self.token_file = self.home / "token.json"
        self.rows, self.waiting, self.before, self.count = [], [], None, 0
        litter = self.path.parent / ".litter"
        if self.defect in ("litters", "sweeps") and ctx.resume:
            litter.touch()
        elif self.defect == "sweeps":
            litter.unlink(missing_ok=True)

    async def committed(self):
        if not self.token_file.exists():
            return None
        kept = json.loads(self.token_file.read_text())
        self.count = kept["count"]
        if self.defect not in ("rows_late", "token_late"):  # rows behind those of the token were not committed
            lines = self.path.read_text().splitlines(True) if self.path.exists() else []
            write_whole(self.path, "".join(lines[: kept["lines"]]))
        return CommitToken.from_dict(kept["token"])

    async def write(self, batch):
        self.rows = [json.dumps(record, sort_keys=True) + "\\n" for record in batch.to_rows()]
        self.count += len(self.rows)
        return Receipt(len(self.rows))

    def append(self, rows):
        with self.path.open("a") as file:
            file.writelines(rows)

    def keep(self, token, count):
        lines = len(self.path.read_text().splitlines()) if self.path.exists() else 0
        write_whole(self.token_file, json.dumps({"token": token.to_dict(), "lines": lines, "count": count}))

    async def commit(self, token, *, now=False):
        if self.defect == "rows_late":  # the token says that they are there, and they come with the next batch
            self.append(self.waiting)
            self.waiting = self.rows
            self.keep(token, self.count)
            return True
        self.append(self.rows)
        if self.defect == "token_late":  # the token of the batch before
            if self.before is not None:
                self.keep(*self.before)
            self.before = token, self.count
            return True
        self.keep(token, self.count)
        return True

    async def finish(self):
        self.append(self.waiting)
        return Published((str(self.path),), self.count)

    async def close(self):
        self.token_file.unlink(missing_ok=True)

    async def suspend(self):
        return

    async def abort(self):
        return
'''


def workspace(root: Path, load: str, *, extract: str = "", transform: str = TRANSFORM) -> Path:
    (root / "etlctl.yaml").write_text("name: proofs\n", encoding="utf-8")
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True)
    (folder / "extract.yaml").write_text(extract or "type: file\npath: in.csv\n", encoding="utf-8")
    (folder / "transform.yaml").write_text(transform, encoding="utf-8")
    (folder / "load.yaml").write_text(load, encoding="utf-8")
    rows = [f"{n},{'many' if n % 11 == 5 else n},{'skip' if n % 7 == 3 else 'keep'}" for n in range(RECORDS)]
    (folder / "in.csv").write_text("\n".join(["id,qty,kind", *rows]) + "\n", encoding="utf-8")
    return folder


def leaky(root: Path, defect: str) -> Path:
    (root / "loaders").mkdir()
    (root / "loaders" / "leaky.py").write_text(LEAKY.lstrip(), encoding="utf-8")
    extract = "type: file\npath: in.csv\nprocessing_mode: streaming\n"
    return workspace(root, f"type: leaky\npath: out.jsonl\ndefect: {defect}\n", extract=extract)


def proof_of(folder: Path, **settings: object) -> Proof:
    return prove(folder, ProofSettings(**{"seeds": 2, "seed": 7, **settings}))  # type: ignore[arg-type]


def trial(proof: Proof, fault: str) -> Trial:
    return next(one for one in proof.trials if one.fault == fault)


def everything(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"}


LOADS = {
    "jsonl replaced": "type: file\npath: out.jsonl\n",
    "csv appended": "type: file\npath: out.csv\nwrite_method: append\n",
    "parts of parquet": "type: file\npath: out/\nformat: parquet\nwrite_method: append\n",
    "sqlite inserted": "type: sqlite\npath: out.db\ntable: t\n",
    "sqlite replaced": "type: sqlite\npath: out.db\ntable: t\nwrite_method: replace\n",
}

MODES = ["full", "streaming", "full", "streaming", "hybrid"]


@pytest.mark.parametrize(("load", "mode"), list(zip(LOADS, MODES, strict=True)))
def test_every_loader_is_proven_and_nothing_real_is_touched(tmp_path: Path, load: str, mode: str) -> None:
    folder = workspace(tmp_path, LOADS[load])
    (folder / "out.csv").write_text("id,qty,kind\n-1,0,old\n", encoding="utf-8")
    with sqlite3.connect(folder / "out.db") as database:
        database.executescript(
            "CREATE TABLE t (id INTEGER, qty INTEGER, kind TEXT); INSERT INTO t VALUES (-1, 0, 'old')"
        )
    before = everything(tmp_path)
    proof = proof_of(folder, mode=mode)
    assert proof.proven, [one for one in proof.trials if not one.proven]
    assert {one.fault for one in proof.trials if one.kills} >= ALWAYS
    assert all(one.attempts > len(one.kills) for one in proof.trials if one.kills)
    assert (proof.records, proof.batches, proof.kills >= len(ALWAYS)) == (RECORDS, 12, True)
    assert trial(proof, "load.after_commit").kills == ("6 of 12",)
    assert everything(tmp_path) == before


def test_a_custom_loader_that_keeps_its_token_is_proven(tmp_path: Path) -> None:
    proof = proof_of(leaky(tmp_path, "none"))
    # Rows and token are two files: what a kill between the two leaves, it undoes.
    assert [one for one in proof.trials if not one.proven] == []
    assert trial(proof, "load.write").verdict == "not reached"


def test_a_loader_whose_token_is_late_doubles(tmp_path: Path) -> None:
    proof = proof_of(leaky(tmp_path, "token_late"), seeds=0)
    found = trial(proof, "load.after_commit")
    assert not proof.proven
    assert (found.lost, found.doubled > 0) == (0, True)
    assert found.verdict.startswith("doubled")
    assert found.examples[0].startswith("doubled 1 ×: {")
    assert proof.summary.startswith("NOT PROVED: ")


def test_a_loader_whose_rows_are_late_loses(tmp_path: Path) -> None:
    proof = proof_of(leaky(tmp_path, "rows_late"), seeds=0)
    found = trial(proof, "checkpoint.after")
    assert not proof.proven
    assert (found.lost > 0, found.doubled) == (True, 0)
    assert found.examples[0].startswith("lost 1 ×: {")


def test_what_is_left_behind_is_found(tmp_path: Path) -> None:
    proof = proof_of(leaky(tmp_path, "litters"), seeds=0)
    assert trial(proof, "checkpoint.after").problem == "left behind: .litter"
    assert not proof.proven


def test_what_the_next_run_sweeps_is_fine(tmp_path: Path) -> None:
    proof = proof_of(leaky(tmp_path, "sweeps"), seeds=0)
    assert proof.proven, proof.trials


def test_batches_of_a_size_that_already_makes_several_are_kept(tmp_path: Path) -> None:
    extract = "type: file\npath: in.csv\nbatch_size: 10\n"
    proof = proof_of(workspace(tmp_path, LOADS["jsonl replaced"], extract=extract), seeds=0, max_records=100)
    assert (proof.batch_size, proof.batches, proof.records) == (10, 10, 100)
    assert any("only the first 100 source records" in note for note in proof.notes)


def test_fields_that_differ_without_a_kill_are_left_out_and_named(tmp_path: Path) -> None:
    folder = workspace(
        tmp_path,
        LOADS["jsonl replaced"],
        transform="custom_function: {module: chance, function: add, mode: record}\n",
    )
    chance = "import uuid\ndef add(record):\n    return {**record, 'token': uuid.uuid4().hex}\n"
    (folder / "chance.py").write_text(chance, encoding="utf-8")
    proof = proof_of(folder)
    assert proof.blanked == ("token",)
    assert proof.proven, proof.trials


def test_the_clock_is_the_same_in_every_run(tmp_path: Path) -> None:
    proof = proof_of(
        workspace(tmp_path, LOADS["jsonl replaced"], transform="transform: [{add: {at: now()}}]\n"), seeds=0
    )
    assert proof.proven
    assert proof.blanked == ()


def test_records_kept_by_chance_cannot_be_proved(tmp_path: Path) -> None:
    transform = "custom_function: {module: chance, function: keep, mode: batch}\n"
    folder = workspace(tmp_path, LOADS["jsonl replaced"], transform=transform)
    chance = "import random\ndef keep(records):\n    return [one for one in records if random.random() < 0.5]\n"
    (folder / "chance.py").write_text(chance, encoding="utf-8")
    with pytest.raises(NotProvable, match="two undisturbed runs gave different results"):
        proof_of(folder)


@pytest.mark.parametrize(
    ("extract", "load", "message"),
    [
        ("type: file\npath: '-'\nformat: csv\n", LOADS["jsonl replaced"], "standard input"),
        ("type: file\npath: in.csv\n", "type: file\npath: '-'\nformat: jsonl\n", "cannot be imitated in a folder"),
        ("type: file\npath: no.csv\n", LOADS["jsonl replaced"], "does not come to its end undisturbed: File not found"),
        ("type: file\npath: in.csv\nmax_records: 0\n", LOADS["jsonl replaced"], "gave no records"),
    ],
)
def test_what_cannot_be_proved_says_why(tmp_path: Path, extract: str, load: str, message: str) -> None:
    with pytest.raises(NotProvable, match=message) as found:
        proof_of(workspace(tmp_path, load, extract=extract))
    assert found.value.help
    assert found.value.exit_code == 2


def test_a_contract_that_does_not_hold_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(ContractError):
        proof_of(workspace(tmp_path, "type: file\npaht: out.jsonl\n"))


def test_everything_can_be_kept(tmp_path: Path) -> None:
    folder, kept = workspace(tmp_path, LOADS["sqlite inserted"] + "create_table: true\n"), tmp_path / "kept"
    proof = proof_of(folder, seeds=0, keep=kept)
    assert proof.proven
    assert (kept / "load.after_commit-0" / "destination" / "out.db").exists()
    assert (kept / "load.after_commit-0" / ".etlctl" / "state.db").exists()
    with pytest.raises(NotProvable, match="is not empty"):
        proof_of(folder, seeds=0, keep=kept)


def test_a_signal_ends_it_with_all_its_processes(tmp_path: Path) -> None:
    folder = workspace(tmp_path, LOADS["jsonl replaced"])
    environ = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "etlctl", "prove", str(folder), "--seeds", "500"]
    child = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    try:
        while "killed at" not in (line := child.stderr.readline()):
            assert line, "it ended by itself"
        family = psutil.Process(child.pid).children(recursive=True)
        assert len(family) > 1
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 143
    finally:
        child.kill()
        child.stderr.close()
    assert list((tmp_path / "tmp").iterdir()) == []
    _, left = psutil.wait_procs(family, 30)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
