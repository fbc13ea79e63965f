"""``etlctl run --watch`` as a real process: saves are seen, differences shown, nothing is ever loaded, Ctrl-C ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

DEADLINE = 60.0


class Watched:
    """A watching process, whose output is read as it comes."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        environ = {**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
        environ.pop("ETLCTL_STATE_URL", None)
        command = [sys.executable, "-m", "etlctl", "run", *arguments, "--watch"]
        self.process = subprocess.Popen(
            command, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        )
        self.output = ""
        self._seen = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def until(self, text: str) -> str:
        """Return what came since the last call, up to a text; fail when it does not come."""
        ends = time.monotonic() + DEADLINE
        while time.monotonic() < ends:
            found = self.output.find(text, self._seen)
            if found >= 0:
                part = self.output[self._seen : found + len(text)]
                self._seen = found + len(text)
                return part
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.output}"
            time.sleep(0.05)
        pytest.fail(f"{text!r} did not come within {DEADLINE:g} s:\n{self.output}")

    def interrupted(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return self.process.returncode


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = tmp_path / "contracts" / "people"
    folder.mkdir(parents=True)
    (folder / "extract.yaml").write_text("type: file\npath: people.csv\n", encoding="utf-8")
    (folder / "transform.yaml").write_text(
        "transform:\n  - convert: {age: integer}\n  - custom_function: {module: shape, function: shape, mode: record}\n",
        encoding="utf-8",
    )
    (folder / "load.yaml").write_text("type: file\npath: out/people.jsonl\n", encoding="utf-8")
    (folder / "people.csv").write_text("name,age\nAnn,41\nBob,x\n", encoding="utf-8")
    (folder / "shape.py").write_text("def shape(record):\n    return record\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def watching(workspace: Path) -> Iterator[Watched]:
    watched = Watched("contracts/people", cwd=workspace)
    yield watched
    if watched.process.poll() is None:
        watched.process.kill()
        watched.process.wait()


def test_a_save_shows_what_is_different(workspace: Path, watching: Watched) -> None:
    first = watching.until("1 records would be loaded; 2 extracted, 0 filtered, 1 rejected\n")
    assert 'name "Ann", age 41' in first
    assert "rejected people.csv:3: field 'age': 'x' is not an integer [convert.integer]" in first
    # its Python module
    folder = workspace / "contracts" / "people"
    (folder / "shape.py").write_text(
        "def shape(record):\n    return {**record, 'name': record['name'].upper()}\n", encoding="utf-8"
    )
    second = watching.until("1 records would be loaded")
    assert "shape.py changed" in second
    assert '      name: "Ann" → "ANN"\n' in second
    # its local source file
    (folder / "people.csv").write_text("name,age\nAnn,41\nBob,7\n", encoding="utf-8")
    third = watching.until("(before: ")
    assert "people.csv changed" in third
    assert '  + record 2: name "BOB", age 7\n' in third
    assert "no longer rejected: people.csv:3" in third
    assert not (folder / "out").exists()
    assert not (workspace / ".etlctl").exists()
    assert watching.interrupted() == 130


def test_it_goes_on_while_the_contract_is_broken(workspace: Path, watching: Watched) -> None:
    watching.until("1 rejected\n")
    transform = workspace / "contracts" / "people" / "transform.yaml"
    good = transform.read_text(encoding="utf-8")
    transform.write_text(good.replace("convert:", "convrt:"), encoding="utf-8")
    broken = watching.until("waiting for the next save\n")
    assert "transform.yaml:2:5 E302" in broken
    assert "did you mean 'convert'" in broken
    transform.write_text(good, encoding="utf-8")
    mended = watching.until("1 rejected\n")
    assert "fixed: E302" in mended
    assert "no difference in records and rejections" in mended
    # code that cannot be imported is found by the preview itself
    (workspace / "contracts" / "people" / "shape.py").write_text("def shape(record:\n", encoding="utf-8")
    assert "shape" in watching.until("waiting for the next save\n")
    (workspace / "contracts" / "people" / "shape.py").write_text(
        "def shape(record):\n    return None\n", encoding="utf-8"
    )
    gone = watching.until("1 filtered, 1 rejected")
    assert '  - record 1: name "Ann", age 41\n' in gone
    assert watching.interrupted(signal.SIGTERM) == 143


def test_code_that_does_not_come_back_is_ended_by_the_next_save(workspace: Path, watching: Watched) -> None:
    watching.until("1 rejected\n")
    module = workspace / "contracts" / "people" / "shape.py"
    started = workspace / "started"
    module.write_text(
        f"import pathlib, time\ndef shape(record):\n    pathlib.Path({str(started)!r}).touch()\n    time.sleep(3600)\n",
        encoding="utf-8",
    )
    ends = time.monotonic() + DEADLINE
    while not started.exists():
        assert time.monotonic() < ends, watching.output
        time.sleep(0.05)
    module.write_text("def shape(record):\n    return {**record, 'x': 1}\n", encoding="utf-8")
    assert "x: null → 1" in watching.until("would be loaded")
    assert watching.interrupted() == 130


def test_options_of_real_runs_are_refused(workspace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "etlctl", "run", "contracts/people", "--watch", "--run-key", "k"],
        cwd=workspace, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--run-key" in done.stderr
