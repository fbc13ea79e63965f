"""Contracts that check data, run as a whole: every outcome of a broken rule, and checks of a run over its attempts."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml

from etlctl import faults
from etlctl.orchestrator import ETLOrchestrator
from etlctl.run import RunResult

PEOPLE = [
    {"id": "1", "age": "41", "mail": "ann@example.com", "begin": "2024-01-01", "end": "2024-02-01"},
    {"id": "2", "age": "17", "mail": "bob@example.com", "begin": "2024-01-01", "end": "2024-02-01"},
    {"id": "3", "age": "30", "mail": "nobody", "begin": "2024-01-01", "end": "2024-02-01"},
    {"id": "4", "age": "12", "mail": None, "begin": "2024-03-01", "end": "2024-02-01"},
    {"id": "1", "age": "50", "mail": None, "begin": "2024-01-01", "end": None},
]
FIELDS: dict[str, Any] = {"id": {"unique": True}, "age": {"minimum": 18}, "mail": {"format": "email"}}
RULE = {"name": "in_order", "expression": "end >= begin"}
BAD = {"2": "check.minimum", "3": "check.format", "4": "check.minimum", "1": "check.unique"}


def workspace(
    tmp_path: Path, contract: dict[str, Any], *, form: str = "csv", load: dict[str, Any] | None = None, **extract: Any
) -> Path:
    """Write a contract over PEOPLE; its source is a frame (csv) or rows (jsonl)."""
    folder = tmp_path / "contracts" / "people"
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "etlctl.yaml").touch()
    if form == "csv":
        lines = [",".join(PEOPLE[0]), *(",".join(value or "" for value in one.values()) for one in PEOPLE)]
    else:
        lines = [json.dumps(one) for one in PEOPLE]
    (folder / f"people.{form}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sections = {
        "extract": {"type": "file", "path": f"people.{form}", **extract},
        "transform": {"transform": {"convert": {"age": "integer", "begin": "date", "end": "date"}}},
        "load": load or {"type": "sqlite", "path": "out.db", "table": "people", "create_table": True},
        "contract": contract,
    }
    for name, section in sections.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(section), encoding="utf-8")
    return folder


def run(folder: Path, said: list[str] | None = None, **options: Any) -> RunResult:
    said = [] if said is None else said
    return asyncio.run(ETLOrchestrator(folder, warn=said.append).run(**options))


def loaded(folder: Path) -> list[str]:
    if not (folder / "out.db").exists():
        return []
    with sqlite3.connect(folder / "out.db") as database:
        tables = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'people'").fetchall()
        return [str(row[0]) for row in database.execute("SELECT id FROM people ORDER BY rowid")] if tables else []


def letters(tmp_path: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(tmp_path / ".etlctl" / "state.db") as state:
        return state.execute('SELECT rule, message FROM etlctl_dead_letters ORDER BY seq, "index", part').fetchall()


def schema(action: str) -> dict[str, Any]:
    return {"schema": {"fields": FIELDS, "rules": [RULE], "on_violation": action}}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_reject_keeps_rule_field_and_value(tmp_path: Path, form: str) -> None:
    folder = workspace(tmp_path, schema("reject"), form=form)
    result = run(folder)
    assert (result.status, result.counts.loaded, result.counts.rejected, loaded(folder)) == ("partial", 1, 4, ["1"])
    found = letters(tmp_path)
    assert [rule for rule, _ in found] == ["check.minimum", "check.format", "check.minimum", "check.unique"]
    assert found[0][1] == "field 'age': 17 is less than the minimum 18"
    assert found[3][1] == "field 'id' must be unique: '1' was there before"


def test_a_bound_is_told_with_all_its_digits(tmp_path: Path) -> None:
    run(workspace(tmp_path, {"schema": {"fields": {"age": {"minimum": 1234567}}}}))
    assert letters(tmp_path)[0][1] == "field 'age': 41 is less than the minimum 1234567"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_drop_filters(tmp_path: Path, form: str) -> None:
    folder = workspace(tmp_path, schema("drop"), form=form)
    result = run(folder)
    assert (result.status, result.counts.filtered, loaded(folder), letters(tmp_path)) == ("succeeded", 4, ["1"], [])


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_warn_loads_all_and_says_each_rule_once(tmp_path: Path, form: str) -> None:
    folder, said = workspace(tmp_path, schema("warn"), form=form), []
    result = run(folder, said)
    assert (result.status, loaded(folder)) == ("succeeded", ["1", "2", "3", "4", "1"])
    counts = {(one.rule, one.field): one.count for one in result.violations}
    assert counts == {
        ("check.minimum", "age"): 2,
        ("check.format", "mail"): 1,
        ("check.rule.in_order", None): 1,
        ("check.unique", "id"): 1,
    }
    assert len(said) == 4
    assert any("check.minimum: 2 records, the first: field 'age': 17 is less" in text for text in said)
    assert any("(end is 2024-02-01, begin is 2024-03-01)" in text for text in said)
    with sqlite3.connect(tmp_path / ".etlctl" / "state.db") as state:
        ((text,),) = state.execute("SELECT result FROM etlctl_runs").fetchall()
    assert [one["rule"] for one in json.loads(text)["violations"]] == [one.rule for one in result.violations]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_fail_ends_the_run_and_names_record_and_rule(tmp_path: Path, form: str) -> None:
    folder = workspace(tmp_path, schema("fail"), form=form)
    result = run(folder)
    assert (result.status, result.exit_code, result.error_type, loaded(folder)) == ("failed", 5, "RecordFailed", [])
    line = 3 if form == "csv" else 2
    assert result.error is not None
    assert f"people.{form}:{line}: field 'age': 17 is less than the minimum 18 (check.minimum" in result.error
    assert "bob@example.com" in result.error


def test_fail_after_a_filter_names_the_right_record(tmp_path: Path) -> None:
    contract = {
        "schema": {
            "fields": {"age": {"minimum": 18, "on_violation": "drop"}},
            "rules": [{**RULE, "on_violation": "fail", "expression": "mail != 'nobody'"}],
        }
    }
    result = run(workspace(tmp_path, contract))
    assert "people.csv:4: rule 'in_order' does not hold" in (result.error or "")


def test_fail_in_a_later_group_of_frame_steps_names_the_right_record(tmp_path: Path) -> None:
    folder = workspace(tmp_path, {"schema": {"fields": {"age": {"minimum": 18, "on_violation": "fail"}}}})
    without = [{"filter": {"field": "id", "operator": "ne", "value": number}} for number in ("2", "3")]
    steps = {"transform": [*without, {"convert": {"age": "integer"}}]}
    (folder / "transform.yaml").write_text(yaml.safe_dump(steps), encoding="utf-8")
    result = run(folder)
    assert "people.csv:5: field 'age': 12 is less than the minimum 18" in (result.error or "")


def test_a_field_a_rule_and_the_schema_each_have_a_word(tmp_path: Path) -> None:
    fields = {**FIELDS, "age": {"minimum": 18, "on_violation": "warn"}}
    contract = {"schema": {"fields": fields, "rules": [{**RULE, "on_violation": "drop"}], "on_violation": "reject"}}
    result = run(workspace(tmp_path, contract))
    counts = result.counts
    assert (counts.loaded, counts.filtered, counts.rejected) == (2, 1, 2)
    assert [(one.rule, one.count) for one in result.violations] == [("check.minimum", 2)]


def test_a_masked_record_that_ends_the_run_is_not_shown(tmp_path: Path) -> None:
    pytest.importorskip("etlctl.transforms.mask")
    folder = workspace(tmp_path, schema("fail"))
    steps = [{"mask": {"mail": "redact"}}, {"convert": {"age": "integer"}}]
    (folder / "transform.yaml").write_text(yaml.safe_dump({"transform": steps}), encoding="utf-8")
    result = run(folder)
    assert result.error_type == "RecordFailed"
    assert "example.com" not in (result.error or "")


# --- the run as a whole ----------------------------------------------------------------------------------------------


def test_too_few_records_publish_nothing_and_exit_5(tmp_path: Path) -> None:
    folder = workspace(tmp_path, {"checks": {"row_count": {"min": 6}}})
    result = run(folder)
    assert (result.status, result.exit_code, loaded(folder)) == ("failed", 5, [])
    assert "row_count.min: 5 records; at least 6 are wanted" in (result.error or "")
    assert "nothing was published" in (result.error_help or "")
    (check,) = result.checks
    assert (check.passed, check.value, check.limit) == (False, 5, 6)
    report = json.loads(Path(result.report or "").read_text(encoding="utf-8"))
    assert report["checks"][0]["message"] == check.message


def test_in_streaming_mode_it_is_said_that_batches_can_be_seen(tmp_path: Path) -> None:
    folder = workspace(tmp_path, {"checks": {"row_count": {"max": 2}}}, processing_mode="streaming", batch_size=2)
    result = run(folder)
    assert (result.exit_code, len(loaded(folder))) == (5, 5)
    assert "can be seen already" in (result.error_help or "")


def test_a_relaxed_check_lets_the_run_be_resumed(tmp_path: Path) -> None:
    folder = workspace(tmp_path, {"checks": {"row_count": {"min": 6}}})
    failed = run(folder)
    (folder / "contract.yaml").write_text(yaml.safe_dump({"checks": {"row_count": {"min": 5}}}), encoding="utf-8")
    resumed = run(folder, resume=True, checkpoint_id=failed.checkpoint_id)
    assert (resumed.status, resumed.run_id, len(loaded(folder))) == ("succeeded", failed.run_id, 5)


def test_the_number_is_compared_with_the_median_of_the_runs_before(tmp_path: Path) -> None:
    checks = {"row_count": {"max_change_percent": 30, "over_runs": 3}}
    load = {"type": "sqlite", "path": "out.db", "table": "people", "create_table": True, "write_method": "replace"}
    folder = workspace(tmp_path, {"checks": checks}, load=load)
    first, second = run(folder), run(folder, max_records=4)
    assert "nothing to compare with" in first.checks[0].message
    assert (second.success, second.checks[0].passed) == (True, True)
    third = run(folder, max_records=2)
    assert (third.exit_code, third.checks[0].value) == (5, 2)
    assert "2 records, 55.6 % fewer than 4.5 (the median of the 2 runs before)" in third.checks[0].message
    assert len(loaded(folder)) == 4  # a run that failed is nothing to compare with, and changed nothing
    assert run(folder, max_records=4).success


def test_a_warning_lets_the_run_go_on(tmp_path: Path) -> None:
    checks = {
        "freshness": {"field": "end", "max_age": "2h", "on_violation": "warn"},
        "null_share": {"mail": {"max": 0.1, "on_violation": "warn"}, "id": 0},
    }
    folder, said = workspace(tmp_path, {"checks": checks}), []
    result = run(folder, said)
    assert result.success
    passed = {check.name: check.passed for check in result.checks}
    assert passed == {"freshness.end": False, "null_share.mail": False, "null_share.id": True}
    assert any("freshness.end: the newest end is 2024-02-01T00:00:00+00:00" in text for text in said)
    assert any(re.search(r"its age \d+d\S*; 2h is allowed", text) for text in said)
    assert any("mail is null or missing in 2 of 5 records (40.00 %); 10 % are allowed" in text for text in said)


def test_a_preview_judges_nothing(tmp_path: Path) -> None:
    folder = workspace(tmp_path, {"checks": {"row_count": {"min": 6}}})
    records, _, result = asyncio.run(ETLOrchestrator(folder).preview(sample=2))
    assert (len(records), result.success, result.checks) == (2, True, ())


@pytest.mark.parametrize("mode", ["full", "streaming"])
def test_a_resumed_run_is_judged_as_a_whole(tmp_path: Path, mode: str) -> None:
    checks = {"null_share": {"mail": 0.5}, "row_count": {"min": 5}}
    contract = {"schema": {"fields": {"age": {"minimum": 18}}, "on_violation": "warn"}, "checks": checks}
    folder = workspace(tmp_path, contract, processing_mode=mode, batch_size=2)
    faults.arm("load.before_commit:2=fail")
    try:
        stopped = run(folder)
    finally:
        faults.arm(None)
    assert (stopped.success, stopped.counts.extracted) == (False, 4)
    assert letters(tmp_path) == []
    resumed = run(folder, resume=True, checkpoint_id=stopped.checkpoint_id)
    assert resumed.success, resumed.error
    assert resumed.attempt == 2
    assert {check.name: check.value for check in resumed.checks} == {"row_count.min": 5, "null_share.mail": 0.4}
    assert [(one.rule, one.count) for one in resumed.violations] == [("check.minimum", 2)]
    assert resumed.violations[0].location == "people.csv:3"
