"""A loader opens a writer on a destination; the writer takes batches and publishes them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

from etlctl.batch import Batch, Encoded, Position, Record, Rejection
from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.sdk.component import Component
from etlctl.sdk.context import WriteContext
from etlctl.sdk.stored import Stored


class Delivery(StrEnum):
    """What a destination can promise."""

    exactly_once = "exactly_once"
    idempotent_with_key = "idempotent_with_key"
    at_least_once = "at_least_once"


@frozen
class CommitToken:
    """The last batch a destination holds, written in the same commit as its rows: the truth a resumed run goes by.

    Attributes:
        stream: Contract and parameter set.
        run: The run that wrote it, ``run_…``. A resumed run keeps its id.
        seq: Number of the batch in the run, from 1; 0 before the first.
        fence: Generation of the lease that wrote it. Never goes down.
        position: What the engine must read next (the position of batch ``seq``); None before the first batch.
        account: Counts of the run up to and with this batch, as JSON values. Only the engine looks into it.
        finished: The run has published everything; only its record in the ledger may be missing.
        visible: Rows of this run's batches can be seen in the destination already, although it has not finished.
    """

    stream: str
    run: str
    seq: int
    fence: int
    position: Position | None
    account: Mapping[str, Any] = field(default_factory=dict)
    finished: bool = False
    visible: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the token as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CommitToken:
        """Return the token of ``to_dict``; keys of later versions are left out."""
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})


@frozen
class Receipt:
    """What became of a batch at the destination.

    Attributes:
        records: Records taken.
        rejected: Records refused by the destination for their data; ``index`` is their place in the batch.
        durable: The rows are safe against a crash now, without a token: for writers that keep none.
    """

    records: int
    rejected: Sequence[Rejection] = ()
    durable: bool = False


@frozen
class Published:
    """What ``finish`` made visible.

    Attributes:
        places: Where the records are now, such as absolute file paths.
        records: Records published in all.
    """

    places: tuple[str, ...]
    records: int


Encoder: TypeAlias = Callable[[list[Record]], Encoded]


class Writer(ABC):
    """Takes batches in order and makes them durable together with a commit token.

    The engine calls, from one task at a time: ``committed``, then for each batch ``write`` and ``commit``, then
    ``finish``, and ``close`` once the ledger knows that the run is over. A run that fails or is stopped ends with
    ``suspend`` when it may be resumed and with ``abort`` otherwise.

    A writer that only knows ``write``, ``finish`` and ``abort`` is fine: then nothing is durable before ``finish``, and
    a run that died starts over.
    """

    keeps_tokens: ClassVar[bool] = False
    """The destination keeps commit tokens, so that a resumed run can go by them (exactly once)."""

    undoes: ClassVar[bool] = True
    """A batch whose ``write`` failed leaves nothing behind, so that it may be left out; else it must be repeated."""

    puts_off: ClassVar[bool] = False
    """``commit`` is put off as ``WriteContext.commit_interval`` says, unless it shall be ``now``: it is slow.

    Only for writers whose rows cannot be seen before ``finish``.
    """

    pledges: ClassVar[bool] = False
    """It is an ``etlctl.sdk.outbox.PledgingWriter``: a batch that was half sent is completed and not made again."""

    async def committed(self) -> CommitToken | None:
        """Return the token the destination holds for this stream, whichever run wrote it, or None.

        Called once, right after ``open``. Whatever this run wrote and did not commit must be gone by then. A writer
        with a newer fence than the token's claims the destination here or in ``open``: from then on an older one
        cannot commit any more.
        """
        return None

    def encoder(self) -> Encoder | None:
        """Return a function that turns records into what this writer takes, or None.

        The engine calls it on a thread, slice by slice, right after the last step and before the batch is complete:
        a large list of dicts is slow to hold and slow to come back to. Frames are never encoded. Records it refuses
        are in ``Encoded.rejected`` with their place in the slice; ``raw`` is filled in by the engine.
        """
        return None

    @abstractmethod
    async def write(self, batch: Batch) -> Receipt:
        """Write one batch, without committing it. With an encoder, rows arrive as ``batch.encoded``.

        The records the receipt rejects are in the dead letters before ``commit`` is called: that is why these are two.

        Raises:
            RetryableError: Trying the same batch again may help; nothing of this batch was kept.
            FatalError: It will not help.
        """

    async def commit(self, token: CommitToken, *, now: bool = False) -> bool:  # noqa: ARG002
        """Make everything written so far durable, in one step with the token.

        Args:
            token: What the destination is to hold; its ``seq`` is that of the last batch written.
            now: Do not put it off.

        Returns:
            Whether it is durable. A writer whose rows cannot be seen before ``finish`` may put it off to a later call,
            because making files safe is slow; see ``WriteContext.commit_interval``.

        Raises:
            FencedError: A writer with a newer fence has taken over; nothing was committed.
            RetryableError: Trying the same batch again may help; nothing of this batch was kept.
        """
        return False

    async def check(self) -> None:  # noqa: B027 - most writers replace nothing
        """Raise what ``finish`` would raise for the replace guard, without publishing anything.

        Called before ``finish`` where several destinations are published one after another, so that none of them is
        when one must not be.

        Raises:
            LimitError: The replace guard refuses it.
        """

    @abstractmethod
    async def finish(self) -> Published:
        """Publish everything that was written, marking the token as finished in the same step.

        What a resumed run needs to find out that this happened stays until ``close``.

        Raises:
            LimitError: The replace guard refuses it; the old data stays.
        """

    async def suspend(self) -> None:
        """Let go, keeping what is committed for a later attempt of this run; what is not committed is undone."""
        await self.abort()

    @abstractmethod
    async def abort(self) -> None:
        """Give up: remove everything of this run that is not visible yet, release what the writer holds."""

    async def close(self) -> None:  # noqa: B027 - most writers have nothing left to do
        """Release what the writer still holds: the ledger knows that the run is over. Called only after ``finish``."""


class Loader(Component):
    """Writes to a destination."""

    keeps_requests: ClassVar[bool] = False
    """Its writer keeps what it sends in ``WriteContext.outbox``."""

    def delivery(self) -> Delivery:
        """Return what this loader promises with these options."""
        return Delivery.at_least_once

    def key_fields(self) -> tuple[str, ...]:
        """Return the fields that its option ``primary_key`` names: ``validate`` tells whether records have them."""
        return ()

    def fields_read(self) -> Mapping[str, Collection[str]]:
        """Return the fields that other options read, by option: ``validate`` tells whether records have them."""
        return {}

    @abstractmethod
    async def open(self, ctx: WriteContext) -> Writer:
        """Open the destination for one run.

        Raises:
            FatalError: It cannot be written (no permission, no such table, an impossible option).
        """

    def identity(self, base_dir: Path) -> tuple[str, ...] | None:
        """Return what no two destinations of a run may share, such as file and table; None when that cannot be told.

        Args:
            base_dir: Folder that relative paths start at.
        """
        return tuple(map(str, self.places(base_dir))) or None

    async def held(self, ctx: WriteContext) -> CommitToken | None:  # noqa: ARG002
        """Return the commit token of the context's stream, whichever run wrote it, without changing anything.

        ``open`` for a new run undoes what an unfinished one has prepared. With several destinations, this tells before
        that whether a part of it can be seen already.
        """
        return None

    async def unfinished(self, ctx: WriteContext) -> Sequence[CommitToken]:  # noqa: ARG002
        """Return the tokens of the contract's unfinished runs here, of whichever of its destinations they are.

        A contract may have had other destinations when such a run began: what they hold must not come twice either.

        Args:
            ctx: Of the run; its stream is that of the contract, and those of its destinations begin with it and ``>``.
        """
        return ()

    async def forget(self, ctx: WriteContext, streams: Collection[str]) -> None:
        """Remove what unfinished runs of other streams have prepared here and nobody can see.

        Args:
            ctx: Of the run.
            streams: Some that ``unfinished`` has told.
        """

    def additive(self) -> Loader:
        """Return the loader that adds to what this one writes, for records that come later (replayed dead letters).

        Replacing becomes appending; upserts, updates and deletes stay what they are.

        Raises:
            FatalError: This destination cannot be added to.
        """
        raise FatalError(f"{type(self).__name__} cannot add records to what a run has written")

    def scratch(self, folder: Path, ctx: WriteContext) -> Self:  # noqa: ARG002
        """Return this loader with a destination inside a folder instead of the real one, for proofs and trials.

        What the run would find in the real destination (a file to append to, a table and its rows) is copied there.

        Raises:
            FatalError: The destination cannot be imitated in a folder.
        """
        raise FatalError(f"{type(self).__name__} has no scratch destination")

    async def contents(self, ctx: WriteContext) -> Counter[str]:  # noqa: ARG002
        """Return how often each record is in the destination now, records as canonical JSON text.

        Raises:
            FatalError: The destination cannot be read back.
        """
        raise FatalError(f"what {type(self).__name__} writes cannot be read back")

    async def stored(self, ctx: WriteContext) -> Stored:
        """Return what the destination holds now, to compare it with what a run would leave; by default its contents.

        Raises:
            FatalError: The destination cannot be read back.
        """
        found = await self.contents(ctx)
        return Stored(bool(found), lambda: map(_record_of, found.elements()))


def _record_of(text: str) -> Mapping[str, Any]:
    record = json.loads(text)
    return record if isinstance(record, dict) else {"record": record}
