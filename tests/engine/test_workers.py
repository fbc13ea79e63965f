"""Row steps in worker processes: the same run as without, whatever happens to the workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from etlctl.engine.options import ContractReference
from etlctl.engine.worker_orders import Failure
from etlctl.errors import ContractError, FatalError, RecordFailed, UnexpectedError
from etlctl.orchestrator import ETLOrchestrator

CODE = """
import os, datetime, decimal

def work(record, half=2):
    n = record["n"]
    if n % 101 == 0:
        raise LookupError(f"{n} is not wanted")
    if n % 97 == 0:
        return None
    if n % 89 == 0:
        return [record, {**record, "copy": True}]
    record["pid"] = os.getpid()
    record["nested"]["list"].append(decimal.Decimal(n) / half)
    return record

def number(records):
    return [{**record, "place": place} for place, record in enumerate(records)]

def fails(record):
    if record["n"] == 1234:
        raise MemoryError("no more")
    return record
"""
TRANSFORM = """
transform:
  - convert: {amount: decimal}
  - filter: {field: n, operator: ne, value: 7}
  - custom_function: {module: functions, function: work, mode: record, kwargs: {half: 4}}
  - rename: {n: id}
  - unnest: {fields: [tags]}
"""
SCHEMA = "schema: {fields: {id: {type: integer, unique: true}, amount: {type: decimal, maximum: 4000}}}\n"


def write(root: Path, *, count: int = 5000, transform: str = TRANSFORM, schema: str = "", **parts: str) -> Path:
    (root / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True)
    (folder / "functions.py").write_text(CODE + parts.get("code", ""), encoding="utf-8")
    with (folder / "in.jsonl").open("w", encoding="utf-8") as lines:
        for n in range(count):
            amount = "none" if n % 103 == 0 else f"{n}.25"
            record = {"n": n if n % 107 else 1, "amount": amount, "nested": {"list": [1]}, "tags": ["a", "b"][: n % 3]}
            lines.write(json.dumps(record) + "\n")
    extract = "type: file\npath: in.jsonl\n" + parts.get("extract", "processing_mode: streaming\nbatch_size: 700\n")
    (folder / "extract.yaml").write_text(extract, encoding="utf-8")
    (folder / "transform.yaml").write_text(transform, encoding="utf-8")
    (folder / "load.yaml").write_text(parts.get("load", "type: file\npath: out.jsonl\n"), encoding="utf-8")
    if schema:
        (folder / "contract.yaml").write_text(schema, encoding="utf-8")
    return folder


def out(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]


def etlctl(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "etlctl", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=240)


def told(root: Path, run_id: str) -> list[tuple[Any, ...]]:
    listed = json.loads(etlctl(root, "dead-letters", "list", "--json", "--limit", "10000", "--run", run_id).stdout)
    return [tuple(letter[key] for key in ("location", "step", "rule", "message", "field", "raw")) for letter in listed]


@pytest.mark.parametrize(
    ("mode", "batch", "schema"), [("streaming", 700, SCHEMA), ("full", 50_000, ""), ("hybrid", 333, SCHEMA)]
)
async def test_a_run_is_the_same_as_without(tmp_path: Path, mode: str, batch: int, schema: str) -> None:
    transform = TRANSFORM + ("  - custom_function: {module: functions, function: number}\n" if mode == "full" else "")
    extract = f"processing_mode: {mode}\nbatch_size: {batch}\n"
    runs = []
    for workers in (1, 3):
        root = tmp_path / str(workers)
        root.mkdir()
        folder = write(root, transform=transform, schema=schema, extract=extract)
        result = await ETLOrchestrator(folder).run(workers=workers)
        records = out(folder)
        pids = {record.pop("pid", None) for record in records} - {None}
        steps = [{**step.to_dict(), "seconds": 0} for step in result.steps]
        runs.append((records, result.counts.to_dict(), steps, result.batches, told(root, result.run_id)))
        assert (pids == {os.getpid()}) is (workers == 1)
        assert len(pids) <= workers
    assert runs[0] == runs[1]
    assert runs[0][1]["rejected"] > 90
    assert {"convert.decimal", "custom_function.raised"} <= {letter[2] for letter in runs[0][4]}


async def test_steps_that_remember_stay_in_the_runs_own_process(tmp_path: Path) -> None:
    """With a copy each, ``unique`` would let records through that were seen in another worker."""
    folder = write(
        tmp_path, schema="schema: {fields: {n: {unique: true}}}\n", transform="workers: 2\ntransform: {drop: [tags]}\n"
    )
    result = await ETLOrchestrator(folder).run()
    seen = [record["n"] for record in out(folder)]
    assert len(seen) == len(set(seen))
    assert result.counts.rejected == 5000 - len(seen) == 47


async def test_errors_keep_their_kind_and_their_step(tmp_path: Path) -> None:
    code = "\nfrom etlctl.sdk import FatalError\ndef gone(record):\n    raise FatalError('the service is gone', help='bring it back')\n"
    transform = "transform: [{rename: {n: m}}, {custom_function: {module: functions, function: gone, mode: record}}]\n"
    folder = write(tmp_path, code=code, transform=transform)
    results = [await ETLOrchestrator(folder).run(workers=workers) for workers in (1, 2)]
    assert [result.error for result in results] == ["the service is gone (in transform[1].custom_function)"] * 2
    assert {(result.error_type, result.error_help, result.failed_step) for result in results} == {
        ("FatalError", "bring it back", "transform[1].custom_function")
    }


def test_an_error_is_the_same_after_a_journey() -> None:
    cause = ConnectionResetError("by peer")
    error = UnexpectedError("it broke", help="mend it").at(step="transform.x", batch=3)
    error.__cause__ = cause
    back = Failure.of(error).error()
    assert type(back) is UnexpectedError
    assert (str(back), back.help, back.step, back.batch) == (str(error), "mend it", "transform.x", 3)
    assert isinstance(back.__cause__, ConnectionResetError)
    failed = Failure.of(RecordFailed(7, "check.minimum", "too small")).error()
    assert isinstance(failed, RecordFailed)
    assert (failed.index, failed.rule, failed.exit_code) == (7, "check.minimum", 5)

    class Own(FatalError):  # noqa: N818
        pass

    assert type(Failure.of(Own("mine")).error()) is FatalError
    strange = Failure.of(ValueError("odd")).error()
    assert (type(strange), str(strange)) == (UnexpectedError, "ValueError: odd")


DIES = """
def dies(record):
    if record["n"] == 2500 and not os.path.exists({mark!r}):
        {make}
        os.kill(os.getpid(), 9)
    return record
"""


async def test_a_worker_that_dies_once_costs_nothing_but_time(tmp_path: Path) -> None:
    mark = str(tmp_path / "died")
    transform = "workers: 2\ntransform: [{custom_function: {module: functions, function: dies, mode: record}}]\n"
    code = DIES.format(mark=mark, make=f"open({mark!r}, 'w').close()")
    extract = "processing_mode: streaming\nbatch_size: 700\nerror_recovery: {backoff: 0}\n"
    folder = write(tmp_path, transform=transform, code=code, extract=extract)
    warned: list[str] = []
    result = await ETLOrchestrator(folder, warn=warned.append).run()
    assert result.success, result.error
    assert [record["amount"] for record in out(folder)] == ["none" if n % 103 == 0 else f"{n}.25" for n in range(5000)]
    assert any("ended with signal SIGKILL" in message for message in warned)


async def test_workers_that_die_for_good_end_the_run_and_it_resumes(tmp_path: Path) -> None:
    mark = str(tmp_path / "mended")
    transform = "workers: 2\ntransform: [{custom_function: {module: functions, function: dies, mode: record}}]\n"
    extract = "processing_mode: streaming\nbatch_size: 700\ncheckpoint: {interval: 1}\nerror_recovery: {backoff: 0}\n"
    folder = write(tmp_path, transform=transform, code=DIES.format(mark=mark, make="pass"), extract=extract)
    orchestrator = ETLOrchestrator(folder)
    result = await orchestrator.run(checkpoint_id="c1")
    assert (result.success, result.exit_code, result.failed_step) == (False, 1, "transform[0].custom_function")
    assert "a worker process (pid" in (result.error or "")
    assert "gave up after 3 tries" in (result.error or "")
    assert "isolate: true" in (result.error_help or "")
    await asyncio.to_thread(Path(mark).touch)
    result = await orchestrator.run(checkpoint_id="c1", resume=True)
    assert result.success, result.error
    assert len(out(folder)) == 5000


async def test_isolation_works_inside_a_worker(tmp_path: Path) -> None:
    transform = "custom_function: {module: functions, function: dies, mode: record, isolate: true}\nworkers: 2\n"
    folder = write(tmp_path, transform=transform, code=DIES.format(mark="/nowhere", make="pass"))
    result = await ETLOrchestrator(folder).run()
    assert (result.counts.rejected, result.counts.loaded) == (1, 4999), result.error


async def test_values_that_cannot_travel_are_told(tmp_path: Path) -> None:
    code = "\ndef odd(record): return {'f': lambda: 1}\n"
    transform = "workers: 2\ncustom_function: {module: functions, function: odd, mode: record}\n"
    folder = write(tmp_path, transform=transform, code=code)
    result = await ETLOrchestrator(folder).run()
    assert "a record holds a value that cannot leave a worker process" in (result.error or "")
    assert result.failed_step == "custom_function"


async def test_a_contract_that_was_edited_meanwhile_is_told(tmp_path: Path) -> None:
    from dataclasses import replace

    from etlctl.contract.compile import load_contract
    from etlctl.engine.runner import Surroundings, execute
    from etlctl.orchestrator.run_options import RunOptions

    folder = write(tmp_path)
    contract = load_contract(folder)
    settings = RunOptions(workers=2).settings(contract, None, None, None)
    assert settings.reference == ContractReference(path=folder, params={}, hashes=contract.part_hashes)
    (folder / "functions.py").write_text(CODE + "# edited\n", encoding="utf-8")
    result = await execute(contract, replace(settings, checkpoint_id=None), Surroundings())
    assert "was edited while the run was going on" in (result.error or "")


async def test_parameters_and_the_environment_reach_the_workers(tmp_path: Path) -> None:
    transform = (
        'workers: 2\ntransform: [{filter: {field: n, operator: lt, value: 5}}, {add: {who: "${param:who}-${WHERE}"}}]\n'
    )
    extract = "input_params: {who: {type: string, required: true}}\n"
    folder = write(tmp_path, transform=transform, extract=extract)
    result = await ETLOrchestrator(folder, environ={**os.environ, "WHERE": "here"}).run(params={"who": "me"})
    plain = [record["who"] for record in out(folder)]
    await ETLOrchestrator(folder, environ={**os.environ, "WHERE": "here"}).run(params={"who": "me"}, workers=1)
    assert result.success, result.error
    assert plain == [record["who"] for record in out(folder)]
    assert plain[0].startswith("me-")


async def test_nothing_is_left_when_a_run_is_over(tmp_path: Path) -> None:
    transform = "workers: 2\ntransform: [{custom_function: {module: functions, function: dies, mode: record}}, "
    transform += "{custom_function: {module: functions, function: number, isolate: true}}]\n"
    folder = write(tmp_path, transform=transform, code=DIES.format(mark="/nowhere", make="return record"))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    result = await ETLOrchestrator(folder).run()
    assert result.success, result.error
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("etlctl-worker", "etlctl-time-limit"))]


@pytest.mark.parametrize("count", [0, 1, 49, 1001])
async def test_few_records(tmp_path: Path, count: int) -> None:
    folder = write(tmp_path, count=count, transform="workers: 3\ntransform: {rename: {n: id}}\n")
    result = await ETLOrchestrator(folder).run()
    assert result.success, result.error
    assert len(out(folder)) == count


async def test_so_many_workers_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="workers must be at least 1, not 0"):
        await ETLOrchestrator(write(tmp_path, count=1)).run(workers=0)


BUSY = """
def busy(record):
    import pathlib, time
    pathlib.Path({folder!r}, str(os.getpid())).touch()
    while True:
        time.sleep(0.01)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_run(tmp_path: Path, number: signal.Signals) -> None:
    """Stopped or killed: no worker stays behind, and none makes a stopped run wait."""
    seen = tmp_path / "seen"
    seen.mkdir()
    transform = "custom_function: {module: functions, function: busy, mode: record}\n"
    write(tmp_path, transform=transform, code=BUSY.format(folder=str(seen)))
    command = [sys.executable, "-m", "etlctl", "run", "contracts/c", "--workers", "2", "--quiet"]
    child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while len(list(seen.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    pids = [int(path.name) for path in seen.iterdir()]
    assert len(pids) == 2
    child.send_signal(number)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == (143 if number == signal.SIGTERM else -9), stderr
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, pids))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
