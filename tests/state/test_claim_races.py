"""Claims between real processes: at the same instant, after a kill, after a long sleep."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_samples import checkpoint, result, start

from etlctl.errors import FencedError, RunBusyError, StateError
from etlctl.run import RunStatus
from etlctl.state import open_ledger, statements
from etlctl.state.checkpoint_files import CheckpointFiles
from etlctl.state.lease import lease_of
from etlctl.state.location import state_url
from etlctl.state.store import connect
from etlctl.state.upgrade import upgrade

HERE = str(Path(__file__).parent)
TRIALS = 30
WAIT = 60

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def _race(url: str, me: int, kind: str, barrier: Any, outcomes: Any) -> None:
    """Claim the same thing as the other processes, again and again; tell how each claim went."""
    with open_ledger(url) as ledger:
        for trial in range(TRIALS):
            begun = start(f"run_{trial}_{me}", stream=f"s{trial}", run_key=f"k{trial}" if kind == "key" else None)
            if kind == "resume":
                begun = start(f"run_{trial}", stream=f"s{trial}")
            barrier.wait(WAIT)
            try:
                claim = ledger.claim(begun, resume=kind == "resume")
                outcomes.put((trial, "runs", claim.run_id, claim.fence, claim.attempt))
            except RunBusyError as busy:
                outcomes.put((trial, "busy", str(busy), 0, 0))
            except Exception as error:  # noqa: BLE001 - the parent judges it
                outcomes.put((trial, "error", repr(error), 0, 0))
            barrier.wait(WAIT)


@pytest.mark.parametrize("kind", ["key", "stream", "resume"])
def test_of_several_processes_at_the_same_instant_exactly_one_runs(store_url: str, kind: str) -> None:
    if kind == "resume":
        with open_ledger(store_url) as ledger:
            for trial in range(TRIALS):
                # Runs whose lease is over the moment they have it: all of them are there to be taken over.
                ledger.claim(start(f"run_{trial}", stream=f"s{trial}"), ttl=0)
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(2), context.Queue()
    racers = [context.Process(target=_race, args=(store_url, me, kind, barrier, outcomes)) for me in range(2)]
    for racer in racers:
        racer.start()
    found = [outcomes.get(timeout=WAIT) for _ in range(2 * TRIALS)]
    for racer in racers:
        racer.join(WAIT)
    for trial in range(TRIALS):
        won, lost = sorted((one for one in found if one[0] == trial), key=lambda one: one[1], reverse=True)
        assert (won[1], lost[1]) == ("runs", "busy"), (won, lost)
        assert (won[3], won[4]) == ((2, 2) if kind == "resume" else (1, 1))
        assert won[2] in lost[2], "the loser is told who has it"
    with open_ledger(store_url) as ledger:
        assert len(ledger.runs(limit=1000)) == TRIALS
        assert {lease.fence for lease in ledger.leases()} == {2 if kind == "resume" else 1}


def test_a_holder_that_renews_in_the_very_moment_keeps_its_lease(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgraded(postgres_url)
    with open_ledger(postgres_url) as holder, open_ledger(postgres_url) as other:
        claim = holder.claim(start(), ttl=0)

        def slow(row: Any) -> Any:
            # Between the look at the lease and the attempt to take it.
            monkeypatch.undo()
            holder.renew("people", claim.fence)
            return lease_of(row)

        monkeypatch.setattr("etlctl.state.claims.lease_of", slow)
        with pytest.raises(RunBusyError, match="people is being run by run_1"):
            other.claim(start("run_2"))
        holder.renew("people", claim.fence)
        assert len(holder.runs()) == 1


def test_a_claim_does_not_wait_for_ever_for_another(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgraded(postgres_url)
    lock = statements.LOCK_CLAIMS[1]
    monkeypatch.setattr(statements, "LOCK_CLAIMS", ("SET LOCAL lock_timeout = '50ms'", lock))
    with open_ledger(postgres_url) as stuck, open_ledger(postgres_url) as other:
        with stuck.store.transaction() as connection:
            connection.run(lock)
            with pytest.raises(StateError, match="has been locked by another process") as locked:
                other.claim(start())
        assert "pg_stat_activity" in str(locked.value.help)
        assert other.claim(start()).fence == 1


def upgraded(url: str) -> None:
    store = connect(state_url(url))
    upgrade(store)
    store.close()


HOLDER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ledger_samples import checkpoint, start, letter, result, attempt
from etlctl.errors import FencedError
from etlctl.run import RunStatus
from etlctl.state import open_ledger
from etlctl.state.checkpoint_files import CheckpointFiles

ledger = open_ledger(sys.argv[2])
files = CheckpointFiles(Path(sys.argv[3])) if len(sys.argv) > 3 else None
recorder = ledger.recorder(start(run_key="k", checkpoint_id="cp"), ttl=float(sys.stdin.readline()), checkpoints=files)
claim = recorder.begin()
recorder.save_checkpoint(checkpoint(seq=1, updated_at=None))
print("holds", claim.fence, flush=True)
sys.stdin.readline()
actions = {
    "renew": lambda: recorder.renew(),
    "save": lambda: recorder.save_checkpoint(checkpoint(seq=2, updated_at=None)),
    "letters": lambda: recorder.add_dead_letters([letter()]),
    "clear": lambda: recorder.clear_dead_letters(0),
    "attempts": lambda: recorder.add_attempts([attempt()]),
    "raise": lambda: recorder.raise_fence(99),
    "finish": lambda: recorder.finish_run(result()),
    "delete": lambda: recorder.delete_checkpoint(),
}
for name, act in actions.items():
    try:
        act()
        print(name, "done", flush=True)
    except FencedError as error:
        print(name, "fenced", flush=True)
recorder.finish_run(result(status=RunStatus.failed, error="late"))
print("quiet", flush=True)
"""


@pytest.fixture
def holders() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def hold(holders: list[subprocess.Popen[str]], url: str, ttl: float, *arguments: str) -> subprocess.Popen[str]:
    """Start a process that claims a run; return when it has."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, HERE, url, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    holders.append(process)
    tell(process, str(ttl))
    assert hear(process) == "holds 1"
    return process


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


@posix_only
def test_a_killed_process_loses_its_run_at_once(store_url: str, holders: list[subprocess.Popen[str]]) -> None:
    process = hold(holders, store_url, 3600)
    with open_ledger(store_url) as ledger:
        with pytest.raises(RunBusyError, match=f"process {process.pid} on"):
            ledger.claim(start("run_2", run_key="k"))
        assert ledger.find_unfinished("people") is None, "it is alive"
        process.kill()
        process.wait()
        crashed = ledger.find_unfinished("people")
        assert crashed is not None
        assert (crashed.run_id, crashed.checkpoint_id, crashed.shown_status) == ("run_1", "cp", "crashed")
        claim = ledger.claim(start("run_2", run_key="k"))
        assert (claim.run_id, claim.attempt, claim.fence, claim.checkpoint_id) == ("run_1", 2, 2, "cp")
        assert ledger.checkpoint("cp").seq == 1


@posix_only
@pytest.mark.parametrize("kept_in", ["ledger", "files"])
def test_a_process_that_sleeps_past_its_lease_is_fenced_off_when_it_wakes(
    store_url: str, holders: list[subprocess.Popen[str]], tmp_path: Path, kept_in: str
) -> None:
    folder = [str(tmp_path / "checkpoints")] if kept_in == "files" else []
    process = hold(holders, store_url, 0.2, *folder)
    os.kill(process.pid, signal.SIGSTOP)
    with open_ledger(store_url) as ledger:
        recorder = ledger.recorder(
            start("run_2", run_key="k"), checkpoints=CheckpointFiles(Path(folder[0])) if folder else None
        )
        claim = None
        until = time.monotonic() + WAIT
        while claim is None and time.monotonic() < until:
            try:
                claim = recorder.begin()
            except RunBusyError:
                time.sleep(0.02)  # nobody tells when a lease is over
        assert claim is not None
        assert (claim.run_id, claim.attempt, claim.fence) == ("run_1", 2, 2)
        os.kill(process.pid, signal.SIGCONT)
        tell(process, "go on")
        for name in ("renew", "save", "letters", "clear", "attempts", "raise", "finish", "delete"):
            assert hear(process) == f"{name} fenced"
        assert hear(process) == "quiet", "one that failed by its own account has nothing to add"
        process.wait()
        store = CheckpointFiles(Path(folder[0])) if folder else ledger
        assert (store.checkpoint("cp").seq, store.checkpoint("cp").fence) == (1, 1)
        run = ledger.run("run_1")
        assert (run.status, run.attempt, run.error) == (RunStatus.running, 2, None)
        assert ledger.dead_letters() == []
        assert ledger.attempts("run_1") == []
        recorder.save_checkpoint(checkpoint(seq=6))
        recorder.finish_run(result(attempt=2))
        assert recorder.delete_checkpoint()
        assert ledger.run("run_1").status is RunStatus.partial
        with pytest.raises(FencedError):
            ledger.renew("people", claim.fence)
