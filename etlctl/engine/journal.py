"""The ledger beside a run: opened on a thread while the source is already being read, then told what happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from etlctl.cursor import CursorMove
from etlctl.engine.account import Account
from etlctl.engine.options import Claim, RunLedger
from etlctl.errors import EtlctlError, StateError
from etlctl.faults import fault
from etlctl.quality import Drift, PastRun
from etlctl.run import DeadLetter, RunResult, StepAttempt
from etlctl.sdk.loader import CommitToken

if TYPE_CHECKING:
    from etlctl.sdk.outbox import Outbox

LedgerOpener = Callable[[], RunLedger]
"""Opens the ledger; called on a thread."""

PROGRESS_SECONDS = 2.0
"""How often a long run tells the ledger how far it is."""

RENEW_SECONDS = 15.0
"""How often the lease is renewed; it lasts four times as long."""


class Journal:
    """What a run records, without ever blocking the event loop.

    Args:
        opener: Opens the ledger; None keeps none.
        run_id: The run, as far as known before the ledger is asked.
        started_at: UTC.
    """

    def __init__(self, opener: LedgerOpener | None, run_id: str, started_at: datetime) -> None:
        self._task: asyncio.Task[tuple[RunLedger, Claim]] | None = None
        self._none = Claim(run_id=run_id, started_at=started_at)
        self._reported = self._renewed = time.monotonic()
        self._drift: list[Drift] = []
        if opener is not None:
            self._task = asyncio.create_task(asyncio.to_thread(_begun, opener, started_at))

    async def claim(self) -> Claim:
        """Wait until the run is recorded; return what the ledger gave it."""
        if self._task is None:
            return self._none
        return (await asyncio.shield(self._task))[1]

    @property
    def recorded(self) -> bool:
        """Tell whether the ledger knows the run."""
        return (
            self._task is not None and self._task.done() and not self._task.cancelled() and not self._task.exception()
        )

    async def keep_leased(self) -> None:
        """Renew the lease until this is canceled.

        Raises:
            FencedError: Another process has taken the run over.
        """
        if self._task is None:
            return
        await self.claim()
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self._renew()

    async def assure_lease(self) -> None:
        """Make sure the lease is still ours, for a process that slept over its end.

        Raises:
            FencedError: Another process has taken the run over.
        """
        if time.monotonic() - self._renewed > 2 * RENEW_SECONDS:
            await self._renew()

    async def _renew(self) -> None:
        await self._call("renew")
        self._renewed = time.monotonic()

    async def raise_fence(self, at_least: int) -> int:
        """Take a newer fence than a destination has seen; returns it."""
        raised: int | None = await self._call("raise_fence", at_least)
        return at_least if raised is None else raised

    async def outbox(self) -> Outbox | None:
        """Return what keeps requests before they are sent; None without a ledger."""
        found: Outbox | None = await self._call("outbox")
        return found

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters durably."""
        if letters:
            fault("letters.before")
            await self._call("add_dead_letters", letters)
            fault("letters.after")

    async def clear(self, after_seq: int) -> None:
        """Forget dead letters of batches that will be done again."""
        await self._call("clear_dead_letters", after_seq)

    async def checkpoint(self, token: CommitToken, error: str | None = None) -> None:
        """Remember how far the destination is."""
        await self._call("save_checkpoint", token, error)
        fault("checkpoint.after")

    async def history(self, limit: int) -> Sequence[PastRun]:
        """Return the runs of the stream that finished before this one, the newest first; none without a ledger."""
        past: Sequence[PastRun] | None = await self._call("history", limit)
        return past or ()

    def note_drift(self, drift: Drift) -> None:
        """Take note of what differs between the records and the destination; called from any thread."""
        self._drift.append(drift)

    async def keep_drift(self) -> None:
        """Record what was noted: before what it explains is committed, and when the run fails for it."""
        found, self._drift = self._drift, []
        if found:
            await self._call("add_drift", found)

    async def attempted(self, attempt: StepAttempt) -> None:
        """Record a try that failed."""
        await self._call("add_attempts", [attempt])

    async def progress(self, account: Account) -> None:
        """Record how far the run is, at most once in a while."""
        if time.monotonic() - self._reported < PROGRESS_SECONDS:
            return
        self._reported = time.monotonic()
        claim = await self.claim()
        await self._call("progress", claim.run_id, account.counts, account.batches)

    async def move_cursor(self, moved: CursorMove) -> None:
        """Move the cursor of the stream while the run goes on."""
        await self._call("move_cursor", moved)

    async def finish(self, result: RunResult, moved: CursorMove | None = None) -> None:
        """Record how the run ended; when the ledger is why it failed, that error is in the result already.

        Args:
            result: How it ended.
            moved: Where an incremental run moves the cursor of its stream.

        Raises:
            StateError: The ledger could not record a run that went well.
        """
        fault("ledger.finish")
        try:
            await self.keep_drift()
            await self._call("finish_run", result, *(() if moved is None else (moved,)))
        except EtlctlError:
            if result.success:
                raise

    async def _call(self, method: str, *args: Any) -> Any:
        if self._task is None:
            return None
        ledger, _ = await asyncio.shield(self._task)
        return await asyncio.to_thread(getattr(ledger, method), *args)


def _begun(opener: LedgerOpener, started_at: datetime) -> tuple[RunLedger, Claim]:
    try:
        ledger = opener()
        return ledger, ledger.begin(started_at)
    except EtlctlError:
        raise
    except Exception as error:
        raise StateError(f"the ledger cannot be opened: {type(error).__name__}: {error}") from error
