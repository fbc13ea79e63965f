"""Requests are kept before they are sent: the commit protocol of destinations that have no transactions.

What a destination without transactions (an HTTP interface) took cannot be rolled back, and when the connection breaks
nobody knows whether it took anything. So a writer *keeps* the exact requests of a batch in the state store, then sends
them, then notes what became of each, then moves its commit token. After a crash requests without an outcome are sent
again, byte for byte and with the same idempotency key; those with one are not. The batch is completed from what was
kept and never made again from a source that may have changed since: the engine *pledges* beforehand what it will need
to account for it.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol

from etlctl.batch import Position
from etlctl.frozen import frozen
from etlctl.sdk.loader import CommitToken, Receipt, Writer


@frozen
class Sender:
    """Who sends: one destination of one run, under one lease.

    Attributes:
        stream: Contract and parameter set, and the destination where there are several.
        run: The run, ``run_…``.
        fence: Generation of the lease. A sender with an older one than the outbox has seen is refused.
    """

    stream: str
    run: str
    fence: int


@frozen
class Parcel:
    """A request that is kept: whatever happens, it is sent with these very bytes, or not at all.

    Attributes:
        index: Its number in the batch, from 0.
        key: Idempotency key; empty when the destination gets none.
        method: Such as ``POST``.
        url: Absolute, query included.
        headers: Those that belong to the request, without any credentials: these are added when it is sent.
        body: The exact bytes; None when there are none.
        records: Places, in the batch, of the records it carries.
        items: Where in the body each of several records stands, first byte and byte after the last.
        lane: Requests of the same lane are sent one after another.
    """

    index: int
    key: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    records: Sequence[int]
    items: Sequence[tuple[int, int]] = ()
    lane: int = 0


@frozen
class Refused:
    """A record that the destination refused.

    Attributes:
        record: Its place in the batch.
        rule: Such as ``load.refused``.
        message: What the destination said.
    """

    record: int
    rule: str
    message: str


@frozen
class Outcome:
    """What became of a request.

    Attributes:
        status: What the destination answered, such as the HTTP status.
        refused: The records it refused; it took the others.
        moved: So many of its records went into requests of their own. It took the rest.
    """

    status: int
    refused: Sequence[Refused] = ()
    moved: int = 0


@frozen
class SourceRecord:
    """Where a record of a batch came from, for the dead letter it may become.

    Attributes:
        ordinal: Its number among the source records of its batch.
        raw: The source record as it was read, without what the contract masks.
        location: Where in the source, such as ``people.csv:17``.
    """

    ordinal: int
    raw: Any
    location: str | None


@frozen
class Pledge:
    """What the engine needs to account for a batch that was kept, should this process not live to do so.

    Attributes:
        seq: Number of the batch.
        position: What is to be read after it.
        account: The engine's own JSON values.
        sources: Where each record of the batch came from, in order; then what else the engine has to tell.
    """

    seq: int
    position: Position
    account: Mapping[str, Any]
    sources: Sequence[SourceRecord]


@frozen
class Held:
    """What an outbox holds of a stream.

    Attributes:
        run: The run that wrote it.
        fence: The newest generation of the lease that was there.
        token: The last batch all of whose requests have an outcome; None before the first.
        records: Records that the destination took, over all batches up to that.
        seq: Number of the batch that was kept after that and is not done; None: nothing is half done.
        content: What that batch's requests were, as ``content_of`` tells.
        pledge: What the engine pledged for it, if it did.
    """

    run: str
    fence: int
    token: CommitToken | None
    records: int = 0
    seq: int | None = None
    content: str = ""
    pledge: Pledge | None = None


class Outbox(Protocol):
    """Keeps requests durably, for many senders. Every call is one transaction, and blocks: call it on a thread.

    All calls of a sender raise ``FencedError`` when a sender with a newer fence has come, and ``StateError`` when the
    state store cannot be written.
    """

    def claim(self, sender: Sender) -> Held | None:
        """Return what is held of the sender's stream, whichever run wrote it; older senders can write no more."""

    def keep(
        self,
        sender: Sender,
        seq: int,
        parcels: Sequence[Parcel],
        settled: Mapping[int, Outcome],
        pledge: Pledge | None,
    ) -> None:
        """Keep the requests of a batch, before the first of them is sent; of some the outcome is known already.

        What another run has left of the stream is forgotten.
        """

    def pending(self, sender: Sender, seq: int) -> Sequence[Parcel]:
        """Return the requests of a batch whose outcome is not known, in order, with the very bytes that were kept."""

    def outcomes(self, sender: Sender, seq: int) -> Mapping[int, tuple[Sequence[int], Outcome]]:
        """Return the records and the outcome of each request of a batch that has one, by its number."""

    def settle(self, sender: Sender, seq: int, outcomes: Mapping[int, Outcome]) -> None:
        """Note what became of requests, by number."""

    def split(
        self, sender: Sender, seq: int, index: int, outcome: Outcome, parcels: Sequence[Parcel]
    ) -> Sequence[Parcel]:
        """Note what became of a request, and keep others for the rest of its records, in one step.

        Returns:
            The new requests, with numbers of their own.
        """

    def commit(self, sender: Sender, token: CommitToken, records: int) -> None:
        """Move the commit token to a batch that is done, and forget its requests.

        Args:
            sender: Who sends.
            token: What a resumed run is to go by.
            records: Records that the destination took, over all batches.
        """

    def forget(self, sender: Sender) -> None:
        """Forget everything of the sender's stream: the ledger knows that its run is over."""

    def tokens(self, stream: str) -> Sequence[CommitToken]:
        """Return the tokens of a stream and of its destinations (``stream>name``), changing nothing."""

    def discard(self, streams: Collection[str], fence: int) -> None:
        """Forget everything of streams whose fence is not newer."""


def shown_token(held: Held, stream: str) -> CommitToken:
    """Return what is held as a token that tells of a half-sent batch, too: it can be seen in the destination.

    Args:
        held: What the outbox holds.
        stream: Of which stream.
    """
    token = held.token or CommitToken(stream, held.run, 0, held.fence, None, visible=True)
    return token if held.seq is None else replace(token, seq=held.seq, visible=True, finished=False)


def content_of(parcels: Sequence[Parcel]) -> str:
    """Return a checksum of requests, to tell whether a batch that is made again is the same."""
    return hashlib.sha256("".join(map(checksum, parcels)).encode()).hexdigest()


def checksum(parcel: Parcel) -> str:
    """Return the SHA-256 of all that is sent of a request, in hexadecimal."""
    parts = (parcel.key, parcel.method, parcel.url, *(f"{name}: {parcel.headers[name]}" for name in parcel.headers))
    made = hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass"))
    made.update(b"\x00" if parcel.body is None else b"\x01" + parcel.body)
    return made.hexdigest()


@frozen
class HalfDone:
    """A batch that an attempt before had begun to send, completed from what was kept.

    Attributes:
        pledge: What the engine pledged for it.
        receipt: What became of its records.
    """

    pledge: Pledge
    receipt: Receipt


class PledgingWriter(Writer):
    """A writer that keeps what it sends, so that a batch which was half sent is completed and not made again.

    The engine calls ``pledge`` right before ``write`` and, when it resumes a run, ``half_done`` right after
    ``committed``; it then accounts for that batch and calls ``commit`` as if it had just been written. Such a writer
    has no encoder.
    """

    pledges: ClassVar[bool] = True

    @abstractmethod
    def half_sent(self) -> bool:
        """Tell, after ``committed``, whether there is a batch for ``half_done`` to complete."""

    @abstractmethod
    def wants_pledge(self, seq: int) -> bool:
        """Tell whether a pledge for this batch is of use: not if it is kept already, or nothing ever is."""

    @abstractmethod
    def pledge(self, pledge: Pledge) -> None:
        """Take what is to be kept together with the next batch."""

    @abstractmethod
    async def half_done(self) -> HalfDone:
        """Complete the batch that this run had begun to send.

        Raises:
            RetryableError: The destination is out of reach; what is left stays kept.
            FatalError: It refuses the run itself (no permission).
        """
