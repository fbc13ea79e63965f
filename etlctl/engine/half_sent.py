"""A batch that was half sent when its run died is completed from what was kept, and accounted for as if written now.

Before such a batch is written, the engine pledges what it will need for that: the batch's own account and where each
record came from. The source is not asked again: it may have changed since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias, TypeGuard

from etlctl.batch import Rejection
from etlctl.engine.account import Account
from etlctl.engine.attribution import attributed
from etlctl.engine.cutter import Cut
from etlctl.engine.journal import Journal
from etlctl.engine.letters import LetterMaker
from etlctl.errors import FatalError
from etlctl.sdk.loader import CommitToken, Writer
from etlctl.sdk.outbox import HalfDone, Pledge, PledgingWriter, SourceRecord

_Conceal: TypeAlias = Callable[[Rejection], Rejection] | None


async def pledged(writer: Writer, cut: Cut, account: Account, conceal: _Conceal) -> None:
    """Hand a writer what it takes to account for the batch that comes next, if it has a use for it.

    Args:
        writer: The open destination.
        cut: The batch, about to be written.
        account: The account of the run before this batch.
        conceal: Takes out of a rejection what the contract masks; None: nothing.
    """
    if isinstance(writer, PledgingWriter) and writer.wants_pledge(cut.batch.seq):
        before = account.to_dict()
        account.add(cut, len(cut.batch), 0, dry=False)
        after = account.to_dict()
        account.restore(before)
        writer.pledge(await asyncio.to_thread(_pledge, cut, after, conceal))


def _pledge(cut: Cut, after: Mapping[str, Any], conceal: _Conceal) -> Pledge:
    """Return the pledge of a batch.

    Args:
        cut: The batch.
        after: The account of the run after it, if the destination takes every record.
        conceal: Takes out of a rejection what the contract masks.
    """
    loaded = (cut.from_source(Rejection(index, "load", "load", "", "", None)) for index in range(len(cut.batch)))
    told = [one if conceal is None else conceal(one) for one in (*loaded, *cut.rejections)]
    earlier = [[one.stage, one.step, one.rule, one.message, one.field] for one in told[len(cut.batch) :]]
    sources = [SourceRecord(one.index, one.raw, one.location) for one in told]
    return Pledge(cut.batch.seq, cut.batch.position, {"after": after, "rejections": earlier}, sources)


def is_half_sent(writer: Writer) -> TypeGuard[PledgingWriter]:
    """Tell, after ``committed``, whether this run had begun to send a batch that is to be completed."""
    return isinstance(writer, PledgingWriter) and writer.half_sent()


async def complete(writer: PledgingWriter, before: CommitToken, journal: Journal, letters: LetterMaker) -> CommitToken:
    """Send what is left of the batch that a run had begun to send, commit it, and return its token.

    Args:
        writer: The open destination.
        before: The batch before that; its stream, run and fence are those of the run.
        journal: The ledger beside the run.
        letters: Makes dead letters; what the contract masks was taken out before.

    Raises:
        RetryableError: The destination is out of reach; what is left stays kept.
        FatalError: The destination refuses the run, or what was pledged does not fit.
    """
    with attributed("load", before.seq + 1):
        done = await writer.half_done()
    seq = done.pledge.seq
    if seq != before.seq + 1:
        raise FatalError(
            f"batch {seq:,} was half sent, but the last one that was done is batch {before.seq:,}: the outbox does not "
            "fit together",
            help="this is a defect of etlctl, or the state store was edited; please report it",
        )
    earlier, refused, parts = _rejections(done.pledge), _refused(done), dict[int, int]()
    # The letters of the steps may have been cleared for a retry when the process died: they are kept once more.
    await journal.keep(letters.letters(seq, [*earlier, *refused], parts))
    account = _without(done.pledge.account["after"], len(refused))
    token = replace(before, seq=seq, position=done.pledge.position, account=account, visible=True)
    with attributed("load", seq):
        await writer.commit(token, now=True)
    await journal.checkpoint(token)
    return token


def _rejections(pledge: Pledge) -> list[Rejection]:
    """Return what earlier stages had rejected of the batch."""
    told = pledge.account["rejections"]
    found = []
    for (stage, step, rule, message, field), source in zip(
        told, pledge.sources[len(pledge.sources) - len(told) :], strict=True
    ):
        found.append(Rejection(source.ordinal, stage, step, rule, message, source.raw, field, source.location))
    return found


def _refused(done: HalfDone) -> list[Rejection]:
    found = []
    for rejection in done.receipt.rejected:
        source = done.pledge.sources[rejection.index]
        found.append(replace(rejection, index=source.ordinal, raw=source.raw, location=source.location))
    return found


def _without(after: Mapping[str, Any], refused: int) -> dict[str, Any]:
    """Return the account of a run after a batch of which some records were refused.

    Args:
        after: The account, as ``Account.to_dict`` tells it, if all had been taken.
        refused: So many were refused.
    """
    counts, load = dict(after["counts"]), dict(after["steps"][-1])
    counts |= {"loaded": counts["loaded"] - refused, "rejected": counts["rejected"] + refused}
    load |= {"records_out": load["records_out"] - refused, "rejected": load["rejected"] + refused}
    return {**after, "counts": counts, "steps": [*after["steps"][:-1], load]}
