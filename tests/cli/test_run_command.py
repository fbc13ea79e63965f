"""``etlctl run`` and ``preview`` as real processes: exit codes, streams, dead letters, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MESSY = (
    b"id,name,born,score\n"
    b"1,Ann,1990-01-02,10\n"
    b"2,Bob,1991-02-03\n"
    b"3,Cid,1992-03-04,12,extra\n"
    b"4,Dee,1993-04-05,twelve\n"
    b"5,Eve,1994-13-45,14\n"
    b"6,Fa\xffy,1995-05-06,15\n"
    b"1,Ann again,1996-06-07,16\n"
    b"7,Gus,1997-07-08,17\n"
)


def etlctl(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "NO_COLOR": "1", **env}
    environ.pop("ETLCTL_STATE_URL", None)
    command = [sys.executable, "-m", "etlctl", *args]
    return subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False
    )


def contract(root: Path, name: str = "people", **files: str) -> Path:
    (root / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = root / "contracts" / name
    folder.mkdir(parents=True)
    for part, text in files.items():
        (folder / f"{part}.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    folder = contract(
        tmp_path,
        extract="type: file\npath: people.csv\n",
        transform="transform:\n  convert: {id: integer, born: date, score: integer}\n",
        load="type: file\npath: out/people.jsonl\n",
        contract="name: people\nschema:\n  fields:\n    id: {type: integer, required: true, unique: true}\n",
    )
    (folder / "people.csv").write_bytes(MESSY)
    return tmp_path


def test_a_messy_csv_loads_the_good_rows_and_explains_each_bad_one(messy: Path) -> None:
    done = etlctl("run", "contracts/people", "--json", cwd=messy)
    assert done.returncode == 4, done.stderr
    result = json.loads(done.stdout)
    assert result["counts"] == {
        "extracted": 8, "added": 0, "filtered": 0, "rejected": 6, "deduplicated": 0, "loaded": 2,
    }  # fmt: skip
    lines = (messy / "contracts/people/out/people.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": 1, "name": "Ann", "born": "1990-01-02", "score": 10},
        {"id": 7, "name": "Gus", "born": "1997-07-08", "score": 17},
    ]
    listed = json.loads(etlctl("dead-letters", "list", "--json", cwd=messy).stdout)
    found = {letter["location"].rsplit(":", 1)[1]: letter for letter in listed}
    assert {line: letter["rule"] for line, letter in found.items()} == {
        "3": "csv.short_row",
        "4": "csv.long_row",
        "5": "convert.integer",
        "6": "convert.date",
        "7": "text.utf8",
        "8": "check.unique",
    }
    shown = etlctl("dead-letters", "show", found["3"]["id"], cwd=messy)
    assert shown.returncode == 0
    assert "2,Bob,1991-02-03" in shown.stdout
    assert "csv.short_row" in shown.stdout
    raw = json.loads(etlctl("dead-letters", "show", found["5"]["id"], "--json", cwd=messy).stdout)["raw"]
    assert raw == {"id": "4", "name": "Dee", "born": "1993-04-05", "score": "twelve"}
    runs = json.loads(etlctl("runs", "list", "--json", cwd=messy).stdout)
    assert [run["status"] for run in runs] == ["partial"]


def test_a_declared_budget_makes_it_a_success_or_a_failure(messy: Path) -> None:
    load = messy / "contracts/people/load.yaml"
    load.write_text("type: file\npath: out/people.jsonl\ndead_letters: {max: 6}\n", encoding="utf-8")
    assert etlctl("run", "contracts/people", cwd=messy).returncode == 0
    load.write_text("type: file\npath: out/other.jsonl\ndead_letters: {max: 5}\n", encoding="utf-8")
    done = etlctl("run", "contracts/people", cwd=messy)
    assert done.returncode == 5
    assert "dead_letters.max allows 5" in done.stderr
    assert not (messy / "contracts/people/out/other.jsonl").exists()


def test_preview_shows_what_would_be_loaded_and_writes_nothing(messy: Path) -> None:
    done = etlctl("preview", "contracts/people", "--json", cwd=messy)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert [record["id"] for record in shown["records"]] == [1, 7]
    assert len(shown["rejected"]) == 6
    assert not (messy / "contracts/people/out").exists()
    assert not (messy / ".etlctl").exists()
    table = etlctl("preview", "contracts/people", cwd=messy)
    assert "Gus" in table.stdout
    assert "8 source records read: 2 would be loaded" in table.stderr


def test_dry_run_writes_no_destination(messy: Path) -> None:
    done = etlctl("run", "contracts/people", "--dry-run", "--json", cwd=messy)
    result = json.loads(done.stdout)
    assert (result["counts"]["loaded"], result["would_load"]) == (0, 2)
    assert not (messy / "contracts/people/out").exists()


def test_a_missing_source_says_where_it_looked(tmp_path: Path) -> None:
    contract(tmp_path, extract="type: file\npath: nope.csv\n", load="type: file\npath: out.jsonl\n")
    done = etlctl("run", "contracts/people", cwd=tmp_path)
    assert done.returncode == 1
    assert f"File not found: {tmp_path / 'contracts' / 'people' / 'nope.csv'}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in etlctl("--debug", "run", "contracts/people", cwd=tmp_path).stderr


def test_an_invalid_contract_exits_3_and_runs_nothing(tmp_path: Path) -> None:
    contract(tmp_path, extract="type: file\npaht: x.csv\n", load="type: file\npath: out.jsonl\n")
    done = etlctl("run", "contracts/people", cwd=tmp_path)
    assert done.returncode == 3
    assert "paht" in done.stderr
    assert "path" in done.stderr


def test_stdout_carries_data_only(tmp_path: Path) -> None:
    folder = contract(tmp_path, extract="type: file\npath: x.csv\n", load="type: file\npath: '-'\nformat: jsonl\n")
    (folder / "x.csv").write_text("a,b\n1,\n2,x\n", encoding="utf-8")
    done = etlctl("run", "contracts/people", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"a": "1", "b": None}, {"a": "2", "b": "x"}]
    assert "2" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_has_had_enough_ends_it_quietly(tmp_path: Path) -> None:
    folder = contract(tmp_path, extract="type: file\npath: x.csv\n", load="type: file\npath: '-'\nformat: jsonl\n")
    (folder / "x.csv").write_text("a\n" + "1234567890\n" * 200_000, encoding="utf-8")
    command = f"{sys.executable} -m etlctl run contracts/people --batch-size 1000 | head -1"
    done = subprocess.run(command, cwd=tmp_path, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == '{"a":"1234567890"}\n'
    assert done.stderr == ""


def test_stdin_is_a_source(tmp_path: Path) -> None:
    contract(tmp_path, extract="type: file\npath: '-'\nformat: csv\n", load="type: file\npath: out.jsonl\n")
    command = [sys.executable, "-m", "etlctl", "run", "contracts/people", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, input=b"a\n1\n2\n", capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "contracts/people/out.jsonl").read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_cleanly_and_publish_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    folder = contract(tmp_path, extract="type: file\npath: '-'\nformat: csv\n", load="type: file\npath: out.jsonl\n")
    command = [sys.executable, "-m", "etlctl", "run", "contracts/people"]
    child = subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdin is not None
    child.stdin.write(b"a\n" + b"1\n" * 10)
    child.stdin.flush()
    deadline = time.monotonic() + 30
    while not list(tmp_path.rglob("state.db")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.3)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=30)
    assert child.returncode == code, stderr
    assert not (folder / "out.jsonl").exists()
    assert list(folder.glob("*.tmp*")) == []
    assert list(folder.glob(".out*")) == []
    runs = json.loads(etlctl("runs", "list", "--json", cwd=tmp_path).stdout)
    assert [run["status"] for run in runs] == ["canceled"]


def test_parameters_reach_the_contract(tmp_path: Path) -> None:
    folder = contract(
        tmp_path,
        extract="type: file\npath: ${day}.csv\ninput_params: {day: {type: string, required: true}}\n",
        load="type: file\npath: out-${day}.jsonl\n",
    )
    (folder / "mon.csv").write_text("a\n1\n", encoding="utf-8")
    assert etlctl("run", "contracts/people", "-p", "day=mon", cwd=tmp_path).returncode == 0
    assert (folder / "out-mon.jsonl").exists()
    missing = etlctl("run", "contracts/people", cwd=tmp_path)
    assert missing.returncode == 3
    assert "day" in missing.stderr
    assert etlctl("run", "contracts/people", "-p", "day", cwd=tmp_path).returncode == 2


def test_secrets_never_show(tmp_path: Path) -> None:
    canary = "s3cr3t-canary-value"
    contract(
        tmp_path,
        extract="type: file\npath: ${secret:WHERE}.csv\n",
        load="type: file\npath: out.jsonl\n",
    )
    done = etlctl("--debug", "run", "contracts/people", cwd=tmp_path, ETLCTL_SECRET_WHERE=canary)
    assert done.returncode == 1
    assert canary not in done.stdout + done.stderr
    left = [path for path in (tmp_path / ".etlctl").rglob("*") if path.is_file()]
    assert left
    assert not [path for path in left if canary.encode() in path.read_bytes()]


def test_a_contract_of_a_relative_path_runs_from_anywhere(tmp_path: Path) -> None:
    folder = contract(tmp_path, extract="type: file\npath: x.csv\n", load="type: file\npath: out.csv\n")
    (folder / "x.csv").write_text("a\n1\n", encoding="utf-8")
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    assert etlctl("run", str(folder), cwd=elsewhere).returncode == 0
    assert (folder / "out.csv").read_text(encoding="utf-8") == "a\n1\n"
    assert not (elsewhere / ".etlctl").exists()
    assert (tmp_path / ".etlctl" / "state.db").exists()
