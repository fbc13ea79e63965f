"""Extractor ``union``: sources one after the other, resumed anywhere, checked like any section."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from etlctl import ETLOrchestrator
from etlctl.contract.compile import check, load_contract
from etlctl.contract.render import full
from etlctl.sdk import ReadContext
from etlctl.testing import check_extractor

SOURCES = "type: union\nsources:\n- {type: file, path: a.csv}\n- {type: file, path: empty.csv}\n- {type: file, path: b.jsonl}\n"


@pytest.fixture
def both(tmp_path: Path) -> Path:
    folder = tmp_path / "contracts" / "both"
    folder.mkdir(parents=True)
    (tmp_path / "etlctl.yaml").write_text("name: t\n")
    (folder / "a.csv").write_text("id,name\n" + "".join(f"{n},a{n}\n" for n in range(25)))
    (folder / "empty.csv").write_text("id,name\n")
    (folder / "b.jsonl").write_text("".join(f'{{"id": "{n}", "extra": {n}}}\n' for n in range(25, 40)) + "broken\n")
    (folder / "extract.yaml").write_text(SOURCES + "batch_size: 10\nprocessing_mode: streaming\n")
    (folder / "load.yaml").write_text("type: file\npath: out.jsonl\n")
    return folder


def run(folder: Path, **options: Any) -> Any:
    return asyncio.run(ETLOrchestrator(folder).run(**options))


def test_records_come_source_by_source(both: Path) -> None:
    result = run(both)
    assert (result.counts.extracted, result.counts.loaded, result.counts.rejected) == (41, 40, 1)
    found = [json.loads(line) for line in (both / "out.jsonl").read_text().splitlines()]
    assert [record["id"] for record in found] == [str(n) for n in range(40)]
    assert found[0] == {"id": "0", "name": "a0"}
    assert found[-1] == {"id": "39", "extra": 39}


def test_reading_can_begin_at_every_position(both: Path) -> None:
    contract = load_contract(both)
    check_extractor(contract.extractor, ReadContext(base_dir=both, chunk_bytes=60))


def test_a_run_is_resumed_in_any_source(both: Path) -> None:
    whole = run(both)
    expected = (both / "out.jsonl").read_text()
    (both / "out.jsonl").unlink()
    for stop in (7, 25, 33):
        function = f"{{module: fail_{stop}, function: work, mode: batch}}"
        (both / "transform.yaml").write_text(f"transform:\n- custom_function: {function}\n")
        (both / f"fail_{stop}.py").write_text(
            "import pathlib\n"
            "def work(records):\n"
            "    flag = pathlib.Path(__file__).with_suffix('.flag')\n"
            f"    if any(record['id'] == '{stop}' for record in records) and not flag.exists():\n"
            "        flag.touch()\n"
            "        raise ValueError('once')\n"
            "    return records\n"
        )
        failed = run(both, restart=True)
        assert not failed.success
        done = run(both, resume=True, checkpoint_id=failed.checkpoint_id)
        assert done.counts == whole.counts
        assert (both / "out.jsonl").read_text() == expected
        (both / "out.jsonl").unlink()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type: union\nsources: []\n", "E204 'sources' must have at least 1 item"),
        ("type: union\nsources:\n- {path: a.csv}\n", "extract.yaml:3:3 E202 item 0 of 'sources' needs 'type'"),
        (
            "type: union\nsources:\n- {type: file, pth: a.csv}\n",
            "extract.yaml:3:16 E201 unknown key 'pth' in extract type 'file'",
        ),
        (
            'type: union\nsources:\n- {type: file, path: "${NO_SUCH}"}\n',
            "E402 environment variable 'NO_SUCH' is not set",
        ),
        ("type: union\n", "E202 extract type 'union' needs 'sources'"),
    ],
)
def test_validate_looks_into_the_sources(both: Path, text: str, expected: str) -> None:
    (both / "extract.yaml").write_text(text)
    assert expected in full(check(both, environ={}))


def test_fields_of_all_sources_are_known(both: Path) -> None:
    (both / "b.jsonl").write_text("id,extra\n")
    (both / "b.jsonl").rename(both / "b.csv")
    (both / "extract.yaml").write_text(SOURCES.replace("b.jsonl", "b.csv"))
    (both / "transform.yaml").write_text("transform: {drop: [extra], rename: {nme: n}}\n")
    assert "E501 field 'nme' does not exist here" in full(check(both))


def test_nothing_is_written_where_a_source_is_read(both: Path) -> None:
    (both / "load.yaml").write_text("type: file\npath: b.jsonl\n")
    assert "would write where it reads" in run(both).error
