"""What is told about a run when it is over."""

from __future__ import annotations

import json
import platform
import stat
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from ledger_samples import letter, result, start

from etlctl.engine.report import balance, report_path, summary, write_report
from etlctl.errors import StateError
from etlctl.redact import MASK, Redactor
from etlctl.run import Counts, RunStatus
from etlctl.state.records import RuleSummary

RULES = [
    RuleSummary("convert.integer", "transform", 2, tuple(letter(index=index) for index in range(5))),
    RuleSummary("csv.columns", "extract", 1, (letter(index=9, raw="a,b\udcff"),)),
]


def test_the_report_holds_the_whole_account(tmp_path: Path) -> None:
    ended = result(peak_memory_mb=123.4)
    path = write_report(ended, RULES, state_dir=tmp_path, start=start(contract_version="1.2.0", mode="streaming"))
    assert path == report_path(tmp_path, "run_1") == tmp_path / "reports" / "run_1.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["report"] == str(path)
    assert told["counts"] == ended.counts.to_dict()
    assert told["balance"] == {
        "balanced": True,
        "missing": 0,
        "equation": "10 read + 1 added = 6 loaded + 2 filtered + 3 rejected",
    }
    assert [(step["name"], step["balanced"]) for step in told["steps"]] == [
        ("extract", True),
        ("transform.convert", True),
        ("load", True),
    ]
    assert (told["status"], told["exit_code"], told["duration_seconds"], told["records_per_second"]) == (
        "partial",
        4,
        2.5,
        4.0,
    )
    assert told["dead_letters"]["total"] == 3
    first, second = told["dead_letters"]["by_rule"]
    assert (first["rule"], first["count"], [one["location"] for one in first["examples"]]) == (
        "convert.integer",
        2,
        ["people.csv:2", "people.csv:3", "people.csv:4"],
    )
    assert second["examples"][0]["raw"] == "a,b\udcff"
    assert told["contract_details"]["version"] == "1.2.0"
    assert told["contract_details"]["mode"] == "streaming"
    assert told["versions"]["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert told["versions"]["platform"] == f"{platform.system()}-{platform.release()}-{platform.machine()}"
    assert told["next"][0] == "etlctl dead-letters list --run run_1"
    assert told["peak_memory_mb"] == 123.4


def test_the_report_is_strict_json(tmp_path: Path) -> None:
    odd = letter(raw={"nan": float("nan"), "money": Decimal("1.10"), "bytes": b"\xff"})
    path = write_report(result(), [RuleSummary("r", "check", 1, (odd,))], state_dir=tmp_path)

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is not JSON")

    told = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert told["dead_letters"]["by_rule"][0]["examples"][0]["raw"] == {"nan": "nan", "money": "1.10", "bytes": "/w=="}


def test_no_secret_is_in_the_report(tmp_path: Path) -> None:
    secret = "s3cr3t/Canary+42"
    ended = result(
        error=f"401 for {secret}",
        error_help=f"is {secret} right?",
        traceback=f"  File x\n  token='{secret}'",
        params={"token": secret, "pin": 90210457},
        destinations=(f"https://x/?k={secret}",),
    )
    rules = [RuleSummary("r", "check", 1, (letter(message=secret, raw={"t": secret, "n": 90210457}, location=secret),))]
    path = write_report(
        ended, rules, state_dir=tmp_path, redactor=Redactor([secret, "90210457"]), start=start(contract_path=secret)
    )
    content = path.read_text(encoding="utf-8")
    assert "Canary" not in content
    assert "90210457" not in content
    assert content.count(MASK) >= 9


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_report_is_its_owners(tmp_path: Path) -> None:
    path = write_report(result(), state_dir=tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_report_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_report(result(), state_dir=tmp_path)
    write_report(result(batches=99), state_dir=tmp_path)
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["run_1.json"]
    assert json.loads((tmp_path / "reports" / "run_1.json").read_text(encoding="utf-8"))["batches"] == 99


def test_a_report_that_cannot_appear_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(result(), state_dir=tmp_path)
    before = (tmp_path / "reports" / "run_1.json").read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("etlctl.engine.report.os.fsync", full)
    with pytest.raises(StateError, match=r"run_1\.json cannot be written: No space left"):
        write_report(result(batches=99), state_dir=tmp_path)
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["run_1.json"]
    assert (tmp_path / "reports" / "run_1.json").read_bytes() == before


@pytest.mark.parametrize("run_id", ["../evil", "a/b", "", ".hidden"])
def test_a_report_stays_in_its_folder(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(StateError, match="cannot name a report file"):
        write_report(result(run_id), state_dir=tmp_path)


def test_the_account_says_when_records_are_missing() -> None:
    lost = result(counts=Counts(extracted=336_776, loaded=335_000, filtered=1_700, rejected=70))
    assert balance(lost) == "336,776 read + 0 added ≠ 335,000 loaded + 1,700 filtered + 70 rejected  (6 records lost)"
    doubled = result(counts=Counts(extracted=1, loaded=2))
    assert balance(doubled).endswith("(1 records too many)")
    merged = result(counts=Counts(extracted=3, loaded=2, deduplicated=1))
    assert balance(merged) == "3 read + 0 added = 2 loaded + 0 filtered + 0 rejected + 1 deduplicated"


def test_a_dry_run_balances_with_what_it_would_load() -> None:
    dry = result(
        dry_run=True, counts=Counts(extracted=10, added=1, filtered=2, rejected=3), would_load=6, destinations=()
    )
    assert balance(dry) == "10 read + 1 added = 6 to load + 2 filtered + 3 rejected"
    assert balance(replace(dry, would_load=5)).endswith("(1 records lost)")
    assert "nothing: this was a dry run" in summary(dry)


def test_the_summary_reads_well() -> None:
    ended = result(report=".etlctl/reports/run_1.json", peak_memory_mb=312.0)
    assert (
        summary(ended, RULES)
        == """\
people: partial in 2.50 s (2 batches, 4 records/s, peak memory 312 MiB)

  10 read + 1 added = 6 loaded + 2 filtered + 3 rejected

  step               in  added  filtered  rejected  out  seconds  form
  extract            10      0         0         0   10     0.50  frame
  transform.convert  10      0         0         3    7        -  frame
  load                6      0         0         0    6     0.25  -

  wrote     out/people.parquet
  rejected  2 × convert.integer
            1 × csv.columns
  report    .etlctl/reports/run_1.json
  next      etlctl dead-letters list --run run_1
            etlctl runs show run_1"""
    )


def test_the_summary_of_a_failed_run_claims_nothing() -> None:
    failed = result(status=RunStatus.failed, error_type="LimitError", error="too many", destinations=(), ended_at=None)
    shown = summary(failed)
    assert shown.startswith("people: failed (LimitError) in 0.00 s (2 batches)")
    assert "6 ready, not published" in shown
    assert "nothing was published" in shown
