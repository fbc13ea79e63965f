"""Signals, a destination in use, and streams that are closed: how ``etlctl run`` ends and what it says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and shells")

_RUN = [sys.executable, "-m", "etlctl", "run", "contracts/c"]


def contract(root: Path, **parts: str) -> Path:
    (root / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True)
    for part, text in parts.items():
        (folder / f"{part}.yaml").write_text(text, encoding="utf-8")
    return folder


def slow(root: Path, code: str, rows: int) -> Path:
    """A contract whose custom function touches the file ``busy`` when it is called."""
    folder = contract(
        root,
        extract="type: file\npath: a.csv\n",
        transform="custom_function: {module: slow, function: work, mode: record}\n",
        load="type: file\npath: out.jsonl\n",
    )
    (folder / "a.csv").write_text("a\n" + "1\n" * rows, encoding="utf-8")
    busy = f"import pathlib, time\ndef work(record):\n    pathlib.Path({str(root / 'busy')!r}).touch()\n"
    (folder / "slow.py").write_text(busy + f"    {code}\n    return record\n", encoding="utf-8")
    return folder


def started(root: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(_RUN, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (root / "busy").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return child


def test_a_signal_does_not_wait_for_the_whole_chunk(tmp_path: Path) -> None:
    folder = slow(tmp_path, "time.sleep(0.002)", 50_000)
    child = started(tmp_path)
    child.send_signal(signal.SIGTERM)
    try:
        _, stderr = child.communicate(timeout=30)  # all its records would take 100 s and more
    finally:
        child.kill()
    assert child.returncode == 143, stderr
    assert sorted(path.name for path in folder.iterdir() if "out" in path.name) == []
    listed = subprocess.run(
        [sys.executable, "-m", "etlctl", "runs", "list", "--json"], cwd=tmp_path, capture_output=True, check=True
    )
    assert [run["status"] for run in json.loads(listed.stdout)] == ["canceled"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_code_that_never_comes_back(tmp_path: Path, number: signal.Signals, code: int) -> None:
    folder = slow(tmp_path, "time.sleep(3600)", 1)
    child = started(tmp_path)
    child.send_signal(number)
    time.sleep(0.5)
    assert child.poll() is None
    child.send_signal(number)
    _, stderr = child.communicate(timeout=30)
    assert child.returncode == code
    assert "stopping at once" in stderr
    assert not (folder / "out.jsonl").exists()
    (folder / "slow.py").write_text("def work(record):\n    return record\n", encoding="utf-8")
    again = subprocess.run(_RUN, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert [path.name for path in folder.iterdir() if "out" in path.name] == ["out.jsonl"]


def test_a_destination_in_use_exits_75(tmp_path: Path) -> None:
    folder = contract(tmp_path, extract="type: file\npath: '-'\nformat: csv\n", load="type: file\npath: out.jsonl\n")
    first = subprocess.Popen(
        _RUN, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob(".out.jsonl.etlctl/lock")) and time.monotonic() < deadline:
        time.sleep(0.02)
    second = subprocess.run(_RUN, cwd=tmp_path, input="a\n2\n", capture_output=True, text=True, check=False)
    assert second.returncode == 75, second.stderr
    assert f"process {first.pid}" in second.stderr  # the same contract: the lease says who has it
    other = shutil.copytree(folder, folder.with_name("d"))
    (other / "load.yaml").write_text(f"type: file\npath: {folder / 'out.jsonl'}\n", encoding="utf-8")
    third = subprocess.run(
        [*_RUN[:-1], "contracts/d"], cwd=tmp_path, input="a\n3\n", capture_output=True, text=True, check=False
    )
    assert third.returncode == 75, third.stderr
    assert "is writing it now" in third.stderr
    first.communicate("a\n1\n", timeout=60)
    assert first.returncode == 0
    assert (folder / "out.jsonl").read_text(encoding="utf-8") == '{"a":"1"}\n'


@pytest.mark.parametrize(
    ("stream", "said"), [("<&-", "standard input is closed"), (">&-", "standard output is closed")]
)
def test_a_closed_stream_is_named(tmp_path: Path, stream: str, said: str) -> None:
    contract(tmp_path, extract="type: file\npath: '-'\nformat: csv\n", load="type: file\npath: '-'\nformat: csv\n")
    command = f"'{sys.executable}' -m etlctl run contracts/c -q {stream}"
    ended = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, input="a\n1\n", capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert f"error: {said}" in ended.stderr


def test_a_report_that_cannot_be_written_does_not_hide_why_the_run_failed(tmp_path: Path) -> None:
    contract(tmp_path, extract="type: file\npath: missing.csv\n", load="type: file\npath: out.csv\n")
    (tmp_path / ".etlctl").mkdir()
    (tmp_path / ".etlctl" / "reports").write_text("in the way", encoding="utf-8")
    ended = subprocess.run(_RUN, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "error: File not found" in ended.stderr
