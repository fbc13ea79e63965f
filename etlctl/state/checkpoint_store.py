"""Where checkpoints are kept: what the ledger and a folder of files both do."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from etlctl.checkpoint import Checkpoint
from etlctl.errors import CheckpointError
from etlctl.frozen import frozen


@frozen(kw_only=True)
class CheckpointEntry:
    """A checkpoint in a list, or why it cannot be read.

    Attributes:
        id: Its name.
        checkpoint: What it says; None when it is damaged.
        problem: Why it cannot be gone by; None when it can.
        updated_at: When it last moved, as far as can be told, UTC.
    """

    id: str
    checkpoint: Checkpoint | None = None
    problem: CheckpointError | None = None
    updated_at: datetime | None = None


class CheckpointStore(Protocol):
    """Keeps the checkpoints of runs that are not done.

    All methods block; every one raises StateError when the store does not work, and CheckpointError for an id that can
    be none.
    """

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint durably in place of the one of its id.

        Raises:
            FencedError: The one that is there is of a newer fence.
            CheckpointError: The one that is there is of another stream, or of a newer version of etlctl.
        """

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Return a checkpoint.

        Raises:
            NotInLedgerError: There is none of this id.
            CheckpointError: It is damaged, or of a newer version of etlctl.
        """

    def checkpoints(self, contract: str | None = None) -> list[CheckpointEntry]:
        """Return all checkpoints, or those of a contract, the one that moved last first.

        Damaged ones are among them, also when it cannot be told whose they are.
        """

    def delete_checkpoint(self, checkpoint_id: str, *, fence: int | None = None) -> bool:
        """Delete a checkpoint; tells whether it was there.

        Args:
            checkpoint_id: Which.
            fence: One of a newer fence stays: it is another process' now.
        """
