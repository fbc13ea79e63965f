"""Every diagnostic code has a broken contract, and what is said about it stands in a file beside it."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from etlctl.contract import nodes
from etlctl.contract.codes import Code
from etlctl.contract.compile import Settings, examine
from etlctl.contract.render import full
from etlctl.contract.validation import validate_paths

BROKEN = Path(__file__).parent / "broken"
CASES = sorted(path.name for path in BROKEN.iterdir() if re.match(r"[EWI]\d{3}-", path.name))


def outcome(case: str) -> tuple[str, set[str]]:
    """Return what is said about a broken contract, and the codes in it. The working directory is ``broken``."""
    file = Path(case) / "settings.yaml"
    given = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    settings = Settings(
        params=given.get("params", {}),
        environ=given.get("environ", {}),
        offline=not given.get("run", False),
        now=datetime(2026, 2, 22, tzinfo=UTC),
    )
    path = Path(given.get("path", case))
    if "against" in given:
        old = str(Path(case) / given["against"])
        found = validate_paths([path], environ=settings.environ, against=old).diagnostics
    else:
        found = examine(path, settings).diagnostics
    said = full(found).replace("\\", "/")  # a path on Windows
    return said, {diagnostic.code for diagnostic in found}


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)
    said, codes = outcome(case)
    expected = Path(case) / "expected.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(said, encoding="utf-8", newline="\n")
    assert said == expected.read_text(encoding="utf-8")
    assert case.split("-", 1)[0] in codes


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("E10")])
def test_yaml_without_the_c_library_reads_the_same(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)
    monkeypatch.setattr(nodes, "_Parser", yaml.SafeLoader)
    found = [line.split()[:2] for line in outcome(case)[0].splitlines() if line.startswith(case)]
    expected = [line.split()[:2] for line in Path(case, "expected.txt").read_text(encoding="utf-8").splitlines()]
    assert [code for _, code in found] == [line[1] for line in expected if line and line[0].startswith(case)]


def test_every_code_has_a_golden_contract() -> None:
    assert {case.split("-", 1)[0] for case in CASES} == {code.value for code in Code}


def test_a_golden_contract_is_named_after_its_rule() -> None:
    assert {f"{code.value}-{code.name.replace('_', '-')}" for code in Code} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_a_finding_lies_inside_its_file(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)
    for line in Path(case, "expected.txt").read_text(encoding="utf-8").splitlines():
        match = re.match(r"(\S.*?\.yaml):(\d+):(\d+) [EWI]\d{3} ", line)
        if match:
            lines = Path(match[1]).read_bytes().decode("utf-8", "replace").split("\n")
            assert int(match[3]) <= len(lines[int(match[2]) - 1]) + 1
