"""Replayed dead letters of several destinations: a record goes where it is missing, and nowhere else."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from replaying import FIXED, STRICT, Shop, every, shop

from etlctl.orchestrator.replay_book import Wanted

LOAD = """\
load:
  - {name: eu, type: sqlite, path: out.db, table: eu}
  - {name: us, type: sqlite, path: out.db, table: us}
  - {name: all, type: file, path: all.jsonl, write_method: append}
"""
EU, US = "n NOT LIKE 'x%'", "n NOT IN ('x3', 'x14')"
PLACES = ("eu", "us", "all")


def table(orders: Shop, name: str, check: str) -> None:
    """Make a table, or put another one with its rows in its place."""
    with sqlite3.connect(orders.folder / "out.db") as database:
        database.executescript(
            f"CREATE TABLE fresh (id TEXT, n TEXT, CHECK ({check}));"
            f"CREATE TABLE IF NOT EXISTS {name} (id TEXT, n TEXT);"
            f"INSERT INTO fresh SELECT * FROM {name}; DROP TABLE {name}; ALTER TABLE fresh RENAME TO {name};"
        )


def orders_with(root: Path, transform: str = FIXED) -> Shop:
    orders = shop(root, LOAD, transform=transform)
    table(orders, "eu", EU)
    table(orders, "us", US)
    return orders


def ids(orders: Shop, place: str) -> Counter[str]:
    if place == "all":
        lines = (orders.folder / "all.jsonl").read_text().splitlines()
        return Counter(json.loads(line)["id"] for line in lines)
    with sqlite3.connect(orders.folder / "out.db") as database:
        return Counter(row[0] for row in database.execute(f"SELECT id FROM {place}"))


def steps(orders: Shop) -> Counter[tuple[str, str]]:
    return Counter((letter.step, letter.raw["id"]) for letter in orders.letters())


def test_a_record_goes_only_where_it_was_refused(tmp_path: Path) -> None:
    orders = orders_with(tmp_path)
    result = orders.run()
    assert (result.counts.extracted, result.counts.added, result.counts.loaded) == (20, 40, 54)
    told = {one.name: (one.records, one.rejected) for one in result.by_destination}
    assert told == {"eu": (16, 4), "us": (18, 2), "all": (20, 0)}
    assert steps(orders) == Counter(
        [*(("load.eu", number) for number in ("3", "7", "8", "14")), ("load.us", "3"), ("load.us", "14")]
    )
    table(orders, "eu", "1")
    table(orders, "us", "1")
    outcome = orders.replay()
    assert [(one.error, one.records) for one in outcome.replays] == [(None, 2), (None, 2)]
    assert outcome.unfit == []
    assert {place: ids(orders, place) for place in PLACES} == dict.fromkeys(PLACES, every())
    assert orders.letters() == []
    assert orders.replay().replays == []


def test_what_is_refused_again_by_some_is_missing_only_there(tmp_path: Path) -> None:
    orders = orders_with(tmp_path, STRICT)
    assert orders.run().counts.rejected == 4
    orders.write(transform=FIXED)
    orders.replay()
    assert ids(orders, "all") == every()
    assert ids(orders, "us") == every(but="3 14")
    assert set(steps(orders)) == {
        *(("load.eu", one) for one in ("3", "7", "8", "14")),
        ("load.us", "3"),
        ("load.us", "14"),
    }
    table(orders, "us", "1")
    orders.replay()
    assert ids(orders, "us") == every()
    assert set(steps(orders)) == {("load.eu", one) for one in ("3", "7", "8", "14")}
    table(orders, "eu", "1")
    outcome = orders.replay()
    assert not any(one.error for one in outcome.replays)
    assert {place: ids(orders, place) for place in PLACES} == dict.fromkeys(PLACES, every())
    assert orders.letters() == []


def test_a_discarded_letter_keeps_its_record_out_of_that_destination(tmp_path: Path) -> None:
    orders = orders_with(tmp_path)
    orders.run()
    with orders.ledger as ledger:
        us = [letter.id for letter in orders.letters() if letter.step == "load.us"]
        ledger.set_letter_status(us, "discarded")
    table(orders, "eu", "1")
    table(orders, "us", "1")
    orders.replay()
    assert ids(orders, "eu") == every()
    assert ids(orders, "us") == every(but="3 14")


def test_a_destination_that_is_gone_is_told(tmp_path: Path) -> None:
    orders = orders_with(tmp_path)
    orders.run()
    orders.write(load=LOAD.replace("name: us", "name: states"))
    errors = [one.error for one in orders.replay(Wanted(contract="orders")).replays]
    assert any(error and "there is no destination 'us' in the contract" in error for error in errors)
    assert ids(orders, "all") == every()


@pytest.mark.parametrize("point", ["load.write:2", "load.after_commit:1", "publish.during:1", "publish.after:1"])
def test_a_killed_replay_is_finished_by_the_next(tmp_path: Path, point: str) -> None:
    orders = orders_with(tmp_path, STRICT)
    orders.run()
    orders.write(transform=FIXED)
    table(orders, "eu", "1")
    table(orders, "us", "1")
    command = [sys.executable, "-m", "etlctl", "dead-letters", "replay", "--contract", "orders"]
    environ = {**os.environ, "ETLCTL_FAULT": f"{point}=kill"}
    killed = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed
    outcome = orders.replay()
    assert [one.error for one in outcome.replays if one.error] == []
    assert {place: ids(orders, place) for place in PLACES} == dict.fromkeys(PLACES, every())
    assert orders.letters() == []
