"""The seed guide's snippets, with only the import line changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``data/examples/my_contract`` as the snippets name it, with 2,500 records."""
    folder = tmp_path / "data" / "examples" / "my_contract"
    folder.mkdir(parents=True)
    lines = ["oldName,camelCase,price,quantity,first_name,last_name,internal_id,field1,field2"]
    lines += [f"o{i},c{i},{i}.5,{i},Ann,Lee,{i},f{i},g{i}" for i in range(2500)]
    (folder / "in.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "extract.yaml").write_text("type: file\npath: in.csv\n", encoding="utf-8")
    (folder / "transform.yaml").write_text(
        """
transform:
  rename:
    oldName: new_name
    camelCase: snake_case
  convert:
    price: float
    quantity: integer
  defaults:
    status: "pending"
  add:
    full_name: "${first_name} ${last_name}"
    created_at: "now()"
  select:
    - new_name
    - snake_case
    - price
    - quantity
    - status
    - full_name
    - created_at
    - internal_id
  drop:
    - internal_id
""",
        encoding="utf-8",
    )
    (folder / "load.yaml").write_text("type: file\npath: out.jsonl\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return folder


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]


async def test_basic_usage(example: Path) -> None:
    from etlctl import ETLOrchestrator

    # Default behavior (full mode) - backward compatible
    orchestrator = ETLOrchestrator(contract_dir="data/examples/my_contract")
    result = await orchestrator.run()

    assert result["success"] is True
    assert result.get("records") == 2500
    loaded = records(example)
    assert len(loaded) == 2500
    last = loaded[-1]
    created = last.pop("created_at")
    assert created.endswith("Z")
    assert last == {
        "new_name": "o2499", "snake_case": "c2499", "price": 2499.5, "quantity": 2499, "status": "pending",
        "full_name": "Ann Lee",
    }  # fmt: skip
    assert {record["created_at"] for record in loaded[:-1]} == {created}


async def test_streaming_mode(example: Path) -> None:
    from etlctl import ETLOrchestrator

    orchestrator = ETLOrchestrator(contract_dir="data/examples/my_contract")
    result = await orchestrator.run_streaming(batch_size=1000)

    assert result.success
    assert result.batches == 3
    assert len(records(example)) == 2500


async def test_streaming_mode_by_configuration(example: Path) -> None:
    from etlctl import ETLOrchestrator

    text = (example / "extract.yaml").read_text(encoding="utf-8")
    (example / "extract.yaml").write_text(text + "processing_mode: streaming\nbatch_size: 1000\n", encoding="utf-8")
    result = await ETLOrchestrator(contract_dir="data/examples/my_contract").run()
    assert result.batches == 3


async def test_progress_tracking(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from etlctl import ETLOrchestrator, ETLProgress

    def log_progress(progress: ETLProgress):
        print(f"{progress}")

    orchestrator = ETLOrchestrator(
        contract_dir="data/examples/my_contract",
        progress_callback=log_progress,
        verbose=True
    )  # fmt: skip
    result = await orchestrator.run()

    assert result.success
    seen = capsys.readouterr()
    assert "[load] batch 1, 2,500 records" in seen.out
    assert "[load] batch 1, 2,500 records" in seen.err


async def test_checkpoint_resume(example: Path) -> None:
    from etlctl import ETLOrchestrator

    orchestrator = ETLOrchestrator(
        contract_dir="data/examples/my_contract",
        checkpoint_dir="./checkpoints"
    )  # fmt: skip

    # Run with checkpoint
    result = await orchestrator.run(checkpoint_id="my_job_001")

    assert result["success"] is True
    first, there = result["run_id"], (example / "out.jsonl").stat()

    # Resume from checkpoint
    result = await orchestrator.run(
        checkpoint_id="my_job_001",
        resume=True
    )  # fmt: skip

    assert result["success"] is True
    assert (result["run_id"], result["reused"], result["records"]) == (first, True, 2500), "it had come to its end"
    now = (example / "out.jsonl").stat()
    assert (now.st_ino, now.st_mtime_ns) == (there.st_ino, there.st_mtime_ns), "and nothing was done again"
    assert list((example.parents[2] / "checkpoints").iterdir()) == []


async def test_checkpoint_resume_after_a_failure(example: Path) -> None:
    from etlctl import ETLOrchestrator, faults

    options = "processing_mode: streaming\nbatch_size: 1000\ncheckpoint: {interval: 1}\n"
    (example / "extract.yaml").write_text(f"type: file\npath: in.csv\n{options}", encoding="utf-8")
    orchestrator = ETLOrchestrator(
        contract_dir="data/examples/my_contract",
        checkpoint_dir="./checkpoints"
    )  # fmt: skip
    faults.arm("load.write:3=fail")
    try:
        result = await orchestrator.run(checkpoint_id="my_job_001")
    finally:
        faults.arm(None)

    assert result["success"] is False
    assert result["checkpoint_id"] == "my_job_001"
    checkpoint = example.parents[2] / "checkpoints" / "my_job_001.json"
    assert json.loads(checkpoint.read_text(encoding="utf-8"))["records_processed"] == 2000

    result = await orchestrator.run(
        checkpoint_id="my_job_001",
        resume=True
    )  # fmt: skip

    assert result["success"] is True
    assert [record["new_name"] for record in records(example)] == [f"o{i}" for i in range(2500)]
    assert not checkpoint.exists()


async def test_memory_management(example: Path) -> None:
    from etlctl import ETLOrchestrator

    orchestrator = ETLOrchestrator(
        contract_dir="data/examples/my_contract",
        max_memory_mb=2048  # Limit to 2GB
    )  # fmt: skip
    result = await orchestrator.run()

    assert result.success
    assert len(records(example)) == 2500


async def test_memory_management_keeps_its_promise(example: Path) -> None:
    from etlctl import ETLOrchestrator

    result = await ETLOrchestrator(contract_dir="data/examples/my_contract", max_memory_mb=1).run()
    assert result["success"] is False
    assert "1 MiB" in result["error"]
    assert not (example / "out.jsonl").exists()


def symbols(folder: Path) -> None:
    """Let the example load one file for each symbol (and date): the rows of that symbol."""
    lines = [f"{symbol},{number}" for symbol in ("AAPL", "MSFT", "GOOGL", "TSLA") for number in range(10)]
    (folder / "in.csv").write_text("\n".join(["symbol,n", *lines]) + "\n", encoding="utf-8")
    params = "input_params: {symbol: {type: string, required: true}, date: {type: date, default: 2024-01-09}}\n"
    (folder / "extract.yaml").write_text(f"type: file\npath: in.csv\n{params}", encoding="utf-8")
    (folder / "transform.yaml").write_text(
        "transform:\n  filter: {field: symbol, operator: not_null}\n", encoding="utf-8"
    )
    load = "type: file\npath: out/${symbol}-${date}.jsonl\n"
    (folder / "load.yaml").write_text(load, encoding="utf-8")


async def test_multiple_runs_processing(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from etlctl import ETLOrchestrator

    symbols(example)
    orchestrator = ETLOrchestrator(contract_dir="data/examples/my_contract")

    # Simple case: vary a single parameter (e.g., symbols)
    results = await orchestrator.run_multiple(
        param_name='symbol',
        param_values=["AAPL", "MSFT", "GOOGL", "TSLA"],
        batch_size=5,
        delay_between_runs=1.0
    )  # fmt: skip

    for result in results:
        params = result["params"]
        print(f"{params}: {result['success']} - {result.get('records', 0)} records")

    wanted = ["AAPL", "MSFT", "GOOGL", "TSLA"]
    assert capsys.readouterr().out.splitlines() == [f"{{'symbol': '{one}'}}: True - 40 records" for one in wanted]
    assert {path.name for path in (example / "out").glob("*.jsonl")} == {f"{one}-2024-01-09.jsonl" for one in wanted}

    # Complex case: vary multiple parameters
    results = await orchestrator.run_multiple(
        param_sets=[
            {'symbol': 'AAPL', 'date': '2024-01-01'},
            {'symbol': 'MSFT', 'date': '2024-01-02'},
            {'symbol': 'GOOGL', 'date': '2024-01-03'},
        ],
        batch_size=3,
        delay_between_runs=0.5
    )  # fmt: skip

    assert [result["params"]["date"] for result in results] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert all(result["success"] for result in results)
    assert len((example / "out" / "GOOGL-2024-01-03.jsonl").read_text(encoding="utf-8").splitlines()) == 40


async def test_error_recovery(example: Path) -> None:
    from etlctl import ETLOrchestrator

    orchestrator = ETLOrchestrator(contract_dir="data/examples/my_contract")

    result = await orchestrator.run_streaming(
        batch_size=1000,
        max_retries=3,
        error_threshold=0.1  # Abort if >10% of batches fail
    )  # fmt: skip

    assert result.success
    assert result.batches == 3


@pytest.mark.parametrize(("fault", "success"), [("load.write:2=retry", True), ("load.write:2=fail", False)])
async def test_error_recovery_from_failures(example: Path, fault: str, success: bool) -> None:
    from etlctl import ETLOrchestrator, faults

    options = "error_recovery: {backoff: 0}\n"
    (example / "extract.yaml").write_text(f"type: file\npath: in.csv\n{options}", encoding="utf-8")
    orchestrator = ETLOrchestrator(contract_dir="data/examples/my_contract", warn=lambda _: None)
    faults.arm(fault)
    try:
        result = await orchestrator.run_streaming(
            batch_size=1000,
            max_retries=3,
            error_threshold=0.1  # Abort if >10% of batches fail
        )  # fmt: skip
    finally:
        faults.arm(None)
    assert result.success is success
    if success:
        assert len(records(example)) == 2500
    else:
        assert not (example / "out.jsonl").exists()
