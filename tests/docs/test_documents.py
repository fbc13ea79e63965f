"""What the documents show is so: commands, options, outputs, contracts, links and figures."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import documents
import pytest
import typer

ROOT = documents.ROOT


def command_tree() -> Any:
    """Return the root command; its classes are click's or typer's own, by the version of typer."""
    from etlctl.cli import main

    return typer.main.get_command(main.command_tree())


def problem(line: str) -> str | None:
    """Tell what is wrong with a command line: an unknown command or an unknown option; ``a|b`` is both."""
    alternatives = next(
        (word.split("|") for word in line.split() if re.fullmatch(r"[a-z|-]+", word) and "|" in word), []
    )
    if alternatives:
        return next(filter(None, (problem(line.replace("|".join(alternatives), one)) for one in alternatives)), None)
    command = command_tree()
    for word in shlex.split(line, comments=True)[1:]:
        if word.startswith("-") and word != "-":
            option = word.partition("=")[0]
            known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
            if option not in known:
                return f"{command.name} has no option {option}"
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return f"{command.name} has no command {word}"
            command = command.commands[word]
    return None


MENTIONED = [(name, line) for name in documents.DOCUMENTS for line in documents.etlctl_commands(name)]


@pytest.mark.parametrize(("name", "line"), MENTIONED, ids=[f"{name}: {line}" for name, line in MENTIONED])
def test_mentioned_commands_exist(name: str, line: str) -> None:
    assert problem(line) is None


@pytest.mark.parametrize("line", ["etlctl rum x", "etlctl run x --no-such", "etlctl runs lost"])
def test_a_wrong_command_is_noticed(line: str) -> None:
    assert problem(line)


def test_the_readme_lists_every_command() -> None:
    commands = {name for name, command in command_tree().commands.items() if not command.hidden}
    listed = {line.split()[1] for line in documents.etlctl_commands("README.md") if len(line.split()) > 1}
    assert commands <= listed, f"the README does not mention {sorted(commands - listed)}"


@pytest.mark.parametrize("name", ["README.md", "GUIDE.md", "SOURCES.md", "CONTRIBUTING.md"])
def test_the_document_can_be_followed(name: str, tmp_path: Path) -> None:
    wrong = documents.play(name, tmp_path)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["README.md", "GUIDE.md", "SOURCES.md", "CONTRIBUTING.md"])
def test_every_yaml_block_is_a_file(name: str) -> None:
    unnamed = [fence.line for fence in documents.fences(name) if fence.language == "yaml" and not fence.path]
    assert not unnamed, f"{name}: the YAML blocks at lines {unnamed} name no file, so nothing checks them"


@pytest.mark.parametrize("name", documents.DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    lost = [target for target in documents.links(name) if not (ROOT / target).exists()]
    assert not lost


def test_the_readme_begins_with_two_commands() -> None:
    first, second = [fence.body.strip() for fence in documents.fences("README.md") if fence.language == "bash"][:2]
    assert "\n" not in first
    assert first.endswith("etlctl run contracts/flights")
    assert "\n" not in second
    assert second.endswith("pytest")


def test_the_readme_shows_the_measured_figures() -> None:
    command = [sys.executable, "-m", "benchmarks.report"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
