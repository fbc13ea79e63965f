"""A lease: who may run a stream, until when, and the fence that tells one holder from the next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from etlctl.errors import FencedError, RunBusyError
from etlctl.frozen import frozen
from etlctl.state.column_values import aware
from etlctl.state.liveness import is_gone

LEASE_SECONDS = 60.0
"""How long a lease lasts without being renewed."""


@frozen(kw_only=True)
class Lease:
    """The lease of a stream. The time decides who may take it over, the fence who may commit.

    Attributes:
        stream: Contract and parameter set.
        fence: Its generation: one more with every holder, never less.
        holder_run: The run that has it; None when it was given back.
        host: The machine that run is on, or the last one was.
        pid: Its process there.
        acquired_at: Since when, UTC.
        expires_at: Until when unless it is renewed, UTC; when it was given back, then.
    """

    stream: str
    fence: int
    holder_run: str | None
    host: str
    pid: int
    acquired_at: datetime
    expires_at: datetime

    def is_held(self, now: datetime) -> bool:
        """Tell whether a run has it that may still be alive.

        Args:
            now: UTC.
        """
        if self.holder_run is None or self.expires_at <= now:
            return False
        return not is_gone(self.host, self.pid, self.acquired_at)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {_shown(self.acquired_at)}"


def lease_of(row: Mapping[str, Any]) -> Lease:
    """Return the lease of a row."""
    return Lease(
        stream=row["stream"],
        fence=row["fence"],
        holder_run=row["holder_run"],
        host=row["host"],
        pid=row["pid"],
        acquired_at=aware(row["acquired_at"]),
        expires_at=aware(row["expires_at"]),
    )


def busy(lease: Lease) -> RunBusyError:
    """Return the error for a stream that another run has now."""
    until = _shown(lease.expires_at)
    return RunBusyError(
        f"{lease.stream} is being run by {lease.holder_run} ({lease}); its lease runs until {until} and is renewed "
        "while it lives",
        help=f"wait for it to end: etlctl runs show {lease.holder_run}; should it have died on another machine, the "
        f"same command takes it over after {until}",
    )


def fenced(stream: str, fence: int, now: Lease | None) -> FencedError:
    """Return the error for a run whose lease is not its own any more.

    Args:
        stream: What it ran.
        fence: The fence it had.
        now: The lease as it stands; None when the ledger knows of none.
    """
    if now is None:
        return FencedError(
            f"the ledger does not know the lease {fence} of {stream} any more: it was replaced during the run",
            help="nothing more was committed by this run; run the same command again",
        )
    if now.fence == fence:
        holder = "it was given back when the run ended"
    elif now.holder_run is None:
        holder = f"lease {now.fence} has come and gone since"
    else:
        holder = f"{now.holder_run} has lease {now.fence} ({now})"
    return FencedError(
        f"the lease {fence} of {stream} is not this run's any more: {holder}",
        help="this process slept past the end of its lease and another one took over; nothing more was committed by "
        "this one and nothing is to be done",
    )


def _shown(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
