"""The workspace is the nearest folder upwards with an etlctl.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from etlctl.catalog import find_workspace
from etlctl.errors import ContractError


def test_the_nearest_parent_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    (inner / "contracts" / "x").mkdir(parents=True)
    (tmp_path / "etlctl.yaml").write_text("name: outer\n", encoding="utf-8")
    assert find_workspace(inner / "contracts" / "x").root == tmp_path
    (inner / "etlctl.yaml").write_text("name: inner\ncontracts: pipelines\n", encoding="utf-8")
    workspace = find_workspace(inner / "contracts" / "x" / "extract.yaml")
    assert workspace.root == inner
    assert workspace.config.name == "inner"
    assert workspace.contracts_dir == inner / "pipelines"
    assert workspace.state_dir == inner / ".etlctl"


def test_without_a_file_the_current_directory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    workspace = find_workspace(tmp_path / "elsewhere")
    assert workspace.root == Path.cwd()
    assert workspace.config_file is None
    assert workspace.config.contracts == "contracts"


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "etlctl.yaml").write_text("# nothing yet\n", encoding="utf-8")
    assert find_workspace(tmp_path).config.name == tmp_path.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\ncontract: y\n", "etlctl.yaml:2:1: unknown key 'contract'"),
        ("name: x\nname: y\n", "etlctl.yaml:2:1: the key 'name' stands here twice"),
        ("- x\n", "etlctl.yaml:1:1: a mapping is needed here"),
        ("contracts: [a]\n", "etlctl.yaml:1:12: 'contracts' must be text"),
        ("contracts:\n", "'contracts' must be text"),
        ("name: [\n", "is not valid YAML"),
        ("[a]: b\n", "etlctl.yaml:1:1: unknown key"),
    ],
)
def test_mistakes_name_file_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "etlctl.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ContractError) as caught:
        find_workspace(tmp_path)
    assert message in str(caught.value)
