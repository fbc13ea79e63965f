"""The ledger does the same on every store."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time as clock_time
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import BEGAN, ENDED, letter, result, start
from sqlalchemy import text, update

from etlctl.clock import FixedClock
from etlctl.errors import NotInLedgerError, StateError
from etlctl.redact import MASK, Redactor
from etlctl.run import Counts, RunStatus
from etlctl.state import open_ledger, schema
from etlctl.state.ledger import Ledger
from etlctl.state.payload import decode_raw, encode_raw


def test_a_run_comes_back_as_it_was_recorded(ledger: Ledger) -> None:
    begun = start(
        contract_path="contracts/people",
        contract_version="1.2.0",
        contract_hash={"extract": "ab", "load": "cd"},
        params={"day": "2026-03-01", "n": 3, "deep": {"a": [1, None]}},
        mode="streaming",
        batch_size=500,
        trigger="schedule",
        run_key="nightly",
    )
    ledger.start_run(begun)
    ledger.finish_run(result())
    run = ledger.run("run_1")
    for name in ("contract", "contract_path", "contract_version", "contract_hash", "stream", "params", "mode"):
        assert getattr(run, name) == getattr(begun, name), name
    assert (run.batch_size, run.trigger, run.run_key, run.host, run.pid) == (
        500,
        "schedule",
        "nightly",
        platform.node(),
        os.getpid(),
    )
    assert (run.status, run.counts, run.batches) == (RunStatus.partial, result().counts, 2)
    assert (run.started_at, run.ended_at, run.duration_seconds) == (BEGAN, ENDED, 2.5)
    assert run.started_at.tzinfo is UTC
    assert (run.exit_code, run.destinations, run.error) == (4, ("out/people.parquet",), None)
    assert ledger.steps("run_1") == list(result().steps)


def test_instants_of_any_zone_are_stored_as_utc_and_naive_ones_are_refused(ledger: Ledger) -> None:
    ledger.start_run(start(started_at=datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))))
    assert ledger.run("run_1").started_at == datetime(2026, 2, 28, 23, 30, tzinfo=UTC)
    with pytest.raises(Exception, match="time zone"):
        ledger.start_run(start("run_2", started_at=datetime(2026, 3, 1)))  # noqa: DTZ001
    assert len(ledger.runs()) == 1


def test_a_failed_run_keeps_its_error(ledger: Ledger) -> None:
    ledger.start_run(start())
    ledger.finish_run(result(status=RunStatus.failed, error="no such file", error_type="FatalError", exit_code=1))
    run = ledger.run("run_1")
    assert (run.shown_status, run.error, run.error_type, run.exit_code) == ("failed", "no such file", "FatalError", 1)


def test_a_resumed_run_keeps_its_row_and_its_first_start(ledger: Ledger) -> None:
    ledger.start_run(start())
    ledger.finish_run(result(status=RunStatus.failed, error="killed", exit_code=1))
    ledger.start_run(start(started_at=ENDED, batch_size=7))
    run = ledger.run("run_1")
    assert (run.status, run.error, run.exit_code, run.ended_at) == (RunStatus.running, None, None, None)
    assert (run.started_at, run.batch_size, run.counts.extracted) == (BEGAN, 7, 10)
    assert run.shown_status == "running", "its new process is younger than the run"
    assert len(ledger.runs()) == 1


def test_finishing_again_adds_tries_and_shows_the_last(ledger: Ledger) -> None:
    ledger.start_run(start())
    ledger.finish_run(result())
    again = tuple(replace(step, records_in=99) for step in result().steps)
    ledger.finish_run(result(steps=again))
    assert ledger.steps("run_1") == list(again)
    assert [one.counts for one in ledger.attempts("run_1")] == [
        step for pair in zip(result().steps, again, strict=True) for step in pair
    ]


def test_the_end_of_an_unknown_run_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(StateError, match="does not know that it began"):
        ledger.finish_run(result())
    assert ledger.steps("run_1") == []


def test_progress_is_written_at_most_once_a_second(store_url: str) -> None:
    clock = FixedClock(BEGAN)
    with open_ledger(store_url, clock=clock) as ledger:
        ledger.start_run(start())
        ledger.progress("run_1", Counts(extracted=5, loaded=5), 1)
        ledger.progress("run_1", Counts(extracted=9, loaded=9), 2)
        assert (ledger.run("run_1").counts.loaded, ledger.run("run_1").batches) == (5, 1)
        clock.instant += timedelta(seconds=1)
        ledger.progress("run_1", Counts(extracted=12, loaded=12), 3)
        run = ledger.run("run_1")
        assert (run.counts.loaded, run.batches, run.updated_at) == (12, 3, clock.instant)


def test_runs_are_listed_newest_first_and_filtered(ledger: Ledger) -> None:
    for number, contract in enumerate(["people", "orders", "people"]):
        begun = BEGAN + timedelta(minutes=number)
        ledger.start_run(start(f"run_{number}", contract=contract, started_at=begun))
    ledger.finish_run(result("run_0", status=RunStatus.succeeded))
    assert [run.run_id for run in ledger.runs()] == ["run_2", "run_1", "run_0"]
    assert [run.run_id for run in ledger.runs(limit=1)] == ["run_2"]
    assert [run.run_id for run in ledger.runs(contract="people")] == ["run_2", "run_0"]
    assert [run.run_id for run in ledger.runs(status="succeeded")] == ["run_0"]
    assert [run.run_id for run in ledger.runs(status="running")] == ["run_2", "run_1"]
    assert [run.run_id for run in ledger.runs(status="running", limit=1)] == ["run_2"]


def test_a_run_whose_process_is_gone_is_shown_as_crashed_and_not_rewritten(ledger: Ledger) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    ledger.start_run(start("run_gone", pid=child.pid))
    ledger.start_run(start("run_here", started_at=datetime.now(UTC)))
    ledger.start_run(start("run_elsewhere", pid=child.pid, host="another-machine"))
    assert {run.run_id: run.shown_status for run in ledger.runs()} == {
        "run_gone": "crashed",
        "run_here": "running",
        "run_elsewhere": "running",
    }
    assert [run.run_id for run in ledger.runs(status="crashed")] == ["run_gone"]
    assert {run.run_id for run in ledger.runs(status="running")} == {"run_here", "run_elsewhere"}
    assert ledger.run("run_gone").status is RunStatus.running
    assert ledger.run("run_gone").to_dict()["status"] == "crashed"


def test_a_process_number_that_was_given_away_again_does_not_hide_a_crash(store_url: str) -> None:
    with open_ledger(store_url, clock=FixedClock(BEGAN - timedelta(days=365))) as ledger:
        ledger.start_run(start())
        assert ledger.run("run_1").pid == os.getpid()
        assert ledger.run("run_1").crashed


def test_ids_are_found_by_their_beginning(ledger: Ledger) -> None:
    for run_id in ("run_abc1", "run_abc2", "run_abc", "run_x_z", "run_xyz"):
        ledger.start_run(start(run_id))
    assert ledger.run("run_abc1").run_id == "run_abc1"
    assert ledger.run("abc2").run_id == "run_abc2"
    assert ledger.run("abc").run_id == "run_abc", "a whole id wins over the beginning of others"
    assert ledger.run("x_").run_id == "run_x_z", "no character is a wildcard"
    with pytest.raises(NotInLedgerError, match="more than one run: run_abc, run_abc1, run_abc2") as ambiguous:
        ledger.run("ab")
    assert ambiguous.value.exit_code == 2
    with pytest.raises(NotInLedgerError, match="there is no run 'run_abd1'") as unknown:
        ledger.run("run_abd1")
    assert "did you mean run_abc1?" in str(unknown.value.help)
    with pytest.raises(NotInLedgerError, match="no run 'zzz'"):
        ledger.run("zzz")


def test_a_dead_letter_comes_back_whole(ledger: Ledger) -> None:
    ledger.add_dead_letters([letter(created_at=BEGAN)])
    assert ledger.dead_letter("dl_1_1_0") == letter(created_at=BEGAN)
    assert ledger.dead_letter("1_1_0").id == "dl_1_1_0"


def test_a_letter_whose_id_begins_another_id_is_found(ledger: Ledger) -> None:
    ledger.add_dead_letters([letter(index=1), letter(index=10), letter(index=11)])
    assert ledger.dead_letter("dl_1_1_1").index == 1
    with pytest.raises(NotInLedgerError):
        ledger.dead_letter("dl_1_1")


def test_a_repeated_batch_overwrites_and_two_runs_coexist(ledger: Ledger) -> None:
    ledger.add_dead_letters([letter(), letter(index=1), letter(index=1, part=1), letter("run_2")])
    ledger.add_dead_letters([letter(message="changed", rule="convert.date"), letter(index=1)])
    found = ledger.dead_letters()
    assert [(one.run_id, one.index, one.part) for one in found] == [
        ("run_2", 0, 0),
        ("run_1", 0, 0),
        ("run_1", 1, 0),
        ("run_1", 1, 1),
    ]
    assert next((one.message, one.rule) for one in found if one.run_id == "run_1") == ("changed", "convert.date")


def test_a_repeat_keeps_what_a_person_decided_and_when_it_happened_first(ledger: Ledger) -> None:
    ledger.add_dead_letters([letter(created_at=BEGAN)])
    with ledger.store.write() as connection:
        connection.execute(update(schema.dead_letters).values(status="discarded"))
    ledger.add_dead_letters([letter(message="again", created_at=ENDED)])
    kept = ledger.dead_letter("dl_1_1_0")
    assert (kept.message, kept.status, kept.created_at) == ("again", "discarded", BEGAN)
    assert ledger.dead_letters() == []
    assert len(ledger.dead_letters(status="discarded")) == 1
    assert len(ledger.dead_letters(status=None)) == 1


def test_dead_letters_are_filtered_and_paged(ledger: Ledger) -> None:
    ledger.add_dead_letters(
        [
            letter(index=0),
            letter(index=1, rule="convert.date"),
            letter(index=2, rule="converted"),
            letter("run_2", rule="check.pattern", contract="orders"),
        ]
    )
    assert len(ledger.dead_letters(contract="people")) == 3
    assert len(ledger.dead_letters(run_id="run_2")) == 1
    assert [one.index for one in ledger.dead_letters(rule="convert")] == [0, 1], "a dot ends the word"
    assert [one.index for one in ledger.dead_letters(rule="convert.date")] == [1]
    assert [one.index for one in ledger.dead_letters(run_id="run_1", limit=2, offset=1)] == [1, 2]


def test_dead_letters_are_counted_by_rule_with_examples(ledger: Ledger) -> None:
    ledger.add_dead_letters([letter(index=index) for index in range(5)])
    ledger.add_dead_letters([letter(index=9, rule="check.pattern", stage="check"), letter("run_2")])
    counted = ledger.count_dead_letters(run_id="run_1", examples=3)
    assert [(one.rule, one.stage, one.count) for one in counted] == [
        ("convert.integer", "transform", 5),
        ("check.pattern", "check", 1),
    ]
    assert [one.index for one in counted[0].examples] == [0, 1, 2]
    assert [one.index for one in counted[1].examples] == [9]
    assert ledger.count_dead_letters()[0].count == 6
    assert ledger.count_dead_letters()[0].examples == ()
    assert ledger.count_dead_letters(contract="nobody") == []


RAWS: list[Any] = [
    "short,row",
    "",
    "with \x00 NUL and\r\nline ends ",
    "broken \udcff bytes",
    '"json text, but text"',
    {"a": 1, "b": None, "c": [1.5, True, {"d": "é 🎉"}]},
    {"price": Decimal("1.10"), "huge": 10**40, "int64": 2**63, "small": Decimal("1E-30")},
    {"at": datetime(2026, 3, 1, 1, 2, 3, 4, tzinfo=UTC), "naive": datetime(2026, 3, 1, 1, 2)},  # noqa: DTZ001
    {"day": date(2026, 3, 1), "time": time(1, 2, 3), "took": timedelta(days=-1, microseconds=5)},
    {"bytes": b"\x00\xff", "key \x00": "\ud800"},
    {"inf": float("inf"), "minus": float("-inf")},
    {"nested": {"$etlctl.decimal": "1.10"}, "list": [{"$etlctl.object": [["a", 1]]}]},
    {"$etlctl.unknown": 1},
    [1, "two"],
    17,
    None,
]


def test_raw_records_come_back_exactly(ledger: Ledger) -> None:
    ledger.add_dead_letters([letter(index=index, raw=raw) for index, raw in enumerate(RAWS)])
    for found, raw in zip(ledger.dead_letters(), RAWS, strict=True):
        assert found.raw == raw
        assert type(found.raw) is type(raw)
        assert not found.redacted
    assert repr(ledger.dead_letters()[6].raw) == repr(RAWS[6])


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("$etlctl.date"), inner, max_size=3),
    max_leaves=8,
)


@given(json_like)
def test_any_raw_value_survives_the_encoding(raw: Any) -> None:
    stored, form, redacted = encode_raw(raw, Redactor())
    stored.encode()
    assert "\x00" not in stored
    assert decode_raw(stored, form) == raw
    assert not redacted


def test_a_record_that_cannot_be_written_is_described(ledger: Ledger) -> None:
    around: dict[str, Any] = {"name": "loop"}
    around["self"] = around
    ledger.add_dead_letters([letter(raw=around)])
    assert "'name': 'loop'" in ledger.dead_letters()[0].raw


def test_texts_no_database_takes_are_escaped(ledger: Ledger) -> None:
    ledger.add_dead_letters([letter(message="value 'a\x00b\udc80'", field="f\x00", location="x\x00.csv:1")])
    found = ledger.dead_letters()[0]
    assert (found.message, found.field) == ("value 'a\\x00b\\udc80'", "f\\x00")
    ledger.start_run(start(params={"p": "a\x00\ud800"}))
    ledger.finish_run(result(error="bad \x00\udcff", status=RunStatus.failed))
    assert ledger.run("run_1").params == {"p": "a\x00\ud800"}
    assert ledger.run("run_1").error == "bad \\x00\\udcff"


SECRET = "s3cr3t/Canary+42"
NUMBER = "90210457"


def test_secrets_reach_no_table(ledger: Ledger, redactor: Redactor) -> None:
    redactor.add(SECRET)
    redactor.add(NUMBER)
    ledger.start_run(
        start(
            contract_path=f"contracts/{SECRET}",
            params={"token": SECRET, "deep": [{"pin": int(NUMBER)}]},
            run_key=SECRET,
            stream=f"people?token={SECRET}",
            destinations=(f"https://x/?k={SECRET}",),
        )
    )
    ledger.add_dead_letters(
        [
            letter(
                index=0,
                message=f"'{SECRET}' is not a date",
                location=f"http://x/?key={SECRET}:3",
                stream=f"people?token={SECRET}",
                field=SECRET,
                raw={"token": SECRET, SECRET: 1, "pin": int(NUMBER), "d": Decimal(NUMBER), "b": SECRET.encode()},
            ),
            letter(index=1, raw=f"a,{SECRET}\x00,b"),
            letter(index=2, raw=f"a,{NUMBER},b"),
            letter(index=3, raw={"nothing": "secret"}),
        ]
    )
    steps = (replace(result().steps[0], name=f"extract.{SECRET}"),)
    ledger.finish_run(
        result(error=f"401 for {SECRET}", error_type="FatalError", destinations=(f"/x/{SECRET}",), steps=steps)
    )
    kept = _everything(ledger)
    assert "Canary" not in kept
    assert NUMBER not in kept
    assert kept.count(MASK) >= 12
    letters = ledger.dead_letters()
    assert [one.redacted for one in letters] == [True, True, True, False]
    assert letters[0].raw == {"token": MASK, MASK: 1, "pin": MASK, "d": MASK, "b": MASK.encode()}


def _everything(ledger: Ledger) -> str:
    with ledger.store.read() as connection:
        rows = [
            repr(tuple(row))
            for table in schema.metadata.sorted_tables
            for row in connection.execute(text(f"SELECT * FROM {table.name}"))
        ]
    assert len(rows) > 3
    file = ledger.store.location.file
    assert (file is not None) == ledger.store.is_sqlite
    if file:
        rows += [one.read_bytes().decode("latin-1") for one in file.parent.glob("state.db*")]
    return "\n".join(rows)


def test_a_hundred_thousand_letters_take_seconds(ledger: Ledger) -> None:
    letters = [letter(seq=1 + index // 1000, index=index % 1000) for index in range(100_000)]
    began = clock_time.perf_counter()
    ledger.add_dead_letters(letters)
    took = clock_time.perf_counter() - began
    assert sum(one.count for one in ledger.count_dead_letters()) == 100_000
    assert took < 30, "some 3 s on an idle machine; row by row it is minutes"


def test_the_recorder_is_what_the_engine_wants(ledger: Ledger) -> None:
    recorder = ledger.recorder(start("run_1", batch_size=11, started_at=ENDED))
    recorder.begin()
    recorder.add_dead_letters([letter()])
    recorder.progress("run_1", Counts(extracted=1, rejected=1), 1)
    assert ledger.run("run_1").counts.rejected == 1
    recorder.finish_run(result())
    ledger.note_report("run_1", "reports/run_1.json")
    run = ledger.run("run_1")
    assert (run.started_at, run.batch_size, run.status) == (ENDED, 11, RunStatus.partial)
    assert run.report == "reports/run_1.json"
    assert [one.id for one in ledger.dead_letters(run_id="run_1")] == ["dl_1_1_0"]
    recorder.add_dead_letters([])
