"""A loader opens a writer on a destination; the writer takes batches and publishes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from etlctl.batch import Batch, Encoded, Position, Record, Rejection
from etlctl.sdk.component import Component
from etlctl.sdk.context import WriteContext


class Delivery(StrEnum):
    """What a destination can promise."""

    exactly_once = "exactly_once"
    idempotent_with_key = "idempotent_with_key"
    at_least_once = "at_least_once"


@dataclass(frozen=True, slots=True)
class CommitToken:
    """The last batch a destination holds, written in the same commit as its rows.

    Attributes:
        stream: Contract and parameter set.
        seq: Number of the batch, from 1.
        fence: Generation of the lease that wrote it.
        position: What the extractor must read next.
    """

    stream: str
    seq: int
    fence: int
    position: Position


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch at the destination.

    Attributes:
        records: Records taken.
        rejected: Records refused by the destination for their data; ``index`` is their place in the batch.
        durable: The rows are safe against a crash now; otherwise they are once ``finish`` returns.
    """

    records: int
    rejected: Sequence[Rejection] = ()
    durable: bool = False


@dataclass(frozen=True, slots=True)
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
    """Takes batches in order; nothing is visible under its final name before ``finish``, unless the mode appends."""

    async def committed(self) -> CommitToken | None:
        """Return the token of the last batch the destination holds durably, or None."""
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
        """Write one batch. With an encoder, rows arrive as ``batch.encoded``, their refusals already accounted for.

        Raises:
            RetryableError: Trying the same batch again may help; nothing of it was kept.
            FatalError: It will not help.
        """

    @abstractmethod
    async def finish(self) -> Published:
        """Publish everything that was written and release what the writer holds."""

    @abstractmethod
    async def abort(self) -> None:
        """Give up: remove what is unfinished, release what the writer holds, leave published data as it was."""


class Loader(Component):
    """Writes to a destination."""

    def delivery(self) -> Delivery:
        """Return what this loader promises with these options."""
        return Delivery.at_least_once

    @abstractmethod
    async def open(self, ctx: WriteContext) -> Writer:
        """Open the destination for one run.

        Raises:
            FatalError: It cannot be written (no permission, no such table, an impossible option).
        """
