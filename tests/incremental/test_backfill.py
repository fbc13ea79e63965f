"""``etlctl backfill`` and ``etlctl cursor``: ranges that are done once, and cursors moved by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from incremental_shop import Shop, row

from etlctl.errors import ContractError
from etlctl.orchestrator import ETLOrchestrator
from etlctl.orchestrator.backfill import Backfill

DAYS = [row(n, f"2024-05-{n:02}T00:00:00Z") for n in range(1, 11)]


def etlctl(shop: Shop, *arguments: str, fault: str = "") -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "ETLCTL_FAULT": fault, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "etlctl", *arguments]
    return subprocess.run(command, cwd=shop.root, env=environ, capture_output=True, text=True, check=False)


def backfill(shop: Shop, *more: str, fault: str = "") -> subprocess.CompletedProcess[str]:
    bounds = ("--from", "2024-05-01", "--to", "2024-05-08", "--window", "3d")
    return etlctl(shop, "backfill", "contracts/orders", *bounds, *more, fault=fault)


def bounds(shop: Shop, low: str, high: str, window: str) -> list[tuple[str, str]]:
    return [(one.low, one.high) for one in Backfill(ETLOrchestrator(shop.folder), low, high, window).ranges]


@pytest.mark.parametrize(
    ("section", "asked", "wanted"),
    [
        ({}, ("2024-02-28", "2024-03-02", "1d"), ["2024-02-28", "2024-02-29", "2024-03-01", "2024-03-02"]),
        (
            {},
            ("2024-03-31T00:30:00+01:00", "2024-03-31T04:00:00+02:00", "1h30m"),
            ["2024-03-31T00:30:00+01:00", "2024-03-31T02:00:00+01:00", "2024-03-31T04:00:00+02:00"],
        ),
        ({"value_type": "date"}, ("2024-01-01", "2024-01-10", "1w"), ["2024-01-01", "2024-01-08", "2024-01-10"]),
        ({"initial": 0}, ("0", "25", "10"), ["0", "10", "20", "25"]),
        ({"value_type": "decimal", "initial": "0"}, ("0", "0.3", "0.1"), ["0", "0.1", "0.2", "0.3"]),
    ],
)
def test_ranges_cover_everything_once(
    tmp_path: Path, section: dict[str, object], asked: tuple[str, str, str], wanted: list[str]
) -> None:
    shop = Shop(tmp_path, incremental=section)
    assert bounds(shop, *asked) == list(pairwise(wanted))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("2024-01-02", "2024-01-01", "1d"), "no range"),
        (("2024-01-01", "2024-01-02", "0s"), "no length"),
        (("2024-01-01", "2024-01-02", "soon"), "length of time"),
        (("yesterday", "2024-01-02", "1d"), "ISO 8601"),
        (("2000-01-01", "2024-01-02", "1s"), "100,000"),
    ],
)
def test_ranges_that_are_none(tmp_path: Path, asked: tuple[str, str, str], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        bounds(Shop(tmp_path), *asked)


def test_a_contract_that_replaces_cannot_be_filled_by_ranges(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="replaces its destination"):
        bounds(Shop(tmp_path, load={"type": "file", "path": "out.jsonl"}), "2024-01-01", "2024-01-02", "1d")


def test_each_range_is_done_once_and_the_cursor_stays(tmp_path: Path) -> None:
    shop = Shop(tmp_path, extract={"processing_mode": "streaming"})
    shop.grow(*DAYS)
    listed = json.loads(backfill(shop, "--dry-run", "--json").stdout)
    assert [(one["from"], one["to"], one["status"]) for one in listed] == [
        ("2024-05-01", "2024-05-04", "new"), ("2024-05-04", "2024-05-07", "new"), ("2024-05-07", "2024-05-08", "new"),
    ]  # fmt: skip
    assert not shop.loaded()
    first = backfill(shop, "--concurrency", "2")
    assert first.returncode == 0, first.stderr
    assert (shop.loaded(), shop.value()) == (Counter(map(str, range(1, 8))), None)
    again = backfill(shop)
    assert (again.returncode, again.stderr.count("done before")) == (0, 3)
    assert shop.loaded() == Counter(map(str, range(1, 8)))
    assert backfill(shop, "--move-cursor").returncode == 0
    assert shop.value() == "2024-05-08"
    shop.run()
    assert shop.loaded() == Counter(map(str, range(1, 11)))


def test_a_range_that_died_is_resumed_and_the_others_are_not_repeated(tmp_path: Path) -> None:
    shop = Shop(tmp_path, extract={"processing_mode": "streaming", "batch_size": 1})
    shop.grow(*DAYS)
    assert backfill(shop, fault="load.after_commit:12=kill").returncode == -9
    once = shop.loaded()
    assert 0 < len(once) < 7
    states = [one["status"] for one in json.loads(backfill(shop, "--dry-run", "--json").stdout)]
    assert states[0] == "succeeded"
    assert "new" in states
    done = backfill(shop)
    assert done.returncode == 0, done.stderr
    assert shop.loaded() == Counter(map(str, range(1, 8)))


def test_a_range_that_fails_has_the_exit_code_of_several_runs(tmp_path: Path) -> None:
    steps = {"transform": [{"convert": {"id": {"type": "integer", "on_error": "fail"}}}]}
    shop = Shop(tmp_path, transform=steps)
    shop.grow(*DAYS[:3], {"id": "x", "at": DAYS[3]["at"]}, *DAYS[4:])
    result = backfill(shop)
    assert result.returncode == 4
    assert "2024-05-04 .. 2024-05-07" in result.stderr
    shop.give([*DAYS])
    assert backfill(shop).returncode == 0
    assert shop.loaded() == Counter(map(str, range(1, 8)))


def test_cursor_commands(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    assert etlctl(shop, "cursor", "list").stderr == "no cursors: no incremental run came to its end\n"
    assert not (tmp_path / ".etlctl").exists()
    shop.grow(*DAYS[:2])
    shop.run()
    shown = json.loads(etlctl(shop, "cursor", "show", "orders", "--json").stdout)
    assert (shown["value"], shown["value_type"], shown["remembered"]) == ("2024-05-02T00:00:00Z", "datetime", 1)
    assert "2024-05-02T00:00:00Z" in etlctl(shop, "cursor", "list").stdout
    wrong = etlctl(shop, "cursor", "set", "orders", "at", "soon")
    assert (wrong.returncode, "ISO 8601" in wrong.stderr) == (2, True)
    assert etlctl(shop, "cursor", "set", "orders", "at", "2024-05-02").returncode == 0
    shop.run()
    assert shop.loaded() == Counter({"1": 1, "2": 2})  # put back by hand, so loaded again
    assert etlctl(shop, "cursor", "reset", "orders").returncode == 0
    assert (shop.value(), etlctl(shop, "cursor", "show", "orders").returncode) == (None, 2)
    moves = json.loads(etlctl(shop, "cursor", "history", "orders", "--json").stdout)
    assert [(one["how"], one["before"], one["after"]) for one in moves] == [
        ("reset", "2024-05-02", None),
        ("set", "2024-05-02T00:00:00Z", "2024-05-02"),
        ("run", None, "2024-05-02T00:00:00Z"),
    ]
    assert [bool(one["run_id"]) for one in moves] == [False, False, True]
