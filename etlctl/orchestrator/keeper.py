"""Keeps the record of one run: the ledger while it runs, the report when it is over, secrets masked in both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from etlctl.checkpoint import Checkpoint
from etlctl.cursor import CursorMove
from etlctl.engine.incremental import Reached
from etlctl.engine.options import Claim
from etlctl.errors import CheckpointError, FencedError, NotInLedgerError, StateError
from etlctl.quality import Drift, PastRun
from etlctl.redact import Redactor
from etlctl.run import Counts, DeadLetter, RunResult, StepAttempt
from etlctl.sdk.loader import CommitToken

if TYPE_CHECKING:
    from datetime import datetime

    from etlctl.contract.model import Contract
    from etlctl.engine.options import RunSettings
    from etlctl.sdk.outbox import Outbox
    from etlctl.state.checkpoint_store import CheckpointStore
    from etlctl.state.ledger import Ledger
    from etlctl.state.records import RunStart
    from etlctl.state.run_recorder import RunRecorder

_EXAMPLES = 3


class RunKeeper:
    """The ledger, the checkpoint and the report of one run of a contract: what the engine calls its ledger.

    Args:
        contract: What runs.
        settings: How it runs.
        state_dir: Folder of the ledger and the reports.
        state_url: Where the ledger is, when it is not in ``state_dir``.
        trigger: What started the run.
        run_key: Idempotency key of the run.
        resume: The run was begun before.
        checkpoint_dir: Folder of JSON checkpoints; None keeps them in the ledger.
    """

    def __init__(
        self,
        contract: Contract,
        settings: RunSettings,
        state_dir: Path,
        state_url: str | None,
        trigger: str,
        *,
        run_key: str | None = None,
        resume: bool = False,
        checkpoint_dir: Path | None = None,
    ) -> None:
        self._contract = contract
        self._settings = settings
        self._state_dir = state_dir
        self._state_url = state_url
        self._trigger = trigger
        self._run_key = run_key
        self._resume = resume
        self._checkpoint_dir = checkpoint_dir
        self._ledger: Ledger | None = None
        self._recorder: RunRecorder | None = None
        self._checkpoint: Checkpoint | None = None
        self._fence: int | None = None
        self._begun = False
        self._new = False
        self.redactor = Redactor(contract.secrets)

    def open(self) -> RunKeeper:
        """Open the ledger for the engine; called on a thread.

        Raises:
            StateError: The ledger cannot be opened.
        """
        from etlctl.state.ledger import open_ledger  # noqa: PLC0415

        self._ledger = open_ledger(self._state_url, self._state_dir, redactor=self.redactor)
        return self

    # What the engine calls, on threads

    def begin(self, started_at: datetime) -> Claim:
        """Record that the run begins, and take the lease on its stream."""
        ledger = self._opened()
        start = self._start(started_at)
        self._recorder = ledger.recorder(start, resume=self._resume, checkpoints=self._store())
        claim = self._recorder.begin()
        self._begun = True
        if claim.finished is not None:
            return Claim(run_id=claim.run_id, finished=claim.finished)
        self._fence = claim.fence
        given = Claim(
            run_id=claim.run_id, fence=claim.fence, attempt=claim.attempt, started_at=claim.started_at
        )  # fmt: skip
        if self._settings.checkpoint_id is None:
            return given
        checkpoint_id = claim.checkpoint_id or claim.run_id
        fresh = self._fresh(checkpoint_id, claim.run_id, claim.fence, claim.started_at)
        if not claim.resumed:
            self._checkpoint, self._new = fresh, True
            self._recorder.save_checkpoint(fresh)
            return given
        found = self._found(checkpoint_id)
        self._checkpoint = (found or fresh).moved(fence=claim.fence, contract_path=fresh.contract_path, error=None)
        edited = () if found is None else _differing(found.contract_hash, fresh.contract_hash)
        return replace(given, checkpoint=found or fresh, checkpoint_lost=found is None, edited=edited)

    def renew(self) -> None:
        """Keep the lease."""
        self._recording().renew()

    def raise_fence(self, at_least: int) -> int:
        """Take a newer fence than a destination has seen."""
        self._fence = self._recording().raise_fence(at_least)
        return self._fence

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep rejected records; a repeat overwrites."""
        self._recording().add_dead_letters(letters)

    def clear_dead_letters(self, after_seq: int) -> None:
        """Forget those of batches that will be done again."""
        self._recording().clear_dead_letters(after_seq)

    def save_checkpoint(self, token: CommitToken, error: str | None = None) -> None:
        """Remember how far the destination is."""
        if self._checkpoint is None:
            return
        # Until something is committed by the contract as it is now, what is there was made by the old one.
        known = self._contract.part_hashes if token.seq else self._checkpoint.contract_hash
        self._checkpoint = self._checkpoint.moved(
            contract_hash=known,
            seq=token.seq,
            fence=token.fence,
            position=token.position,
            account=token.account,
            error=error,
        )
        self._recording().save_checkpoint(self._checkpoint)

    def history(self, limit: int) -> Sequence[PastRun]:
        """Return the runs of the stream that finished before, the newest first."""
        return self._opened().history(self._contract.stream, limit)

    def add_attempts(self, attempts: Sequence[StepAttempt]) -> None:
        """Record tries that failed."""
        self._recording().add_attempts(attempts)

    def add_drift(self, found: Sequence[Drift]) -> None:
        """Record what differs between the records and the destination."""
        self._recording().add_drift(found)

    def outbox(self) -> Outbox:
        """Return what keeps requests before they are sent."""
        from etlctl.state.outbox import StateOutbox  # noqa: PLC0415 - few destinations need it

        return StateOutbox(self._opened().store, redactor=self.redactor)

    def progress(self, run_id: str, counts: Counts, batches: int) -> None:
        """Record how far the run is."""
        self._recording().progress(run_id, counts, batches)

    def move_cursor(self, moved: CursorMove) -> None:
        """Move the cursor of the stream while the run goes on."""
        self._recording().move_cursor(moved)

    def finish_run(self, result: RunResult, moved: CursorMove | None = None) -> None:
        """Record how the run ended, and let go of the lease; forget the checkpoint of a run that is done."""
        recorder = self._recording()
        if not result.success and self._checkpoint is not None and self._checkpoint.error is None:
            with suppress(StateError):  # why the run failed matters more
                recorder.save_checkpoint(self._checkpoint.moved(error=result.error))
        recorder.finish_run(replace(result, run_key=self._run_key), moved)
        if result.error_type == "ResumeRefused" and self._new:
            recorder.delete_checkpoint()  # nothing began that could be resumed
        if result.success:
            recorder.delete_checkpoint()
            recorder.delete_stale_checkpoints()

    # What the orchestrator calls

    def close(self, result: RunResult) -> RunResult:
        """Write the report, close the ledger, and return the result with secrets masked and the report's path."""
        result = self._masked(replace(result, run_key=self._run_key))
        if self._ledger is None:
            return result
        if not self._begun:  # another process runs it, and will report
            self._ledger.close()
            return result
        from etlctl.engine.report import report_path, write_report  # noqa: PLC0415

        try:
            if result.reused and report_path(self._state_dir, result.run_id).exists():
                return result
            if self._fence is not None:
                self._ledger.check_run(result.run_id, self._fence)  # whoever has taken the run over reports on it
            trouble = self._write_letters(result)
            if trouble is not None and not result.success:
                also = f"also: {trouble} ({trouble.help})"
                result = replace(result, error_help=f"{result.error_help}; {also}" if result.error_help else also)
            letters = self._ledger.count_dead_letters(run_id=result.run_id, examples=_EXAMPLES)
            start = self._start(result.started_at)
            path = write_report(result, letters, state_dir=self._state_dir, redactor=self.redactor, start=start)
            self._ledger.note_report(result.run_id, str(path))
            if trouble is not None and result.success:
                raise trouble
        except StateError:
            if result.success:
                raise
            return result  # why the run failed matters more than that its report is missing
        finally:
            self._ledger.close()
        return replace(result, report=str(path))

    def _write_letters(self, result: RunResult) -> StateError | None:
        """Write the file of dead letters, if one is asked for and the run is still ours; returns why it cannot be."""
        asked = self._contract.load_envelope.dead_letters
        if asked is None or asked.path is None or result.dry_run or (self._fence is None and not result.reused):
            return None
        from etlctl.orchestrator.letter_file import write_letter_file  # noqa: PLC0415

        ledger, path = self._opened(), self._contract.base_dir / Path(asked.path).expanduser()
        try:
            if self._fence is not None:
                ledger.check_run(result.run_id, self._fence)
            write_letter_file(path, ledger, result.run_id, self._contract.stream, self.redactor)
        except FencedError:
            return None  # whoever has taken the run over writes them
        except StateError as trouble:
            return trouble
        return None

    def _start(self, started_at: datetime | None) -> RunStart:
        from etlctl.clock import SystemClock  # noqa: PLC0415
        from etlctl.state.records import RunStart  # noqa: PLC0415

        contract, settings = self._contract, self._settings
        return RunStart(
            run_id=settings.run_id,
            contract=contract.name,
            stream=contract.stream,
            started_at=started_at or SystemClock().now(),
            contract_path=str(contract.path),
            contract_version=contract.version,
            contract_hash=contract.part_hashes,
            run_key=self._run_key,
            checkpoint_id=settings.checkpoint_id,
            trigger=self._trigger,
            params=contract.params,
            mode=str(settings.mode),
            batch_size=settings.batch_size,
            dry_run=settings.dry_run,
        )

    def _fresh(self, checkpoint_id: str, run_id: str, fence: int, started_at: datetime) -> Checkpoint:
        contract, settings = self._contract, self._settings
        return Checkpoint(
            id=checkpoint_id,
            run_id=run_id,
            stream=contract.stream,
            contract=contract.name,
            contract_path=str(contract.path.resolve()),
            contract_hash=contract.part_hashes,
            params=contract.params,
            mode=str(settings.mode),
            batch_size=settings.batch_size,
            max_records=settings.max_records,
            started_at=started_at,
            fence=fence,
            account={} if settings.increment is None else Reached(settings.increment).account(),
        )

    def _found(self, checkpoint_id: str) -> Checkpoint | None:
        """Return the checkpoint, None when it is gone or damaged: then the destination's own token must do."""
        try:
            return self._store().checkpoint(checkpoint_id)
        except (NotInLedgerError, CheckpointError):
            return None

    def _store(self) -> CheckpointStore:
        if self._checkpoint_dir is None:
            return self._opened()
        from etlctl.state.checkpoint_files import CheckpointFiles  # noqa: PLC0415

        return CheckpointFiles(self._checkpoint_dir, self.redactor)

    def _opened(self) -> Ledger:
        if self._ledger is None:
            raise StateError("the ledger is not open")
        return self._ledger

    def _recording(self) -> RunRecorder:
        if self._recorder is None:
            raise StateError("the run has not begun")
        return self._recorder

    def _masked(self, result: RunResult) -> RunResult:
        mask = self.redactor.text
        return replace(
            result,
            error=mask(result.error) if result.error else None,
            error_help=mask(result.error_help) if result.error_help else None,
            traceback=mask(result.traceback) if result.traceback else None,
            destinations=tuple(mask(place) for place in result.destinations),
        )


def _differing(old: object, new: object) -> tuple[str, ...]:
    """Return the parts of the contract whose hashes differ."""
    before, after = dict(old), dict(new)  # type: ignore[call-overload]
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return tuple(name if "." in name else f"{name}.yaml" for name in changed)
