"""The write stage: dead letters, rows, then rows and token committed as one, then the checkpoint. In this order."""

from __future__ import annotations

import time
from collections.abc import Sequence

from etlctl.batch import Batch, Rejection
from etlctl.engine.account import Account
from etlctl.engine.attribution import attributed
from etlctl.engine.cutter import Cut
from etlctl.engine.fanout import Fanout
from etlctl.engine.letters import LetterMaker
from etlctl.engine.options import RunSettings
from etlctl.engine.outlet import BATCH_FAILED
from etlctl.engine.recovery import Beginning
from etlctl.engine.services import Services
from etlctl.engine.shares import Dealt, rehearsed
from etlctl.errors import FatalError, ResumeRefused, RetryableError
from etlctl.faults import fault
from etlctl.sdk.loader import CommitToken, Receipt, Writer


class WriteStage:
    """Writes batches and keeps the account of the run.

    Args:
        letters: Makes dead letters.
        settings: Settings of the run.
        services: Ledger, progress, retries.
        account: What the run did so far; changed.
        beginning: The open destination, and what it holds already.
    """

    def __init__(
        self,
        letters: LetterMaker,
        settings: RunSettings,
        services: Services,
        account: Account,
        beginning: Beginning,
    ) -> None:
        self._letters = letters
        self._settings = settings
        self._services = services
        self._journal = services.journal
        self._account = account
        self._beginning = beginning
        self._writer = beginning.writer
        self._last: CommitToken | None = None
        self._durable = True
        self._clean = True
        self._replayed = 0
        self._visible: bool | None = None
        account.restore(beginning.account)

    async def take(self, cut: Cut) -> None:
        """Handle one batch to its end: when this returns, it is loaded, accounted for and, if possible, durable."""
        if not cut.batch.seq:
            self._replayed += cut.counts.extracted  # loaded already, and shown again to a step that remembers
            return
        progress, seq, counts = self._services.progress, cut.batch.seq, self._account.counts
        progress.send("extract", seq, counts.extracted + cut.counts.extracted, counts.rejected)
        rejected = counts.rejected + cut.counts.rejected
        progress.send("transform", seq, counts.extracted + cut.counts.extracted, rejected)
        if self._last is None and self._writer is not None:  # what the attempts before have rejected counts
            self._account.check_budget(self._settings.budget)
            self._account.check_threshold(self._settings.recovery.error_threshold)
        await self._journal.assure_lease()
        began = time.perf_counter()
        await self._load(cut)
        account = self._account
        account.load.seconds += time.perf_counter() - began
        progress.send("load", seq, account.counts.extracted, account.counts.rejected)
        await self._journal.progress(account)
        account.check_budget(self._settings.budget)
        account.check_threshold(self._settings.recovery.error_threshold)
        progress.memory_mb()
        self._services.memory.check(f"after batch {account.batches:,}")

    async def publish(self) -> None:
        """Check the account of the whole run, then let the destination publish.

        Raises:
            LimitError: Too many records were rejected; nothing more was published.
            FatalError: The account does not balance.
        """
        account, writer, beginning = self._account, self._writer, self._beginning
        if beginning.replayed and self._replayed < beginning.account["counts"]["extracted"]:
            raise _source_changed(f"it has {self._replayed:,} records now, and more of it were loaded")
        account.check_budget(self._settings.budget, final=True)
        account.check_threshold(self._settings.recovery.error_threshold, final=True)
        account.verify_steps()
        if writer is None:
            return
        await self._journal.claim()
        await self._journal.assure_lease()
        began = time.perf_counter()
        fault("publish.before")
        self._clean = False  # from here on only the destination knows what is durable
        with attributed("load"):
            published = await writer.finish()
        fault("publish.after")
        account.load.seconds += time.perf_counter() - began
        account.publish(published)

    async def let_go(self, error: BaseException) -> None:
        """Release the destination after a failure or a stop, so that the run can be resumed if that is possible."""
        writer = self._writer
        if writer is None:
            return
        if self._settings.checkpoint_id is None:
            await writer.abort()
            return
        try:
            pending = self._last if self._clean and not self._durable else None
            if pending is not None and await writer.commit(pending, now=True):
                await self._journal.checkpoint(pending, str(error) or type(error).__name__)
        finally:
            await writer.suspend()

    async def close(self) -> None:
        """Release the destination of a run that the ledger knows to be over."""
        if self._writer is not None:
            await self._writer.close()

    async def _load(self, cut: Cut) -> None:
        if self._writer is None:
            await self._rehearse(cut)
            return
        before = self._account.to_dict()
        tries, left_out = 0, False

        async def once() -> None:
            nonlocal tries
            tries += 1
            if tries > 1:
                self._account.restore(before)
                await self._journal.clear(cut.batch.seq - 1)
            self._account.failed_batches += left_out
            await self._write(cut, self._opened())

        while True:
            try:
                await self._services.retrying.call(once, step="load", batch=cut.batch.seq)
            except Exception as error:
                if not self._may_give_up(cut, error):
                    raise
                self._account.restore(before)
                if isinstance(self._writer, Fanout):
                    left_out = True
                    self._leave_out(cut, error, self._writer)
                    continue
                await self._give_up(cut, error)
            return

    async def _rehearse(self, cut: Cut) -> None:
        """Account for a batch that is not written."""
        dealt, parts, router = None, dict[int, int](), self._beginning.router
        await self._keep(cut.batch.seq, cut.rejections, parts)
        if self._settings.sink is not None:
            self._settings.sink(cut.batch)
        if router is not None:
            dealt = rehearsed(await self._services.ctx.run_cpu(router.route, cut.batch))
            await self._keep(cut.batch.seq, [cut.from_source(one) for one in dealt.rejected], parts)
        loaded, refused = (dealt.records, len(dealt.rejected)) if dealt is not None else (len(cut.batch), 0)
        self._account.add(cut, loaded, refused, dry=True, dealt=dealt)

    async def _write(self, cut: Cut, writer: Writer) -> None:
        """Write and commit one batch. Records the destination refuses are dead letters before anything is committed."""
        seq, parts = cut.batch.seq, dict[int, int]()
        await self._keep(seq, cut.rejections, parts)
        self._clean = False
        if writer.pledges:
            from etlctl.engine.half_sent import pledged  # noqa: PLC0415 - few destinations need it

            await pledged(writer, cut, self._account, self._letters.conceal)
            self._account.half_sent = True
        with attributed("load", seq):
            receipt = await _written(cut, writer)
        refused = cut.refused + [cut.from_source(rejection) for rejection in receipt.rejected]
        await self._keep(seq, refused, parts)
        dealt = receipt if isinstance(receipt, Dealt) else None
        self._account.add(cut, receipt.records, len(refused), dry=False, dealt=dealt)
        await self._commit(cut, writer, durable=receipt.durable)

    async def _commit(self, cut: Cut, writer: Writer, *, durable: bool) -> None:
        token = CommitToken(
            self._services.ctx.stream,
            self._settings.run_id,
            cut.batch.seq,
            self._beginning.fence,
            cut.batch.position,
            self._account.to_dict(),
        )
        await self._journal.keep_drift()
        try:
            with attributed("load", cut.batch.seq):
                committed = await writer.commit(token)
        except RetryableError:
            # Whether it came to pass is not known: the destination is asked.
            found = await writer.committed() if writer.keeps_tokens else None
            if found is None or (found.run, found.seq) != (token.run, token.seq):
                raise
            committed = True
        fault("load.after_commit")
        self._last, self._durable, self._clean = token, committed or durable, True
        self._account.half_sent = False
        if self._durable:
            await self._journal.checkpoint(token)
            await self._move_cursor(writer)

    async def _move_cursor(self, writer: Writer) -> None:
        """Rows in order that can be seen move the cursor with their commit: none below it is still to come."""
        reached = self._account.reached
        if reached is None or reached.increment.window.row_order != "asc" or isinstance(writer, Fanout):
            return
        if self._visible is None:
            found = await writer.committed() if writer.keeps_tokens else None
            self._visible = found is not None and found.visible
        moved = reached.move() if self._visible else None
        if moved is not None:
            await self._journal.move_cursor(moved)

    def _may_give_up(self, cut: Cut, error: Exception) -> bool:
        """Tell whether a batch that failed for good may go to the dead letters as a whole, and the run go on."""
        if self._settings.recovery.error_threshold is None or not self._services.retrying.may_help(error):
            return False
        # Of a writer that keeps what it has taken, the batch would be loaded and in the dead letters as well.
        return self._opened().undoes and cut.batch.encoded is None

    def _leave_out(self, cut: Cut, error: Exception, writer: Fanout) -> None:
        """Take the batch again without the destination that failed: only what was meant for it is lost to it."""
        self._services.warn(f"batch {cut.batch.seq:,} failed for good and goes to the dead letters: {error}")
        writer.give_up(cut.batch.seq, str(error) or type(error).__name__)

    async def _give_up(self, cut: Cut, error: Exception) -> None:
        seq, parts, writer = cut.batch.seq, dict[int, int](), self._opened()
        self._services.warn(f"batch {seq:,} failed for good and goes to the dead letters: {error}")
        await self._journal.clear(seq - 1)
        await self._keep(seq, cut.rejections, parts)
        refused = list(cut.refused)
        for index in range(len(cut.batch)):
            lost = Rejection(index, "load", "load", BATCH_FAILED, str(error) or type(error).__name__, None)
            refused.append(cut.from_source(lost))
        await self._keep(seq, refused, parts)
        self._account.failed_batches += 1
        self._account.add(cut, 0, len(refused), dry=False)
        empty = Batch.of_rows([], cut.batch.position)
        empty.seq = seq
        with attributed("load", seq):
            receipt = await writer.write(empty)
        await self._commit(cut, writer, durable=receipt.durable)

    async def _keep(self, seq: int, rejections: Sequence[Rejection], parts: dict[int, int]) -> None:
        await self._journal.keep(self._letters.letters(seq, rejections, parts))

    def _opened(self) -> Writer:
        if self._writer is None:
            raise FatalError("there is no destination to write to")
        return self._writer


async def _written(cut: Cut, writer: Writer) -> Receipt:
    if isinstance(writer, Fanout):
        return await writer.take(cut.batch, cut.counts.extracted)
    return await writer.write(cut.batch)


def _source_changed(how: str) -> ResumeRefused:
    return ResumeRefused(
        f"the source was changed since the run stopped: {how}",
        help="bring the source back, or begin anew with: etlctl run … --restart",
    )
