"""A day is done once: run keys, reuse, a failed day that carries on, triggers, and every attempt in the ledger."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from daily import CASES, Daily, lines

GOOD = {"record_key": "good", "full_name": "Good", "email": "good@example.org", "age": 40, "source": "web"}
DATE = "2026-02-26"


def failed_first(daily: Daily) -> dict[str, Any]:
    """Run a day whose input has not come; return the result."""
    ended = daily.run(DATE)
    expect = CASES["fl-run-missing-input"]["expect"]
    assert ended.code == expect["exit_code"]
    result: dict[str, Any] = ended.data
    assert result["status"] == expect["status"]
    return result


def test_the_date_is_the_run_key(daily: Daily) -> None:
    case = CASES["fl-run-default-key"]
    ended = daily.run(case["given"]["argv"][2])
    assert ended.data["run_key"] == case["expect"]["run_key"]
    assert daily.shown(ended.data["run_id"])["run_key"] == case["expect"]["run_key"]
    assert daily.shown(ended.data["run_id"])["params"] == {"run_date": "2026-02-22"}
    assert "2026-02-22" in daily.etlctl("runs", "list").out.splitlines()[2].split()


def test_missing_input_is_tried_once(daily: Daily) -> None:
    result = failed_first(daily)
    assert "File not found" in result["error"]
    assert f"records-{DATE}.jsonl" in result["error"]
    shown = daily.shown(result["run_id"])
    tries = [one for one in shown["attempts"] if one["name"] == "extract"]
    assert len(tries) == CASES["fl-run-missing-input"]["expect"]["ingest_attempts"]
    assert (tries[0]["status"], "File not found" in tries[0]["error"]) == ("failed", True)
    assert tries[0]["duration_seconds"] >= 0
    assert shown["resume_command"] == f"etlctl resume --checkpoint {result['checkpoint_id']}"


def test_a_failed_day_carries_on_under_the_same_run(daily: Daily) -> None:
    first = failed_first(daily)
    daily.give(DATE, [GOOD])
    ended = daily.run(DATE)
    expect = CASES["fl-run-retry-failed-key"]["expect"]
    again = ended.data
    assert (ended.code, again["status"], again["reused"]) == (0, expect["status"], expect["reused"])
    assert (again["run_id"] == first["run_id"]) is expect["same_run_id"]
    assert again["attempt"] == 2
    shown = daily.shown(first["run_id"])
    tries = [(one["attempt"], one["status"]) for one in shown["attempts"] if one["name"] == "extract"]
    assert tries == [(1, "failed"), (2, "succeeded")], "the failed try stays on the record"
    assert shown["balance"] == {
        "balanced": True,
        "missing": 0,
        "equation": "1 read + 0 added = 1 loaded + 0 filtered + 0 rejected",
    }
    assert shown["resume_command"] is None
    text = daily.etlctl("runs", "show", first["run_id"]).out
    assert "attempt   2" in text
    assert "File not found" in text, "people see the failed try, too"
    assert len(daily.etlctl("runs", "list", "--json").data) == 1


def test_a_day_that_is_done_is_not_done_again(daily: Daily) -> None:
    first = daily.run("2026-02-22")
    files = [daily.published("2026-02-22"), daily.letters("2026-02-22")]
    before = [(path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files]
    daily.give("2026-02-22", [GOOD])
    again = daily.run("2026-02-22")
    assert again.code == 0
    assert (again.data["reused"], again.data["run_id"]) == (True, first.data["run_id"])
    assert again.data["counts"] == first.data["counts"]
    assert [(path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files] == before
    assert len(daily.etlctl("runs", "list", "--json").data) == 1


def test_a_key_of_ones_own(daily: Daily) -> None:
    first = daily.run("2026-02-22", "--run-key", "manual-2026-02-22", "--trigger-source", "manual")
    assert first.data["run_key"] == "manual-2026-02-22"
    second = daily.run("2026-02-22", "--trigger", "schedule")
    assert (second.code, second.data["reused"]) == (0, False), "another key is another run"
    listed = daily.etlctl("runs", "list", "--json").data
    assert {(one["run_key"], one["trigger"]) for one in listed} == {
        ("manual-2026-02-22", "manual"),
        ("2026-02-22", "schedule"),
    }
    heads = daily.etlctl("runs", "list").out.splitlines()[0].split()
    assert heads[-2:] == ["key", "trigger"]


def test_a_day_without_records(daily: Daily) -> None:
    case = CASES["fl-run-empty-input"]
    daily.give(DATE, case["given"]["input"][f"records-{DATE}.jsonl"])
    ended = daily.run(DATE)
    expect, counts = case["expect"], ended.data["counts"]
    assert (ended.code, ended.data["status"]) == (0, expect["status"])
    assert [counts[name] for name in ("extracted", "loaded", "rejected")] == [
        expect[name] for name in ("total", "valid", "invalid")
    ]
    assert daily.published(DATE).read_bytes() == b""
    assert not daily.letters(DATE).exists()


def test_an_empty_day_replaces_one_that_was_there(daily: Daily) -> None:
    daily.give(DATE, [GOOD])
    assert daily.run(DATE).code == 0
    daily.give(DATE, "")
    assert daily.run(DATE, "--run-key", "once more").code == 0
    assert daily.published(DATE).read_bytes() == b""


def test_an_unknown_trigger_is_a_usage_error(daily: Daily) -> None:
    case = CASES["fl-trigger-choice"]
    ended = daily.etlctl("run", "contracts/people_daily", *case["given"]["argv"][1:])
    assert ended.code == case["expect"]["exit_code"]
    assert "'cron'" in ended.err
    assert "schedule" in ended.err, "the valid ones are named"
    assert not (daily.root / ".etlctl").exists()


def test_the_contract_retries_as_the_seed_did(daily: Daily) -> None:
    from etlctl.contract.compile import load_contract

    recovery = load_contract(daily.contract).envelope.error_recovery
    expect = CASES["fl-retry-defaults"]["expect"]
    assert recovery.max_retries == expect["MAX_STEP_RETRIES"]
    assert recovery.backoff == expect["RETRY_BACKOFF_SECONDS"]


ALWAYS = """
from etlctl.sdk import Operation


class Always(Operation):
    \"\"\"Fails.\"\"\"

    def rows(self, rows, ctx):
        raise ValueError("always")
"""


def test_a_transform_that_always_fails_is_given_up(daily: Daily) -> None:
    case = CASES["fl-retry-exhausted"]
    extract = daily.contract / "extract.yaml"
    options = yaml.safe_load(extract.read_text(encoding="utf-8"))
    options["error_recovery"] = {"max_retries": case["given"]["max_step_retries"], "backoff": 0.001}
    extract.write_text(yaml.safe_dump(options), encoding="utf-8")
    (daily.root / "transforms").mkdir()
    (daily.root / "transforms" / "always.py").write_text(ALWAYS, encoding="utf-8")
    transform = daily.contract / "transform.yaml"
    transform.write_text(transform.read_text(encoding="utf-8") + "  - always: {}\n", encoding="utf-8")
    ended = daily.run("2026-02-22")
    expect = case["expect"]
    assert (ended.code, ended.data["status"]) == (1, expect["status"])
    assert f"always; gave up after {expect['attempts']} tries" in ended.data["error"]
    assert "(in transform[3].always)" in ended.data["error"], "the step is named"
    shown = daily.shown(ended.data["run_id"])
    tries = [one for one in shown["attempts"] if one["name"] == "transform[3].always"]
    assert len(tries) == expect["attempts"]
    assert all(one["status"] == "failed" and "always" in one["error"] for one in tries)
    assert ended.err.count("trying the same batch again") == expect["attempts"] - 1
    assert not daily.published("2026-02-22").exists()


async def test_the_waits_grow_by_the_backoff(daily: Daily) -> None:
    from etlctl.clock import SystemClock
    from etlctl.engine.options import Recovery
    from etlctl.engine.retrying import Retrying

    case = CASES["fl-retry-exhausted"]
    given, waits, tries = case["given"], [], []

    async def record(attempt: Any) -> None:
        tries.append(attempt)

    async def sleep(wait: float) -> None:
        waits.append(wait)

    async def work() -> None:
        raise ValueError("always")

    recovery = Recovery(max_retries=given["max_step_retries"], backoff=given["retry_backoff_seconds"])
    retrying = Retrying(recovery, record, lambda _: None, SystemClock(), sleep=sleep)
    with pytest.raises(ValueError, match="always"):
        await retrying.call(work, step="transform")
    wanted = case["expect"]["sleeps"]
    assert all(least <= wait <= 1.1 * least for least, wait in zip(wanted, waits, strict=True)), waits
    assert len(tries) == case["expect"]["attempts"] - 1, "the last one is recorded as how the run ended"


def test_an_interrupted_day_publishes_each_record_once(daily: Daily) -> None:
    ended = daily.run("2026-02-22", "--batch-size", "5", ETLCTL_FAULT="publish.before=kill")
    assert ended.code == -9
    assert not daily.published("2026-02-22").exists()
    shown = daily.etlctl("runs", "show", "--json").data
    assert shown["status"] == "crashed"
    assert shown["resume_command"].startswith("etlctl resume --checkpoint ")
    resumed = daily.etlctl(*shown["resume_command"].split()[1:], "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.data["run_id"] == shown["run_id"]
    assert len(lines(daily.published("2026-02-22"))) == 7
    assert len(lines(daily.letters("2026-02-22"))) == 6


def test_a_day_killed_while_it_reports_is_done_and_gets_its_report(daily: Daily) -> None:
    assert daily.run("2026-02-22", ETLCTL_FAULT="report.write=kill").code == -9
    published = daily.published("2026-02-22").stat().st_ino
    again = daily.run("2026-02-22")
    assert (again.code, again.data["reused"]) == (0, True)
    assert daily.published("2026-02-22").stat().st_ino == published, "nothing was published again"
    assert len(lines(daily.letters("2026-02-22"))) == 6
    reports = [path.stem for path in (daily.root / ".etlctl" / "reports").glob("run_*.json")]
    assert reports == [again.data["run_id"]]
