"""A writer that moves batches to a place in the kit (a file, a folder, objects in a bucket) on threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import ClassVar, Protocol

from etlctl.batch import Batch
from etlctl.errors import FencedError
from etlctl.faults import fault
from etlctl.kit.codecs.writing import rejections_of
from etlctl.kit.file_places import Place
from etlctl.kit.write_errors import told
from etlctl.sdk.context import WriteContext
from etlctl.sdk.loader import CommitToken, Encoder, Published, Receipt, Writer


class Replaced(Protocol):
    """What stands at a destination now and is to be replaced."""

    @property
    def place(self) -> str:
        """What messages call it."""

    def count(self) -> int:
        """Return the number of records."""

    def any(self) -> bool:
        """Tell whether there is a record."""


class Teller(Protocol):
    """Turns what a library raises into an error that says what to do; see ``etlctl.kit.write_errors.told``."""

    def __call__(self, name: str, lost: Callable[[], FencedError | None] = ..., /) -> AbstractContextManager[None]:
        """Return the context in which it does so."""


class PlaceWriter(Writer):
    """Moves batches to a place on threads, one call at a time.

    Args:
        place: Where to.
        ctx: Of the run.
        name: What messages call the place.
        replaced: What stands there now and is to be guarded; None when nothing is replaced.
    """

    keeps_tokens = True
    undoes = False
    puts_off = True

    seconds_between_commits: ClassVar[float] = 5.0
    """When nobody says how often to make records safe: what a crash costs to do again at most."""

    teller: ClassVar[Teller] = staticmethod(told)
    """Explains errors."""

    def __init__(self, place: Place, ctx: WriteContext, name: str, replaced: Replaced | None = None) -> None:
        self._place = place
        self._ctx = ctx
        self._name = name
        self._replaced = replaced
        self._records = place.records
        self._busy = threading.Lock()  # a canceled write goes on in its thread; abort must wait for its end
        self._token = CommitToken(ctx.stream, ctx.run_id, 0, ctx.fence, None)
        self._resumable = False
        self._waiting = 0
        self._since = time.monotonic()
        self._taken = (0, Receipt(0))
        self._again = False

    async def committed(self) -> CommitToken | None:
        """Return the token of the stream, whichever run wrote it, or None."""
        self._resumable, token = self._ctx.resumable, self._place.token()
        self._token = self._token if token is None else CommitToken.from_dict(token)
        return None if token is None else self._token

    def encoder(self) -> Encoder | None:
        """Return what turns records into the bytes of the format, where it has that."""
        return self._place.encode

    async def write(self, batch: Batch) -> Receipt:
        """Write one batch, without committing it."""
        return await self._ctx.run_cpu(self._write, batch)

    async def commit(self, token: CommitToken, *, now: bool = False) -> bool:
        """Make everything written so far durable with the token, when it is due."""
        self._token, self._resumable = token, self._ctx.resumable
        self._waiting += 1
        if not self._resumable or not (now or self._due()):
            return False
        return await self._ctx.run_cpu(self._commit)

    async def check(self) -> None:
        """Raise what ``finish`` would raise, without publishing anything."""
        await self._ctx.run_cpu(self._check_guard)

    async def finish(self) -> Published:
        """Publish everything that was written."""
        return await self._ctx.run_cpu(self._finish)

    async def suspend(self) -> None:
        """Let go, keeping what is committed."""
        await self._ctx.run_cpu(self._let_go, self._place.suspend)

    async def abort(self) -> None:
        """Give up: remove what is not published."""
        await self._ctx.run_cpu(self._let_go, self._place.abort)

    async def close(self) -> None:
        """Remove what was left for a later attempt."""
        await self._ctx.run_cpu(self._let_go, self._place.close)

    def _due(self) -> bool:
        if self._ctx.commit_interval is not None:
            return self._waiting >= self._ctx.commit_interval
        return time.monotonic() - self._since >= self.seconds_between_commits

    def _write(self, batch: Batch) -> Receipt:
        again, self._again = self._again, False
        if again and self._taken[0] == batch.seq:
            return self._taken[1]  # it was taken before something behind that failed
        with self._busy, self.teller(self._name, self._place.lost):
            refusals = self._place.write(batch)
            taken = len(batch) - len(refusals) - sum(len(part.rejected) for part in batch.encoded or ())
            self._records += taken
            receipt = Receipt(taken, rejections_of(batch, refusals, self._ctx.step))
            self._taken = (batch.seq, receipt)
            with self._retried():
                fault("load.write")
            return receipt

    def _commit(self) -> bool:
        with self._busy, self.teller(self._name, self._place.lost), self._retried():
            durable = self._place.commit(self._token.to_dict(), self._records)
        self._since, self._waiting = time.monotonic(), 0
        return durable

    @contextmanager
    def _retried(self) -> Iterator[None]:
        """Remember that the batch in hand has been taken already when it is going to be written again."""
        try:
            yield
        except Exception:
            self._again = True
            raise

    def _finish(self) -> Published:
        with self._busy, self.teller(self._name, self._place.lost):
            self._ask_guard()
            token = replace(self._token, finished=True).to_dict()
            info = {"run": self._ctx.run_id, "token": token, "records": self._records}
            return Published((self._place.finish(info, keep=self._resumable),), self._records)

    def _check_guard(self) -> None:
        with self._busy, self.teller(self._name, self._place.lost):
            if not self._place.published:
                self._place.check()
            self._ask_guard()

    def _ask_guard(self) -> None:
        if self._replaced is not None and not self._place.published:
            self._guard(self._replaced)

    def _guard(self, replaced: Replaced) -> None:
        """Ask the guard whether what stands there may be replaced."""
        guard = self._ctx.guard
        if (guard.allow_empty or self._records) and not (guard.counts_matter and self._records):
            return
        try:
            before = replaced.count() if guard.counts_matter else int(replaced.any())
        except Exception as error:  # noqa: BLE001 - whatever it is, a file nobody can read is no reason to stop
            reason = str(error).split("\n", 1)[0]
            self._ctx.warn(f"the replace guard cannot count the records in {replaced.place}: {reason}; replacing it")
            return
        guard.check(before, self._records, replaced.place)

    def _let_go(self, how: Callable[[], None]) -> None:
        with self._busy:
            how()
