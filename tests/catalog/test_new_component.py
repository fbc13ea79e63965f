"""One new file is a new component everywhere, with no other edit; without it every command suggests the nearest name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CONSTANT = '''
"""A source of one value."""

from etlctl.sdk import Batch, Example, Extractor, ReadContext


class Constant(Extractor):
    """Yields the same value a number of times."""

    value: int
    """The value."""
    count: int = 1
    """How many records."""

    async def read(self, ctx: ReadContext):
        """Yield the records."""
        yield Batch.of_rows([{"value": self.value}] * self.count, position={"done": True})
'''

LINES = '''
"""A destination of one line per record."""

import json

from etlctl.sdk import Batch, Loader, Published, Receipt, WriteContext, Writer


class Lines(Loader):
    """Writes one JSON line per record."""

    path: str
    """The file."""

    async def open(self, ctx: WriteContext) -> Writer:
        """Start with no lines."""
        return _LinesWriter(ctx.path(self.path))


class _LinesWriter(Writer):
    def __init__(self, path) -> None:
        self._path, self._lines = path, []

    async def write(self, batch: Batch) -> Receipt:
        self._lines += [json.dumps(record) for record in batch.to_rows()]
        return Receipt(len(batch))

    async def finish(self) -> Published:
        self._path.write_text("\\n".join(self._lines), encoding="utf-8")
        return Published((str(self._path),), len(self._lines))

    async def abort(self) -> None:
        self._lines = []
'''


def etlctl(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "etlctl", *arguments],
        cwd=cwd, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "etlctl.yaml").write_text("name: test\n", encoding="utf-8")
    for folder, name, text in (("extractors", "constant", CONSTANT), ("loaders", "lines", LINES)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text(text, encoding="utf-8")
    contract = tmp_path / "contracts" / "fives"
    contract.mkdir(parents=True)
    (contract / "extract.yaml").write_text("type: constant\nvalue: 5\ncount: 3\n", encoding="utf-8")
    (contract / "load.yaml").write_text("type: lines\npath: out.jsonl\n", encoding="utf-8")
    return tmp_path


def test_a_new_file_is_listed_described_and_offered_to_editors(workspace: Path) -> None:
    listed = json.loads(etlctl("components", "--json", cwd=workspace).stdout)
    assert {
        "kind": "extractor",
        "type": "constant",
        "origin": "workspace extractors/constant.py",
        "summary": "Yields the same value a number of times.",
    } in listed
    shown = json.loads(etlctl("components", "extractor", "constant", "--json", cwd=workspace).stdout)
    assert [option["name"] for option in shown["options"]] == ["value", "count"]
    schema = json.loads(etlctl("schema", "extract", cwd=workspace).stdout)
    assert "constant" in schema["properties"]["type"]["anyOf"][0]["enum"]
    assert schema["$defs"]["extractor.constant"]["properties"]["count"]["description"] == "How many records."


def test_a_new_file_is_checked_and_runs(workspace: Path) -> None:
    good = etlctl("validate", "contracts/fives", cwd=workspace)
    assert good.returncode == 0, good.stdout + good.stderr
    ran = etlctl("run", "contracts/fives", cwd=workspace)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (written,) = workspace.rglob("out.jsonl")
    assert written.read_text(encoding="utf-8").splitlines() == ['{"value": 5}'] * 3
    (workspace / "contracts" / "fives" / "extract.yaml").write_text("type: constant\nvalue: five\n", encoding="utf-8")
    bad = etlctl("validate", "contracts/fives", cwd=workspace)
    assert bad.returncode == 3
    assert "'value' must be a whole number" in bad.stdout + bad.stderr


def test_without_the_file_every_command_suggests_the_nearest_name(workspace: Path) -> None:
    file = workspace / "extractors" / "constant.py"
    file.rename(file.with_name("constants.py"))
    shown = etlctl("components", "extractor", "constant", cwd=workspace)
    assert shown.returncode == 3
    assert "Unknown extract type: 'constant'" in shown.stderr
    assert "did you mean 'constants'?" in shown.stderr
    checked = etlctl("validate", "contracts/fives", cwd=workspace)
    assert checked.returncode == 3
    assert "did you mean 'constants'?" in checked.stdout + checked.stderr


def test_a_broken_file_does_not_hide_the_others(workspace: Path) -> None:
    (workspace / "extractors" / "broken.py").write_text("class (:\n", encoding="utf-8")
    listed = etlctl("components", cwd=workspace)
    assert listed.returncode == 0
    assert "constant" in listed.stdout
    assert "broken.py:1: not valid Python" in listed.stderr


def test_reference_is_written_and_checked(workspace: Path) -> None:
    missing = etlctl("reference", "--check", cwd=workspace)
    assert missing.returncode == 1
    assert "schemas/extract.schema.json" in missing.stdout
    assert etlctl("reference", cwd=workspace).returncode == 0
    assert etlctl("reference", "--check", cwd=workspace).returncode == 0
    assert "### `constant`" in (workspace / "schemas" / "REFERENCE.md").read_text(encoding="utf-8")
    (workspace / "extractors" / "constant.py").unlink()
    stale = etlctl("reference", "--check", cwd=workspace)
    assert stale.returncode == 1
    assert stale.stdout.split() == [
        "schemas/extract.schema.json", "schemas/pipeline.schema.json", "schemas/REFERENCE.md",
    ]  # fmt: skip
