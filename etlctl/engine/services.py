"""What the stages of a run share besides its plan and its settings."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from etlctl.engine.journal import Journal
from etlctl.engine.memory import MemoryBudget
from etlctl.engine.progress import ProgressReporter
from etlctl.engine.retrying import Retrying
from etlctl.frozen import frozen
from etlctl.sdk.context import ReadContext


class StopRequest:
    """Asks a run to stop once the batch in hand is safe. Made outside of the event loop or inside, used inside."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason = ""
        self.exit_code = 130

    def request(self, reason: str, exit_code: int = 130) -> None:
        """Ask; asking again changes nothing.

        Args:
            reason: Who or what asks, such as ``SIGTERM``.
            exit_code: What the command line exits with.
        """
        if not self._event.is_set():
            self.reason, self.exit_code = reason, exit_code
            self._event.set()

    @property
    def requested(self) -> bool:
        """Tell whether somebody asked."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until somebody asks."""
        await self._event.wait()


@frozen(kw_only=True)
class Services:
    """What the stages share.

    Attributes:
        journal: The ledger beside the run.
        progress: Where progress goes.
        memory: The memory budget.
        retrying: Tries things again.
        warn: Reports something the user should know.
        stop: Asks the run to stop.
        ctx: Context of the extractor; the other components' contexts are derived from it.
        ended: Set when the stages shall end: code on threads looks at it.
    """

    journal: Journal
    progress: ProgressReporter
    memory: MemoryBudget
    retrying: Retrying
    warn: Callable[[str], None]
    stop: StopRequest
    ctx: ReadContext
    ended: threading.Event
