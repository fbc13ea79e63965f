"""Sends requests that are kept, several at once, and notes what became of each before it counts as done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from etlctl.errors import FatalError, RetryableError
from etlctl.faults import fault
from etlctl.sdk.outbox import Outcome, Parcel
from etlctl.sdk.outgoing.judging import Judge, Verdict, excerpt
from etlctl.sdk.outgoing.making import part_of

if TYPE_CHECKING:
    from etlctl.kit.http.message import Request, Response

PAUSES = (0.5, 1.0, 2.0)
"""Seconds to wait while a server may be busy with a request that was sent before."""
_IN_HAND = 409  # draft-ietf-httpapi-idempotency-key-header, 2.6

Send: TypeAlias = "Callable[[Request], Awaitable[Response]]"


class Notes(Protocol):
    """Where it is noted what became of requests. Calls block."""

    def settle(self, outcomes: Mapping[int, Outcome]) -> None:
        """Note what became of requests, by number."""

    def split(self, index: int, outcome: Outcome, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Note what became of a request, and keep others for the rest of its records."""


class Delivery:
    """Sends the requests of one batch.

    Args:
        send: Sends one, with retries and credentials.
        judge: Judges answers.
        notes: Where outcomes are noted.
        header: Header of the idempotency key.
        concurrency: Requests that may be on their way at once.
        again: Some may have been sent before, and be in the server's hands still.
    """

    def __init__(
        self, send: Send, judge: Judge, notes: Notes, header: str, concurrency: int, *, again: bool = False
    ) -> None:
        self._pauses = PAUSES if again else ()
        self._send = send
        self._judge = judge
        self._notes = notes
        self._header = header
        self._concurrency = concurrency
        self._waiting: dict[int, Outcome] = {}
        self._noting = asyncio.Lock()
        self._failed = False

    async def deliver(self, parcels: Sequence[Parcel]) -> None:
        """Send requests until each of them has an outcome, those of a lane one after another.

        After a failure what is on its way is waited for and noted, and nothing else is sent.

        Raises:
            RetryableError: The destination is out of reach, or wants to be asked later.
            FatalError: It refuses the run, or says what nobody understands.
        """
        lanes: dict[int, deque[Parcel]] = {}
        for parcel in parcels:
            lanes.setdefault(parcel.lane, deque()).append(parcel)
        queue = deque(lanes.values())
        workers = [asyncio.create_task(self._work(queue)) for _ in range(min(self._concurrency, len(queue)))]
        try:
            ended = await asyncio.gather(*workers, return_exceptions=True)
        except asyncio.CancelledError:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            raise
        failures = [one for one in ended if isinstance(one, BaseException)]
        # What waiting does not help against is the better reason to give.
        failures.sort(key=lambda one: isinstance(one, RetryableError))
        if failures:
            raise failures[0]

    async def _work(self, queue: deque[deque[Parcel]]) -> None:
        try:
            while queue and not self._failed:
                lane = queue.popleft()
                while lane and not self._failed:
                    lane.extendleft(reversed(await self._one(lane.popleft())))
        except BaseException:
            self._failed = True
            raise

    async def _one(self, parcel: Parcel) -> Sequence[Parcel]:
        """Send a request and note what became of it; returns those that take its place."""
        status, body = await self._answer(parcel)
        for pause in self._pauses if parcel.key else ():
            if status != _IN_HAND:
                break
            # Not a conflict yet: a server that is still busy with a request answers so to its repetition.
            await asyncio.sleep(pause)
            status, body = await self._answer(parcel)
        fault("outbox.sent")
        verdict = await asyncio.to_thread(self._judge.verdict, parcel, status, body)
        if not verdict.parts:
            await self._note(parcel.index, verdict.outcome)
            fault("outbox.noted")
            return ()
        made = await self._split(parcel, verdict)
        fault("outbox.noted")
        if verdict.trouble is not None:
            raise RetryableError(verdict.trouble)
        return made

    async def _split(self, parcel: Parcel, verdict: Verdict) -> Sequence[Parcel]:
        parts = [part_of(parcel, numbers) for numbers in verdict.parts]
        return await asyncio.to_thread(self._notes.split, parcel.index, verdict.outcome, parts)

    async def _note(self, index: int, outcome: Outcome) -> None:
        """Note an outcome durably; those that come while the store is being written are noted together."""
        self._waiting[index] = outcome
        async with self._noting:
            if index in self._waiting:
                taken, self._waiting = self._waiting, {}
                await asyncio.to_thread(self._notes.settle, taken)

    async def _answer(self, parcel: Parcel) -> tuple[int, bytes]:
        """Return status and body of the answer, if it says something about the records.

        Raises:
            RetryableError: There is no answer, or none yet.
            FatalError: The answer is about the run.
        """
        from etlctl.kit.http.failures import HttpError  # noqa: PLC0415 - only a run needs it

        try:
            response = await self._send(self._request(parcel))
        except HttpError as error:
            if error.response is None or not self._judge.decides(error.response.status):
                raise
            response = error.response
        if not self._judge.decides(response.status):
            raise FatalError(
                f"the destination answered {response.status}, which says nothing of the records: "
                f"{excerpt(response.body) or 'and nothing else'}",
                help="list the status under response.success or response.reject in load.yaml, and resume the run",
            )
        return response.status, response.body

    def _request(self, parcel: Parcel) -> Request:
        from etlctl.kit.http.message import Request  # noqa: PLC0415

        headers = dict(parcel.headers)
        if parcel.key:
            headers[self._header] = parcel.key
        # With a key it does no harm to send it twice; without one it is what the user has chosen.
        return Request(parcel.method, parcel.url, headers, parcel.body, repeatable=True)
