"""What the engine gets of the ledger for one run, from the claim to the end, with checkpoints here or there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ledger_samples import BEGAN, attempt, checkpoint, letter, result, start

from etlctl.errors import FencedError, NotInLedgerError, RunBusyError
from etlctl.run import Counts, RunStatus
from etlctl.state.checkpoint_files import CheckpointFiles
from etlctl.state.ledger import Ledger


@pytest.fixture(params=["ledger", "files"])
def checkpoints(request: pytest.FixtureRequest, ledger: Ledger, tmp_path: Path) -> Any:
    return ledger if request.param == "ledger" else CheckpointFiles(tmp_path / "checkpoints")


FAILED = {"status": RunStatus.failed, "error": "boom", "exit_code": 1, "checkpoint_id": "cp"}


def test_a_run_is_recorded_resumed_and_done(ledger: Ledger, checkpoints: Any) -> None:
    recorder = ledger.recorder(start(run_key="nightly", checkpoint_id="cp"), checkpoints=checkpoints)
    claim = recorder.begin()
    assert (claim.run_id, claim.fence) == ("run_1", 1)
    recorder.save_checkpoint(checkpoint(seq=2, fence=0))
    assert checkpoints.checkpoint("cp").fence == 1, "under the fence the run has"
    recorder.add_dead_letters([letter(seq=2), letter(seq=3)])
    recorder.add_attempts([attempt()])
    recorder.progress("run_1", Counts(extracted=20, loaded=20), 2)
    assert ledger.run("run_1").batches == 2
    recorder.renew()
    with pytest.raises(RunBusyError):
        ledger.recorder(start("run_2", run_key="nightly")).begin()
    recorder.finish_run(result(**FAILED, failed_step="load"))
    assert ledger.holder("people") is None

    recorder = ledger.recorder(start("run_2", run_key="nightly", checkpoint_id="run_2"), checkpoints=checkpoints)
    claim = recorder.begin()
    assert (claim.run_id, claim.attempt, claim.resumed, claim.checkpoint_id) == ("run_1", 2, True, "cp")
    assert checkpoints.checkpoint("cp").seq == 2
    assert recorder.clear_dead_letters(2) == 1
    recorder.save_checkpoint(checkpoint(seq=3))
    recorder.finish_run(result(attempt=2))
    assert recorder.delete_checkpoint() is True
    assert checkpoints.checkpoints() == []
    assert [one.status for one in ledger.attempts("run_1") if one.counts.name == "load"] == [
        "failed",
        "failed",
        "succeeded",
    ]
    again = ledger.recorder(start("run_3", run_key="nightly"), checkpoints=checkpoints).begin()
    assert again.finished is not None
    assert (again.finished.reused, again.finished.counts) == (True, result().counts)


def test_a_done_run_that_was_killed_before_it_deleted_its_checkpoint_is_tidied(
    ledger: Ledger, checkpoints: Any
) -> None:
    recorder = ledger.recorder(start(run_key="nightly", checkpoint_id="cp"), checkpoints=checkpoints)
    recorder.begin()
    recorder.save_checkpoint(checkpoint())
    recorder.finish_run(result())
    assert checkpoints.checkpoint("cp")
    assert ledger.recorder(start("run_2", run_key="nightly"), checkpoints=checkpoints).begin().finished is not None
    with pytest.raises(NotInLedgerError):
        checkpoints.checkpoint("cp")


def test_a_ledger_that_was_lost_outdoes_the_fences_it_forgot(ledger: Ledger, tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path / "checkpoints")
    files.save_checkpoint(checkpoint(fence=41))
    recorder = ledger.recorder(start(checkpoint_id="cp"), resume=True, checkpoints=files)
    claim = recorder.begin()
    assert (claim.fence, claim.resumed) == (42, True)
    recorder.save_checkpoint(checkpoint(seq=4))
    assert files.checkpoint("cp").fence == 42
    assert recorder.raise_fence(50) == 50
    recorder.save_checkpoint(checkpoint(seq=5))
    recorder.finish_run(result())
    assert ledger.run("run_1").status is RunStatus.partial
    assert recorder.delete_checkpoint() is True


def test_a_dry_run_claims_nothing(ledger: Ledger) -> None:
    ledger.claim(start())
    recorder = ledger.recorder(start("run_dry", dry_run=True, run_key="nightly"))
    claim = recorder.begin()
    assert (claim.run_id, claim.fence, claim.attempt, claim.started_at) == ("run_dry", 0, 1, BEGAN)
    recorder.renew()
    recorder.finish_run(result("run_dry", dry_run=True))
    assert recorder.delete_checkpoint() is False
    assert ledger.run("run_dry").status is RunStatus.partial
    assert ledger.holder("people") is not None


def test_a_run_that_was_taken_over_is_told_so_only_if_it_thinks_it_ended_well(ledger: Ledger, checkpoints: Any) -> None:
    old = ledger.recorder(start(checkpoint_id="cp"), ttl=0, checkpoints=checkpoints)
    old.begin()
    old.save_checkpoint(checkpoint())
    new = ledger.recorder(start(checkpoint_id="cp"), resume=True, checkpoints=checkpoints)
    assert new.begin().fence == 2
    for act in (
        old.renew,
        lambda: old.save_checkpoint(checkpoint(seq=4)),
        lambda: old.add_dead_letters([letter()]),
        lambda: old.clear_dead_letters(0),
        lambda: old.add_attempts([attempt()]),
        lambda: old.raise_fence(9),
        lambda: old.finish_run(result()),
        old.delete_checkpoint,
    ):
        with pytest.raises(FencedError):
            act()
    old.finish_run(result(**FAILED))
    assert ledger.run("run_1").status is RunStatus.running
    assert (checkpoints.checkpoint("cp").seq, checkpoints.checkpoint("cp").fence) == (3, 1)


WHOLE_LIFE = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ledger_samples import attempt, checkpoint, letter, result, start
from etlctl.errors import RunBusyError
from etlctl.run import Counts, RunStatus
from etlctl.state import open_ledger
from etlctl.state.checkpoint_files import CheckpointFiles
from etlctl.state.cursors import StoredCursor
for attempt_number, status in enumerate([RunStatus.failed, RunStatus.succeeded, RunStatus.succeeded]):
    with open_ledger(state_dir=Path(sys.argv[2])) as ledger:
        files = CheckpointFiles(Path(sys.argv[2]) / "checkpoints")
        recorder = ledger.recorder(start(run_key="k", checkpoint_id="cp"), checkpoints=files if len(sys.argv) > 3 else None)
        if recorder.begin().finished is not None:
            continue
        try:
            ledger.recorder(start("run_2")).begin()
            sys.exit("not busy")
        except RunBusyError:
            pass
        recorder.save_checkpoint(checkpoint())
        recorder.add_dead_letters([letter()])
        recorder.clear_dead_letters(0)
        recorder.add_attempts([attempt()])
        recorder.progress("run_1", Counts(extracted=1), 1)
        recorder.renew()
        recorder.raise_fence(10 + attempt_number)
        ledger.set_cursor(StoredCursor(stream="s", field="f", value="1", value_type="integer"))
        assert ledger.cursors() and ledger.leases() and ledger.checkpoint is not None
        recorder.finish_run(result(status=status, checkpoint_id="cp"))
        assert (ledger.find_unfinished("people") is not None) == (status is RunStatus.failed)
        assert ledger.run_of_checkpoint("cp") is not None
        if status is RunStatus.succeeded:
            recorder.delete_checkpoint()
assert not {"sqlalchemy", "alembic"} & set(sys.modules)
with open_ledger(state_dir=Path(sys.argv[2])) as ledger:
    assert (ledger.run("run_1").attempt, ledger.run("run_1").fence) == (2, 11)
assert "sqlalchemy" in sys.modules, "the probe sees it"
"""


@pytest.mark.parametrize("where", [[], ["files"]])
def test_the_whole_life_of_a_run_on_sqlite_imports_no_sqlalchemy(tmp_path: Path, where: list[str]) -> None:
    command = [sys.executable, "-c", WHOLE_LIFE, str(Path(__file__).parent), str(tmp_path / "state"), *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
