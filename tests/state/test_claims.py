"""Claims: who may run what, on every store; the clock is told what time it is."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ledger_samples import BEGAN, ENDED, result, start

from etlctl.clock import FixedClock
from etlctl.errors import FencedError, RunBusyError, StateError
from etlctl.redact import Redactor
from etlctl.run import Counts, RunStatus
from etlctl.state import open_ledger
from etlctl.state.ledger import Ledger

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ELSEWHERE = {"host": "another-machine", "pid": 4711}


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def ledger(store_url: str, clock: FixedClock, redactor: Redactor) -> Iterator[Ledger]:
    with open_ledger(store_url, clock=clock, redactor=redactor) as opened:
        yield opened


def keyed(run_id: str = "run_1", **changes: Any) -> Any:
    return start(run_id, run_key="nightly", **{**ELSEWHERE, **changes})


def failed(run_id: str = "run_1", **changes: Any) -> Any:
    base = {"status": RunStatus.failed, "error": "boom", "exit_code": 1, "checkpoint_id": "cp"}
    return result(run_id, **{**base, **changes})


def test_a_new_run_gets_the_first_lease(ledger: Ledger) -> None:
    claim = ledger.claim(start(checkpoint_id="cp", run_key="nightly"), ttl=60)
    assert (claim.run_id, claim.fence, claim.attempt, claim.started_at) == ("run_1", 1, 1, BEGAN)
    assert (claim.resumed, claim.finished, claim.checkpoint_id) == (False, None, "cp")
    run = ledger.run("run_1")
    assert (run.status, run.attempt, run.fence, run.run_key, run.checkpoint_id) == (
        RunStatus.running,
        1,
        1,
        "nightly",
        "cp",
    )
    lease = ledger.lease("people")
    assert lease is not None
    assert (lease.holder_run, lease.host, lease.pid, lease.fence) == ("run_1", platform.node(), os.getpid(), 1)
    assert (lease.acquired_at, lease.expires_at) == (NOW, NOW + timedelta(seconds=60))
    assert ledger.leases() == [lease]


@pytest.mark.parametrize("status", [RunStatus.succeeded, RunStatus.partial])
def test_a_key_that_has_finished_gives_its_first_result(ledger: Ledger, status: RunStatus) -> None:
    claim = ledger.claim(keyed())
    first = result(
        status=status,
        error_help="none",
        run_key="nightly",
        peak_memory_mb=12.5,
        params={"day": "2026-03-01", "n": 3},
        counts=Counts(extracted=2**40, loaded=2**40),
    )
    ledger.finish_run(first, fence=claim.fence)
    ledger.note_report("run_1", "reports/run_1.json")
    before = ledger.run("run_1"), ledger.leases()
    again = ledger.claim(keyed("run_2", started_at=ENDED))
    assert again.finished == replace(first, reused=True, exit_code=0, report="reports/run_1.json")
    assert (again.run_id, again.started_at) == ("run_1", BEGAN)
    assert (ledger.run("run_1"), ledger.leases()) == before
    assert len(ledger.runs()) == 1


def test_a_finished_run_of_an_older_version_is_told_from_its_columns(ledger: Ledger) -> None:
    ledger.claim(keyed())
    ledger.finish_run(result())
    with ledger.store.transaction() as connection:
        connection.run("UPDATE etlctl_runs SET result = NULL")
    told = ledger.claim(keyed("run_2")).finished
    assert told is not None
    assert (told.status, told.counts, told.destinations) == (RunStatus.partial, result().counts, result().destinations)
    assert (told.reused, told.exit_code, told.ended_at) == (True, 0, ENDED)


@pytest.mark.parametrize("status", [RunStatus.failed, RunStatus.canceled])
def test_a_key_that_did_not_finish_is_taken_up_again(ledger: Ledger, status: RunStatus) -> None:
    first = ledger.claim(keyed(checkpoint_id="run_1"))
    ledger.finish_run(failed(status=status, checkpoint_id="run_1"), fence=first.fence)
    claim = ledger.claim(keyed("run_2", started_at=ENDED, checkpoint_id="run_2", batch_size=7))
    assert (claim.run_id, claim.attempt, claim.started_at, claim.resumed) == ("run_1", 2, BEGAN, True)
    assert (claim.fence, claim.checkpoint_id) == (2, "run_1")
    run = ledger.run("run_1")
    assert (run.status, run.attempt, run.error, run.result, run.batch_size) == (RunStatus.running, 2, None, None, 7)
    assert run.counts == result().counts, "what was counted stays until it is counted again"
    assert len(ledger.runs()) == 1


def test_a_checkpoint_named_after_a_new_run_follows_the_run_that_is_taken_up(ledger: Ledger) -> None:
    ledger.finish_run(failed(checkpoint_id=None), fence=ledger.claim(keyed()).fence)
    assert ledger.claim(keyed("run_2", checkpoint_id="run_2")).checkpoint_id == "run_1"


def test_a_key_that_runs_is_busy_and_the_message_names_the_holder(ledger: Ledger, clock: FixedClock) -> None:
    ledger.claim(keyed(), ttl=90)
    clock.instant += timedelta(seconds=89)
    with pytest.raises(RunBusyError) as busy:
        ledger.claim(keyed("run_2", host="here", pid=1))
    for word in (
        "run_1",
        "process 4711 on another-machine",
        "since 2026-03-01 12:00:00 UTC",
        "until 2026-03-01 12:01:30",
    ):
        assert word in str(busy.value)
    assert busy.value.exit_code == 75
    assert "etlctl runs show run_1" in str(busy.value.help)
    assert [run.run_id for run in ledger.runs()] == ["run_1"]


def test_an_expired_lease_is_taken_over_and_the_old_holder_is_fenced_off(ledger: Ledger, clock: FixedClock) -> None:
    old = ledger.claim(keyed(), ttl=60)
    clock.instant += timedelta(seconds=60)
    new = ledger.claim(keyed("run_2", started_at=ENDED, host="third-machine", pid=7))
    assert (new.run_id, new.attempt, new.fence, new.started_at, new.resumed) == ("run_1", 2, 2, BEGAN, True)
    with pytest.raises(FencedError, match=r"lease 1 of people.*run_1 has lease 2 \(process 7 on third-machine"):
        ledger.renew("people", old.fence)
    with pytest.raises(FencedError):
        ledger.finish_run(failed(), fence=old.fence)
    assert ledger.release("people", old.fence) is False
    run = ledger.run("run_1")
    assert (run.status, run.error, run.attempt, run.host) == (RunStatus.running, None, 2, "third-machine")
    assert ledger.attempts("run_1") == []
    ledger.finish_run(result(attempt=2), fence=new.fence)
    assert ledger.run("run_1").status is RunStatus.partial


def test_a_lease_that_is_renewed_lives_on(ledger: Ledger, clock: FixedClock) -> None:
    claim = ledger.claim(keyed(), ttl=60)
    for _ in range(5):
        clock.instant += timedelta(seconds=59)
        ledger.renew("people", claim.fence, ttl=60)
        with pytest.raises(RunBusyError):
            ledger.claim(keyed("run_2"))
    clock.instant += timedelta(seconds=3600)
    ledger.renew("people", claim.fence, ttl=60)  # expired, but nobody came
    with pytest.raises(RunBusyError):
        ledger.claim(keyed("run_2"))


def test_a_clock_that_is_set_back_gives_nothing_away(ledger: Ledger, clock: FixedClock) -> None:
    ledger.claim(keyed(), ttl=60)
    clock.instant -= timedelta(days=1)
    with pytest.raises(RunBusyError):
        ledger.claim(keyed("run_2"))


def test_a_run_whose_process_on_this_machine_is_gone_is_taken_over_at_once(ledger: Ledger) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    ledger.claim(keyed(host=platform.node(), pid=child.pid), ttl=3600)
    assert ledger.holder("people") is None
    claim = ledger.claim(keyed("run_2"))
    assert (claim.run_id, claim.attempt, claim.fence) == ("run_1", 2, 2)


def test_another_run_of_the_stream_holds_it_whatever_the_key(ledger: Ledger, clock: FixedClock) -> None:
    ledger.claim(start(**ELSEWHERE))
    for other in (start("run_2", **ELSEWHERE), keyed("run_3")):
        with pytest.raises(RunBusyError, match="people is being run by run_1"):
            ledger.claim(other)
    ledger.claim(start("run_4", stream="people#other"))
    clock.instant += timedelta(minutes=5)
    assert ledger.claim(start("run_5")).fence == 2


def test_a_key_belongs_to_one_parameter_set(ledger: Ledger) -> None:
    ledger.claim(keyed(stream="people#a"))
    with pytest.raises(StateError, match=r"run key 'nightly' is that of run run_1 of people#a") as other:
        ledger.claim(keyed("run_2", stream="people#b"))
    assert other.value.exit_code == 2
    assert "choose another run key" in str(other.value.help)
    assert ledger.claim(keyed("run_3", contract="orders", stream="orders")).attempt == 1, "keys are per contract"


def test_a_key_with_a_secret_is_refused_since_all_secrets_look_alike(ledger: Ledger, redactor: Redactor) -> None:
    redactor.add("hunter22")
    redactor.add("hunter33")
    with pytest.raises(StateError, match="holds a secret") as refused:
        ledger.claim(start(run_key="for hunter22"))
    assert "hunter22" not in f"{refused.value} {refused.value.help}"


def test_resuming_takes_up_the_run_with_the_id(ledger: Ledger) -> None:
    ledger.finish_run(failed(), fence=ledger.claim(keyed(checkpoint_id="cp")).fence)
    claim = ledger.claim(start(started_at=ENDED), resume=True)
    assert (claim.run_id, claim.attempt, claim.started_at, claim.resumed) == ("run_1", 2, BEGAN, True)
    assert claim.checkpoint_id == "cp"
    assert ledger.run("run_1").run_key == "nightly", "it keeps its key"
    ledger.finish_run(result(), fence=claim.fence)
    assert ledger.claim(start(), resume=True).finished == replace(result(), reused=True, exit_code=0)


def test_a_run_that_the_ledger_lost_is_resumed_all_the_same(ledger: Ledger) -> None:
    claim = ledger.claim(keyed("run_9", checkpoint_id="cp"), resume=True)
    assert (claim.run_id, claim.attempt, claim.fence, claim.resumed) == ("run_9", 1, 1, True)
    assert claim.checkpoint_id == "cp"
    assert ledger.run("run_9").status is RunStatus.running


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stream": "people#b"}, "run run_1 is one of people, not of people#b"),
        ({"run_key": "weekly"}, "has the run key 'nightly', not 'weekly'"),
    ],
)
def test_a_run_is_not_resumed_as_something_else(ledger: Ledger, changes: dict[str, Any], words: str) -> None:
    ledger.finish_run(failed(), fence=ledger.claim(keyed()).fence)
    with pytest.raises(StateError, match=words):
        ledger.claim(start(**changes), resume=True)


def test_a_run_is_not_resumed_under_the_key_of_another(ledger: Ledger) -> None:
    ledger.finish_run(failed(), fence=ledger.claim(keyed()).fence)
    with pytest.raises(StateError, match="that is the key of run run_1"):
        ledger.claim(keyed("run_2"), resume=True)


def test_an_id_names_one_run(ledger: Ledger) -> None:
    ledger.finish_run(failed(), fence=ledger.claim(start()).fence)
    with pytest.raises(StateError, match="there is a run run_1 already"):
        ledger.claim(start())


def test_fences_never_go_down(ledger: Ledger, clock: FixedClock) -> None:
    seen = []
    for number in range(4):
        claim = ledger.claim(start(f"run_{number}", **ELSEWHERE))
        seen.append(claim.fence)
        if number == 1:
            seen.append(ledger.raise_fence("people", claim.fence, 10))
        elif number == 2:
            ledger.finish_run(failed(f"run_{number}"), fence=claim.fence)
        else:
            assert ledger.release("people", claim.fence)
        clock.instant += timedelta(minutes=2)
    assert seen == [1, 2, 10, 11, 12]
    with ledger.store.transaction() as connection:
        connection.run("DELETE FROM etlctl_leases")
    assert ledger.claim(start("run_2"), resume=True).fence == 12, "the run knows its own last fence"


def test_a_fence_is_raised_above_what_a_destination_has_seen(ledger: Ledger, clock: FixedClock) -> None:
    claim = ledger.claim(start(**ELSEWHERE))
    assert ledger.raise_fence("people", claim.fence, 7) == 7
    assert ledger.raise_fence("people", 7, 3) == 7, "and never goes down"
    assert ledger.run("run_1").fence == 7
    with pytest.raises(FencedError):
        ledger.raise_fence("people", claim.fence, 9)
    ledger.renew("people", 7)
    ledger.finish_run(result(), fence=7)
    with pytest.raises(FencedError, match="given back"):
        ledger.raise_fence("people", 7, 9)
    with pytest.raises(FencedError, match="given back"):
        ledger.renew("people", 7)
    with pytest.raises(FencedError, match="does not know the lease"):
        ledger.renew("nobody", 1)


def test_the_end_of_a_run_gives_the_lease_back_in_the_same_moment(ledger: Ledger) -> None:
    claim = ledger.claim(start(**ELSEWHERE))
    held = ledger.holder("people")
    assert held is not None
    assert held.holder_run == "run_1"
    ledger.finish_run(failed(), fence=claim.fence)
    assert ledger.holder("people") is None
    lease = ledger.lease("people")
    assert lease is not None
    assert (lease.holder_run, lease.fence) == (None, 1)
    assert ledger.claim(start("run_2", **ELSEWHERE)).fence == 2
    assert ledger.release("people", 1) is False


def test_dry_runs_take_neither_lease_nor_key(ledger: Ledger) -> None:
    for number in range(2):
        ledger.start_run(keyed(f"run_dry{number}", dry_run=True))
    assert ledger.leases() == []
    with pytest.raises(ValueError, match="claims nothing"):
        ledger.claim(keyed(dry_run=True))
    assert ledger.claim(keyed()).attempt == 1
    assert {run.run_id: run.run_key for run in ledger.runs()} == {
        "run_dry0": None,
        "run_dry1": None,
        "run_1": "nightly",
    }


def test_progress_of_a_run_that_was_taken_over_is_left_alone(ledger: Ledger, clock: FixedClock) -> None:
    old = ledger.claim(start(**ELSEWHERE))
    clock.instant += timedelta(minutes=2)
    new = ledger.claim(start(**ELSEWHERE), resume=True)
    ledger.progress("run_1", Counts(extracted=5), 5, fence=old.fence)
    assert ledger.run("run_1").counts.extracted == 0
    clock.instant += timedelta(seconds=2)
    ledger.progress("run_1", Counts(extracted=6), 6, fence=new.fence)
    assert ledger.run("run_1").counts.extracted == 6


def test_a_key_of_another_contract_of_the_same_name_is_refused(ledger: Ledger) -> None:
    one = start(run_key="k", contract_path="/a/orders", contract_hash={"extract": "1", "load": "2"})
    ledger.finish_run(result(one.run_id), fence=ledger.claim(one).fence)
    moved = replace(one, run_id="run_moved", contract_path="/b/orders", contract_hash={"extract": "1", "load": "9"})
    assert ledger.claim(moved).finished is not None, "the same contract in another place, load edited"
    other = replace(one, run_id="run_other", contract_path="/b/orders", contract_hash={"extract": "8", "load": "9"})
    with pytest.raises(StateError, match="another contract with the same name"):
        ledger.claim(other)
    with pytest.raises(StateError, match="the run key is empty"):
        ledger.claim(replace(one, run_key=" "))
