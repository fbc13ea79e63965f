"""``etlctl components`` as a person asks it: by kind, by type alone, and with a slip of the finger."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from etlctl.cli.main import command_tree

runner = CliRunner()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def cli(*arguments: str):
    return runner.invoke(command_tree(), ["components", *arguments])


def test_a_type_alone_is_enough_when_one_kind_has_it() -> None:
    alone, in_full = cli("filter"), cli("operation", "filter")
    assert (alone.exit_code, alone.output) == (0, in_full.output)
    assert alone.output.startswith("operation filter")


def test_a_type_of_several_kinds_is_asked_back() -> None:
    done = cli("file")
    assert done.exit_code == 2
    assert "components extractor file" in done.output
    assert "components loader file" in done.output


def test_what_is_no_component_gets_a_suggestion() -> None:
    done = cli("filtre")
    assert done.exit_code == 2
    assert "did you mean filter?" in done.output
    assert "Value error" not in done.output


@pytest.mark.parametrize("arguments", [("filter",), ("loader", "file"), ("operations",)])
def test_marks_of_the_reference_are_not_shown(arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert done.exit_code == 0
    assert "`" not in done.output
