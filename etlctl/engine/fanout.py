"""Writes each batch to several destinations, so that a resumed run neither loses nor doubles a record in any of them.

They cannot commit together, so one of them, the last that keeps tokens, is the *keeper*: it commits after all others,
and its token carries the account of the run. The others may be ahead of it, never behind. What they took of the batches
in between stands in their own tokens; a resumed run does those batches again, cut as they were, and leaves out whoever
holds them. Publishing goes the same way: everything is committed everywhere, then they publish one after another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from etlctl.batch import Batch
from etlctl.engine.attribution import attributed
from etlctl.engine.outlet import Outlet
from etlctl.engine.routing import Routed, Router
from etlctl.engine.shares import FANOUT, Ahead, Dealt, PublishedEach, Share
from etlctl.engine.slicing import SliceEncoder, gathered
from etlctl.engine.taking_up import TakenUp, take_up
from etlctl.errors import ResumeRefused
from etlctl.faults import fault
from etlctl.sdk.context import WriteContext
from etlctl.sdk.destinations import Destination, Destinations
from etlctl.sdk.loader import CommitToken, Encoder, Loader, Published, Receipt, Writer

_SECONDS_BETWEEN_COMMITS = 5.0
_NEVER = 1 << 62


async def opened(loader: Loader, ctx: WriteContext) -> Writer:
    """Open a destination, or several.

    Raises:
        FatalError: One of them cannot be written.
    """
    if not isinstance(loader, Destinations):
        return await loader.open(ctx)
    outlets: list[Outlet] = []
    try:
        for item in loader.items:
            # When to commit is decided for all of them together.
            own = replace(item.context(ctx), commit_interval=_NEVER)
            with attributed(item.step):
                outlets.append(Outlet(item.name, await item.loader.open(own), own))
    except BaseException:
        for outlet in outlets:
            await outlet.writer.suspend()
        raise
    return Fanout(outlets, loader.items, ctx)


class Fanout(Writer):
    """Several open destinations as one.

    Args:
        outlets: The destinations, in the order of the contract.
        destinations: What they were made of, in the same order.
        ctx: Of the run.
    """

    def __init__(self, outlets: Sequence[Outlet], destinations: Sequence[Destination], ctx: WriteContext) -> None:
        self._outlets = list(outlets)
        self._destinations = destinations
        self._router = Router(destinations, ctx)
        self._ctx = ctx
        keeping = [outlet for outlet in outlets if outlet.writer.keeps_tokens]
        self._keeper = keeping[-1] if keeping else None
        self._early = keeping[:-1]
        others = [outlet for outlet in outlets if not outlet.writer.keeps_tokens]
        self._order = [*others, *keeping]
        # Whoever is seen at once must not wait for whoever is not: all put commits off, or none does.
        self._lazy = bool(keeping) and all(outlet.writer.puts_off for outlet in keeping)
        self._names = tuple(outlet.name for outlet in outlets)
        self._routed: Routed | None = None
        self._last: CommitToken | None = None
        self._failing: Outlet | None = None
        self._begun = False
        self._base = 0
        self._loaded: dict[str, int] = {}
        self._waiting, self._since = 0, time.monotonic()
        self.redo: tuple[int, ...] = ()
        """Source records of the batches that some destinations hold and others do not, in order."""

    @property
    def keeps_tokens(self) -> bool:  # type: ignore[override]
        """One destination keeps them at least."""
        return self._keeper is not None

    @property
    def undoes(self) -> bool:  # type: ignore[override]
        """Whether the destination that failed last undoes a batch that failed."""
        return self._failing is not None and self._failing.writer.undoes

    async def committed(self) -> CommitToken | None:
        """Return how far all destinations are, as the token of the run."""
        if self._keeper is None:
            return None
        if self._begun:
            found = await self._keeper.token()
            return None if found is None else self._outer(found)
        tokens = {outlet.name: token for outlet in self._outlets if (token := await outlet.token()) is not None}
        newest = max(tokens.values(), key=lambda token: token.fence, default=None)
        if newest is not None and newest.fence > self._ctx.fence:
            return self._outer(newest)
        mine = {name: token for name, token in tokens.items() if token.run == self._ctx.run_id and self._ctx.resume}
        if not mine:
            seen = (token for token in tokens.values() if token.visible and token.seq and not token.finished)
            return next((self._outer(token) for token in seen), None)
        return self._go_on(take_up(self._outlets, self._keeper, mine, self._ctx))

    def _go_on(self, taken: TakenUp) -> CommitToken:
        steps = taken.token.account.get("destinations", ())
        self._loaded = {step["name"]: step["records_out"] for step in steps}
        self._base, self.redo = taken.token.seq, taken.redo
        return taken.token

    def _outer(self, token: CommitToken) -> CommitToken:
        account = {name: value for name, value in token.account.items() if name != FANOUT}
        return replace(token, stream=self._ctx.stream, account=account)

    def encoder(self) -> Encoder | None:
        """Return what deals out and encodes slices, if every destination encodes rows."""
        encoders = [encoder for outlet in self._outlets if (encoder := outlet.writer.encoder()) is not None]
        if len(encoders) < len(self._outlets):
            return None
        return SliceEncoder(self._destinations, encoders, Router(self._destinations, self._ctx))

    async def write(self, batch: Batch) -> Receipt:
        """Deal a batch out to all destinations."""
        return await self.take(batch, len(batch))

    async def take(self, batch: Batch, extracted: int) -> Dealt:
        """Deal a batch out; all but the keeper commit it, unless all may put that off.

        Taken again after a failure, it goes only to those that have not taken it yet.

        Args:
            batch: The batch.
            extracted: Source records it stands for.

        Raises:
            ResumeRefused: It is not the batch that a destination holds already.
            ComponentError: A destination failed; nothing of the batch is in that one, if it undoes.
        """
        self._begun = True
        self._failing = None
        if self._routed is None or self._routed.batch is not batch:
            self._forget_shares(batch.seq)
            self._routed = (
                await self._ctx.run_cpu(self._router.route, batch)
                if batch.encoded is None
                else gathered(self._names, batch)
            )
        routed = self._routed
        routes = {route.name: route for route in routed.routes}
        for outlet in self._order:
            route = routes[outlet.name]
            held = outlet.shares.get(batch.seq)
            if held is not None:
                _check_same(outlet, held, extracted, len(route.batch))
                outlet.shares[batch.seq] = await outlet.told_again(held, route)
                continue
            with self._blaming(outlet):
                await outlet.take(route, extracted)
                if outlet in self._early and not self._lazy:
                    await outlet.commit(batch.seq, batch.position, self._ahead(outlet))
        return self._receipt(routed)

    def give_up(self, seq: int, reason: str) -> None:
        """Leave the destination that failed out of a batch: its records are rejected when the batch is taken again.

        Args:
            seq: Number of the batch.
            reason: Why it failed.
        """
        if self._failing is not None:
            self._failing.shares.pop(seq, None)
            self._failing.given_up[seq] = reason

    async def commit(self, token: CommitToken, *, now: bool = False) -> bool:
        """Commit everywhere, the keeper last; tell whether every destination is safe."""
        keeper, self._last = self._keeper, token
        if keeper is None:
            return False
        if keeper.safe < token.seq:
            self._waiting += 1
            due = now or not self._lazy or self._due()
            await self._commit_all(keeper, token, now=due)
            if due:
                self._waiting, self._since = 0, time.monotonic()
        keeping = (*self._early, keeper)
        return all(outlet.safe >= token.seq for outlet in keeping) and not self._again

    async def check(self) -> None:
        """Ask every destination whether it may publish.

        Raises:
            LimitError: The replace guard of one refuses it.
            ResumeRefused: The source has ended before what a destination holds.
        """
        done = self._last.seq if self._last is not None else self._base
        beyond = next((one for one in self._outlets if one.safe > done and not one.finished), None)
        if beyond is not None and not self._resumed_finished:
            raise ResumeRefused(
                f"the source was changed since the run stopped: it ends with batch {done:,}, and destination "
                f"{beyond.name} holds batch {beyond.safe:,}",
                help="bring the source back, or begin anew with: etlctl run … --restart",
            )
        for outlet in self._outlets:
            if not outlet.finished:
                with attributed(outlet.step):
                    await outlet.writer.check()

    async def finish(self) -> Published:
        """Publish, one destination after another; what a dead attempt has published already stays as it is.

        A reader may see one destination before another for a moment.
        """
        if self._last is not None and self._ctx.resumable:
            await self.commit(self._last, now=True)
        await self.check()
        each: dict[str, Published] = {}
        # Those without tokens first: once another has published, they are not done again.
        for outlet in self._order:
            if each:
                fault("publish.during")
            if self._resumed_finished and not outlet.writer.keeps_tokens:
                each[outlet.name] = Published((), self._loaded.get(outlet.step, 0))
                continue
            with attributed(outlet.step):
                each[outlet.name] = await outlet.writer.finish()
        each = {name: each[name] for name in self._names}
        places = tuple(place for one in each.values() for place in one.places)
        return PublishedEach(places, sum(one.records for one in each.values()), each)

    async def suspend(self) -> None:
        """Let go of all destinations."""
        await self._all(lambda writer: writer.suspend())

    async def abort(self) -> None:
        """Give up at all destinations."""
        await self._all(lambda writer: writer.abort())

    async def close(self) -> None:
        """Release all destinations."""
        await self._all(lambda writer: writer.close())

    @property
    def _resumed_finished(self) -> bool:
        return any(outlet.finished for outlet in self._outlets)

    @property
    def _again(self) -> bool:
        return any(outlet.volatile for outlet in self._outlets)

    def _due(self) -> bool:
        interval = self._ctx.commit_interval
        if interval is not None:
            return self._waiting >= interval
        return time.monotonic() - self._since >= _SECONDS_BETWEEN_COMMITS

    async def _commit_all(self, keeper: Outlet, token: CommitToken, *, now: bool) -> None:
        for outlet in self._early:
            if outlet.safe < token.seq:
                with self._blaming(outlet):
                    await outlet.commit(token.seq, token.position, self._ahead(outlet), now=now)
        with self._blaming(keeper):
            base = 0 if self._again else token.seq
            await keeper.commit(token.seq, token.position, self._ahead(keeper, base), token.account, now=now)
        if keeper.safe < token.seq:
            return
        for outlet in self._early:
            if outlet.safe < token.seq:  # the keeper did not put it off, so nobody may
                await outlet.commit(token.seq, token.position, self._ahead(outlet))
        if not self._again:
            self._base = token.seq

    def _ahead(self, outlet: Outlet, base: int | None = None) -> Ahead:
        """Return what a destination's token is to say of itself."""
        base = self._base if base is None else base
        base = 0 if self._again else base
        shares = tuple(share for seq, share in sorted(outlet.shares.items()) if seq > base)
        return Ahead(self._names, base, shares, self._again)

    def _forget_shares(self, begun: int) -> None:
        """Forget what no token will have to tell any more, now that a batch begins."""
        told = self._keeper is not None and self._ctx.resumable
        if told and self._again:
            return
        last = self._base if told else begun - 1
        for outlet in self._outlets:
            outlet.shares = {seq: share for seq, share in outlet.shares.items() if seq > last}
            outlet.given_up = {seq: why for seq, why in outlet.given_up.items() if seq > last}

    def _receipt(self, routed: Routed) -> Dealt:
        seq = routed.batch.seq
        shares: Mapping[str, Share] = {outlet.name: outlet.shares[seq] for outlet in self._outlets}
        refused = [*routed.refused, *(one for share in shares.values() for one in share.rejected)]
        durable = self._keeper is None and not self._again
        records = sum(share.records for share in shares.values())
        return Dealt(records, refused, durable, routed.added, routed.filtered, shares)

    @contextmanager
    def _blaming(self, outlet: Outlet) -> Iterator[None]:
        """Remember which destination failed last."""
        try:
            yield
        except Exception:
            self._failing = outlet
            raise

    async def _all(self, call: Callable[[Writer], Awaitable[None]]) -> None:
        outcomes = await asyncio.gather(*(call(outlet.writer) for outlet in self._outlets), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome


def _check_same(outlet: Outlet, held: Share, extracted: int, handed: int) -> None:
    """Make sure that a batch is the one a destination took before."""
    if (held.extracted, held.handed) == (extracted, handed):
        return
    raise ResumeRefused(
        f"batch {held.seq:,} is another one now: destination {outlet.name} was given {held.handed:,} records of it, "
        f"made of {held.extracted:,} source records, and would be given {handed:,}, made of {extracted:,}",
        help="the source or the contract was changed since, or a step or a where decides by chance or by a clock; "
        "bring back what was there, or begin anew with: etlctl run … --restart",
    )
