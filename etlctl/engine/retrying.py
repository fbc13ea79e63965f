"""Try the same thing again after a failure, with a growing and slightly random wait; every failed try is recorded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from etlctl.clock import Clock
from etlctl.engine.options import Recovery
from etlctl.errors import ComponentError, EtlctlError, GaveUp, RetryableError, UnexpectedError
from etlctl.run import StepAttempt

T = TypeVar("T")

DEFAULT_RETRIES = 2
_JITTER = 0.1


class Retrying:
    """Tries things again.

    Args:
        recovery: How often, and after which waits.
        record: Records a failed try.
        warn: Says that there will be another one.
        clock: Where the time comes from.
        steps: Names of all steps of the run, reading and loading included, for the record.
        sleep: Waits; tests bring their own.
    """

    def __init__(
        self,
        recovery: Recovery,
        record: Callable[[StepAttempt], Awaitable[None]],
        warn: Callable[[str], None],
        clock: Clock,
        *,
        steps: Sequence[str] = (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._recovery = recovery
        self._record = record
        self._warn = warn
        self._clock = clock
        self._steps = list(steps)
        self._sleep = sleep

    async def call(self, work: Callable[[], Awaitable[T]], *, step: str, batch: int | None = None) -> T:
        """Do something until it works or there are no more retries; then its last error is raised.

        Every try that is repeated is recorded; the last one is what ends the run.

        Args:
            work: What to do; after a failure it must be possible to do it again as if nothing had happened.
            step: Where in the contract, unless the error says itself.
            batch: Number of the batch in hand.
        """
        tries = 0
        while True:
            began = self._clock.now()
            try:
                return await work()
            except Exception as error:
                tries += 1
                if not self.may_help(error) or tries > self._most(error):
                    if tries > 1 and isinstance(error, ComponentError):
                        error.message += f"; gave up after {tries} tries"
                    raise
                name = error.step if isinstance(error, ComponentError) and error.step else step
                await self._note(error, name, batch, began)
                await self._wait(error, tries, name)

    async def _note(self, error: Exception, name: str, batch: int | None, began: datetime) -> None:
        position = self._steps.index(name) if name in self._steps else 0
        text = str(error) or type(error).__name__
        await self._record(
            StepAttempt(
                position=position, name=name, batch=batch, started_at=began, ended_at=self._clock.now(), error=text
            )
        )

    def may_help(self, error: Exception) -> bool:
        """Tell whether trying again may help."""
        if isinstance(error, RetryableError):
            return True
        raised = error.__cause__ if isinstance(error, UnexpectedError) else error
        if isinstance(raised, ConnectionError | TimeoutError):
            return True
        # Failures of unknown kind only when the user asked for retries: most of them are final.
        asked = self._recovery.max_retries is not None
        return asked and not isinstance(raised, EtlctlError | OSError)

    def _most(self, error: Exception) -> int:
        most = self._recovery.max_retries
        if most is not None:
            return most
        # Attempts that the component has made already are not multiplied unless asked for.
        return 0 if isinstance(error, GaveUp) else DEFAULT_RETRIES

    async def _wait(self, error: Exception, tries: int, step: str) -> None:
        recovery = self._recovery
        asked = error.retry_after if isinstance(error, RetryableError) else None
        seconds = min(asked if asked is not None else recovery.backoff * tries, recovery.max_backoff)
        seconds += random.uniform(0, _JITTER) * seconds  # noqa: S311 - not for secrets
        self._warn(f"{step} failed ({error}); trying the same batch again in {seconds:.1f} s")
        await self._sleep(seconds)
