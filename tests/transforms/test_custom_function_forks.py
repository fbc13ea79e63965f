"""Custom functions that fork, start programs, or write where they should not: nothing is done twice, nothing is left."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from function_runs import call, etlctl, rules, run, write_contract

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX processes")

CODE = """
import multiprocessing, os, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).parent

def note(name, text):
    with open(HERE / name, "a") as file:
        file.write(text)

def twin(record):
    note("calls", f"{record['a']} ")
    os.fork()
    return record

def twin_raises(record):
    note("calls", f"{record['a']} ")
    if os.fork() == 0:
        sys.exit(3)
    return record

def twins(records):
    note("calls", "batch ")
    os.fork()
    return records

async def async_twin(record):
    return twin(record)

def dies_before_its_child(record):
    if record["a"] == 2:
        if os.fork() == 0:
            note("pids", f"{os.getpid()} ")
            time.sleep(1e6)
        while not (HERE / "pids").exists():
            time.sleep(0.01)
        os._exit(4)
    return record

def program(record):
    if record["a"] == 2:
        child = subprocess.Popen(["sleep", "1000000"])
        note("pids", f"{child.pid} ")
        child.wait()
    return record

def background(record):
    note("pids", f"{subprocess.Popen(['sleep', '1000000']).pid} ")
    return record

def pool(record):
    with multiprocessing.get_context("fork").Pool(2) as workers:
        return {"a": workers.map(abs, [record["a"], -7])}

def garbage(record):
    if record["a"] == 2:
        for number in range(3, 12):
            try: os.write(number, BYTES)
            except OSError: pass
    return record

def shuts(record):
    if record["a"] == 2:
        os.closerange(3, 64)
    return record
"""
A = [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "functions.py").write_text(CODE, encoding="utf-8")
    return tmp_path


def gone(pid: int) -> bool:
    """Wait until a process is no more, or is one that nobody has asked for yet; tell whether that came true."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat")
            if state.exists() and state.read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize(
    ("function", "timeout"), [("twin", None), ("twin", 30), ("twin_raises", None), ("async_twin", None)]
)
def test_a_twin_does_no_work_of_ours(folder: Path, function: str, timeout: float | None, isolate: bool) -> None:
    """In a process of its own, so that a twin that lived would hold its output open."""
    transform = f"custom_function: {{callable: functions.{function}, mode: record, isolate: {str(isolate).lower()}"
    transform += f", timeout: {timeout}}}\n" if timeout else "}\n"
    write_contract(folder, CODE, transform, A)
    ran = run(folder)
    assert (ran.code, ran.records, ran.counts["added"]) == (0, A, 0), ran.stderr
    assert (folder / "contracts" / "c" / "calls").read_text() == "1 2 3 "


@pytest.mark.parametrize("isolate", ["false", "true"])
def test_a_twin_of_a_batch_ends(folder: Path, isolate: str) -> None:
    write_contract(folder, CODE, f"custom_function: {{callable: functions.twins, isolate: {isolate}}}\n", A)
    ran = run(folder)
    assert (ran.code, ran.records) == (0, A), ran.stderr
    assert (folder / "contracts" / "c" / "calls").read_text() == "batch "


@pytest.mark.parametrize(("workers", "isolate"), [(1, "false"), (1, "true"), (2, "false")])
def test_a_pool_of_processes_works_and_ends(tmp_path: Path, workers: int, isolate: str) -> None:
    """A pool ends its workers with SIGTERM: they must hear it, and the run must not take it for its own."""
    transform = f"workers: {workers}\ncustom_function: {{callable: functions.pool, mode: record, isolate: {isolate}}}\n"
    write_contract(tmp_path, CODE, transform, A)
    ran = run(tmp_path)
    assert (ran.code, ran.records) == (0, [{"a": [n, 7]} for n in (1, 2, 3)]), ran.stderr


def test_a_crash_is_seen_although_a_forked_process_lives_on(folder: Path) -> None:
    outcome = call(folder, A, function="dies_before_its_child", mode="record", isolate=True)
    assert outcome.records == [{"a": 1}, {"a": 3}]
    assert rules(outcome) == {1: "custom_function.crashed"}
    assert gone(int((folder / "pids").read_text()))


def test_a_program_that_a_call_waited_for_ends_with_it(folder: Path) -> None:
    outcome = call(folder, A, function="program", mode="record", isolate=True, timeout=2)
    assert rules(outcome) == {1: "custom_function.timeout"}
    assert gone(int((folder / "pids").read_text()))


def test_programs_in_the_background_end_with_the_run(tmp_path: Path) -> None:
    write_contract(
        tmp_path, CODE, "custom_function: {callable: functions.background, mode: record, isolate: true}\n", A
    )
    ran = run(tmp_path)
    assert ran.code == 0, ran.stderr
    assert all(gone(int(pid)) for pid in (tmp_path / "contracts" / "c" / "pids").read_text().split())


@pytest.mark.parametrize("written", [b"\xff" * 64, b"\x10" + b"\0" * 7 + b"0123456789abcdef", b"x", b""])
def test_what_it_writes_into_the_pipe_is_its_own_fault(folder: Path, written: bytes) -> None:
    (folder / "functions.py").write_text(CODE + f"\nBYTES = {written!r}\n", encoding="utf-8")
    function = "garbage" if written else "shuts"
    outcome = call(folder, A, function=function, mode="record", isolate=True)
    assert outcome.records == [{"a": 1}, {"a": 3}]
    ((index, _, rule, message),) = outcome.refused
    assert (index, rule) == (1, "custom_function.crashed")
    assert ("it wrote into the pipe" in message) == bool(written)


@pytest.mark.parametrize("isolate", ["false", "true"])
def test_what_programs_print_is_no_data_either(tmp_path: Path, isolate: str) -> None:
    code = (
        "import os, subprocess\ndef f(record):\n    os.write(1, b'raw ')\n"
        "    subprocess.run(['echo', 'from a program'], check=True)\n    return record\n"
    )
    transform = f"custom_function: {{callable: functions.f, mode: record, isolate: {isolate}}}\n"
    write_contract(tmp_path, code, transform, [{"n": 1}], load='type: file\npath: "-"\nformat: jsonl\n')
    done = etlctl(tmp_path, "run", "contracts/c", "--quiet")
    assert (done.returncode, done.stdout) == (0, '{"n":1}\n'), done.stderr
    assert done.stderr.count("raw from a program") == 1


def test_a_path_that_is_no_text_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, folder])
    assert call(folder, A, function="shuts", mode="record", isolate=True).records[:1] == [{"a": 1}]
