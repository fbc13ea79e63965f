"""``dead-letters replay`` and ``discard`` as a person uses them: real processes, real files, a real kill -9."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SQLITE = "type: sqlite\npath: out.db\ntable: t\ncreate_table: true\n"
JSONL = "type: file\npath: out.jsonl\nwrite_method: append\n"


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def etlctl(folder: Path, *arguments: str, **more: str) -> Answer:
    environ = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **more}
    environ.pop("ETLCTL_STATE_URL", None)
    done = subprocess.run(
        [sys.executable, "-m", "etlctl", *arguments], cwd=folder, env=environ, capture_output=True, encoding="utf-8",
        check=False, timeout=120,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def workspace(root: Path, load: str = SQLITE, *, readable: bool = True, extract: str = "") -> Path:
    """Ten orders, of which 3 and 6 have a bad price and, unless all are readable, one line has a cell too many."""
    (root / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = root / "contracts" / "orders"
    folder.mkdir(parents=True)
    lines = [f"{n},{'free' if n in {3, 6} else n}" for n in range(10)] + ([] if readable else ["10,1,2"])
    (folder / "in.csv").write_text("id,price\n" + "\n".join(lines) + "\n")
    (folder / "extract.yaml").write_text("type: file\npath: in.csv\n" + extract)
    (folder / "transform.yaml").write_text("transform: {convert: {price: integer}}\n")
    (folder / "load.yaml").write_text(load)
    return folder


def corrected(folder: Path, text: str = "transform: {convert: {price: {type: integer, on_error: 'null'}}}\n") -> None:
    (folder / "transform.yaml").write_text(text)


def ids(folder: Path) -> Counter[int]:
    if (folder / "out.db").exists():
        with sqlite3.connect(folder / "out.db") as database:
            return Counter(int(row[0]) for row in database.execute("SELECT id FROM t"))
    return Counter(int(json.loads(line)["id"]) for line in (folder / "out.jsonl").read_text().splitlines())


def open_ids(root: Path) -> list[str]:
    return [letter["id"] for letter in etlctl(root, "dead-letters", "list", "--json").data]


@pytest.mark.parametrize("load", [SQLITE, JSONL, JSONL.replace("append", "replace")])
def test_reject_correct_replay(tmp_path: Path, load: str) -> None:
    folder = workspace(tmp_path, load)
    assert etlctl(tmp_path, "run", "contracts/orders").code == 4
    again = etlctl(tmp_path, "dead-letters", "replay", "--contract", "orders")
    assert again.code == 4
    assert "2 records of orders" in again.err
    assert "0 loaded, 2 rejected again" in again.err
    corrected(folder)
    planned = etlctl(tmp_path, "dead-letters", "replay", "--contract", "orders", "--dry-run")
    assert (planned.code, "2 records of orders" in planned.err, "would be replayed" in planned.err) == (0, True, True)
    assert len(ids(folder)) == 8
    replayed = etlctl(tmp_path, "dead-letters", "replay", "--contract", "orders")
    assert replayed.code == 0, replayed.err
    assert "2 loaded by run_" in replayed.err
    assert ids(folder) == Counter(range(10))
    assert open_ids(tmp_path) == []
    once_more = etlctl(tmp_path, "dead-letters", "replay", "--contract", "orders")
    assert (once_more.code, once_more.err.strip()) == (0, "no open dead letters match")
    assert ids(folder) == Counter(range(10))
    triggers = [run["trigger"] for run in etlctl(tmp_path, "runs", "list", "--json").data]
    assert triggers == ["replay", "replay", "manual"]


@pytest.mark.parametrize(("load", "point"), [(SQLITE, "ledger.finish"), (JSONL, "publish.after")])
def test_killed_between_commit_and_marking(tmp_path: Path, load: str, point: str) -> None:
    folder = workspace(tmp_path, load)
    etlctl(tmp_path, "run", "contracts/orders")
    corrected(folder)
    killed = etlctl(tmp_path, "dead-letters", "replay", "--all", ETLCTL_FAULT=f"{point}=kill")
    assert killed.code == -9
    assert len(open_ids(tmp_path)) == 2
    replayed = etlctl(tmp_path, "dead-letters", "replay", "--all")
    assert replayed.code == 0, replayed.err
    assert ids(folder) == Counter(range(10))
    assert open_ids(tmp_path) == []
    assert etlctl(tmp_path, "checkpoints", "list", "--json").data == {"checkpoints": [], "damaged": []}


def test_what_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    folder = workspace(tmp_path, readable=False)
    etlctl(tmp_path, "run", "contracts/orders")
    corrected(folder)
    answer = etlctl(tmp_path, "dead-letters", "replay", "--all", "--json")
    assert answer.code == 4
    (done,), (left,) = answer.data["replays"], answer.data["not_replayed"]
    assert (done["loaded"], done["replayed_letters"], done["rejected_again"]) == (2, 2, [])
    assert "only its raw text" in left["why"]
    assert "discard it" in left["help"]
    assert open_ids(tmp_path) == [left["id"]]
    told = etlctl(tmp_path, "dead-letters", "replay", left["id"])
    assert told.code == 4
    assert f"not replayed: {left['id']}" in told.err
    assert etlctl(tmp_path, "dead-letters", "discard", left["id"]).code == 0
    assert open_ids(tmp_path) == []


@pytest.mark.parametrize("command", ["replay", "discard"])
def test_everything_only_when_asked_for(tmp_path: Path, command: str) -> None:
    workspace(tmp_path)
    etlctl(tmp_path, "run", "contracts/orders")
    for arguments in ((), ("dl_01", "--all"), ("dl_01", "--contract", "orders")):
        answer = etlctl(tmp_path, "dead-letters", command, *arguments)
        assert answer.code == 2
        assert "--contract" in answer.err
    assert len(open_ids(tmp_path)) == 2


def test_discard(tmp_path: Path) -> None:
    folder = workspace(tmp_path)
    etlctl(tmp_path, "run", "contracts/orders")
    first, second = open_ids(tmp_path)
    planned = etlctl(tmp_path, "dead-letters", "discard", "--rule", "convert", "--dry-run")
    assert planned.code == 0
    assert first in planned.out
    assert "2 would be discarded" in planned.err
    assert open_ids(tmp_path) == [first, second]
    assert (
        etlctl(tmp_path, "dead-letters", "discard", "--rule", "convert.float").err.strip()
        == "no open dead letters match"
    )
    assert etlctl(tmp_path, "dead-letters", "discard", first.removeprefix("dl_")).code == 0
    assert open_ids(tmp_path) == [second]
    twice = etlctl(tmp_path, "dead-letters", "discard", first)
    assert twice.code == 2
    assert "is discarded already" in twice.err
    corrected(folder)
    assert etlctl(tmp_path, "dead-letters", "replay", "--all").code == 0
    assert 3 not in ids(folder)
    assert 6 in ids(folder)
    statuses = {
        one["id"]: one["status"] for one in etlctl(tmp_path, "dead-letters", "list", "--status", "all", "--json").data
    }
    assert statuses == {first: "discarded", second: "replayed"}
    everything = etlctl(tmp_path, "dead-letters", "discard", "--all", "--json")
    assert everything.data == {"letters": [], "discarded": 0, "dry_run": False}


def test_a_contract_that_does_not_hold_leaves_everything_open(tmp_path: Path) -> None:
    folder = workspace(tmp_path)
    etlctl(tmp_path, "run", "contracts/orders")
    corrected(folder, "transform: {convrt: {}}\n")
    answer = etlctl(tmp_path, "dead-letters", "replay", "--all")
    assert answer.code == 3
    assert "does not hold" in answer.err
    assert len(open_ids(tmp_path)) == 2


def test_resume_of_a_replay_tells_what_to_do(tmp_path: Path) -> None:
    folder = workspace(tmp_path)
    etlctl(tmp_path, "run", "contracts/orders")
    corrected(folder)
    etlctl(tmp_path, "dead-letters", "replay", "--all", ETLCTL_FAULT="load.write=kill")
    run_id = etlctl(tmp_path, "runs", "list", "--json").data[0]["run_id"]
    answer = etlctl(tmp_path, "resume", "--checkpoint", run_id)
    assert answer.code == 7
    assert "is a replay of dead letters" in answer.err
    assert "etlctl dead-letters replay" in answer.err


def test_secret_parameters_are_given_again(tmp_path: Path) -> None:
    secret = "hunter2-hunter2"
    folder = workspace(tmp_path, extract="input_params: {token: {required: true}}\n")
    (folder / "transform.yaml").write_text("transform: {convert: {price: integer}, add: {by: '${param:token}'}}\n")
    etlctl(tmp_path, "run", "contracts/orders", "-p", f"token={secret}")
    corrected(folder, "transform: {convert: {price: {type: integer, on_error: 'null'}}, add: {by: '${param:token}'}}\n")
    with sqlite3.connect(tmp_path / ".etlctl" / "state.db") as ledger:
        ledger.execute("UPDATE etlctl_runs SET params = replace(params, ?, '***')", (secret,))
    answer = etlctl(tmp_path, "dead-letters", "replay", "--all")
    assert answer.code == 7
    assert "-p token=" in answer.err
    assert etlctl(tmp_path, "dead-letters", "replay", "--all", "-p", f"token={secret}").code == 0
    assert ids(folder) == Counter(range(10))
