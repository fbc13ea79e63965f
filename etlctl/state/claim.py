"""What a process gets when it asks the ledger for a run."""

from __future__ import annotations

from datetime import datetime

from etlctl.frozen import frozen
from etlctl.run import RunResult


@frozen(kw_only=True)
class Claim:
    """The right to run, or the result of the run that had finished before.

    Attributes:
        run_id: The run; one that is taken up again keeps its id.
        fence: Generation of the lease, to commit with; 0 for a dry run.
        attempt: Which attempt of the run this is, from 1.
        started_at: When its first attempt began, UTC: the one instant the run works with.
        resumed: An earlier attempt did not finish, and this one carries on.
        finished: Nothing is to run: how it ended before. Everything else is that run's, then.
        checkpoint_id: Name of the run's checkpoint: that of its first attempt, when this one carries on.
    """

    run_id: str
    fence: int
    attempt: int
    started_at: datetime
    resumed: bool = False
    finished: RunResult | None = None
    checkpoint_id: str | None = None
