"""What stands in for the ledger in a preview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from etlctl.cursor import CursorMove
from etlctl.engine.options import Claim
from etlctl.quality import Drift, PastRun
from etlctl.run import Counts, DeadLetter, RunResult, StepAttempt
from etlctl.sdk.loader import CommitToken

if TYPE_CHECKING:
    from datetime import datetime


class PreviewLedger:
    """Remembers what would be rejected, and keeps nothing.

    Args:
        rejected: Filled with the dead letters.
    """

    def __init__(self, rejected: list[DeadLetter]) -> None:
        self._rejected = rejected

    def begin(self, started_at: datetime) -> Claim:
        """Nothing to record."""
        return Claim(run_id="run_preview", started_at=started_at)

    def renew(self) -> None:
        """Nothing to keep."""

    def raise_fence(self, at_least: int) -> int:
        """Nothing to fence."""
        return at_least

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Remember what would be rejected."""
        self._rejected.extend(letters)

    def clear_dead_letters(self, after_seq: int) -> None:
        """Forget what will be done again."""
        self._rejected[:] = [letter for letter in self._rejected if letter.seq <= after_seq]

    def save_checkpoint(self, token: CommitToken, error: str | None = None) -> None:
        """Nothing to record."""

    def history(self, limit: int) -> Sequence[PastRun]:  # noqa: ARG002
        """Nothing to compare with."""
        return ()

    def add_attempts(self, attempts: Sequence[StepAttempt]) -> None:
        """Nothing to record."""

    def outbox(self) -> None:
        """Nothing is sent."""

    def add_drift(self, found: Sequence[Drift]) -> None:
        """Nothing to record."""

    def progress(self, run_id: str, counts: Counts, batches: int) -> None:
        """Nothing to record."""

    def finish_run(self, result: RunResult, moved: CursorMove | None = None) -> None:
        """Nothing to record."""

    def move_cursor(self, moved: CursorMove) -> None:
        """Nothing to move."""
