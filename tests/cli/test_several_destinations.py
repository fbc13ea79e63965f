"""A ``load:`` list from the command line: what is told, and what an unfinished run keeps others from doing."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LOAD = """\
load:
  - {name: even, type: sqlite, path: out.db, table: even, create_table: true, where: id % 2 = 0}
  - {name: all, type: file, path: all.jsonl, write_method: append}
"""
EXTRACT = "type: file\npath: in.csv\nprocessing_mode: MODE\nbatch_size: 10\n"


def workspace(root: Path, *, mode: str = "streaming", load: str = LOAD) -> Path:
    (root / "etlctl.yaml").write_text("name: several\n")
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True)
    (folder / "in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(35)))
    (folder / "extract.yaml").write_text(EXTRACT.replace("MODE", mode))
    (folder / "transform.yaml").write_text("transform: {convert: {id: integer}}\n")
    (folder / "load.yaml").write_text(load)
    return folder


def etlctl(root: Path, *argv: str, fault: str = "") -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "ETLCTL_FAULT": fault, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "etlctl", *argv]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)


def ids(folder: Path) -> tuple[list[int], list[int]]:
    with sqlite3.connect(folder / "out.db") as database:
        even = [row[0] for row in database.execute("SELECT id FROM even ORDER BY id")]
    lines = (folder / "all.jsonl").read_text().splitlines() if (folder / "all.jsonl").exists() else []
    return even, sorted(json.loads(line)["id"] for line in lines)


def test_validate_tells_the_promise_of_each_and_of_all(tmp_path: Path) -> None:
    workspace(tmp_path)
    said = etlctl(tmp_path, "validate").stdout.splitlines()
    assert said == [
        "contracts/c is valid: delivery exactly_once, every record arrives exactly once",
        "  even: exactly_once, every record arrives exactly once",
        "  all: exactly_once, every record arrives exactly once",
    ]
    (found,) = json.loads(etlctl(tmp_path, "validate", "--json").stdout)["contracts"]
    assert found["destinations"] == [
        {"name": "even", "delivery": "exactly_once"}, {"name": "all", "delivery": "exactly_once"},
    ]  # fmt: skip


def test_the_weakest_promise_is_that_of_all(tmp_path: Path) -> None:
    workspace(tmp_path, load="load:\n- {type: file, path: all.csv}\n- {type: file, path: '-', format: csv}\n")
    said = etlctl(tmp_path, "validate").stdout.splitlines()
    assert [line.split(",")[0] for line in said] == [
        "contracts/c is valid: delivery at_least_once",
        "  file: exactly_once",
        "  file_2: at_least_once",
    ]


def test_what_became_of_the_records_is_told_for_each(tmp_path: Path) -> None:
    folder = workspace(tmp_path)
    result: dict[str, Any] = json.loads(etlctl(tmp_path, "run", "contracts/c", "--json").stdout)
    assert result["by_destination"] == [
        {"name": "even", "place": f"{folder / 'out.db'} (table even)", "records": 18, "rejected": 0},
        {"name": "all", "place": str(folder / "all.jsonl"), "records": 35, "rejected": 0},
    ]
    assert (result["counts"]["added"], result["counts"]["loaded"]) == (18, 53)
    shown = etlctl(tmp_path, "runs", "show", result["run_id"]).stdout
    assert "35 read + 18 added = 53 loaded + 0 filtered + 0 rejected" in shown
    steps = [line.split()[:6] for line in shown.splitlines() if line.startswith("load.")]
    assert steps == [["load.even", "18", "0", "0", "0", "18"], ["load.all", "35", "0", "0", "0", "35"]]
    report = json.loads(Path(result["report"]).read_text())
    assert report["by_destination"] == result["by_destination"]
    assert all(step["balanced"] for step in report["steps"])


@pytest.mark.parametrize(
    ("mode", "fault"), [("streaming", "load.write:4"), ("streaming", "publish.during:1"), ("full", "publish.during:2")]
)
def test_a_new_run_does_not_undo_what_an_unfinished_one_needs(tmp_path: Path, mode: str, fault: str) -> None:
    folder = workspace(tmp_path, mode=mode)
    assert etlctl(tmp_path, "run", "contracts/c", "--checkpoint", "job", fault=f"{fault}=kill").returncode == -9
    before = ids(folder)
    refused = etlctl(tmp_path, "run", "contracts/c")
    assert refused.returncode not in {0, 4, -9}, refused
    assert "a new run would load them a second time" in refused.stderr
    assert ids(folder) == before
    resumed = etlctl(tmp_path, "resume", "--checkpoint", "job")
    assert resumed.returncode == 0, resumed.stderr
    assert ids(folder) == (list(range(0, 35, 2)), list(range(35)))


ONE = "{type: sqlite, path: out.db, table: even, create_table: true}"
RENAMED = LOAD.replace("name: even", "name: straight").replace("name: all", "name: whole")


@pytest.mark.parametrize(
    ("before", "after"), [(LOAD, ONE), (ONE, LOAD), (LOAD, RENAMED)], ids=["one now", "several now", "renamed"]
)
def test_what_the_destinations_of_before_hold_does_not_come_twice(tmp_path: Path, before: str, after: str) -> None:
    folder = workspace(tmp_path, load=before)
    killed = etlctl(tmp_path, "run", "contracts/c", "--checkpoint", "job", fault="load.before_commit:4=kill")
    assert killed.returncode == -9, killed
    with sqlite3.connect(folder / "out.db") as database:
        there = database.execute("SELECT count(*) FROM even").fetchone()
    (folder / "load.yaml").write_text(after)
    for command in (["run", "contracts/c"], ["resume", "--checkpoint", "job", "--accept-changes"]):
        refused = etlctl(tmp_path, *command)
        assert refused.returncode == 7, refused
        assert "which the contract does not have any more" in refused.stderr
    with sqlite3.connect(folder / "out.db") as database:
        assert database.execute("SELECT count(*) FROM even").fetchone() == there
        database.execute("DELETE FROM even")
    assert etlctl(tmp_path, "run", "contracts/c", "--restart").returncode == 0
    assert etlctl(tmp_path, "run", "contracts/c").returncode == 0, "it is done with"
    with sqlite3.connect(folder / "out.db") as database:
        assert {row[0] for row in database.execute("SELECT count(*) FROM even GROUP BY id")} == {2}


@pytest.mark.parametrize("after", [ONE, RENAMED], ids=["one now", "renamed"])
def test_what_the_destinations_of_before_have_prepared_goes(tmp_path: Path, after: str) -> None:
    folder = workspace(tmp_path, mode="full")
    killed = etlctl(tmp_path, "run", "contracts/c", "--checkpoint", "job", fault="load.after_commit:2=kill")
    assert killed.returncode == -9, killed
    (folder / "load.yaml").write_text(after)
    assert etlctl(tmp_path, "run", "contracts/c").returncode == 0
    with sqlite3.connect(folder / "out.db") as database:
        names = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == {"even", "_etlctl_commits"}


FILES = {
    "append": "{type: file, path: a.jsonl, write_method: append}",
    "replace": "{type: file, path: a.jsonl}",
    "parts": "{type: file, path: a/, format: jsonl}",
    "parts append": "{type: file, path: a/, format: jsonl, write_method: append}",
}


@pytest.mark.parametrize("first", FILES)
def test_of_files_one_may_be_published_and_another_not(tmp_path: Path, first: str) -> None:
    load = f"load:\n- {FILES[first]}\n- {{type: file, path: all.jsonl, write_method: append}}\n"
    folder = workspace(tmp_path, mode="full", load=load)
    (folder / "all.jsonl").write_text('{"id":-1}\n')
    # In the first of two steps that append to the second file.
    steps = {"append": 3, "replace": 2, "parts": 3, "parts append": 6}[first]
    killed = etlctl(tmp_path, "run", "contracts/c", "--checkpoint", "job", fault=f"publish.during:{steps + 1}=kill")
    assert killed.returncode == -9, killed
    refused = etlctl(tmp_path, "run", "contracts/c")
    assert "a new run would load them a second time" in refused.stderr
    assert etlctl(tmp_path, "resume", "--checkpoint", "job").returncode == 0
    for name in ("a.jsonl", "a", "all.jsonl"):
        parts = sorted((folder / name).glob("part-*")) if (folder / name).is_dir() else [folder / name]
        lines = [line for part in parts if part.exists() for line in part.read_text().splitlines()]
        if lines:
            assert sorted(json.loads(line)["id"] for line in lines if line != '{"id":-1}') == list(range(35))
    assert etlctl(tmp_path, "run", "contracts/c").returncode == 0


def test_files_none_of_which_is_published_begin_anew(tmp_path: Path) -> None:
    load = f"load:\n- {FILES['append']}\n- {{type: file, path: all.jsonl, write_method: append}}\n"
    folder = workspace(tmp_path, mode="full", load=load)
    assert etlctl(tmp_path, "run", "contracts/c", "--checkpoint", "job", fault="publish.before=kill").returncode == -9
    assert etlctl(tmp_path, "run", "contracts/c").returncode == 0
    for name in ("a.jsonl", "all.jsonl"):
        assert sorted(json.loads(line)["id"] for line in (folder / name).read_text().splitlines()) == list(range(35))


def test_a_replace_that_must_not_be_publishes_nothing_anywhere(tmp_path: Path) -> None:
    load = (
        "load:\n- {type: file, path: all.csv}\n- {type: sqlite, path: out.db, table: even, write_method: replace, "
        "where: id > 32}\nreplace_guard: {max_shrink_percent: 50}\n"
    )
    folder = workspace(tmp_path, load=load)
    with sqlite3.connect(folder / "out.db") as database:
        database.executescript("CREATE TABLE even (id INTEGER); INSERT INTO even VALUES (1), (2), (3), (4), (5), (6);")
    refused = etlctl(tmp_path, "run", "contracts/c")
    assert refused.returncode == 5, refused.stderr
    assert "refused to replace 6 records" in refused.stderr
    assert not (folder / "all.csv").exists()
    assert ids(folder)[0] == [1, 2, 3, 4, 5, 6]


def test_a_file_that_must_not_be_replaced_keeps_a_table_from_being_published(tmp_path: Path) -> None:
    load = (
        "load:\n- {type: sqlite, path: out.db, table: even, create_table: true}\n"
        "- {type: file, path: all.jsonl, where: id > 32}\nreplace_guard: {max_shrink_percent: 50}\n"
    )
    folder = workspace(tmp_path, load=load, mode="full")
    (folder / "all.jsonl").write_text('{"id":1}\n' * 6)
    refused = etlctl(tmp_path, "run", "contracts/c")
    assert refused.returncode == 5, refused.stderr
    with sqlite3.connect(folder / "out.db") as database:
        assert not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'even'").fetchall()
    assert (folder / "all.jsonl").read_text() == '{"id":1}\n' * 6


def test_a_file_that_was_changed_meanwhile_keeps_a_table_from_being_published(tmp_path: Path) -> None:
    folder = workspace(tmp_path, mode="full")
    (folder / "all.jsonl").write_text('{"id":-1}\n')
    killed = etlctl(tmp_path, "run", "contracts/c", "--checkpoint", "job", fault="publish.before=kill")
    assert killed.returncode == -9, killed
    (folder / "all.jsonl").write_text('{"id":-1}\n{"id":-2}\n')
    refused = etlctl(tmp_path, "resume", "--checkpoint", "job")
    assert refused.returncode == 1, refused
    assert "something else has changed it since this run began (in load.all)" in refused.stderr
    with sqlite3.connect(folder / "out.db") as database:
        assert not database.execute("SELECT name FROM sqlite_master WHERE name = 'even'").fetchall()
    # As the message says: nothing was published, so a run from the beginning loads everything once.
    assert etlctl(tmp_path, "run", "contracts/c").returncode == 0
    assert ids(folder) == (list(range(0, 35, 2)), [-2, -1, *range(35)])


def test_a_proof_copies_all_destinations(tmp_path: Path) -> None:
    workspace(tmp_path)
    proved = etlctl(tmp_path, "prove", "contracts/c", "--seeds", "2")
    assert proved.returncode == 0, proved.stdout + proved.stderr
    assert "0 lost, 0 doubled" in proved.stdout + proved.stderr
    assert not (tmp_path / "contracts" / "c" / "out.db").exists()
