"""Records and table that have drifted apart: what each policy does, in any batch, and what the ledger keeps of it."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from etlctl import faults
from etlctl.orchestrator import ETLOrchestrator
from etlctl.run import RunResult

FIRST = [{"id": 1, "price": 5, "note": "a"}, {"id": 2, "price": 6, "note": "b"}]


def workspace(tmp_path: Path, records: list[dict[str, Any]], evolution: Any, **load: Any) -> Path:
    folder = tmp_path / "contracts" / "goods"
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "etlctl.yaml").touch()
    (folder / "goods.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    extract = {"type": "file", "path": "goods.jsonl", "batch_size": 1, "processing_mode": "streaming"}
    load = {"type": "sqlite", "path": "goods.db", "table": "goods", "schema_evolution": evolution, **load}
    (folder / "extract.yaml").write_text(yaml.safe_dump(extract), encoding="utf-8")
    (folder / "load.yaml").write_text(yaml.safe_dump(load), encoding="utf-8")
    if not (folder / "goods.db").exists():
        with sqlite3.connect(folder / "goods.db") as database:
            database.execute("CREATE TABLE goods (id INTEGER, price INTEGER, note TEXT, at TEXT DEFAULT 'now')")
    return folder


def run(folder: Path, **options: Any) -> RunResult:
    return asyncio.run(ETLOrchestrator(folder, warn=lambda _: None).run(**options))


def rows(folder: Path, columns: str = "id, price, note") -> list[Any]:
    with sqlite3.connect(folder / "goods.db") as database:
        return database.execute(f"SELECT {columns} FROM goods ORDER BY rowid").fetchall()


def kept(tmp_path: Path) -> list[tuple[str, str, str]]:
    with sqlite3.connect(tmp_path / ".etlctl" / "state.db") as state:
        return state.execute("SELECT field, kind, action FROM etlctl_drift ORDER BY field, kind").fetchall()


def test_no_drift_leaves_no_trace(tmp_path: Path) -> None:
    assert run(workspace(tmp_path, FIRST, "freeze")).success
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("evolution", "loaded", "rejected"),
    [
        ("evolve", [(1, 5, "a", None), (2, 6, "b", None), (3, 7, "c", "red")], 0),
        ("drop_value", [(1, 5, "a"), (2, 6, "b"), (3, 7, "c")], 0),
        ("drop_row", [(1, 5, "a"), (2, 6, "b")], 1),
        ({"new_fields": "drop_row", "fields": {"color": "drop_value"}}, [(1, 5, "a"), (2, 6, "b"), (3, 7, "c")], 0),
    ],
)
def test_a_new_field_is_met_in_a_late_batch(tmp_path: Path, evolution: Any, loaded: list[Any], rejected: int) -> None:
    folder = workspace(tmp_path, [*FIRST, {"id": 3, "price": 7, "note": "c", "color": "red"}], evolution)
    result = run(folder)
    assert (result.success, result.counts.rejected) == (True, rejected)
    assert rows(folder, "id, price, note" + (", color" if evolution == "evolve" else "")) == loaded
    action = evolution if isinstance(evolution, str) else "drop_value"
    assert kept(tmp_path) == [("color", "field_added", action)]


def test_freeze_stops_the_run_and_the_ledger_knows_why(tmp_path: Path) -> None:
    folder = workspace(tmp_path, [*FIRST, {"id": 3, "price": 7, "note": "c", "color": "red"}], "freeze")
    result = run(folder)
    assert not result.success
    assert "no column for the field 'color'" in (result.error or "")
    assert kept(tmp_path) == [("color", "field_added", "freeze")]


@pytest.mark.parametrize(
    ("evolution", "loaded", "rejected"),
    [
        ("evolve", [5, 6, "dear"], 0),
        ({"changed_types": "drop_value"}, [5, 6, None], 0),
        ({"changed_types": "drop_row"}, [5, 6], 1),
        ({"changed_types": "drop_row", "fields": {"price": "evolve"}}, [5, 6, "dear"], 0),
    ],
)
def test_a_value_of_another_type(tmp_path: Path, evolution: Any, loaded: list[Any], rejected: int) -> None:
    folder = workspace(tmp_path, [*FIRST, {"id": 3, "price": "dear", "note": "c"}], evolution)
    result = run(folder)
    assert (result.success, result.counts.rejected) == (True, rejected)
    assert [row[1] for row in rows(folder)] == loaded
    ((field, kind, _),) = kept(tmp_path)
    assert (field, kind) == ("price", "type_changed")


def test_frozen_types_stop_the_run(tmp_path: Path) -> None:
    folder = workspace(tmp_path, [*FIRST, {"id": 3, "price": 7.5, "note": "c"}], {"fields": {"price": "freeze"}})
    result = run(folder)
    assert "field 'price' has changed its type: 7.5 (number) in a column of type INTEGER" in (result.error or "")
    assert kept(tmp_path) == [("price", "type_changed", "freeze")]


def test_whole_numbers_and_number_texts_are_at_home_among_integers(tmp_path: Path) -> None:
    folder = workspace(tmp_path, [{"id": "1", "price": 5.0, "note": "a"}], {"changed_types": "freeze"})
    assert run(folder).success
    assert kept(tmp_path) == []


def test_a_lost_field_is_noted_but_not_a_column_with_a_default(tmp_path: Path) -> None:
    folder = workspace(tmp_path, [{"id": 1, "price": 5}, {"id": 2, "price": 6}], "freeze")
    assert run(folder).success
    assert kept(tmp_path) == [("note", "field_lost", "none")]


def test_a_replaced_table_drifts_as_well(tmp_path: Path) -> None:
    records = [{"id": 1, "price": "x", "color": "red"}]
    folder = workspace(tmp_path, records, {"new_fields": "evolve"}, write_method="replace")
    assert run(folder, mode="full").success
    assert kept(tmp_path) == [
        ("color", "field_added", "evolve"),
        ("note", "field_lost", "none"),
        ("price", "type_changed", "evolve"),
    ]


def test_what_was_found_before_a_crash_is_kept(tmp_path: Path) -> None:
    folder = workspace(tmp_path, [{"id": 1, "color": "red"}, *FIRST], "evolve")
    faults.arm("load.before_commit:2=fail")
    try:
        failed = run(folder)
    finally:
        faults.arm(None)
    assert not failed.success
    assert run(folder, resume=True, checkpoint_id=failed.checkpoint_id).success
    assert kept(tmp_path) == [("color", "field_added", "evolve")]


def test_what_was_found_before_a_kill_is_kept(tmp_path: Path) -> None:
    folder = workspace(tmp_path, [{"id": 1, "color": "red"}, *FIRST], "evolve")
    environ = {**os.environ, "ETLCTL_FAULT": "load.after_commit:1=kill"}
    environ.pop("ETLCTL_STATE_URL", None)
    done = subprocess.run(
        [sys.executable, "-m", "etlctl", "run", "."], cwd=folder, env=environ, capture_output=True, check=False
    )
    assert done.returncode == -9
    assert kept(tmp_path) == [("color", "field_added", "evolve")]


def test_the_command_line_shows_it(tmp_path: Path) -> None:
    folder = workspace(tmp_path, [*FIRST, {"id": 3, "price": "dear", "note": "c", "color": "red"}], "evolve")
    result = run(folder)

    def etlctl(*arguments: str) -> str:
        environ = {**os.environ, "COLUMNS": "250", "NO_COLOR": "1"}
        environ.pop("ETLCTL_STATE_URL", None)
        command = [sys.executable, "-m", "etlctl", *arguments]
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, encoding="utf-8", check=True)
        return done.stdout

    shown = etlctl("runs", "show", result.run_id)
    assert "field_added goods.color: text values, such as 'red' (evolve)" in shown
    document = json.loads(etlctl("runs", "show", result.run_id, "--json"))
    assert {one["kind"] for one in document["drift"]} == {"field_added", "type_changed"}
    assert document["checks"] == []
    listed = json.loads(etlctl("runs", "drift", "goods", "--json"))
    assert {(one["field"], one["action"]) for one in listed} == {("color", "evolve"), ("price", "evolve")}
    assert result.run_id in etlctl("runs", "drift")
    assert json.loads(etlctl("runs", "drift", "other", "--json")) == []
