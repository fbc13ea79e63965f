"""``validate --against``: what a new version of a contract breaks, located, in every format, against paths and git."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from etlctl.contract.changes import raised
from etlctl.contract.validation import validate_paths
from etlctl.diagnostics import Diagnostic

SECTIONS: dict[str, Any] = {
    "extract": {"type": "file", "path": "orders.csv"},
    "load": {"type": "sqlite", "path": "shop.db", "table": "orders", "create_table": True},
    "contract": {"name": "orders", "version": "1.0.0", "schema": {"fields": {"id": {"type": "string"}}}},
}


def write(folder: Path, **changes: Any) -> Path:
    """Write a contract; a section given as None is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orders.csv").write_text("id,name,total\n1,a,5\n", encoding="utf-8")
    for name, section in {**SECTIONS, **changes}.items():
        file = folder / f"{name}.yaml"
        file.unlink(missing_ok=True)
        if section is not None:
            file.write_text(yaml.safe_dump(section, sort_keys=False), encoding="utf-8")
    return folder


def compare(old: Path, new: Path) -> list[Diagnostic]:
    return validate_paths([new], environ={}, against=str(old)).diagnostics


def codes(old: Path, new: Path) -> list[str]:
    return sorted(found.code for found in compare(old, new))


def test_equal_contracts_differ_in_nothing(tmp_path: Path) -> None:
    assert codes(write(tmp_path / "old"), write(tmp_path / "new")) == []


def test_fields_are_followed_through_the_steps_where_no_schema_speaks(tmp_path: Path) -> None:
    old = write(tmp_path / "old", contract=None, transform={"transform": {"convert": {"total": "integer"}}})
    steps = {"transform": {"convert": {"total": "float"}, "drop": ["name"], "add": {"label": "${id}"}}}
    new = write(tmp_path / "new", contract=None, transform=steps)
    found = {one.code + " " + one.message: one for one in compare(old, new)}
    assert sorted(found) == [
        "E701 field 'name' is no longer loaded: drop takes it away",
        "E702 field 'total' has another type: integer before, float now",
        "I721 field 'label' is loaded now",
        "I724 the steps are others now; see what they do: etlctl preview",
        "W713 2 breaking changes, but the version was not given and is not given",
    ]
    gone = found["E701 field 'name' is no longer loaded: drop takes it away"]
    assert (Path(gone.file).name, gone.span and gone.span.line) == ("transform.yaml", 5)


def test_a_removed_field_is_told_where_it_is_missed_and_where_it_was(tmp_path: Path) -> None:
    fields = {"id": {"type": "string"}, "note": {"type": "string"}}
    old = write(tmp_path / "old", contract={**SECTIONS["contract"], "schema": {"fields": fields}})
    new = write(tmp_path / "new")
    removed, version = compare(old, new)[1], compare(old, new)[0]
    assert (removed.code, version.code) == ("E701", "W713")
    assert removed.span is not None
    assert (Path(removed.file), removed.span.line, removed.span.column) == (new / "contract.yaml", 4, 3)
    ((file, span, _),) = removed.related
    assert (Path(file), span.line, span.column) == (old / "contract.yaml", 7, 5)
    assert version.help == 'set version: "2.0.0" in contract.yaml'


@pytest.mark.parametrize(
    ("before", "now", "enough"),
    [
        ("1.2.3", "2.0.0", True),
        ("1.2.3", "1.3.0", False),
        ("0.2.0", "0.3.0", True),
        ("0.2.0", "0.2.1", False),
        ("0.2.0", "1.0.0", True),
        (None, "1.0.0", True),
        ("1.0.0", None, False),
        (None, None, False),
        ("2.0.0", "1.0.0", False),
        ("1.9", "2", True),
        ("1.0.0", "2.0.0-rc.1+b5", True),
    ],
)
def test_a_version_is_raised_as_semver_says(before: str | None, now: str | None, enough: bool) -> None:
    assert raised(before, now) is enough


def test_folders_are_matched_by_path_then_by_name(tmp_path: Path) -> None:
    write(tmp_path / "old" / "a", contract={"name": "same"})
    write(tmp_path / "old" / "moved", contract={"name": "wanders"})
    write(tmp_path / "old" / "lost", contract={"name": "lost"})
    write(tmp_path / "new" / "a", contract={"name": "same"}, load={**SECTIONS["load"], "table": "other"})
    write(tmp_path / "new" / "elsewhere", contract={"name": "wanders"})
    write(tmp_path / "new" / "fresh", contract={"name": "fresh"})
    found = compare(tmp_path / "old", tmp_path / "new")
    assert sorted(one.code for one in found) == ["E700", "E706", "W713"]
    assert "lost is gone" in next(one.message for one in found if one.code == "E700")


def test_destinations_of_a_list_are_matched_by_name(tmp_path: Path) -> None:
    one, two = ({"name": name, "type": "sqlite", "path": "shop.db", "table": name} for name in ("a", "b"))
    old = write(tmp_path / "old", load={"load": [one, two]})
    new = write(tmp_path / "new", load={"load": [two, {**one, "write_method": "replace"}]})
    found = compare(old, new)
    assert sorted(each.code for each in found) == ["E707", "W713"]
    method = next(each for each in found if each.code == "E707")
    assert method.span is not None
    assert Path(new / "load.yaml").read_text(encoding="utf-8").splitlines()[method.span.line - 1].endswith("replace")


def etlctl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "etlctl", "validate", *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def git(folder: Path, *arguments: str) -> None:
    named = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *named, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository whose work tree drops a field that its first commit has."""
    (tmp_path / "etlctl.yaml").touch()
    fields = {"id": {"type": "string"}, "note": {"type": "string"}}
    write(tmp_path / "contracts" / "orders", contract={**SECTIONS["contract"], "schema": {"fields": fields}})
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    write(tmp_path / "contracts" / "orders")
    return tmp_path


def test_a_revision_of_git_is_read_without_touching_the_work_tree(repository: Path) -> None:
    status = subprocess.run(["git", "status", "--short"], cwd=repository, capture_output=True, check=True).stdout
    done = etlctl(repository, "contracts", "--against", "git:main", "--format", "concise")
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines() == [
        "contracts/orders/contract.yaml:2:1 W713 a breaking change, but the version was 1.0.0 and is 1.0.0",
        (
            "contracts/orders/contract.yaml:4:3 E701 field 'note' is no longer declared: "
            "who reads the loaded records may miss it"
        ),
    ]
    assert (
        status == subprocess.run(["git", "status", "--short"], cwd=repository, capture_output=True, check=True).stdout
    )
    inside = etlctl(repository / "contracts" / "orders", ".", "--against", "git:HEAD", "--format", "concise")
    assert "E701" in inside.stdout


def test_every_format_tells_it(repository: Path) -> None:
    def said(form: str) -> str:
        return etlctl(repository, "contracts/orders", "--against", "git:main", "--format", form).stdout

    assert "it was git:main:contracts/orders/contract.yaml:7:5" in said("full")
    (version, removed) = json.loads(said("json"))["diagnostics"]
    assert (version["code"], removed["severity"], removed["related"][0]["line"]) == ("W713", "error", 7)
    assert "::error file=contracts/orders/contract.yaml,line=4,col=3" in said("github")
    results = json.loads(said("sarif"))["runs"][0]["results"]
    assert [(one["ruleId"], one["level"]) for one in results] == [("W713", "warning"), ("E701", "error")]


def test_what_breaks_nothing_exits_with_0_and_is_a_note(repository: Path) -> None:
    write(repository / "contracts" / "orders", extract={**SECTIONS["extract"], "processing_mode": "streaming"})
    git(repository, "commit", "-qam", "second")
    write(repository / "contracts" / "orders")
    done = etlctl(repository, "contracts", "--against", "git:HEAD", "--format", "github")
    assert (done.returncode, done.stdout[:8]) == (0, "::notice")
    ignored = etlctl(repository, "contracts", "--against", "git:HEAD", "--format", "github", "--ignore", "I724")
    assert ignored.stdout == ""


@pytest.mark.parametrize("place", ["git:nowhere", "missing", "git:--help", ".", "", "etlctl.yaml"])
def test_nothing_to_compare_with_is_a_mistake_of_the_call(repository: Path, place: str) -> None:
    (repository / "empty").mkdir()
    folder = repository / "empty" if place == "." else repository
    done = etlctl(folder, str(repository / "contracts"), "--against", place)
    assert done.returncode == 2
    assert "compare with" in done.stderr
    assert "Traceback" not in done.stderr
    assert ("a revision of git: git:missing" in done.stderr) is (place == "missing")


def test_what_is_not_compared_is_said(repository: Path) -> None:
    write(repository / "elsewhere" / "fresh", contract={"name": "fresh"})
    done = etlctl(repository, "elsewhere", "--against", "git:HEAD")
    assert "note: elsewhere/fresh is new: git:HEAD has no contract of its path or name" in done.stderr
    old = write(repository / "old")
    (old / "contract.yaml").write_text("name: orders\nschema: {fields: [\n")
    done = etlctl(repository, "contracts/orders", "--against", "old")
    assert "does not hold itself" in done.stderr
    assert "old/contract.yaml:" in done.stderr


def test_a_file_of_a_contract_stands_for_it(repository: Path) -> None:
    write(repository / "old")
    assert codes(repository / "old" / "load.yaml", repository / "contracts" / "orders") == codes(
        repository / "old", repository / "contracts" / "orders"
    )
