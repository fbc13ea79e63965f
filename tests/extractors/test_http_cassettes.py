"""Contracts that read HTTP offline: recorded once with ``--record``, run and previewed with ``--replay``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from etlctl.cli.main import command_tree

if TYPE_CHECKING:
    from hostile_server import HostileServer

runner = CliRunner()


def contract(root: Path, url: str) -> Path:
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True)
    (root / "etlctl.yaml").write_text("# a workspace\n")
    auth = "auth: {type: api_key, key: canary-key-1, name: key, location: query}"
    pages = "pagination: {strategy: page, page_size: 10}"
    (folder / "extract.yaml").write_text(f"type: http\nurl: {url}/page\n{pages}\n{auth}\n")
    (folder / "load.yaml").write_text("type: file\npath: out.jsonl\n")
    return folder


def test_what_was_recorded_runs_and_previews_without_a_server(hostile: HostileServer, tmp_path: Path) -> None:
    folder, tape = contract(tmp_path, hostile.url), tmp_path / "tape.jsonl"
    recorded = runner.invoke(command_tree(), ["run", str(folder), "--record", str(tape), "--quiet"])
    assert recorded.exit_code == 0, recorded.output
    assert hostile.last.query["key"] == "canary-key-1"
    assert "canary" not in tape.read_text()
    loaded = (folder / "out.jsonl").read_text()
    assert [json.loads(line)["i"] for line in loaded.splitlines()] == list(range(25))

    hostile.hits.clear()
    (folder / "out.jsonl").unlink()
    replayed = runner.invoke(command_tree(), ["run", str(folder), "--replay", str(tape), "--quiet"])
    assert replayed.exit_code == 0, replayed.output
    assert (folder / "out.jsonl").read_text() == loaded
    previewed = runner.invoke(command_tree(), ["preview", str(folder), "--replay", str(tape), "--json", "-n", "3"])
    assert previewed.exit_code == 0, previewed.output
    assert json.loads(previewed.stdout)["records"] == [{"i": 0}, {"i": 1}, {"i": 2}]
    assert not hostile.hits


def test_a_request_that_was_not_recorded_is_named(hostile: HostileServer, tmp_path: Path) -> None:
    folder, tape = contract(tmp_path, hostile.url), tmp_path / "tape.jsonl"
    assert (
        runner.invoke(command_tree(), ["preview", str(folder), "--record", str(tape), "--sample", "5"]).exit_code == 0
    )
    hostile.hits.clear()
    ended = runner.invoke(command_tree(), ["run", str(folder), "--replay", str(tape), "--quiet"])
    assert ended.exit_code == 1
    assert "/page?limit=10" in ended.output
    assert not hostile.hits


def test_recording_and_replaying_exclude_each_other(hostile: HostileServer, tmp_path: Path) -> None:
    folder = contract(tmp_path, hostile.url)
    ended = runner.invoke(command_tree(), ["run", str(folder), "--record", "a", "--replay", "b", "--quiet"])
    assert ended.exit_code == 2
    assert "--replay" in ended.output
    assert not hostile.hits
