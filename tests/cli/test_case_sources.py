"""``etlctl test`` where steps read sources of their own: a case gives what they read, and fetches nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def etlctl(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "etlctl", *args],
        cwd=cwd, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A contract whose source is not there."""
    (tmp_path / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    folder = tmp_path / "contracts" / "orders"
    folder.mkdir(parents=True)
    (folder / "extract.yaml").write_text("type: file\npath: in.jsonl\n", encoding="utf-8")
    (folder / "load.yaml").write_text("type: file\npath: out.jsonl\n", encoding="utf-8")
    return tmp_path


def cases(root: Path, text: str) -> Path:
    path = root / "contracts" / "orders" / "cases.yaml"
    path.write_text(text, encoding="utf-8")
    return path


JOINS = """\
- name: given records
  given: [{id: "1"}, {id: "2"}]
  sources: {join: [{id: "1", name: Ann}]}
  expect: [{id: "1", name: Ann}, {id: "2", name: null}]
- name: given file
  given: [{id: "1"}]
  sources: {"transform[0].join": {file: right.csv}}
  expect: [{id: "1", name: Bob}]
- name: local file
  given: [{id: "1"}]
  expect: [{id: "1", name: real}]
- name: no such step
  given: [{id: "1"}]
  sources: {map: []}
  expect: []
"""


def test_steps_with_a_source_of_their_own(orders: Path) -> None:
    folder = cases(orders, JOINS).parent
    (folder / "transform.yaml").write_text(
        "transform:\n  - join: {with: {type: file, path: names.csv, csv_options: {delimiter: ';'}}, on: id}\n"
    )
    (folder / "names.csv").write_text("id;name\n1;real\n")
    (folder / "right.csv").write_text("id;name\n1;Bob\n")
    found = json.loads(etlctl("test", "--json", cwd=orders).stdout)["cases"]
    assert [one["verdict"] for one in found] == ["passed", "passed", "passed", "error"]
    assert "no step with a source of its own" in found[3]["problems"][0]


def test_a_case_fetches_nothing(orders: Path) -> None:
    """The step's own source is never opened: it would leave a mark."""
    (orders / "extractors").mkdir()
    (orders / "extractors" / "remote.py").write_text(
        '"""Somewhere else."""\nfrom pathlib import Path\nfrom etlctl.sdk import Batch, Extractor\n\n\n'
        'class Remote(Extractor):\n    """Somewhere else."""\n\n    async def read(self, ctx):\n        """Leave a mark."""\n'
        "        Path(ctx.base_dir, 'fetched').touch()\n        yield Batch.of_rows([{'id': '1', 'name': 'far'}], {})\n"
    )
    text = "- {name: a, given: [{id: '1'}], expect: []}\n- {name: b, given: [{id: '1'}], sources: {join: []}}\n"
    folder = cases(orders, text).parent
    (folder / "transform.yaml").write_text("transform:\n  - join: {with: {type: remote}, on: id, select: [name]}\n")
    found = json.loads(etlctl("test", "--json", cwd=orders).stdout)["cases"]
    assert [one["verdict"] for one in found] == ["error", "failed"]
    assert found[0]["problems"] == ["transform[0].join reads from remote, and a case fetches nothing"]
    assert "sources: {join: [{…}]}" in found[0]["help"]
    assert not (folder / "fetched").exists()


@pytest.mark.parametrize("now", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_an_instant_out_of_range_is_told(orders: Path, now: str) -> None:
    cases(orders, f"- {{name: a, given: [], expect: [], now: '{now}'}}\n")
    done = etlctl("test", cwd=orders)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert "is no instant" in done.stdout
