"""Custom functions that hang, in the run's own process: interrupted where Python can, left behind where it cannot."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from function_runs import call, rules

from etlctl.errors import FatalError, RetryableError
from etlctl.kit.interruptible import Abandoned, CallThread, Guard, TimeIsUp
from etlctl.kit.user_code import load_callable

CODE = '''
import asyncio, time

def spin(record):
    while record["a"] == 2:
        pass
    return record

def sleep(record):
    if record["a"] in (2, 5):
        time.sleep(1e9)
    return record

def always(record):
    time.sleep(1e9)

def deaf(record):
    while record["a"] == 2:
        try:
            time.sleep(0.001)
        except BaseException:
            pass
    return record

async def waits(record):
    if record["a"] == 2:
        await asyncio.sleep(1e9)
    return record

async def blocks(record):
    while record["a"] == 2:
        pass
    return record

async def refuses_to_stop(record):
    while record["a"] == 2:
        try:
            await asyncio.sleep(1e9)
        except asyncio.CancelledError:
            pass
    return record

def endless(record):
    while True:
        yield record

class Object:
    """A thread that was left behind must not meet the next one in the same object."""
    def __init__(self): self.here = []
    def run(self, record):
        self.here.append(record["a"])
        if record["a"] == 2:
            time.sleep(1e9)
        return {"here": list(self.here)}

def batch(records):
    while True:
        pass

def own_timeout(record):
    raise TimeoutError("mine")
'''

A = [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "functions.py").write_text(CODE, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("function", ["spin", "sleep", "deaf", "waits", "blocks", "refuses_to_stop"])
def test_one_record_that_hangs_is_refused_and_the_others_go_on(folder: Path, function: str) -> None:
    outcome = call(folder, A, function=function, mode="record", timeout=1)
    assert outcome.records == [{"a": 1}, {"a": 3}]
    ((index, _, rule, message),) = outcome.refused
    assert (index, rule) == (1, "custom_function.timeout")
    assert message.startswith(f"custom function functions.{function} did not return within 1 s")


def test_a_generator_without_an_end_is_ended(folder: Path) -> None:
    outcome = call(folder, A[:1], function="endless", mode="record", timeout=0.2)
    assert rules(outcome) == {0: "custom_function.timeout"}


def test_a_thread_left_behind_keeps_its_object(folder: Path) -> None:
    outcome = call(folder, A, function="Object", mode="record", timeout=0.2)
    assert outcome.records == [{"here": [1]}, {"here": [3]}]


def test_a_thread_left_behind_makes_no_more_calls(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "calls"
    code = (
        "import threading, time\nRELEASE = threading.Event()\n"
        f"def f(record):\n    open({str(mark)!r}, 'a').write(str(record['a']))\n"
        "    while record['a'] == 1 and not RELEASE.is_set():\n"
        "        try: time.sleep(0.01)\n        except BaseException: pass\n    return record\n"
    )
    (folder / "waits_on.py").write_text(code, encoding="utf-8")
    before = set(threading.enumerate())
    outcome = call(folder, A, callable="waits_on.f", mode="record", timeout=0.3)
    assert rules(outcome) == {0: "custom_function.timeout"}
    load_callable("waits_on", "f", folder).__globals__["RELEASE"].set()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("etlctl-custom-function"):
            thread.join(10)
    assert mark.read_text() == "123"


def test_after_a_few_that_cannot_be_interrupted_the_run_ends_with_advice(folder: Path) -> None:
    with pytest.raises(FatalError, match="4 times, and could not be interrupted") as caught:
        call(folder, A * 3, function="always", mode="record", timeout=0.05)
    assert "isolate: true" in (caught.value.help or "")


@pytest.mark.parametrize("function", ["batch", "always"])
@pytest.mark.parametrize("mode", ["batch", "frame"])
def test_a_batch_that_hangs_is_worth_another_try(folder: Path, function: str, mode: str) -> None:
    with pytest.raises(RetryableError, match=rf"functions\.{function} did not return within 0.2 s"):
        call(folder, A, function=function, mode=mode, timeout=0.2)


def test_a_timeout_of_its_own_is_something_it_raised(folder: Path) -> None:
    outcome = call(folder, A, function="own_timeout", mode="record", timeout=30)
    assert rules(outcome) == dict.fromkeys(range(3), "custom_function.raised")


def test_an_interruption_never_hits_the_call_after() -> None:
    """Calls that end just when their time is up: whatever wins, the calls in between are left alone."""
    thread = CallThread("test")
    outcomes: list[str] = []

    def work() -> None:
        for number in range(400):
            try:
                thread.guard.call(time.sleep if number % 2 else _nothing, 0.002, seconds=0.002 if number % 2 else 30)
                outcomes.append("done")
            except TimeIsUp:
                outcomes.append("late" if number % 2 else f"{number} was hit")

    thread.do(work, longest=0.002)
    assert len(outcomes) == 400
    assert set(outcomes[::2]) == {"done"}
    assert "late" in outcomes[1::2]


def _nothing(_seconds: float) -> None:
    for _ in range(200):
        pass


def test_a_thread_left_behind_ends_when_its_call_does() -> None:
    release, thread, seen = threading.Event(), CallThread("test"), []

    def work() -> None:
        seen.append(threading.current_thread())
        thread.guard.call(_wait_in_c, release, seconds=0.05)
        seen.append("went on")

    with pytest.raises(Abandoned):
        thread.do(work, longest=0.05)
    release.set()
    seen[0].join(10)
    assert not seen[0].is_alive()
    assert len(seen) == 1


def _wait_in_c(release: threading.Event) -> None:
    while not release.is_set():
        try:
            release.wait(10)
        except BaseException:  # noqa: BLE001 - that is what it is about
            continue


def test_without_a_limit_nothing_is_watched() -> None:
    guard = Guard()
    assert guard.expire(5.0) == 5.0
