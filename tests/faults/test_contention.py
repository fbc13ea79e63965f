"""C1–C5: the same run asked for twice, a run that sleeps over its lease, two contracts on one table."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import JOB, Shop, check_equality, wait_for, write_contract
from targets import TARGETS, prepare

BY_NAME = {target.name: target for target in TARGETS}
INSERT = BY_NAME["sqlite-insert"]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("other"))
    yield made
    made.close()


def test_two_processes_with_one_run_key_load_one_set_of_rows(shop: Shop, other: Shop, tmp_path: Path) -> None:
    codes = []
    for trial in range(20):
        root = tmp_path / str(trial)
        (root / "second").mkdir(parents=True)
        prepare(INSERT, write_contract(root, INSERT, mode="streaming"))
        argv = ("run", str(root / "contracts" / "c"), "--run-key", "today")
        with shop.started(root, *argv) as (_, first), other.started(root / "second", *argv) as (_, second):
            ended = [first(), second()]
        check_equality(root, INSERT)
        codes.append(sorted(one.code for one in ended))
        for one in ended:
            if one.code == 75:
                assert "run_" in one.err
                assert "process" in one.err
        again = shop.run(root, *argv, "--json")
        assert again.code == 0, again.err
        assert json.loads(again.out)["reused"] is True
        check_equality(root, INSERT)
    # The other one was busy, or came when all was done and got the first one's result.
    assert all(pair in ([4, 75], [0, 4]) for pair in codes), codes


def test_a_run_key_of_a_failed_run_is_taken_up_again(shop: Shop, tmp_path: Path) -> None:
    prepare(INSERT, write_contract(tmp_path, INSERT, mode="streaming"))
    failed = shop.run(tmp_path, "run", "contracts/c", "--run-key", "k", "--json", fault="load.write:4=fail")
    assert failed.code == 1, failed.err
    again = shop.run(tmp_path, "run", "contracts/c", "--run-key", "k", "--json")
    assert again.code == 4, again.err
    first, second = json.loads(failed.out), json.loads(again.out)
    assert second["run_id"] == first["run_id"]
    assert (second["attempt"], second["reused"]) == (2, False)
    check_equality(tmp_path, INSERT)


@pytest.mark.parametrize("name", ["sqlite-insert", "jsonl-append", "parts-replace"])
def test_a_holder_that_slept_over_its_lease_commits_nothing_more(
    shop: Shop, other: Shop, tmp_path: Path, name: str
) -> None:
    target = BY_NAME[name]
    prepare(target, write_contract(tmp_path, target, mode="streaming"))
    (tmp_path / "second").mkdir()
    argv = ("run", str(tmp_path / "contracts" / "c"), "--run-key", "k")
    state = tmp_path / ".etlctl" / "state.db"
    with shop.started(tmp_path, *argv, fault="load.before_commit:3=stop") as (process, wait):
        wait_for(lambda: _stopped(process))
        busy = other.run(tmp_path / "second", *argv)
        assert busy.code == 75, busy.err
        with sqlite3.connect(state, timeout=30) as ledger:  # an hour later
            ledger.execute("UPDATE etlctl_leases SET expires_at = '2020-01-01 00:00:00.000000'")
        with other.started(tmp_path / "second", *argv) as (_, second):
            if name.startswith("sqlite"):
                # The sleeper holds SQLite's own lock; what it wakes up to is a newer fence.
                wait_for(lambda: _fence(state) == 2)
            else:
                second()
            os.kill(process, signal.SIGCONT)
            woken, taken = wait(), second()
    assert woken.code not in {0, 4}, woken.err
    if taken.code not in {0, 4}:  # it could not wait any longer for the lock of the sleeper
        taken = other.run(tmp_path / "second", *argv)
    assert taken.code in {0, 4}, (taken.err, woken.err)
    check_equality(tmp_path, target)


def _stopped(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def _fence(state: Path) -> int:
    with sqlite3.connect(state, timeout=30) as ledger:
        return int(ledger.execute("SELECT max(fence) FROM etlctl_leases").fetchone()[0])


def test_two_contracts_fill_one_table(shop: Shop, other: Shop, tmp_path: Path) -> None:
    shared = tmp_path / "shared.db"
    roots = []
    for name in ("one", "two"):
        root = tmp_path / name
        root.mkdir()
        folder = write_contract(root, BY_NAME["sqlite-create"], mode="streaming")
        (folder / "contract.yaml").write_text(f"name: {name}\n")
        (folder / "load.yaml").write_text(f"type: sqlite\npath: {shared}\ntable: t\n")
        roots.append(root)
    with sqlite3.connect(shared) as database:
        database.execute('CREATE TABLE t (id, qty, kind, "when")')
    argv = ("run", "contracts/c")
    with shop.started(roots[0], *argv) as (_, first), other.started(roots[1], *argv) as (_, second):
        assert [first().code, second().code] == [4, 4], (first().err, second().err)
    with sqlite3.connect(shared) as database:
        found = dict(database.execute("SELECT id, count(*) FROM t GROUP BY id"))
    assert set(found.values()) == {2}


def test_a_new_run_over_a_crashed_one_is_refused_then_allowed(shop: Shop, tmp_path: Path) -> None:
    prepare(INSERT, write_contract(tmp_path, INSERT, mode="streaming"))
    assert shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB, fault="load.after_commit:3=kill").killed
    again = shop.run(tmp_path, "run", "contracts/c")
    assert again.code == 7, again.err
    assert "would load them a second time" in again.err
    assert "etlctl resume --checkpoint" in again.err
    resumed = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert resumed.code == 4, resumed.err
    check_equality(tmp_path, INSERT)
