"""The seed's acceptance cases of checkpoints, retries, thresholds and progress, with both loaders that keep tokens."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from etlctl import ETLOrchestrator, faults
from etlctl.run import RunResult
from etlctl.state import open_ledger

_FILE = Path(__file__).parents[1] / "cases" / "recovery_cases.yaml"
CASES = {case["id"]: case for case in yaml.safe_load(_FILE.read_text(encoding="utf-8"))["cases"]}
BATCHES, SIZE = 10, 10
IDS = list(range(1, BATCHES * SIZE + 1))


class Job:
    """A contract with 10 batches of 10 records, ids 1..100, in a workspace of its own."""

    def __init__(self, root: Path, kind: str) -> None:
        self.root, self.kind = root, kind
        (root / "etlctl.yaml").write_text("name: t\n", encoding="utf-8")
        self.folder = root / "contracts" / "c"
        self.folder.mkdir(parents=True)
        self.give(IDS)
        extract = "type: file\npath: in.jsonl\nprocessing_mode: streaming\nbatch_size: 10\n"
        extract += "checkpoint: {interval: 1}\nerror_recovery: {backoff: 0}\n"
        (self.folder / "extract.yaml").write_text(extract, encoding="utf-8")
        load = "type: file\npath: out.jsonl\n"
        if kind == "sqlite":
            load = "type: sqlite\npath: out.db\ntable: t\nwrite_method: insert\ncreate_table: true\n"
            schema = "schema:\n  fields:\n    id: {type: integer}\n"
            (self.folder / "contract.yaml").write_text(schema, encoding="utf-8")
        (self.folder / "load.yaml").write_text(load, encoding="utf-8")
        self.events: list[Any] = []

    def give(self, ids: list[int]) -> None:
        text = "".join(json.dumps({"id": one}) + "\n" for one in ids)
        (self.folder / "in.jsonl").write_text(text, encoding="utf-8")

    def loaded(self) -> list[int]:
        if self.kind == "file":
            text = (self.folder / "out.jsonl").read_text(encoding="utf-8")
            return [json.loads(line)["id"] for line in text.splitlines()]
        with sqlite3.connect(self.folder / "out.db") as connection:
            found = [row[0] for row in connection.execute("SELECT id FROM t ORDER BY rowid")]
        connection.close()
        return found

    async def run(self, *, fault: str | None = None, **options: Any) -> RunResult:
        faults.arm(fault)
        checkpoint_dir = self.root / "checkpoints"
        job = ETLOrchestrator(
            self.folder, progress_callback=self.events.append, warn=lambda _: None, checkpoint_dir=checkpoint_dir
        )
        try:
            return await job.run(**options)
        finally:
            faults.arm(None)

    def killed(self, checkpoint: str, fault: str) -> None:
        """Run in a process of its own that kills itself at a fault."""
        command = ["run", "contracts/c", "--checkpoint", checkpoint, "--checkpoint-dir", "checkpoints"]
        environ = {**os.environ, "ETLCTL_FAULT": fault}
        done = subprocess.run(
            [sys.executable, "-m", "etlctl", *command], cwd=self.root, env=environ, capture_output=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr

    def batches(self) -> list[int]:
        """Numbers of the batches that were loaded, as progress told them."""
        return [event.batch_num for event in self.events if event.stage == "load"]


@pytest.fixture(params=["file", "sqlite"])
def job(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    monkeypatch.delenv("ETLCTL_STATE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    yield Job(tmp_path, request.param)
    faults.arm(None)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
async def test_killed_inside_batch_4_and_resumed(job: Job) -> None:
    case = CASES["ot-ckpt-file"]
    job.killed(case["given"]["checkpoint_id"], "load.write:4=kill")
    file = job.root / "checkpoints" / "k.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    assert {name: told[name] for name in case["expect"]["fields"]} == case["expect"]["fields"]
    written = datetime.fromisoformat(told["timestamp"])
    assert written.tzinfo is None
    assert abs(datetime.now() - written) < timedelta(minutes=5), "local time"  # noqa: DTZ005

    result = await job.run(checkpoint_id="k", resume=True)
    assert result.success, result.error
    assert job.batches() == [4, 5, 6, 7, 8, 9, 10], "31..100 and no more"
    assert job.loaded() == IDS
    assert file.exists() is not CASES["ot-ckpt-resume-after-kill"]["expect"]["checkpoint_deleted_on_success"]
    assert (result.counts.extracted, result.counts.loaded, result.attempt) == (100, 100, 2)


async def test_resume_after_an_error_does_not_skip_the_batch_that_failed(job: Job) -> None:
    """Case ot-ckpt-resume-after-error."""
    failed = await job.run(fault="load.write:5=fail", checkpoint_id="k")
    assert not failed.success
    assert job.batches() == [1, 2, 3, 4]
    assert failed.resume_command == "etlctl resume --checkpoint k"
    told = json.loads((job.root / "checkpoints" / "k.json").read_text(encoding="utf-8"))
    assert told["batch_num"] == 4, "the last one that is safe, not the one that failed"
    job.events.clear()
    assert (await job.run(checkpoint_id="k", resume=True)).success
    assert job.batches() == [5, 6, 7, 8, 9, 10]
    assert job.loaded() == IDS


@pytest.mark.parametrize(
    ("case", "action"), [("ot-retry-transient-connection", "retry"), ("ot-retry-transient-other", "error")]
)
async def test_the_same_batch_is_tried_again(job: Job, case: str, action: str) -> None:
    given = CASES[case]["given"]
    options = {name: given[name] for name in ("max_retries", "error_threshold") if name in given}
    result = await job.run(fault=f"load.write:3={action}", **options)
    assert result.success, result.error
    assert job.loaded() == IDS
    assert result.counts.rejected == 0
    assert job.batches() == list(range(1, BATCHES + 1))
    with open_ledger(state_dir=job.root / ".etlctl") as ledger:
        tries = [
            (one.attempt, one.batch, one.status) for one in ledger.attempts(result.run_id) if one.counts.name == "load"
        ]
    assert tries == [(1, 3, "failed"), (2, None, "succeeded")], "the failed try stays on the record"


async def test_no_retries_when_none_are_wanted(job: Job) -> None:
    result = await job.run(fault="load.write:3=retry", max_retries=0)
    assert not result.success
    assert job.batches() == [1, 2]


@pytest.mark.parametrize("job", ["sqlite"], indirect=True)
async def test_a_batch_that_fails_for_good_goes_to_the_dead_letters(job: Job) -> None:
    given = CASES["ot-threshold-formula"]["given"]
    point = f"load.write:{given['failed_batch']}=retry"
    result = await job.run(fault=point, max_retries=0, error_threshold=given["error_threshold"])
    expect = CASES["ot-threshold-formula"]["expect"]
    assert (result.batches < given["batches"]) is expect["aborted"]
    assert result.success is expect["success"]
    assert result.counts.rejected == SIZE
    assert "1 of 10 batches failed" in str(result.error)

    kept = await job.run(fault=point, max_retries=0, error_threshold=0.11, restart=True)
    assert kept.success, "0.1 is less than 0.11"


@pytest.mark.parametrize("job", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("failing", "batches"), [(1, 3), (2, 3), (3, 3), (6, 6)])
async def test_a_run_stops_when_too_many_batches_failed_but_not_before_the_third(
    job: Job, failing: int, batches: int
) -> None:
    result = await job.run(fault=f"load.write:{failing}=retry", max_retries=0, error_threshold=0.1)
    assert not result.success
    assert result.batches == batches


async def test_a_source_without_records_has_no_failed_share(job: Job) -> None:
    job.give([])
    result = await job.run(error_threshold=0.1)
    assert result.success is CASES["ot-threshold-empty-source"]["expect"]["success"]


async def test_progress_comes_batch_by_batch(job: Job) -> None:
    await job.run()
    expect = CASES["ot-progress-per-batch"]["expect"]
    events = [event for event in job.events if event.stage == expect["last"]["stage"]]
    assert len(events) == expect["callbacks"]
    assert {name: getattr(events[-1], name) for name in expect["last"]} == expect["last"]


async def test_a_callback_that_raises_does_not_hurt_the_run(job: Job) -> None:
    assert CASES["ot-progress-callback-error"]["expect"] == {"run": "continues"}

    def bad(_: object) -> None:
        raise RuntimeError("no")

    result = await ETLOrchestrator(job.folder, progress_callback=bad, warn=lambda _: None).run()
    assert result.success
    assert job.loaded() == IDS


# --- the table of 2,500 rows -----------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ETLCTL_STATE_URL", raising=False)
    (tmp_path / "etlctl.yaml").write_text("name: t\n", encoding="utf-8")
    folder = tmp_path / "contracts" / "c"
    folder.mkdir(parents=True)
    lines = [f"{i},n{i},{'' if i % 10 == 0 else i},{i:05}" for i in range(2500)]
    (folder / "in.csv").write_text("\n".join(["id,name,qty,zip", *lines]) + "\n", encoding="utf-8")
    (folder / "extract.yaml").write_text("type: file\npath: in.csv\nbatch_size: 1000\n", encoding="utf-8")
    (folder / "load.yaml").write_text("type: file\npath: out.jsonl\n", encoding="utf-8")
    return folder


async def test_a_dry_run_loads_nothing(table: Path) -> None:
    expect = CASES["ot-run-dry"]["expect"]
    result = await ETLOrchestrator(table).run(dry_run=True)
    assert result.success is expect["success"]
    assert result.records == expect["loading"]["total_records"]
    assert result.would_load == 2500
    assert (table / "out.jsonl").exists() is expect["output_file_exists"]


async def test_all_modes_give_the_same_file(table: Path) -> None:
    case = CASES["ot-mode-full"]
    outputs = {}
    for mode in (case["given"]["extract"]["processing_mode"], "streaming", "hybrid"):
        result = await ETLOrchestrator(table).run(mode=mode)
        assert result.records == case["expect"]["rows_loaded"]
        outputs[mode] = (table / "out.jsonl").read_bytes()
    assert len(set(outputs.values())) == 1
    assert outputs["full"].splitlines()[10] == b'{"id":"10","name":"n10","qty":null,"zip":"00010"}'
