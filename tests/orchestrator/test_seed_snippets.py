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
