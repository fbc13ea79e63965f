"""Drift in the ledger, and the runs that later ones compare themselves with: SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from ledger_samples import result, start

from etlctl.errors import FencedError
from etlctl.quality import CheckResult, Drift
from etlctl.redact import MASK, Redactor
from etlctl.run import Counts, RunStatus
from etlctl.state.ledger import Ledger

ADDED = Drift("people", "note", "field_added", "evolve", "string values, such as 'x'")
CHANGED = Drift("people", "age", "type_changed", "drop_row", "'x' (string) in a column of type INTEGER")


def test_drift_comes_back_and_a_repeat_overwrites(ledger: Ledger) -> None:
    ledger.add_drift("run_1", "people", "people#1", [ADDED, CHANGED])
    (first, _) = ledger.drift_of_run("run_1")
    ledger.add_drift("run_1", "people", "people#1", [replace(ADDED, action="drop_value")])
    found = ledger.drift_of_run("run_1")
    assert {one.drift for one in found} == {replace(ADDED, action="drop_value"), CHANGED}
    assert {one.found_at for one in found} == {first.found_at}
    assert (found[0].contract, found[0].stream, found[0].run_id) == ("people", "people#1", "run_1")
    assert found[0].to_dict()["field"] in {"note", "age"}
    assert ledger.drift_of_run("run_2") == []


def test_drift_is_listed_by_contract_the_newest_first(ledger: Ledger) -> None:
    for run_id, contract in (("run_1", "people"), ("run_2", "people"), ("run_3", "orders")):
        ledger.add_drift(run_id, contract, contract, [ADDED])
    assert [one.run_id for one in ledger.drift()] == ["run_3", "run_2", "run_1"]
    assert [one.run_id for one in ledger.drift("people")] == ["run_2", "run_1"]
    assert [one.run_id for one in ledger.drift(limit=1)] == ["run_3"]


def test_a_run_that_was_taken_over_records_none(ledger: Ledger) -> None:
    claim = ledger.claim(start(checkpoint_id="cp"))
    ledger.raise_fence("people", claim.fence, claim.fence + 1)
    with pytest.raises(FencedError):
        ledger.add_drift("run_1", "people", "people", [ADDED], fence=claim.fence)
    assert ledger.drift() == []


def test_secrets_are_masked_in_what_was_found(ledger: Ledger, redactor: Redactor) -> None:
    redactor.add("hunter2")
    ledger.add_drift("run_1", "people", "people", [replace(ADDED, detail="such as 'hunter2'")])
    assert ledger.drift()[0].drift.detail == f"such as '{MASK}'"


def test_the_history_of_a_stream_is_its_finished_runs(ledger: Ledger) -> None:
    began = start().started_at
    check = CheckResult("row_count.min", passed=True, value=99, limit=1, message="99 records")
    ends = {
        "run_1": result("run_1", counts=Counts(extracted=5, loaded=5)),
        "run_2": result("run_2", counts=Counts(extracted=9, loaded=7), status=RunStatus.partial, checks=(check,)),
        "run_3": result("run_3", status=RunStatus.failed),
        "run_4": result("run_4"),
        "run_5": result("run_5"),
    }
    for number, (run_id, end) in enumerate(ends.items()):
        other = {"run_4": {"stream": "other"}, "run_5": {"dry_run": True}}.get(run_id, {})
        ledger.start_run(start(run_id, started_at=began + timedelta(hours=number), **other))
        ledger.finish_run(replace(end, dry_run=run_id == "run_5"))
    found = ledger.history("people", 10)
    assert [(run.run_id, run.extracted, run.loaded, run.counted) for run in found] == [
        ("run_2", 9, 7, 99),
        ("run_1", 5, 5, 5),
    ]
    assert [run.run_id for run in ledger.history("people", 1)] == ["run_2"]
    assert ledger.history("none", 10) == []
