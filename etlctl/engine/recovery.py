"""Where a run begins: the destination's own token is the truth, the checkpoint only a memory of it.

Token ahead of the checkpoint: go by the token. Equal: go on. Behind: the destination lost something, stop. Nothing of a
batch that was not committed ever reached the destination, so nothing can come twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from etlctl.batch import Position
from etlctl.checkpoint import Checkpoint
from etlctl.engine.attribution import attributed
from etlctl.engine.fanout import Fanout, opened
from etlctl.engine.journal import Journal
from etlctl.engine.letters import LetterMaker
from etlctl.engine.options import Claim, RunPlan, RunSettings
from etlctl.engine.routing import Router
from etlctl.engine.taking_up import half_done, left_elsewhere, refuse_left
from etlctl.errors import CheckpointError, FatalError, ResumeRefused
from etlctl.frozen import frozen
from etlctl.run import ProcessingMode
from etlctl.sdk.context import ReadContext, WriteContext
from etlctl.sdk.destinations import Destinations
from etlctl.sdk.loader import CommitToken, Writer
from etlctl.sdk.operation import Scope

if TYPE_CHECKING:
    from etlctl.sdk.outbox import Outbox


@frozen
class Beginning:
    """Where a run begins.

    Attributes:
        writer: The open destination; None when nothing is written.
        fence: Generation of the lease to commit with.
        seq: Number of the last batch that is there already.
        position: What to read next; None: from the beginning.
        account: Counts up to batch ``seq``.
        replayed: Read from the beginning, and leave out the first ``seq`` batches: a step must see them again.
        finished: Everything was published already, or some destinations have published and the others have all they
            need: no more is read.
        redo: Source records of the batches after ``seq`` that some of several destinations hold: they are cut alike.
        router: Deals batches out to several destinations, when nothing is written.
    """

    writer: Writer | None
    fence: int = 0
    seq: int = 0
    position: Position | None = None
    account: Mapping[str, Any] = field(default_factory=dict)
    replayed: bool = False
    finished: bool = False
    redo: tuple[int, ...] = ()
    router: Router | None = None


class Opening:
    """Opens the destination of a run and finds out where the run begins.

    Args:
        plan: The compiled contract.
        settings: Settings of the run.
        journal: The ledger beside the run.
        ctx: Context of the extractor; the loader's is derived from it.
    """

    def __init__(self, plan: RunPlan, settings: RunSettings, journal: Journal, ctx: ReadContext) -> None:
        self._plan = plan
        self._settings = settings
        self._journal = journal
        self._ctx = ctx
        self._writer: Writer | None = None
        self._outbox: Outbox | None = None

    async def begin(self) -> Beginning:
        """Open the destination.

        Raises:
            StateError: The contract was edited, or an unfinished run has left records that would come twice.
            CheckpointError: The destination holds less than the checkpoint says.
            FatalError: The destination cannot be opened.
        """
        settings = self._settings
        if settings.dry_run or settings.sink is not None:
            return Beginning(None, position=settings.position, router=self._router())
        # Only a run that the ledger knows can be resumed, whatever is wrong with its source.
        claim = await self._journal.claim()
        if self._plan.loader.keeps_requests:
            self._outbox = await self._journal.outbox()
        await asyncio.to_thread(self._refuse_own_source)
        if claim.checkpoint is not None and self._is_refused(claim) and not _may_be_first(claim, claim.checkpoint):
            raise _edited(claim, claim.checkpoint.id)
        await self._refuse_half_published(claim)
        await self._clear_elsewhere(claim)
        writer = await self._open(claim, resume=claim.checkpoint is not None)
        try:
            return await self._found(claim, writer)
        except BaseException:
            if self._writer is not None:  # the one opened last: it may have been opened anew on the way
                await self._writer.suspend()
            raise

    async def _found(self, claim: Claim, writer: Writer) -> Beginning:
        with attributed("load"):
            token = await writer.committed()
        if token is not None and token.fence > claim.fence:
            writer, claim, token = await self._with_newer_fence(claim, writer, token)
        if claim.checkpoint is None:
            self._refuse_half_done(token)
            return Beginning(writer, claim.fence, position=self._settings.position)
        if writer.pledges:
            token = await self._completed(claim, claim.checkpoint, writer, token)
        return await self._resumed(claim, claim.checkpoint, writer, token)

    async def _resumed(
        self, claim: Claim, checkpoint: Checkpoint, writer: Writer, token: CommitToken | None
    ) -> Beginning:
        ours = self._known(claim, checkpoint, writer, token)
        redo = writer.redo if isinstance(writer, Fanout) else ()
        if ours is None or not (ours.seq or ours.finished or redo):
            await self._journal.clear(0)
            return Beginning(writer, claim.fence)
        if ours.finished:
            return Beginning(writer, claim.fence, ours.seq, ours.position, ours.account, finished=True)
        if self._is_refused(claim):
            raise _edited(claim, checkpoint.id)
        edited = claim.edited and not self._settings.accept_changes
        if edited and (ours.visible or not writer.keeps_tokens):
            raise _edited(claim, checkpoint.id)
        if writer.keeps_tokens and not ours.visible and (edited or self._sees_everything()):
            writer = await self._anew(claim, writer)
            await self._journal.clear(0)
            return Beginning(writer, claim.fence)
        await self._journal.clear(ours.seq)
        again = self._sees_everything() or any(step.operation.remembers for step in self._plan.steps)
        replayed = bool(ours.seq) and again
        return Beginning(writer, claim.fence, ours.seq, ours.position, ours.account, replayed=replayed, redo=redo)

    async def _completed(
        self, claim: Claim, checkpoint: Checkpoint, writer: Writer, token: CommitToken | None
    ) -> CommitToken | None:
        """Send what is left of the batch that the attempt before had begun to send, if there is one."""
        from etlctl.engine.half_sent import complete, is_half_sent  # noqa: PLC0415 - few destinations need it

        if not is_half_sent(writer):
            return token
        if claim.edited and not self._settings.accept_changes:
            raise _edited(claim, checkpoint.id)
        before = token or CommitToken(self._ctx.stream, claim.run_id, 0, claim.fence, None)
        letters = LetterMaker(claim.run_id, self._plan.name, self._plan.stream)
        return await complete(writer, replace(before, fence=claim.fence), self._journal, letters)

    def _is_refused(self, claim: Claim) -> bool:
        """Tell whether a run whose contract was edited is to go on by the old one or not at all."""
        settings = self._settings
        return bool(claim.edited) and settings.refuse_edited and not settings.accept_changes

    def _known(
        self, claim: Claim, checkpoint: Checkpoint, writer: Writer, token: CommitToken | None
    ) -> CommitToken | None:
        """Return what is known of this run's last durable batch.

        Raises:
            CheckpointError: The destination holds less than the checkpoint says.
        """
        ours = token if token is not None and token.run == claim.run_id else None
        if not writer.keeps_tokens:
            if claim.checkpoint_lost:
                raise _damaged(checkpoint.id)
            return CommitToken(
                checkpoint.stream,
                claim.run_id,
                checkpoint.seq,
                checkpoint.fence,
                checkpoint.position,
                checkpoint.account,
            )
        found = ours.seq if ours is not None else 0
        if found < checkpoint.seq and not (ours is not None and ours.finished):
            raise _lost(checkpoint.id, checkpoint.seq, found)
        unknown = self._settings.unknown_run or token is not None
        if ours is None and unknown and claim.checkpoint_lost and self._settings.refuse_edited:
            raise _damaged(checkpoint.id)
        if ours is None:
            self._refuse_half_done(token)
        return ours

    def _sees_everything(self) -> bool:
        """Tell whether a step must see the whole data set at once: then a part of it is of no use."""
        return self._settings.mode is ProcessingMode.full and any(
            step.operation.scope is Scope.batch for step in self._plan.steps
        )

    def _router(self) -> Router | None:
        loader = self._plan.loader
        return Router(loader.items, self._ctx) if isinstance(loader, Destinations) else None

    async def _refuse_half_published(self, claim: Claim) -> None:
        """Of several destinations some may show what an unfinished run has loaded; opening the others would undo it."""
        loader = self._plan.loader
        if not isinstance(loader, Destinations):
            return
        with attributed("load"):
            token = await half_done(loader, self._context(claim, resume=False))
        if token is not None and not (claim.checkpoint is not None and token.run == claim.run_id):
            self._refuse_half_done(token)

    async def _clear_elsewhere(self, claim: Claim) -> None:
        """What the contract's destinations of before have prepared goes; what they show must not come twice."""
        ctx = self._context(claim, resume=False)
        with attributed("load"):
            left = await left_elsewhere(self._plan.loader, ctx)
            if not self._settings.restart:
                refuse_left((token for _, token in left), ctx)
            if claim.checkpoint is None:
                for loader, token in left:
                    await loader.forget(ctx, [token.stream])

    async def _open(self, claim: Claim, *, resume: bool) -> Writer:
        with attributed("load"):
            self._writer = await opened(self._plan.loader, self._context(claim, resume=resume))
        return self._writer

    def _context(self, claim: Claim, *, resume: bool) -> WriteContext:
        settings = self._settings
        ctx = self._ctx.shared_with(
            WriteContext,
            fence=claim.fence,
            resume=resume,
            publish_once=settings.mode is ProcessingMode.full,
            commit_interval=settings.commit_interval,
            resumable=settings.checkpoint_id is not None,
            fields=self._plan.fields,
            guard=self._plan.guard,
            drift=self._journal.note_drift,
            outbox=self._outbox,
        )
        return replace(ctx, run_id=claim.run_id)

    async def _with_newer_fence(
        self, claim: Claim, writer: Writer, token: CommitToken
    ) -> tuple[Writer, Claim, CommitToken | None]:
        """The destination knows a newer lease than the ledger: the ledger was replaced, or restored from a backup."""
        self._ctx.warn(
            f"the destination has seen lease {token.fence} of {token.stream}, the ledger only {claim.fence}: "
            "the ledger was replaced or restored; going on with a newer lease"
        )
        await writer.suspend()
        claim = replace(claim, fence=await self._journal.raise_fence(token.fence + 1))
        writer = await self._open(claim, resume=claim.checkpoint is not None)
        with attributed("load"):
            return writer, claim, await writer.committed()

    async def _anew(self, claim: Claim, writer: Writer) -> Writer:
        """Open the destination again without what the attempt before had prepared and not published.

        The checkpoint goes back first: one that is ahead of the destination would look like a loss.
        """
        await self._journal.checkpoint(CommitToken(self._ctx.stream, claim.run_id, 0, claim.fence, None))
        await writer.abort()
        writer = await self._open(claim, resume=False)
        with attributed("load"):
            await writer.committed()
        return writer

    def _refuse_own_source(self) -> None:
        """Writing where one reads would destroy the source, or never end."""
        written = self._plan.loader.places(self._plan.base_dir)
        if not written:
            return
        with attributed("extract"):
            read = list(self._plan.extractor.places(self._plan.base_dir))
        for step in self._plan.steps:
            with attributed(step.name):
                read += step.operation.places(self._plan.base_dir)
        for place in read:
            if any(place == target or target in place.parents for target in written):
                raise FatalError(
                    f"the run would write where it reads: {place} is a source, and the destination as well",
                    help="give load.yaml another path",
                ).at(step="load")

    def _refuse_half_done(self, token: CommitToken | None) -> None:
        """Beginning anew would double what an unfinished run has left in the destination for everybody to see."""
        if token is None or token.finished or not token.visible or not token.seq or self._settings.restart:
            return
        raise ResumeRefused(
            f"run {token.run} of {token.stream} stopped after batch {token.seq:,}, and its records are in the "
            "destination: a new run would load them a second time",
            help=f"carry on with it: etlctl resume --checkpoint {token.run} (with --contract PATH should the ledger be "
            "lost); or, if they may come twice or were removed: etlctl run … --restart",
        )


def _may_be_first(claim: Claim, checkpoint: Checkpoint) -> bool:
    """Tell whether nothing may be loaded yet, which the destination is to confirm; it must be the same then."""
    return not checkpoint.seq and not claim.checkpoint_lost and "load.yaml" not in claim.edited


def _edited(claim: Claim, checkpoint_id: str) -> ResumeRefused:
    changed = " and ".join(claim.edited)
    return ResumeRefused(
        f"the contract was edited since run {claim.run_id} stopped: {changed} changed; the rest would be loaded by "
        "other rules than the beginning",
        help=f"undo the change, or accept it: etlctl resume --checkpoint {checkpoint_id} --accept-changes",
    )


def _damaged(checkpoint_id: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {checkpoint_id} is damaged or gone, and the destination keeps no commit token of this run: nobody "
        "knows how far it came",
        help="find out what the destination holds, then begin anew: etlctl run … --restart",
    )


def _lost(checkpoint_id: str, wanted: int, found: int) -> CheckpointError:
    there = f"only batch {found:,}" if found else "nothing of this run"
    return CheckpointError(
        f"checkpoint {checkpoint_id} is at batch {wanted:,}, but the destination holds {there}: it was restored from a "
        "backup, emptied or replaced since",
        help="bring the destination back, or begin anew: etlctl run … --restart, "
        f"after etlctl checkpoints delete {checkpoint_id}",
    )
