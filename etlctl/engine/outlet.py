"""One of several open destinations: its writer, how far it is, and what it took since all of them were as far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from etlctl.batch import Batch, Encoded, Position, Rejection
from etlctl.engine.apply import SLICE
from etlctl.engine.attribution import attributed
from etlctl.engine.routing import Route
from etlctl.engine.shares import FANOUT, Ahead, Share
from etlctl.errors import RetryableError
from etlctl.sdk.context import WriteContext
from etlctl.sdk.loader import CommitToken, Encoder, Receipt, Writer

BATCH_FAILED = "load.batch_failed"
"""Rule of records whose whole batch a destination did not take."""


@dataclass(slots=True)
class Outlet:
    """A destination that is open.

    Attributes:
        name: Its name.
        writer: What writes to it.
        ctx: Its context: a stream and a step of its own.
        safe: Number of the last batch it has committed.
        finished: It has published everything.
        volatile: It keeps no tokens, and what it takes is not safe before the end: it begins anew with the run.
        shares: What it took, by number of the batch, since all destinations were as far.
        given_up: Batches that it does not get any more, and why.
    """

    name: str
    writer: Writer
    ctx: WriteContext
    safe: int = 0
    finished: bool = False
    volatile: bool = False
    shares: dict[int, Share] = field(default_factory=dict)
    given_up: dict[int, str] = field(default_factory=dict)

    @property
    def step(self) -> str:
        """Name of the place in the contract."""
        return self.ctx.step

    async def token(self) -> CommitToken | None:
        """Return the token it holds, whichever run wrote it."""
        with attributed(self.step):
            return await self.writer.committed() if self.writer.keeps_tokens else None

    async def take(self, route: Route, extracted: int) -> Share:
        """Write its records of a batch, without committing them.

        Raises:
            ComponentError: It could not; nothing of the batch was kept, if the writer keeps its promise.
        """
        seq = route.batch.seq
        reason = self.given_up.get(seq)
        with attributed(self.step, seq):
            if reason is None:
                batch, refused = await self._encoded(route.batch)
            else:
                batch = Batch.of_rows([], route.batch.position)
                batch.seq = seq
                refused = [_lost(index, reason) for index in range(len(route.batch))]
            receipt: Receipt = await self.writer.write(batch)
        self.volatile = self.volatile or not (self.writer.keeps_tokens or receipt.durable)
        rejected = tuple(
            replace(one, index=route.place(one.index), step=self.step) for one in [*refused, *receipt.rejected]
        )
        share = Share(seq, extracted, len(route.batch), receipt.records, rejected)
        self.shares[seq] = share
        return share

    async def told_again(self, held: Share, route: Route) -> Share:
        """Return what it took of a batch before, with the refusals that are not told in another way this time.

        Encoded rows tell theirs by themselves; whether a batch is encoded may change from attempt to attempt.

        Args:
            held: What it took.
            route: What it would be given now.
        """
        if route.batch.encoded is not None:
            return replace(held, rejected=())
        if len(held.rejected) == held.handed - held.records:
            return held
        _, refused = await self._encoded(replace(route.batch, records=route.batch.to_rows(), frame=None))
        again = tuple(replace(one, index=route.place(one.index), step=self.step) for one in refused)
        return replace(held, rejected=again)

    async def commit(
        self,
        seq: int,
        position: Position | None,
        ahead: Ahead,
        account: Mapping[str, Any] | None = None,
        *,
        now: bool = True,
    ) -> bool:
        """Make everything it took durable together with its token; tell whether it is.

        Args:
            seq: The last batch it took.
            position: What to read next after that batch.
            ahead: What its token says beside the account.
            account: The account of the run, if this is the destination that keeps it.
            now: Do not put it off.

        Raises:
            FencedError: A newer holder has taken over.
            RetryableError: Nothing of the batch was kept; it has to be written again.
        """
        whole = {**(account or {}), FANOUT: ahead.to_dict()}
        token = CommitToken(self.ctx.stream, self.ctx.run_id, seq, self.ctx.fence, position, whole)
        try:
            with attributed(self.step, seq):
                done = await self.writer.commit(token, now=now)
        except RetryableError:
            # Whether it came to pass is not known: the destination is asked.
            found = await self.token()
            if found is None or (found.run, found.seq) != (token.run, seq):
                self.shares.pop(seq, None)
                raise
            done = True
        except BaseException:
            self.shares.pop(seq, None)
            raise
        if done:
            self.safe = seq
        return done

    async def _encoded(self, batch: Batch) -> tuple[Batch, list[Rejection]]:
        """Return the batch as its writer takes it, and the records its encoder refuses, by place."""
        encoder = self.writer.encoder() if batch.records is not None else None
        if encoder is None:
            return batch, []
        parts, refused = await self.ctx.run_cpu(_in_slices, encoder, batch)
        made = Batch(None, None, batch.position, seq=batch.seq, locate=batch.locate, encoded=parts)
        return made, refused


def _in_slices(encoder: Encoder, batch: Batch) -> tuple[list[Encoded], list[Rejection]]:
    """Encode rows slice by slice: large lists of dicts are slow to go through."""
    rows = batch.records or []
    parts: list[Encoded] = []
    refused: list[Rejection] = []
    for start in range(0, len(rows), SLICE):
        part = encoder(rows[start : start + SLICE])
        refused += [replace(one, index=start + one.index) for one in part.rejected]
        parts.append(part)
    return parts, refused


def _lost(index: int, reason: str) -> Rejection:
    return Rejection(index, "load", "load", BATCH_FAILED, reason, None)
