"""Runs over several attempts: every try is kept, the result is kept whole, what can be resumed is found."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from ledger_samples import BEGAN, ENDED, attempt, checkpoint, letter, result, start
from sqlalchemy import text

from etlctl.errors import FencedError
from etlctl.redact import MASK, Redactor
from etlctl.run import RunResult, RunStatus, StepCounts
from etlctl.state import schema
from etlctl.state.cursors import StoredCursor
from etlctl.state.ledger import Ledger
from etlctl.state.result_text import result_text, stored_result

FAILED = {"status": RunStatus.failed, "error": "boom", "error_type": "FatalError", "exit_code": 1}


def tries(ledger: Ledger, run_id: str = "run_1") -> list[tuple[Any, ...]]:
    return [(one.counts.name, one.attempt, one.status, one.error) for one in ledger.attempts(run_id)]


def test_every_try_of_a_step_is_kept_over_all_attempts_of_a_run(ledger: Ledger) -> None:
    claim = ledger.claim(start())
    ledger.add_attempts("run_1", [attempt(), attempt(error="deadlock", batch=4)], fence=claim.fence)
    ledger.add_attempts("run_1", [attempt(position=0, name="extract", error="503")], fence=claim.fence)
    ledger.add_attempts("run_1", [])
    ledger.finish_run(result(**FAILED, failed_step="load", checkpoint_id="cp"), fence=claim.fence)
    again = ledger.claim(start(), resume=True)
    ledger.add_attempts("run_1", [attempt(error="locked")], fence=again.fence)
    steps = tuple(replace(step, records_in=step.records_in + 90) for step in result().steps)
    ledger.finish_run(result(steps=steps, attempt=2), fence=again.fence)
    assert tries(ledger) == [
        ("extract", 1, "failed", "503"),
        ("extract", 2, "canceled", None),
        ("extract", 3, "succeeded", None),
        ("transform.convert", 1, "canceled", None),
        ("transform.convert", 2, "succeeded", None),
        ("load", 1, "failed", "connection reset by the server"),
        ("load", 2, "failed", "deadlock"),
        ("load", 3, "failed", "boom"),
        ("load", 4, "failed", "locked"),
        ("load", 5, "succeeded", None),
    ]
    assert ledger.steps("run_1") == list(steps)
    assert ledger.run("run_1").attempt == 2


def test_a_try_comes_back_whole(ledger: Ledger) -> None:
    ledger.start_run(start())
    ledger.add_attempts("run_1", [attempt(batch=2**40)])
    (kept,) = ledger.attempts("run_1")
    assert (kept.position, kept.attempt, kept.batch, kept.status) == (2, 1, 2**40, "failed")
    assert (kept.started_at, kept.ended_at, kept.error) == (BEGAN, ENDED, "connection reset by the server")
    assert kept.counts == StepCounts("load", seconds=2.5)
    assert json.loads(json.dumps(kept.to_dict()))["name"] == "load"
    assert kept.to_dict()["ended_at"] == ENDED.isoformat()


def test_a_step_of_a_resumed_run_began_with_its_own_attempt(ledger: Ledger) -> None:
    ledger.finish_run(result(**FAILED), fence=ledger.claim(start()).fence)
    claim = ledger.claim(start(), resume=True)
    lease = ledger.lease("people")
    assert lease is not None
    ledger.finish_run(result(), fence=claim.fence)
    last = [one for one in ledger.attempts("run_1") if one.attempt == 2]
    assert {one.started_at for one in last} == {lease.acquired_at}
    assert {one.ended_at for one in last} == {ENDED}


@pytest.mark.parametrize(
    ("changes", "statuses"),
    [
        ({}, ["succeeded", "succeeded", "succeeded"]),
        ({"status": RunStatus.canceled}, ["canceled", "canceled", "canceled"]),
        ({**FAILED, "failed_step": "transform.convert"}, ["canceled", "failed", "canceled"]),
        (FAILED, ["canceled", "canceled", "canceled"]),
    ],
)
def test_each_step_says_how_it_ended(ledger: Ledger, changes: dict[str, Any], statuses: list[str]) -> None:
    ledger.start_run(start())
    ledger.finish_run(result(**changes))
    assert [one.status for one in ledger.attempts("run_1")] == statuses


FULL = result(
    error="e",
    error_type="T",
    error_help="h",
    traceback=None,
    peak_memory_mb=1.5,
    would_load=3,
    report="r.json",
    attempt=3,
    checkpoint_id="cp",
    run_key="nightly",
    failed_step="load",
    params={"day": "2026-03-01", "n": 2**60, "deep": [{"a": None}]},
)


def test_the_whole_result_is_kept(ledger: Ledger) -> None:
    ledger.start_run(start())
    ledger.finish_run(FULL)
    run = ledger.run("run_1")
    assert run.result == FULL
    assert (run.attempt, run.checkpoint_id) == (1, "cp")
    shown = json.loads(json.dumps(run.to_dict()))
    assert (shown["attempt"], shown["checkpoint_id"], shown["run_key"]) == (1, "cp", None), "as it was claimed"
    assert shown["result"]["destinations"] == ["out/people.parquet"]


def test_no_result_is_none(ledger: Ledger) -> None:
    ledger.start_run(start())
    assert ledger.run("run_1").result is None
    assert ledger.run("run_1").to_dict()["result"] is None
    for broken in (None, "", "{}", "[]", '{"status": "new one"}', "nonsense"):
        assert stored_result(broken) is None


def test_a_short_secret_masks_words_and_not_numbers_or_times() -> None:
    told = replace(FULL, error="for 2026", params={"pin": 2026}, destinations=("/x/2026",))
    kept = stored_result(result_text(told, Redactor(["2026"])))
    assert isinstance(kept, RunResult)
    assert (kept.error, kept.params, kept.destinations) == (f"for {MASK}", {"pin": MASK}, (f"/x/{MASK}",))
    assert (kept.started_at, kept.counts, kept.steps) == (FULL.started_at, FULL.counts, FULL.steps)


def test_secrets_reach_none_of_the_tables_of_a_resumed_run(ledger: Ledger, redactor: Redactor) -> None:
    secret = "s3cr3t/Canary+42"
    redactor.add(secret)
    claim = ledger.claim(start(params={"token": secret}, destinations=(f"https://x/?k={secret}",)))
    ledger.add_attempts("run_1", [attempt(error=f"401 for {secret}")])
    ledger.save_checkpoint(checkpoint(fence=claim.fence, params={"token": secret}, error=f"401 for {secret}"))
    ledger.finish_run(
        result(
            status=RunStatus.failed,
            error=f"401 for {secret}",
            error_help=f"not {secret}",
            params={"token": secret},
            report=f"/x/{secret}",
            failed_step="load",
        ),
        fence=claim.fence,
    )
    with ledger.store.read() as connection:
        kept = repr(
            [
                [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))]
                for name in schema.metadata.tables
            ]
        )
    assert "Canary" not in kept
    assert kept.count(MASK) >= 9


def test_a_checkpoint_of_a_run_that_cannot_be_resumed_is_forgotten(ledger: Ledger) -> None:
    claim = ledger.claim(start(checkpoint_id="cp"))
    assert ledger.run("run_1").checkpoint_id == "cp"
    ledger.finish_run(result(**FAILED), fence=claim.fence)
    assert ledger.run("run_1").checkpoint_id is None
    assert ledger.find_unfinished("people") is None


def test_a_run_that_is_done_is_found_by_the_checkpoint_it_had(ledger: Ledger) -> None:
    assert ledger.run_of_checkpoint("job") is None
    for number in range(2):
        begun = BEGAN + timedelta(days=number)
        claim = ledger.claim(start(f"run_{number}", checkpoint_id="job", started_at=begun))
        ledger.finish_run(result(f"run_{number}"), fence=claim.fence)
    found = ledger.run_of_checkpoint("job")
    assert found is not None
    assert (found.run_id, found.status) == ("run_1", RunStatus.partial)


def test_the_latest_run_that_did_not_finish_is_found(ledger: Ledger) -> None:
    def ran(number: int, **changes: Any) -> None:
        begun = start(f"run_{number}", started_at=BEGAN + timedelta(minutes=number), checkpoint_id=f"cp{number}")
        ledger.finish_run(result(f"run_{number}", **changes), fence=ledger.claim(begun).fence)

    assert ledger.find_unfinished("people") is None
    ran(1, **FAILED, checkpoint_id="cp1")
    ran(2, **FAILED)
    found = ledger.find_unfinished("people")
    assert found is not None
    assert (found.run_id, found.checkpoint_id) == ("run_1", "cp1"), "one that cannot be resumed is passed over"
    ledger.start_run(start("run_dry", started_at=ENDED + timedelta(days=1), dry_run=True))
    ledger.finish_run(result("run_dry", dry_run=True, status=RunStatus.succeeded))
    assert ledger.find_unfinished("people") is not None, "a dry run changes nothing"
    ran(3, status=RunStatus.canceled, checkpoint_id="cp3")
    assert getattr(ledger.find_unfinished("people"), "run_id", None) == "run_3"
    ran(4)
    assert ledger.find_unfinished("people") is None, "what is left of older runs is history"
    assert ledger.find_unfinished("orders") is None


# Dead letters that are done again or settled


def test_letters_of_batches_that_are_done_again_are_cleared(ledger: Ledger) -> None:
    ledger.add_dead_letters([letter(seq=seq, index=index) for seq in (1, 2, 3) for index in (0, 1)])
    ledger.add_dead_letters([letter("run_2", seq=3)])
    ledger.set_letter_status(["dl_1_3_0"], "discarded")
    assert ledger.clear_dead_letters("run_1", 1) == 3
    left = ledger.dead_letters(status=None)
    assert [(one.run_id, one.seq, one.index) for one in left] == [
        ("run_2", 3, 0),
        ("run_1", 1, 0),
        ("run_1", 1, 1),
        ("run_1", 3, 0),
    ]
    assert ledger.clear_dead_letters("run_1", 0) == 2


def test_letters_are_settled_once(ledger: Ledger) -> None:
    ledger.add_dead_letters([letter(index=index) for index in range(4)])
    ids = [f"dl_1_1_{index}" for index in range(4)]
    assert ledger.set_letter_status(ids[:2], "replayed", by_run="run_9") == 2
    assert ledger.set_letter_status([*ids[1:3], "dl_unknown"], "discarded") == 1
    assert {one.index: one.status for one in ledger.dead_letters(status=None)} == {
        0: "replayed",
        1: "replayed",
        2: "discarded",
        3: "open",
    }
    assert [one.index for one in ledger.dead_letters()] == [3]
    with ledger.store.transaction(writing=False) as connection:
        by = connection.fetch("SELECT id, by_run FROM etlctl_dead_letters WHERE by_run IS NOT NULL ORDER BY id")
    assert [(row["id"], row["by_run"]) for row in by] == [("dl_1_1_0", "run_9"), ("dl_1_1_1", "run_9")]
    with pytest.raises(ValueError, match="replayed or discarded, not 'open'"):
        ledger.set_letter_status(ids, "open")
    assert ledger.set_letter_status([], "discarded") == 0


def test_a_run_that_was_taken_over_records_nothing(ledger: Ledger) -> None:
    old = ledger.claim(start(), ttl=0)
    ledger.claim(start(), resume=True)
    ledger.add_dead_letters([letter()], fence=2)
    cursor = StoredCursor(stream="people", field="at", value="1", value_type="integer", run_id="run_1")
    for act in (
        lambda: ledger.add_dead_letters([letter(index=1)], fence=old.fence),
        lambda: ledger.clear_dead_letters("run_1", 0, fence=old.fence),
        lambda: ledger.add_attempts("run_1", [attempt()], fence=old.fence),
        lambda: ledger.set_cursor(cursor, fence=old.fence),
        lambda: ledger.check_run("run_1", old.fence),
        lambda: ledger.finish_run(result(), fence=old.fence),
    ):
        with pytest.raises(FencedError, match="is not this run's any more"):
            act()
    assert [one.index for one in ledger.dead_letters()] == [0]
    assert (ledger.attempts("run_1"), ledger.cursors(), ledger.run("run_1").status) == ([], [], RunStatus.running)
