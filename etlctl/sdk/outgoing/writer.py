"""Writes batches as requests: kept in the outbox, sent, noted, committed; completed from the outbox after a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from etlctl.batch import Batch, Rejection
from etlctl.errors import FatalError, ResumeRefused
from etlctl.faults import fault
from etlctl.frozen import frozen
from etlctl.sdk.context import WriteContext
from etlctl.sdk.loader import CommitToken, Published, Receipt
from etlctl.sdk.outbox import (
    HalfDone,
    Held,
    Outbox,
    Outcome,
    Parcel,
    Pledge,
    PledgingWriter,
    Sender,
    content_of,
    shown_token,
)
from etlctl.sdk.outgoing.judging import Judge
from etlctl.sdk.outgoing.making import Maker
from etlctl.sdk.outgoing.sending import Delivery, Send

if TYPE_CHECKING:
    from etlctl.kit.http.client import Client


@frozen
class Dispatch:
    """How requests are sent.

    Attributes:
        place: The address, for people.
        header: Header of the idempotency key.
        concurrency: Requests that may be on their way at once.
    """

    place: str
    header: str
    concurrency: int


class _Memory:
    """Notes for a writer without an outbox: what is not noted durably is gone with the process."""

    def __init__(self, parcels: Sequence[Parcel], settled: Mapping[int, Outcome]) -> None:
        self._parcels = {parcel.index: parcel for parcel in parcels}
        self._settled = dict(settled)

    def settle(self, outcomes: Mapping[int, Outcome]) -> None:
        self._settled |= outcomes

    def split(self, index: int, outcome: Outcome, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        first = max(self._parcels) + 1
        made = [replace(parcel, index=first + number) for number, parcel in enumerate(parcels)]
        self._parcels |= {parcel.index: parcel for parcel in made}
        self._settled[index] = outcome
        return made

    def pending(self) -> Sequence[Parcel]:
        return [parcel for number, parcel in sorted(self._parcels.items()) if number not in self._settled]

    def outcomes(self) -> Mapping[int, tuple[Sequence[int], Outcome]]:
        return {number: (self._parcels[number].records, outcome) for number, outcome in self._settled.items()}


class _Durable:
    """Notes in the outbox, of one batch."""

    def __init__(self, outbox: Outbox, sender: Sender, seq: int) -> None:
        self._outbox, self._sender, self._seq = outbox, sender, seq

    def settle(self, outcomes: Mapping[int, Outcome]) -> None:
        self._outbox.settle(self._sender, self._seq, outcomes)

    def split(self, index: int, outcome: Outcome, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        return self._outbox.split(self._sender, self._seq, index, outcome, parcels)

    def pending(self) -> Sequence[Parcel]:
        return self._outbox.pending(self._sender, self._seq)

    def outcomes(self) -> Mapping[int, tuple[Sequence[int], Outcome]]:
        return self._outbox.outcomes(self._sender, self._seq)


class RequestWriter(PledgingWriter):
    """Sends each batch as requests.

    Args:
        ctx: Of the run.
        maker: Makes the requests.
        judge: Judges the answers.
        dispatch: How they are sent.
        client: What sends them; entered by whoever made this writer, left here.
    """

    undoes: ClassVar[bool] = False

    def __init__(self, ctx: WriteContext, maker: Maker, judge: Judge, dispatch: Dispatch, client: Client) -> None:
        self._ctx = ctx
        self._outbox = ctx.outbox
        self._sender = sender_of(ctx)
        self._maker = maker
        self._judge = judge
        self._dispatch = dispatch
        self._client: Client | None = client
        self._held: Held | None = None
        self._pledge: Pledge | None = None
        self._kept: int | None = None
        self._token: CommitToken | None = None
        self._records = self._taken = 0

    @property
    def keeps_tokens(self) -> bool:  # type: ignore[override]
        """The outbox keeps them."""
        return self._outbox is not None

    async def committed(self) -> CommitToken | None:
        """Return the last batch all of whose requests have an outcome; of another run, also one that was half sent."""
        if self._outbox is None:
            return None
        held = self._held = await self._ctx.run_cpu(self._outbox.claim, self._sender)
        if held is None:
            return None
        if held.fence > self._sender.fence:
            return replace(shown_token(held, self._sender.stream), fence=held.fence)
        if not self._is_mine(held):
            return shown_token(held, self._sender.stream)
        self._records, self._token = held.records, held.token
        return held.token

    def _is_mine(self, held: Held) -> bool:
        return held.run == self._sender.run and self._ctx.resume

    def half_sent(self) -> bool:
        """Tell whether this run had begun to send a batch that can be completed without its source."""
        held = self._held
        return held is not None and self._is_mine(held) and held.seq is not None and held.pledge is not None

    def wants_pledge(self, seq: int) -> bool:
        """Tell whether the batch is going to be kept."""
        return self._outbox is not None and seq not in {self._kept, self._half()}

    def _half(self) -> int | None:
        return self._held.seq if self._held is not None and self._is_mine(self._held) else None

    def pledge(self, pledge: Pledge) -> None:
        """Keep it together with the batch that comes next."""
        self._pledge = pledge

    async def half_done(self) -> HalfDone:
        """Send what is left of the batch that was half sent, with the bytes that were kept."""
        held = self._held
        if held is None or held.seq is None or held.pledge is None:
            raise FatalError("there is no batch that was half sent")
        receipt = await self._complete(held.seq, again=True)
        self._held = replace(held, seq=None)
        return HalfDone(held.pledge, receipt)

    async def write(self, batch: Batch) -> Receipt:
        """Keep the requests of a batch, and send them until each has an outcome."""
        if not len(batch):
            self._taken = 0
            return Receipt(0, durable=self._outbox is None)
        again = batch.seq in {self._kept, self._half()}
        if batch.seq != self._kept:
            made = await self._ctx.run_cpu(self._made, batch)
            if self._outbox is None:
                return await self._send_now(*made)
            await self._keep(self._outbox, batch.seq, *made)
        return await self._complete(batch.seq, again=again)

    def _made(self, batch: Batch) -> tuple[Sequence[Parcel], Mapping[int, Outcome]]:
        made = self._maker.made(batch.seq, batch.to_rows())
        return made.parcels, made.settled

    async def _keep(self, outbox: Outbox, seq: int, parcels: Sequence[Parcel], settled: Mapping[int, Outcome]) -> None:
        """Keep a batch, unless the attempt before had kept the same one; another one must not take its place."""
        if self._held is not None and self._half() == seq:
            if self._held.content != content_of(parcels):
                raise ResumeRefused(
                    f"batch {seq:,} is another one now: the attempt before had begun to send it, and what it kept in "
                    "the outbox is not what would be sent today",
                    help="the source or the contract was changed since; bring back what was there, or begin anew, so "
                    "that what was sent may come twice: etlctl run … --restart",
                )
        else:
            pledge = self._pledge if self._pledge is not None and self._pledge.seq == seq else None
            await self._ctx.run_cpu(outbox.keep, self._sender, seq, parcels, settled, pledge)
            fault("outbox.kept")
        self._kept, self._pledge = seq, None

    async def _complete(self, seq: int, *, again: bool) -> Receipt:
        if self._outbox is None:
            raise FatalError("there is no outbox to complete a batch from")
        return await self._deliver(_Durable(self._outbox, self._sender, seq), again=again)

    async def _send_now(self, parcels: Sequence[Parcel], settled: Mapping[int, Outcome]) -> Receipt:
        """Send without an outbox: nobody can resume this."""
        receipt = await self._deliver(_Memory(parcels, settled))
        self._records += receipt.records
        return replace(receipt, durable=True)

    async def _deliver(self, notes: _Memory | _Durable, *, again: bool = False) -> Receipt:
        pending = await self._ctx.run_cpu(notes.pending)
        how = self._dispatch
        await Delivery(self._send, self._judge, notes, how.header, how.concurrency, again=again).deliver(pending)
        receipt = _receipt(await self._ctx.run_cpu(notes.outcomes), self._ctx.step)
        self._taken = receipt.records
        fault("load.write")
        return receipt

    @property
    def _send(self) -> Send:
        if self._client is None:
            raise FatalError("the destination is closed")
        return self._client.send

    async def commit(self, token: CommitToken, *, now: bool = False) -> bool:  # noqa: ARG002
        """Move the token to the batch that was written; its requests are forgotten."""
        if self._outbox is None:
            return False
        fault("load.before_commit")
        shown = replace(token, visible=True)
        records = self._records + self._taken
        await self._ctx.run_cpu(self._outbox.commit, self._sender, shown, records)
        self._records, self._taken, self._token, self._kept = records, 0, shown, None
        return True

    async def finish(self) -> Published:
        """Mark the token as finished: everything was published when it was sent."""
        if self._outbox is not None:
            sender = self._sender
            token = self._token or CommitToken(sender.stream, sender.run, 0, sender.fence, None)
            done = replace(token, fence=sender.fence, finished=True)
            fault("publish.during")
            await self._ctx.run_cpu(self._outbox.commit, sender, done, self._records)
        await self._leave()
        return Published((self._dispatch.place,), self._records)

    async def suspend(self) -> None:
        """Let go; what is kept stays."""
        await self._leave()

    async def abort(self) -> None:
        """Give up. What was sent cannot be taken back, what was not is forgotten."""
        await self._forget()

    async def close(self) -> None:
        """Forget everything: the ledger knows that the run is over."""
        await self._forget()

    async def _forget(self) -> None:
        if self._outbox is not None:
            await self._ctx.run_cpu(self._outbox.forget, self._sender)
        await self._leave()

    async def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__(None, None, None)


def sender_of(ctx: WriteContext) -> Sender:
    """Return who sends in a run."""
    return Sender(ctx.stream, ctx.run_id, ctx.fence)


def _receipt(outcomes: Mapping[int, tuple[Sequence[int], Outcome]], step: str) -> Receipt:
    """Return what became of a batch, from what became of its requests."""
    refused = [one for _, outcome in outcomes.values() for one in outcome.refused]
    taken = sum(len(records) - len(outcome.refused) - outcome.moved for records, outcome in outcomes.values())
    rejected = [
        Rejection(one.record, "load", step, one.rule, one.message, None)
        for one in sorted(refused, key=lambda one: one.record)
    ]
    return Receipt(taken, rejected)
