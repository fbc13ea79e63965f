"""``etlctl run --param-file``: one run for each parameter set, with real processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from etlctl.orchestrator.param_file import read_param_file
from etlctl.orchestrator.param_sets import ParamSetError


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def etlctl(folder: Path, *arguments: str) -> Answer:
    environ = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    environ.pop("ETLCTL_STATE_URL", None)
    done = subprocess.run(
        [sys.executable, "-m", "etlctl", *arguments], cwd=folder, env=environ, capture_output=True, encoding="utf-8",
        check=False, timeout=240,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def workspace(root: Path, sources: int = 3) -> Path:
    (root / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True)
    (folder / "extract.yaml").write_text(
        "type: file\npath: in${param:n}.csv\ninput_params: {n: {type: integer, required: true}, tag: {default: none}}\n"
    )
    (folder / "transform.yaml").write_text("transform: {add: {tag: '${param:tag}'}}\n")
    (folder / "load.yaml").write_text("type: file\npath: out.jsonl\nwrite_method: append\n")
    for number in range(sources):
        (folder / f"in{number}.csv").write_text(f"a\n{number}-0\n{number}-1\n")
    return folder


def loaded(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def test_fifty_sets_one_poisoned(tmp_path: Path) -> None:
    folder = workspace(tmp_path, 50)
    (folder / "in17.csv").unlink()
    (tmp_path / "sets.yaml").write_text("".join(f"- {{n: {number}}}\n" for number in range(50)))
    answer = etlctl(tmp_path, "run", "contracts/c", "--param-file", "sets.yaml", "--concurrency", "10")
    assert answer.code == 4, answer.err
    assert len(loaded(folder)) == 98
    assert {record["a"][:-2] for record in loaded(folder)} == {str(n) for n in range(50)} - {"17"}
    assert "49 of 50 runs succeeded, 98 records loaded" in answer.err
    failures = [line for line in answer.err.splitlines() if line.startswith("error: n=17: ")]
    assert len(failures) == 1
    assert "in17.csv" in failures[0]
    (command,) = (line.split(": ", 1)[1] for line in answer.err.splitlines() if "carry on with" in line)
    assert sum("] n=" in line for line in answer.err.splitlines()) == 50
    assert answer.out.count("succeeded") == 49

    (folder / "in17.csv").write_text("a\n17-0\n")
    resumed = etlctl(tmp_path, *command.split()[1:])
    assert resumed.code == 0, resumed.err
    assert len(loaded(folder)) == 99


def test_all_good_is_0_and_all_failed_is_1(tmp_path: Path) -> None:
    workspace(tmp_path)
    (tmp_path / "good.yaml").write_text("[{n: 0}, {n: 1}]")
    (tmp_path / "bad.yaml").write_text("[{n: 7}, {n: 8}]")
    assert etlctl(tmp_path, "run", "contracts/c", "--param-file", "good.yaml").code == 0
    answer = etlctl(tmp_path, "run", "contracts/c", "--param-file", "bad.yaml", "--quiet")
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err.count("error: n=") == 2


def test_a_set_that_the_contract_refuses_never_hurts_the_others(tmp_path: Path) -> None:
    workspace(tmp_path)
    (tmp_path / "sets.json").write_text('[{"n": 0}, {"n": "many"}, {"m": 1}, {"n": 2}]')
    answer = etlctl(tmp_path, "run", "contracts/c", "--param-file", "sets.json", "--json")
    assert answer.code == 4, answer.err
    assert [one["success"] for one in answer.data] == [True, False, False, True]
    assert [one["records"] for one in answer.data] == [2, 0, 0, 2]
    assert "'many' is not a whole number" in answer.data[1]["error"]
    assert "unknown parameter 'm'" in answer.data[2]["error"] or "'n' is not given" in answer.data[2]["error"]
    assert "error" not in answer.data[0]


def test_a_contract_that_never_holds_is_told_once(tmp_path: Path) -> None:
    folder = workspace(tmp_path)
    (folder / "load.yaml").write_text("type: file\npaht: out.jsonl\n")
    (tmp_path / "sets.yaml").write_text("[{n: 0}, {n: 1}]")
    answer = etlctl(tmp_path, "run", "contracts/c", "--param-file", "sets.yaml")
    assert answer.code == 3
    assert answer.err.count("unknown option 'paht'") + answer.err.count("unknown key 'paht'") in {1, 2}


def test_p_is_for_every_set_and_a_sets_own_value_wins(tmp_path: Path) -> None:
    folder = workspace(tmp_path)
    (tmp_path / "sets.csv").write_text("n,tag\n0,\n1,mine\n")
    answer = etlctl(tmp_path, "run", "contracts/c", "-p", "tag=all", "--param-file", "sets.csv", "--concurrency", "1")
    assert answer.code == 0, answer.err
    assert [(record["a"], record["tag"]) for record in loaded(folder)] == [
        ("0-0", "all"), ("0-1", "all"), ("1-0", "mine"), ("1-1", "mine"),
    ]  # fmt: skip


def test_with_a_run_key_the_same_command_takes_up_what_is_left(tmp_path: Path) -> None:
    folder = workspace(tmp_path)
    (tmp_path / "sets.jsonl").write_text('{"n": 0}\n{"n": 5}\n\n{"n": 1}\n')
    command = ("run", "contracts/c", "--param-file", "sets.jsonl", "--run-key", "monday", "--json")
    first = etlctl(tmp_path, *command)
    assert first.code == 4
    (folder / "in5.csv").write_text("a\n5-0\n")
    second = etlctl(tmp_path, *command)
    assert second.code == 0, second.err
    assert [one["result"]["reused"] for one in second.data] == [True, False, True]
    assert [one["run_id"] for one in second.data] == [one["run_id"] for one in first.data]
    assert len({one["result"]["run_key"] for one in second.data}) == 3
    assert len(loaded(folder)) == 5


def test_rejected_records_are_4(tmp_path: Path) -> None:
    folder = workspace(tmp_path)
    (folder / "in1.csv").write_text("a\n1-0,too many\n1-1\n")
    (tmp_path / "sets.yaml").write_text("[{n: 0}, {n: 1}]")
    answer = etlctl(tmp_path, "run", "contracts/c", "--param-file", "sets.yaml")
    assert answer.code == 4
    assert "2 of 2 runs succeeded" in answer.err
    assert "1 rejected" in answer.err


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_signal_stops_the_runs_in_hand_and_begins_no_more(tmp_path: Path) -> None:
    folder = workspace(tmp_path, 6)
    (folder / "load.yaml").write_text("type: file\npath: out-${param:n}.jsonl\n")
    (folder / "transform.yaml").write_text("custom_function: {module: slow, function: work, mode: record}\n")
    (folder / "slow.py").write_text(
        "import pathlib, time\n"
        "def work(record):\n"
        f"    pathlib.Path({str(tmp_path / 'busy')!r}).touch()\n"
        "    time.sleep(0.002)\n"
        "    return record\n"
    )
    for number in range(6):
        rows = "".join(f"{number}-{row}\n" for row in range(100_000))
        (folder / f"in{number}.csv").write_text("a\n" + rows)
    (tmp_path / "sets.yaml").write_text("".join(f"- {{n: {number}}}\n" for number in range(6)))
    command = [sys.executable, "-m", "etlctl", "run", "contracts/c", "--param-file", "sets.yaml", "--concurrency", "2"]
    child = subprocess.Popen(
        [*command, "--json"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "busy").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    try:
        out, err = child.communicate(timeout=60)  # all of it would take ten minutes
    finally:
        child.kill()
    assert child.returncode == 143, err
    results = json.loads(out)
    begun = [one["run_id"] is not None for one in results]
    assert begun in ([True] * count + [False] * (6 - count) for count in (1, 2))
    stopped = ["not begun: stopped by SIGTERM" if not one else "stopped by SIGTERM" for one in begun]
    assert all(text in one["error"] for text, one in zip(stopped, results, strict=True)), results


# What files hold


@pytest.mark.parametrize(
    ("name", "text", "expect"),
    [
        ("a.yaml", "- {n: 1.10, on: on, day: 2026-01-31, id: 007, none: ~, t: 'x', yes: no}\n",
         [{"n": "1.10", "on": "on", "day": "2026-01-31", "id": "007", "t": "x", "yes": "no"}]),
        ("a.yml", "- &a {n: 1}\n- <<: *a\n  m: 2\n", [{"n": "1"}, {"m": "2", "n": "1"}]),
        ("a.json", '[{"n": 1.10, "big": 123456789012345678901234567890, "b": true, "z": null}]',
         [{"n": "1.10", "big": "123456789012345678901234567890", "b": True}]),
        ("a.jsonl", '{"n": 1}\r\n\n{"n": "2\u2028"}', [{"n": "1"}, {"n": "2\u2028"}]),
        ("a.CSV", '\ufeffn, m\n1,"a, b"\n\n2,\n', [{"n": "1", "m": "a, b"}, {"n": "2"}]),
    ],
)  # fmt: skip
def test_values_stay_as_they_are_written(tmp_path: Path, name: str, text: str, expect: Any) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read_param_file(tmp_path / name) == expect


@pytest.mark.parametrize(
    ("name", "text", "message", "line"),
    [
        ("a.txt", "n: 1", "cannot tell the format", None),
        ("a.yaml", "", "there are no parameter sets", None),
        ("a.yaml", "n: 1\n", "a list of mappings is wanted", 1),
        ("a.yaml", "- {n: 1}\n- 5\n", "a parameter set is a mapping", 2),
        ("a.yaml", "- n: 1\n  n: 2\n", "'n' is written twice", 2),
        ("a.yaml", "- n: [1, 2]\n", "must be one value", 1),
        ("a.yaml", "- n: !!python/object:os.system {}\n", "is not allowed", 1),
        ("a.yaml", "- {n: 1\n", "not valid YAML", 2),
        ("a.json", '{"n": 1}', "a list of mappings is wanted", None),
        ("a.json", '[{"n": 1,\n "n": 2}]', "'n' is written twice", None),
        ("a.json", '[{"n": 1},\n 5]', "set 2: a parameter set is an object", None),
        ("a.json", "[1,\n", "not valid JSON", 2),
        ("a.json", "[" * 100_000, "nested too deeply", None),
        ("a.jsonl", '{"n": 1}\n{"n": {}}\n', "must be one value", 2),
        ("a.jsonl", '{"n": 1}\n{\n', "not valid JSON", 2),
        ("a.csv", "n,n\n1,2\n", "names a parameter twice", 1),
        ("a.csv", "n,m\n1\n", "1 cells, but the header names 2", 2),
        ("a.csv", 'n\n"1"x\n', "not valid CSV", 2),
        ("a.csv", "n\n", "there are no parameter sets", None),
        ("a.csv", b"n\n\xff\n", "is not UTF-8", 2),
    ],
)
def test_files_that_do_not_hold(tmp_path: Path, name: str, text: Any, message: str, line: int | None) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ParamSetError) as caught:
        read_param_file(tmp_path / name)
    assert message in str(caught.value)
    found = [one for one in caught.value.diagnostics if one.span is not None]
    assert ([one.span.line for one in found] or [None])[0] == line


@pytest.mark.parametrize("arguments", [("nowhere.yaml",), ("twice.yaml",)])
def test_a_file_that_does_not_do_is_a_usage_error_and_nothing_runs(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    folder = workspace(tmp_path)
    (tmp_path / "twice.yaml").write_text("- {n: 1}\n- {n: 0}\n- {n: '1'}\n")
    answer = etlctl(tmp_path, "run", "contracts/c", "--param-file", *arguments)
    assert answer.code == 2
    assert answer.err.startswith("error: ") or "error: " in answer.err
    assert not (folder / "out.jsonl").exists()
    if arguments == ("twice.yaml",):
        assert "parameter sets 1 and 3 are equal (n=1)" in answer.err


@pytest.mark.parametrize("mode", ["full", "streaming"])
@pytest.mark.parametrize("method", ["insert", "upsert"])
def test_sets_that_all_make_the_one_table_they_fill(tmp_path: Path, method: str, mode: str) -> None:
    folder = workspace(tmp_path, 8)
    (folder / "load.yaml").write_text(
        f"type: sqlite\npath: out.db\ntable: t\ncreate_table: true\nwrite_method: {method}\nprimary_key: a\n"
    )
    (tmp_path / "sets.yaml").write_text("".join(f"- {{n: {number}}}\n" for number in range(8)))
    answer = etlctl(tmp_path, "run", "contracts/c", "--param-file", "sets.yaml", "--concurrency", "8", "--mode", mode)
    assert answer.code == 0, answer.err
    with closing(sqlite3.connect(folder / "out.db")) as database:
        assert database.execute("SELECT count(*), count(DISTINCT a) FROM t").fetchone() == (16, 16)
