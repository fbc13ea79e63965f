"""The writer of every loader that keeps its commit tokens in the database it loads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import ParamSpec, TypeVar

from etlctl.batch import Batch
from etlctl.kit.sql.blocks import rejections
from etlctl.kit.sql.tokens import Token
from etlctl.kit.sql.transfer import Transfer
from etlctl.sdk.context import WriteContext
from etlctl.sdk.loader import CommitToken, Published, Receipt, Writer

P = ParamSpec("P")
T = TypeVar("T")


class TransferWriter(Writer):
    """Moves batches into a database on threads, one call at a time.

    Args:
        transfer: The way into the table.
        ctx: Of the run.
    """

    keeps_tokens = True

    def __init__(self, transfer: Transfer, ctx: WriteContext) -> None:
        self._transfer = transfer
        self._ctx = ctx
        self._busy = threading.Lock()  # a canceled write goes on in its thread; abort must wait for its end

    async def committed(self) -> CommitToken | None:
        """Return the token that the database holds."""
        token = await self._call(self._transfer.committed)
        return None if token is None else CommitToken(**asdict(token))

    async def write(self, batch: Batch) -> Receipt:
        """Write a batch in a transaction."""
        refusals = await self._call(self._transfer.write, batch)
        return Receipt(len(batch) - len(refusals), rejections(batch, refusals, self._ctx.step))

    async def commit(self, token: CommitToken, *, now: bool = False) -> bool:  # noqa: ARG002
        """Commit it together with the token."""
        await self._call(self._transfer.commit, Token(**token.to_dict()))
        return True

    async def check(self) -> None:
        """Ask the replace guard."""
        await self._call(self._transfer.check, self._ask_guard, counted=self._ctx.guard.counts_matter)

    async def finish(self) -> Published:
        """Publish what waits."""
        records = await self._call(self._transfer.finish, self._ask_guard, counted=self._ctx.guard.counts_matter)
        return Published((self._transfer.place,), records)

    def _ask_guard(self, before: int, after: int) -> None:
        self._ctx.guard.check(before, after, self._transfer.place)

    async def suspend(self) -> None:
        """Let go, keeping what is committed."""
        await self._call(self._transfer.suspend)

    async def abort(self) -> None:
        """Remove what is not visible and let go."""
        await self._call(self._transfer.abort)

    async def close(self) -> None:
        """Let go."""
        await self._call(self._transfer.close)

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def alone() -> T:
            with self._busy:
                return function(*args, **kwargs)

        return await self._ctx.run_cpu(alone)
