"""What an incremental run reads, loads, leaves out and remembers."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from incremental_shop import FORMS, Shop, row

from etlctl.clock import FixedClock
from etlctl.errors import ContractError
from etlctl.orchestrator import ETLOrchestrator
from etlctl.orchestrator.replay import Replayer
from etlctl.orchestrator.replay_book import Wanted
from etlctl.orchestrator.replay_plan import Planner
from etlctl.sdk import marks

UPSERT = {
    "type": "sqlite",
    "path": "../../out.db",
    "table": "orders",
    "create_table": True,
    "write_method": "upsert",
    "primary_key": ["id"],
}


def ids(*numbers: int) -> Counter[str]:
    return Counter(map(str, numbers))


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_run_reads_what_is_new_and_says_what_it_left_out(tmp_path: Path, form: str) -> None:
    shop = Shop(tmp_path, form)
    shop.grow(row(1, "2019-12-31T23:59:59Z"), row(2, "2020-01-01T00:00:00Z"), row(3, "2024-05-01T12:00:00.5+02:00"))
    first = shop.run()
    assert (shop.loaded(), shop.value()) == (ids(2, 3), "2024-05-01T12:00:00.5+02:00")
    step = first.steps[1]
    assert (step.name, step.records_in, step.filtered, step.records_out) == ("incremental", 3, 1, 2)
    assert step.form == ("frame" if form == "csv" else "rows")
    shop.grow(row(4, "2024-05-01T10:00:00Z"), row(5, "2024-05-01T10:00:00.5Z"), row(6, "2024-05-02T00:00:00Z"))
    second = shop.run()
    assert (second.counts.loaded, second.counts.filtered) == (2, 4)  # 4 came too late, 5 shares the last instant
    assert (shop.loaded(), shop.value()) == (ids(2, 3, 5, 6), "2024-05-02T00:00:00Z")


def test_shared_values_at_the_boundary_and_late_arrivals_within_the_lag(tmp_path: Path, form: str) -> None:
    shop = Shop(tmp_path, form, incremental={"lag": "2h"})
    shop.grow(row(1, "2024-05-01T08:00:00Z"), row(2, "2024-05-01T10:00:00Z"), row(3, "2024-05-01T10:00:00Z"))
    shop.run()
    shop.grow(row(4, "2024-05-01T10:00:00Z"), row(5, "2024-05-01T08:30:00Z"), row(6, "2024-05-01T07:59:59Z"))
    shop.run()
    shop.grow(row(7, "2024-05-01T11:30:00Z"))
    shop.run()
    shop.give([{**record, "at": record["at"]} for record in shop.source] + [row(8, "2024-05-01T10:00:00Z")])
    shop.run()
    assert shop.loaded() == ids(1, 2, 3, 4, 5, 7, 8)


def test_a_record_changed_at_the_boundary_is_loaded_again(tmp_path: Path, form: str) -> None:
    shop = Shop(tmp_path, form)
    shop.grow(row(1, "2024-05-01T10:00:00Z") | {"state": "new"})
    shop.run()
    shop.give([row(1, "2024-05-01T10:00:00Z") | {"state": "paid"}])
    shop.run()
    assert shop.loaded() == Counter({"1": 2})


def test_a_future_row_flows_once_and_does_not_pin_the_cursor(tmp_path: Path, form: str) -> None:
    """T3: a row dated 2999 is loaded, by one run only, and what comes later is not missed."""
    shop = Shop(tmp_path, form)
    shop.grow(row(1, "2024-05-01T10:00:00Z"), row(2, "2999-01-01T00:00:00Z"))
    shop.run()
    assert shop.value() == "2024-05-01T10:00:00Z"
    assert "max_future_skew" in shop.warnings[0]
    shop.grow(row(3, "2024-05-02T10:00:00Z"), row(4, "2999-01-01T00:00:00Z"))
    shop.run()
    shop.run()
    assert (shop.loaded(), shop.value()) == (ids(1, 2, 3, 4), "2024-05-02T10:00:00Z")


def test_without_max_future_skew_any_row_moves_the_cursor(tmp_path: Path) -> None:
    shop = Shop(tmp_path, incremental={"max_future_skew": False})
    shop.grow(row(2, "2999-01-01T00:00:00Z"))
    shop.run()
    assert shop.value() == "2999-01-01T00:00:00Z"


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_was_changed_loses_and_doubles_nothing(
    tmp_path: Path, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T1: the clock only says what lies in the future; back, what was loaded stays out, and comes to count later."""
    shop = Shop(tmp_path)
    now = datetime.now(UTC)
    moments = [(now + timedelta(days=day)).isoformat() for day in (-3, -2, -1)]
    shop.grow(row(1, moments[0]))
    shop.run()
    shop.grow(row(2, moments[1]))
    with monkeypatch.context() as changed:
        changed.setattr(ETLOrchestrator, "_clock", FixedClock(now + timedelta(days=days)))
        shop.run()
    shop.grow(row(3, moments[2]))
    shop.run()
    shop.run()
    assert (shop.loaded(), shop.value()) == (ids(1, 2, 3), moments[2])


@pytest.mark.parametrize(
    ("rule", "loaded", "rejected"), [("reject", ids(1), 2), ("load", ids(1, 2, 3), 0), ("drop", ids(1), 0)]
)
def test_a_record_without_a_usable_value_has_a_rule(
    tmp_path: Path, form: str, rule: str, loaded: Counter[str], rejected: int
) -> None:
    shop = Shop(tmp_path, form, incremental={"on_missing": rule})
    shop.grow(row(1, "2024-05-01"), row(2, None), row(3, "soon"))
    result = shop.run()
    assert (shop.loaded(), result.counts.rejected, shop.value()) == (loaded, rejected, "2024-05-01")


def test_a_misspelt_field_fails_at_once_and_names_those_there_are(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "jsonl", incremental={"cursor_field": "updated_at"})
    shop.grow(row(1, "2024-05-01"), row(2, "2024-05-02"))
    result = shop.run(fails=True)
    assert "has no field 'updated_at'" in (result.error or "")
    assert "'at'" in (result.error_help or "")
    shop = Shop(tmp_path, "csv", incremental={"cursor_field": "updated_at"})
    shop.grow(row(1, "2024-05-01"))
    with pytest.raises(ContractError, match="E501"):  # the header of a CSV file is known before the run
        shop.run()


@pytest.mark.parametrize(
    ("section", "values", "wanted"),
    [
        ({"initial": 0}, ["9", "10", "-1", "10"], "10"),
        ({"initial": 0.5}, ["0.25", "2.5"], "2.5"),
        ({"value_type": "decimal", "initial": "0"}, ["0.1", "0.10000000000000000000001"], "0.10000000000000000000001"),
        ({"value_type": "string", "initial": "a"}, ["B", "b", "ab"], "b"),
        ({"value_type": "date", "initial": "2024-01-01"}, ["2024-02-29", "2024-01-31"], "2024-02-29"),
    ],
    ids=["integer", "float", "decimal", "string", "date"],
)
def test_every_type_of_cursor(
    tmp_path: Path, form: str, section: dict[str, Any], values: list[str], wanted: str
) -> None:
    shop = Shop(tmp_path, form, incremental=section)
    shop.grow(*(row(number, value) for number, value in enumerate(values)))
    shop.run()
    assert shop.value() == wanted
    before = shop.loaded()
    shop.run()
    assert shop.loaded() == before


def test_end_is_the_last_value_read(tmp_path: Path, form: str) -> None:
    shop = Shop(tmp_path, form, incremental={"end": "2024-05-02"})
    shop.grow(row(1, "2024-05-01"), row(2, "2024-05-02"), row(3, "2024-05-02T00:00:01"))
    shop.run()
    assert (shop.loaded(), shop.value()) == (ids(1, 2), "2024-05-02")


# --- order -----------------------------------------------------------------------------------------------------------


def test_rows_in_order_end_the_run_behind_the_end(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "jsonl", incremental={"end": "2024-05-01", "row_order": "asc", "initial": "2024-01-01"})
    shop.grow(row(1, "2024-05-01"), *(row(n, "2024-05-02") | {"pad": "x" * 2000} for n in range(2, 20_000)))
    result = shop.run()
    assert shop.loaded() == ids(1)
    assert result.counts.extracted < 19_999


@pytest.mark.parametrize(
    ("order", "values"), [("asc", ["2024-05-02", "2024-05-01"]), ("desc", ["2024-05-01", "2024-05-02"])]
)
def test_rows_that_break_the_promised_order_end_the_run(
    tmp_path: Path, form: str, order: str, values: list[str]
) -> None:
    shop = Shop(tmp_path, form, incremental={"row_order": order})
    shop.grow(*(row(number, value) for number, value in enumerate(values)))
    result = shop.run(fails=True)
    assert f"row_order: {order}" in (result.error or "")
    assert (shop.loaded(), shop.value()) == (Counter(), None)


def test_max_records_moves_the_cursor_only_over_rows_in_order(tmp_path: Path, form: str) -> None:
    rows = [row(n, f"2024-05-0{n}") for n in range(1, 6)]
    shop = Shop(tmp_path, form, load=UPSERT)
    shop.grow(*rows)
    shop.run(max_records=2)
    assert (shop.loaded(), shop.value()) == (ids(1, 2), None)
    assert "the cursor does not move" in shop.warnings[-1]
    shop = Shop(tmp_path, form, incremental={"row_order": "asc"}, name="ordered")
    shop.grow(*rows)
    shop.run(max_records=2)
    assert (shop.loaded(), shop.value()) == (ids(1, 2), "2024-05-02")


def test_the_cursor_moves_with_each_commit_when_rows_come_in_order(tmp_path: Path, form: str) -> None:
    """A run that fails midway has moved it over what it committed; a new run that may not resume it goes on there."""
    streaming = {"processing_mode": "streaming", "batch_size": 2}
    steps = {"transform": [{"convert": {"n": {"type": "integer", "on_error": "fail"}}}]}
    shop = Shop(tmp_path, form, incremental={"row_order": "asc"}, extract=streaming, transform=steps)
    shop.grow(*(row(n, f"2024-05-0{n}") | {"n": "x" if n == 5 else "1"} for n in range(1, 7)))
    shop.run(fails=True, max_retries=0)
    assert shop.loaded() <= ids(1, 2, 3, 4)
    done = max(map(int, shop.loaded()), default=0)
    assert shop.value() == (f"2024-05-0{done}" if done else None)
    shop.give([{**record, "n": "1"} for record in shop.source])
    shop.run(restart=True)
    assert (shop.loaded(), shop.value()) == (ids(*range(1, 7)), "2024-05-06")


# --- what never moves it ---------------------------------------------------------------------------------------------


def test_dry_runs_previews_and_failed_runs_leave_the_cursor_alone(tmp_path: Path) -> None:
    shop = Shop(tmp_path, transform={"transform": [{"convert": {"id": {"type": "integer", "on_error": "fail"}}}]})
    shop.grow(row(1, "2024-05-01"))
    shop.run(dry_run=True)
    records, _, _ = asyncio.run(ETLOrchestrator(shop.folder).preview())
    assert (len(records), shop.value()) == (1, None)
    shop.run()
    shop.grow({"id": "x", "at": "2024-05-02"})
    shop.run(fails=True, max_retries=0)
    assert shop.value() == "2024-05-01"
    records, _, _ = asyncio.run(ETLOrchestrator(shop.folder).preview())
    assert not records or records[0]["id"] != 1  # it begins where the next run would


def test_two_streams_and_two_contracts_have_cursors_of_their_own(tmp_path: Path) -> None:
    asked = {"input_params": {"who": {"required": True}, "run_date": {"type": "date"}}}
    shop = Shop(tmp_path, extract=asked, transform={"transform": {"add": {"who": "${param:who}"}}})
    other = Shop(tmp_path, name="refunds")
    shop.grow(row(1, "2024-05-01"))
    shop.run(params={"who": "a"}, run_date="2024-06-01")
    shop.grow(row(2, "2024-05-02"))
    shop.run(params={"who": "a"}, run_date="2024-06-02")  # the date a run is for is not whose cursor it is
    shop.run(params={"who": "b"}, run_date="2024-06-02")
    assert shop.loaded() == Counter({"1": 2, "2": 2})
    other.run()
    assert (other.loaded(), other.value()) == (ids(1, 2), "2024-05-02")


# --- with the rest of the engine -------------------------------------------------------------------------------------


def test_a_rejected_record_passes_the_cursor_and_is_replayed(tmp_path: Path, form: str) -> None:
    shop = Shop(tmp_path, form, transform={"transform": {"convert": {"n": "integer"}}})
    shop.grow(row(1, "2024-05-01") | {"n": "1"}, row(2, "2024-05-02") | {"n": "x"})
    result = shop.run()
    assert (result.counts.rejected, shop.loaded(), shop.value()) == (1, ids(1), "2024-05-02")
    again = shop.run()
    assert again.counts.rejected == 0
    shop.section("transform", {"transform": {"convert": {"n": "string"}}})
    planner = Planner(tmp_path / ".etlctl", root=tmp_path)
    outcome = asyncio.run(Replayer(planner, shop.warnings.append).replay(Wanted(contract="orders")))
    assert outcome is not None
    assert (shop.loaded(), shop.value()) == (ids(1, 2), "2024-05-02")


def test_several_destinations_steps_that_remember_and_whole_sets(tmp_path: Path, form: str) -> None:
    load = {
        "load": [
            {"type": "sqlite", "name": "all", "path": "../../out.db", "table": "orders", "create_table": True},
            {"type": "file", "path": "../../out.jsonl", "write_method": "append"},
        ]
    }
    shop = Shop(tmp_path, form, load=load, transform={"transform": [{"dedupe": {"by": ["id"]}}]})
    shop.grow(row(1, "2024-05-01"), row(2, "2024-05-02"), row(2, "2024-05-02"))
    shop.run()
    shop.grow(row(3, "2024-05-02"))
    shop.run()
    shop.run()
    assert (shop.loaded(), shop.value()) == (ids(1, 2, 3), "2024-05-02")
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_workers_leave_the_window_to_the_run(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "jsonl", transform={"transform": {"add": {"double": "${id}${id}"}}})
    shop.grow(*(row(n, f"2024-05-{n:02}") for n in range(1, 20)))
    shop.run(workers=2)
    shop.grow(row(20, "2024-05-19"))
    shop.run(workers=2)
    assert shop.loaded() == ids(*range(1, 21))


def test_the_cursor_is_in_the_options_and_frozen_for_the_run(tmp_path: Path) -> None:
    shop = Shop(tmp_path, incremental={"lag": "1d"}, extract={"path": "../../in-${cursor}.csv"})
    for name in ("2020-01-01", "2024-05-01"):
        (tmp_path / f"in-{name}.csv").write_text("id,at\n1,2024-05-02\n", encoding="utf-8")
    shop.run()
    (tmp_path / "in-2020-01-01.csv").unlink()
    shop.run()
    assert shop.loaded() == ids(1)


def test_more_records_at_the_cursor_than_can_be_remembered_are_told(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "BOUNDARY", 3)
    monkeypatch.setattr("etlctl.engine.incremental.BOUNDARY", 3)
    shop = Shop(tmp_path, form)
    shop.grow(*(row(n, "2024-05-01") for n in range(3)))
    shop.run()
    assert shop.warnings == []
    shop.grow(*(row(n, "2024-05-01") for n in range(3, 6)))
    shop.run()
    assert any("too many to remember" in text for text in shop.warnings)
    assert set(shop.loaded()) == set(map(str, range(6)))  # more than once perhaps, never lost
