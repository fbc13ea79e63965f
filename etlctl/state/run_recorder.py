"""The ledger as the engine sees it during one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from etlctl.checkpoint import Checkpoint
from etlctl.cursor import CursorMove
from etlctl.errors import CheckpointError, FencedError, NotInLedgerError
from etlctl.quality import Drift
from etlctl.run import Counts, DeadLetter, RunResult, StepAttempt
from etlctl.state.checkpoint_store import CheckpointStore
from etlctl.state.claim import Claim
from etlctl.state.lease import LEASE_SECONDS
from etlctl.state.records import RunStart

if TYPE_CHECKING:
    from etlctl.state.ledger import Ledger


class RunRecorder:
    """The ledger as the engine sees it during one run. All methods block; any thread may call them.

    Every method raises FencedError once another process has taken the run over, and nothing is recorded then.

    Args:
        ledger: Where everything goes.
        start: What is known of the run.
        resume: Take up the run with the id of ``start``.
        ttl: Seconds the lease lasts unless it is renewed.
        checkpoints: Where its checkpoint is kept; by default in the ledger.
    """

    def __init__(
        self,
        ledger: Ledger,
        start: RunStart,
        *,
        resume: bool = False,
        ttl: float = LEASE_SECONDS,
        checkpoints: CheckpointStore | None = None,
    ) -> None:
        self._ledger = ledger
        self._start = start
        self._resume = resume
        self._ttl = ttl
        self._checkpoints: CheckpointStore = ledger if checkpoints is None else checkpoints
        self._claim: Claim | None = None
        self._checkpoint_id = start.checkpoint_id

    def begin(self) -> Claim:
        """Claim the run; a dry run is recorded only.

        Raises:
            RunBusyError: Another run has the stream now.
            StateError: The run key or the id is that of a run of something else.
        """
        start = self._start
        if start.dry_run:
            self._ledger.start_run(start)
            return Claim(run_id=start.run_id, fence=0, attempt=1, started_at=start.started_at)
        claim = self._ledger.claim(start, resume=self._resume, ttl=self._ttl)
        self._checkpoint_id = claim.checkpoint_id
        if claim.finished is not None:
            self._forget_checkpoint(claim)
            return claim
        self._claim = claim
        if claim.resumed:
            self._outdo_checkpoint()
        return self._claim

    def _forget_checkpoint(self, done: Claim) -> None:
        """Delete the checkpoint of a run that is done and was killed before it could do that itself."""
        found = self._stored_checkpoint()
        if found is not None and found.run_id == done.run_id:
            self._checkpoints.delete_checkpoint(found.id, fence=done.fence)

    def _stored_checkpoint(self) -> Checkpoint | None:
        try:
            return self._checkpoints.checkpoint(self._checkpoint_id) if self._checkpoint_id is not None else None
        except (CheckpointError, NotInLedgerError):
            return None  # the engine asks for it when it needs it, and says so

    def _outdo_checkpoint(self) -> None:
        """Raise the fence above that of the checkpoint: a ledger that was lost counts its fences from the beginning."""
        found = self._stored_checkpoint()
        if found is None or self._claim is None or found.stream != self._start.stream:
            return
        if found.fence >= self._claim.fence:
            self.raise_fence(found.fence + 1)

    def renew(self) -> None:
        """Keep the lease for another while."""
        if self._claim is not None:
            self._ledger.renew(self._start.stream, self._claim.fence, self._ttl)

    def raise_fence(self, at_least: int) -> int:
        """Raise the run's fence, for a destination that has seen a newer one; returns what it is now."""
        if self._claim is None:
            return at_least
        raised = self._ledger.raise_fence(self._start.stream, self._claim.fence, at_least)
        self._claim = replace(self._claim, fence=raised)
        return raised

    def progress(self, run_id: str, counts: Counts, batches: int) -> None:
        """Record how far the run is."""
        self._ledger.progress(run_id, counts, batches, fence=self._fence)

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep rejected records; a repeat overwrites."""
        self._ledger.add_dead_letters(letters, fence=self._fence)

    def clear_dead_letters(self, after_seq: int) -> int:
        """Forget the open dead letters of batches after this one, which are done again; returns how many."""
        return self._ledger.clear_dead_letters(self._run_id, after_seq, fence=self._fence)

    def add_attempts(self, attempts: Sequence[StepAttempt]) -> None:
        """Keep tries of steps that did not work out."""
        self._ledger.add_attempts(self._run_id, attempts, fence=self._fence)

    def add_drift(self, found: Sequence[Drift]) -> None:
        """Keep what differs between the records and the destination."""
        start = self._start
        self._ledger.add_drift(self._run_id, start.contract, start.stream, found, fence=self._fence)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep where the run stands, under the fence the run has now."""
        if self._claim is not None:
            checkpoint = replace(checkpoint, fence=self._claim.fence)
            if self._checkpoints is not self._ledger:
                # Files know the fences of checkpoints only: the successor may not have written one yet.
                self._ledger.check_lease(self._start.stream, self._claim.fence)
        self._checkpoints.save_checkpoint(checkpoint)
        self._checkpoint_id = checkpoint.id

    def delete_checkpoint(self) -> bool:
        """Delete the run's checkpoint, when it is done; tells whether there was one."""
        if self._checkpoint_id is None:
            return False
        if self._claim is not None:
            self._ledger.check_run(self._claim.run_id, self._claim.fence)
        return self._checkpoints.delete_checkpoint(self._checkpoint_id, fence=self._fence)

    def delete_stale_checkpoints(self) -> None:
        """Delete the checkpoints that other runs of the stream left: this one has done the work anew."""
        if self._claim is None:
            return
        stream, run_id, fence = self._start.stream, self._claim.run_id, self._claim.fence
        self._ledger.delete_stale_checkpoints(stream, run_id, fence)
        if self._checkpoints is self._ledger:
            return
        for entry in self._checkpoints.checkpoints(self._start.contract):
            found = entry.checkpoint
            if found is not None and found.stream == stream and found.run_id != run_id:
                self._checkpoints.delete_checkpoint(found.id, fence=fence)

    def move_cursor(self, moved: CursorMove) -> None:
        """Move the cursor of the stream while the run goes on."""
        self._ledger.move_cursor(moved, self._run_id, fence=self._fence)

    def finish_run(self, result: RunResult, moved: CursorMove | None = None) -> None:
        """Record how the run ended, and give its lease back.

        Raises:
            FencedError: It ended well, but another process has taken it over meanwhile. One that failed has nothing to
                add to its successor's record.
        """
        try:
            self._ledger.finish_run(result, fence=self._fence, moved=moved)
        except FencedError:
            if result.success:
                raise

    @property
    def _run_id(self) -> str:
        return self._claim.run_id if self._claim is not None else self._start.run_id

    @property
    def _fence(self) -> int | None:
        return self._claim.fence if self._claim is not None else None
