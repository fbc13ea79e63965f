"""``runs``, ``dead-letters`` and ``db`` as a person or a script uses them: real processes on a real ledger."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etlctl.run import Counts, DeadLetter, RunResult, RunStatus, StepCounts
from etlctl.state import RunStart, open_ledger
from etlctl.state.upgrade import HEAD

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RUN, FAILED = "run_01aaaaaaaaaaaaaaaaaaaaaaa1", "run_01bbbbbbbbbbbbbbbbbbbbbbb2"
LETTER = "dl_01aaaaaaaaaaaaaaaaaaaaaaa1_1_0"


@dataclass
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def etlctl(folder: Path, group: str, *arguments: str, **environ: str) -> Answer:
    """Run a command group in a process of its own."""
    module = group.replace("-", "_")
    code = f"import sys\nfrom etlctl.cli.{module} import app\nsys.argv[0] = 'etlctl {group}'\napp()"
    env = {**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "220", "NO_COLOR": "1", **environ}
    if "ETLCTL_STATE_URL" not in environ:
        env.pop("ETLCTL_STATE_URL", None)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace with two runs and four dead letters, seen from a folder inside it."""
    root = tmp_path_factory.mktemp("workspace")
    (root / "etlctl.yaml").write_text("name: shop\n", encoding="utf-8")
    inner = root / "contracts" / "people"
    inner.mkdir(parents=True)
    with open_ledger(state_dir=root / ".etlctl") as ledger:
        ledger.start_run(
            RunStart(run_id=RUN, contract="people", stream="people", started_at=BEGAN, params={"day": "1"})
        )
        ledger.add_dead_letters(_letters())
        steps = (
            StepCounts("extract", 1_010, 1_009, rejected=1),
            StepCounts("transform.convert", 1_009, 1_006, rejected=3),
        )
        counts = Counts(extracted=1_010, filtered=6, rejected=4, loaded=1_000)
        end = BEGAN + timedelta(seconds=3)
        destinations = ("out/a.parquet", "out/b.parquet")
        ledger.finish_run(
            RunResult(
                RUN, "people", RunStatus.partial, counts, steps, 2, BEGAN, end, exit_code=4, destinations=destinations
            )
        )
        later = BEGAN + timedelta(hours=1)
        ledger.start_run(RunStart(run_id=FAILED, contract="orders", stream="orders", started_at=later))
        ledger.finish_run(
            RunResult(
                FAILED,
                "orders",
                RunStatus.failed,
                Counts(),
                started_at=later,
                error="no route to host",
                error_type="SourceUnavailable",
                exit_code=6,
            )
        )
    return inner


def _letters() -> list[DeadLetter]:
    found = [
        DeadLetter(
            f"{LETTER[:-1]}{index}",
            RUN,
            "people",
            "people",
            1,
            index,
            0,
            "transform",
            "transform.convert",
            "convert.integer",
            f"'x{index}' is not an integer",
            "age",
            f"people.csv:{index + 2}",
            {"name": "Zoë", "age": f"x{index}"},
        )
        for index in range(3)
    ]
    raw = 'a,"b\r\n  spaces kept '
    unreadable = ("extract", "extract", "csv.open_quote", "a quote is never closed", None, "people.csv:9", raw)
    return [*found, DeadLetter(f"{LETTER[:-1]}7", RUN, "people", "people", 1, 7, 0, *unreadable)]


def test_runs_are_listed(workspace: Path) -> None:
    shown = etlctl(workspace, "runs", "list")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0].split() == [
        "run",
        "contract",
        "status",
        "started",
        "(UTC)",
        "seconds",
        "read",
        "loaded",
        "rejected",
    ]
    assert lines[2].split()[:3] == [FAILED, "orders", "failed"]
    assert lines[3].split() == [RUN, "people", "partial", "2026-03-01", "12:00", "3.0", "1,010", "1,000", "4"]


def test_runs_are_filtered_and_read_by_programs(workspace: Path) -> None:
    shown = etlctl(workspace, "runs", "list", "--contract", "people", "--json").data
    assert [(run["run_id"], run["status"], run["counts"]["loaded"]) for run in shown] == [(RUN, "partial", 1_000)]
    assert shown[0]["started_at"] == "2026-03-01T12:00:00+00:00"
    assert shown[0]["params"] == {"day": "1"}
    assert [run["run_id"] for run in etlctl(workspace, "runs", "list", "-n", "1", "--json").data] == [FAILED]
    assert etlctl(workspace, "runs", "list", "--status", "crashed", "--json").data == []
    wrong = etlctl(workspace, "runs", "list", "--status", "sleeping")
    assert wrong.code == 2
    assert "crashed" in wrong.err, "the valid ones are named"


def test_a_run_is_shown_with_its_account(workspace: Path) -> None:
    shown = etlctl(workspace, "runs", "show", "01aaa")
    assert shown.code == 0
    assert "1,010 read + 0 added = 1,000 loaded + 6 filtered + 4 rejected" in shown.out
    assert "transform.convert  1,009" in shown.out
    assert "3 × convert.integer" in shown.out
    assert "params    day=1" in shown.out
    assert "wrote     out/a.parquet\n          out/b.parquet" in shown.out
    assert f"etlctl dead-letters list --run {RUN}" in shown.err
    told = etlctl(workspace, "runs", "show", RUN, "--json").data
    assert [step["name"] for step in told["steps"]] == ["extract", "transform.convert"]
    assert told["dead_letters"][0] == {"rule": "convert.integer", "stage": "transform", "count": 3}


def test_the_latest_run_is_shown_when_none_is_named(workspace: Path) -> None:
    shown = etlctl(workspace, "runs", "show")
    assert f"run       {FAILED}" in shown.out
    assert "error     SourceUnavailable: no route to host" in shown.out
    assert "exit code 6" in shown.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs", "show", "run_01aaaaaaaaaaaaaaaaaaaaaaa9"), f"did you mean {RUN}?"),
        (("runs", "show", "run_01"), "more than one run"),
        (("dead-letters", "show", "dl_nothing"), "there is no dead letter 'dl_nothing'"),
        (("dead-letters", "show", "dl_01aaaaaaaaaaaaaaaaaaaaaaa1_1"), "more than one dead letter"),
        (("dead-letters", "list", "--run", "zzz"), "there is no run 'zzz'"),
    ],
)
def test_an_id_that_names_nothing_is_a_usage_error(
    workspace: Path, arguments: tuple[str, str, str], words: str
) -> None:
    answer = etlctl(workspace, *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert words in answer.err
    assert "Traceback" not in answer.err


def test_lists_are_never_folded_for_programs_and_ids_never_at_all(workspace: Path) -> None:
    for group, wanted in (("runs", RUN), ("dead-letters", LETTER)):
        piped = etlctl(workspace, group, "list", COLUMNS="40")
        assert any(wanted in line for line in piped.out.splitlines())
    assert "people.csv:2   convert.integer   'x0' is not an integer" in piped.out


def test_dead_letters_are_listed(workspace: Path) -> None:
    shown = etlctl(workspace, "dead-letters", "list", "--limit", "2")
    lines = shown.out.splitlines()
    assert lines[0].split() == ["id", "when", "(UTC)", "contract", "location", "rule", "message"]
    assert LETTER in lines[2]
    assert "people.csv:2" in lines[2]
    assert len(lines) == 4
    assert "2 of 4; more with --limit" in shown.err


def test_dead_letters_are_filtered_and_counted(workspace: Path) -> None:
    by_rule = etlctl(workspace, "dead-letters", "list", "--by-rule", "--json").data
    assert by_rule == [
        {"rule": "convert.integer", "stage": "transform", "count": 3},
        {"rule": "csv.open_quote", "stage": "extract", "count": 1},
    ]
    shown = etlctl(workspace, "dead-letters", "list", "--by-rule")
    assert shown.out.splitlines()[2].split() == ["convert.integer", "transform", "3"]
    found = etlctl(workspace, "dead-letters", "list", "--run", "01aaa", "--rule", "csv", "--json").data
    assert [(one["location"], one["raw"]) for one in found] == [("people.csv:9", 'a,"b\r\n  spaces kept ')]
    assert etlctl(workspace, "dead-letters", "list", "--contract", "orders", "--json").data == []
    assert etlctl(workspace, "dead-letters", "list", "--status", "discarded", "--json").data == []
    assert len(etlctl(workspace, "dead-letters", "list", "--status", "all", "--json").data) == 4


def test_a_rejected_record_is_shown_as_json(workspace: Path) -> None:
    shown = etlctl(workspace, "dead-letters", "show", LETTER)
    for fact in (
        "location  people.csv:2",
        "rule      convert.integer",
        "field     age",
        "message   'x0' is not an integer",
    ):
        assert fact in shown.out
    assert shown.out.endswith('\n{\n  "name": "Zoë",\n  "age": "x0"\n}\n')
    told = etlctl(workspace, "dead-letters", "show", LETTER, "--json").data
    assert told["raw"] == {"name": "Zoë", "age": "x0"}
    assert (told["run_id"], told["seq"], told["index"], told["status"]) == (RUN, 1, 0, "open")


def test_raw_text_is_shown_as_it_stood(workspace: Path) -> None:
    shown = etlctl(workspace, "dead-letters", "show", f"{LETTER[:-1]}7", "--json").data
    assert shown["raw"] == 'a,"b\r\n  spaces kept '
    assert "\n  spaces kept \n" in etlctl(workspace, "dead-letters", "show", f"{LETTER[:-1]}7").out


def test_where_nothing_ran_nothing_is_made(tmp_path: Path) -> None:
    assert etlctl(tmp_path, "runs", "list", "--json").data == []
    assert "nothing ran yet" in etlctl(tmp_path, "runs", "list").err
    assert etlctl(tmp_path, "runs", "show").code == 2
    assert "no dead letters match" in etlctl(tmp_path, "dead-letters", "list").err
    current = etlctl(tmp_path, "db", "current", "--json").data
    assert (current["revision"], current["state"]) == (None, "not created yet")
    assert etlctl(tmp_path, "db", "check").code == 0
    assert list(tmp_path.iterdir()) == []


def test_the_store_is_made_and_checked(tmp_path: Path) -> None:
    made = etlctl(tmp_path, "db", "upgrade")
    assert made.out == f"{tmp_path / '.etlctl' / 'state.db'}: nothing → {HEAD}\n"
    assert "already" in etlctl(tmp_path, "db", "upgrade").out
    assert etlctl(tmp_path, "db", "current", "--json").data == {
        "where": str(tmp_path / ".etlctl" / "state.db"),
        "kind": "sqlite",
        "revision": HEAD,
        "head": HEAD,
        "state": "up to date",
    }
    checked = etlctl(tmp_path, "db", "check", "--full", "--json").data
    assert (checked["ok"], checked["problems"]) == (True, [])


def test_a_newer_store_is_a_state_problem(tmp_path: Path) -> None:
    etlctl(tmp_path, "db", "upgrade")
    with sqlite3.connect(tmp_path / ".etlctl" / "state.db") as connection:
        connection.execute("UPDATE etlctl_version SET version_num = '9999'")
    connection.close()
    assert "newer than this etlctl" in etlctl(tmp_path, "db", "current").out
    checked = etlctl(tmp_path, "db", "check")
    assert checked.code == 7
    assert "problem: the store is at revision 9999" in checked.out
    listed = etlctl(tmp_path, "runs", "list")
    assert listed.code == 7
    assert "a newer version wrote it" in listed.err


def test_a_damaged_store_is_a_state_problem(tmp_path: Path) -> None:
    (tmp_path / ".etlctl").mkdir()
    (tmp_path / ".etlctl" / "state.db").write_bytes(b"garbage " * 1000)
    for command in (("runs", "list"), ("db", "check"), ("db", "upgrade"), ("dead-letters", "list")):
        answer = etlctl(tmp_path, *command)
        assert (answer.code, answer.out) == (7, "")
        assert "state.db is damaged" in answer.err
        assert "Traceback" not in answer.err


def test_a_damaged_index_is_found(tmp_path: Path) -> None:
    with open_ledger(state_dir=tmp_path / ".etlctl") as ledger:
        ledger.add_dead_letters(_letters())
    file = tmp_path / ".etlctl" / "state.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'ix_etlctl_runs_started_at'")
    connection.close()
    checked = etlctl(tmp_path, "db", "check", "--json")
    assert checked.code == 7
    assert checked.data["ok"] is False
    assert "damaged" in checked.data["problems"][0]


def test_a_postgresql_without_its_driver_or_server_says_what_to_do(tmp_path: Path) -> None:
    answer = etlctl(tmp_path, "runs", "list", ETLCTL_STATE_URL="postgresql://etl:hunter22@127.0.0.1:9/x")
    assert answer.code in {3, 7}
    assert "hunter22" not in answer.err
    assert "help: " in answer.err or "pip install 'etlctl[postgres]'" in answer.err


@pytest.mark.parametrize("group", ["runs", "dead-letters", "db"])
def test_help_starts_with_nothing_heavy(tmp_path: Path, group: str) -> None:
    module = group.replace("-", "_")
    code = (
        f"import sys\nfrom etlctl.cli.{module} import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'sqlalchemy', 'alembic', 'polars', 'psutil', 'aiohttp'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
