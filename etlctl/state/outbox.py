"""The outbox in the state store: the exact requests of the batch in hand, what became of them, and the commit tokens.

It holds one batch for each stream that is being sent: ``commit`` forgets its requests. Secrets in requests are stored
as marks and put back when they are read; credentials are not part of a request.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from etlctl.errors import FatalError, StateError
from etlctl.redact import Redactor
from etlctl.sdk.loader import CommitToken
from etlctl.sdk.outbox import (
    Held,
    Outcome,
    Parcel,
    Pledge,
    Refused,
    Sender,
    SourceRecord,
    checksum,
    content_of,
    shown_token,
)
from etlctl.state import outbox_statements as statements
from etlctl.state.hiding import Hiding
from etlctl.state.lease import fenced
from etlctl.state.ledger_part import LedgerPart
from etlctl.state.payload import decode_raw, encode_raw

if TYPE_CHECKING:
    from etlctl.clock import Clock
    from etlctl.state.connection import PlainConnection
    from etlctl.state.store import Store

MOST_BYTES = 256 << 20
"""Bytes that the requests of one batch may have together."""

_PLAIN = Redactor()


class StateOutbox(LedgerPart):
    """The outbox in the state store; it implements ``etlctl.sdk.outbox.Outbox``.

    Args:
        store: The open state store.
        redactor: Knows the secrets.
        clock: Tells the time.
    """

    def __init__(self, store: Store, *, redactor: Redactor | None = None, clock: Clock | None = None) -> None:
        super().__init__(store, redactor=redactor, clock=clock)
        self._hiding = Hiding(self._redactor)

    def claim(self, sender: Sender) -> Held | None:
        """Return what is held of the sender's stream, whichever run wrote it; older senders can write no more."""
        with self.store.transaction() as connection:
            row = self._mine(connection, sender, newer=True)
        return None if row is None else self._held(row)

    def keep(
        self,
        sender: Sender,
        seq: int,
        parcels: Sequence[Parcel],
        settled: Mapping[int, Outcome],
        pledge: Pledge | None,
    ) -> None:
        """Keep the requests of a batch, before the first of them is sent; of some the outcome is known already.

        Raises:
            FatalError: They are too large.
        """
        size = sum(len(parcel.body or b"") + len(parcel.url) for parcel in parcels)
        if size > MOST_BYTES:
            raise FatalError(
                f"the requests of batch {seq:,} have {size / (1 << 20):,.0f} MiB; the outbox keeps the requests of a "
                f"batch until they are done, and takes {MOST_BYTES >> 20} MiB",
                help="choose a smaller batch_size in extract.yaml",
            )
        rows = [self._request(sender, seq, parcel) for parcel in parcels]
        outcomes = [self._settled(sender, seq, number, outcome) for number, outcome in settled.items()]
        packed = self._packed(content_of(parcels), pledge)
        with self.store.transaction() as connection:
            row = self._mine(connection, sender)
            token = row["token"] if row is not None and row["run_id"] == sender.run else None
            connection.run(statements.DELETE_REQUESTS, {"stream": sender.stream})
            self._save(connection, sender, token=token, seq=seq, pledge=packed)
            connection.run_many(statements.ADD_REQUEST, rows)
            connection.run_many(statements.SETTLE, outcomes)

    def pending(self, sender: Sender, seq: int) -> Sequence[Parcel]:
        """Return the requests of a batch whose outcome is not known, in order, with the very bytes that were kept."""
        with self.store.transaction(writing=False) as connection:
            rows = connection.fetch(statements.PENDING, {"stream": sender.stream, "seq": seq})
        return [self._parcel(row) for row in rows]

    def outcomes(self, sender: Sender, seq: int) -> Mapping[int, tuple[Sequence[int], Outcome]]:
        """Return the records and the outcome of each request of a batch that has one, by its number."""
        with self.store.transaction(writing=False) as connection:
            rows = connection.fetch(statements.SETTLED, {"stream": sender.stream, "seq": seq})
        return {row["number"]: (json.loads(row["records"]), _outcome(row["outcome"])) for row in rows}

    def settle(self, sender: Sender, seq: int, outcomes: Mapping[int, Outcome]) -> None:
        """Note what became of requests, by number."""
        rows = [self._settled(sender, seq, number, outcome) for number, outcome in outcomes.items()]
        with self.store.transaction() as connection:
            self._mine(connection, sender)
            connection.run_many(statements.SETTLE, rows)

    def split(
        self, sender: Sender, seq: int, index: int, outcome: Outcome, parcels: Sequence[Parcel]
    ) -> Sequence[Parcel]:
        """Note what became of a request, and keep others for the rest of its records, in one step."""
        with self.store.transaction() as connection:
            self._mine(connection, sender)
            found = connection.fetch(statements.LAST_NUMBER, {"stream": sender.stream, "seq": seq})
            first = found[0]["number"] + 1
            made = [replace(parcel, index=first + number) for number, parcel in enumerate(parcels)]
            connection.run(statements.SETTLE, self._settled(sender, seq, index, outcome))
            connection.run_many(statements.ADD_REQUEST, [self._request(sender, seq, parcel) for parcel in made])
        return made

    def commit(self, sender: Sender, token: CommitToken, records: int) -> None:
        """Move the commit token to a batch that is done, and forget its requests."""
        content = self._hidden({"token": token.to_dict(), "records": records})
        with self.store.transaction() as connection:
            self._mine(connection, sender)
            self._save(connection, sender, token=content, seq=None, pledge=None)
            connection.run(statements.DELETE_REQUESTS, {"stream": sender.stream})

    def forget(self, sender: Sender) -> None:
        """Forget everything of the sender's stream: the ledger knows that its run is over."""
        self.discard([sender.stream], sender.fence)

    def tokens(self, stream: str) -> Sequence[CommitToken]:
        """Return the tokens of a stream and of its destinations (``stream>name``), changing nothing."""
        prefix = f"{stream}>"
        values = {"stream": stream, "prefix": prefix, "length": len(prefix)}
        with self.store.transaction(writing=False) as connection:
            rows = connection.fetch(statements.TOKENS, values)
        return [shown_token(self._held(row), row["stream"]) for row in rows]

    def discard(self, streams: Collection[str], fence: int) -> None:
        """Forget everything of streams whose fence is not newer."""
        with self.store.transaction() as connection:
            for stream in streams:
                if connection.run(statements.DELETE_OUTBOX, {"stream": stream, "fence": fence}):
                    connection.run(statements.DELETE_REQUESTS, {"stream": stream})

    # Rows

    def _mine(self, connection: PlainConnection, sender: Sender, *, newer: bool = False) -> Mapping[str, Any] | None:
        """Return the row of the sender's stream, which nobody else changes now.

        Args:
            connection: In a transaction.
            sender: Who asks.
            newer: Also if a sender with a newer fence was there: whoever asks wants to know.

        Raises:
            FencedError: A sender with a newer fence was there.
        """
        connection.run(statements.CLAIM_OUTBOX, {"stream": sender.stream, "fence": sender.fence})
        found = connection.fetch(statements.OUTBOX, {"stream": sender.stream})
        if found and found[0]["fence"] > sender.fence and not newer:
            raise fenced(sender.stream, sender.fence, self._lease(connection, sender.stream))
        return found[0] if found else None

    def _save(
        self, connection: PlainConnection, sender: Sender, *, token: bytes | None, seq: int | None, pledge: bytes | None
    ) -> None:
        row = {
            "stream": sender.stream,
            "run_id": sender.run,
            "fence": sender.fence,
            "token": token,
            "seq": seq,
            "pledge": pledge,
            "updated_at": self._rows.instant(self._clock.now()),
        }
        connection.run(statements.SAVE_OUTBOX, row)

    def _held(self, row: Mapping[str, Any]) -> Held:
        token, records, content, pledge = None, 0, "", None
        if row["token"] is not None:
            values = self._shown(row["token"])
            token, records = CommitToken.from_dict(values["token"]), values["records"]
        if row["pledge"] is not None:
            content, pledge = self._unpacked(row["pledge"])
        return Held(row["run_id"], row["fence"], token, records, row["seq"], content, pledge)

    def _request(self, sender: Sender, seq: int, parcel: Parcel) -> dict[str, Any]:
        names = ("key", "method", "url", "headers", "items")
        head = {name: getattr(parcel, name) for name in names}
        return {
            "stream": sender.stream,
            "seq": seq,
            "number": parcel.index,
            "lane": parcel.lane,
            "records": json.dumps(list(parcel.records)),
            "head": self._hidden(head),
            "body": None if parcel.body is None else self._hiding.hidden(parcel.body),
            "digest": checksum(parcel),
            "outcome": None,
        }

    def _parcel(self, row: Mapping[str, Any]) -> Parcel:
        body = None if row["body"] is None else self._hiding.shown(bytes(row["body"]))
        head = self._shown(row["head"])
        head["items"] = tuple((first, last) for first, last in head["items"])
        parcel = Parcel(**head, index=row["number"], body=body, records=json.loads(row["records"]), lane=row["lane"])
        if checksum(parcel) != row["digest"]:
            raise StateError(
                f"request {row['number']:,} of batch {row['seq']:,} in the outbox is not what was kept: its checksum "
                "differs, so it is not sent",
                help="the state store was damaged or edited: bring it back from a backup, or begin anew, so that what "
                "was sent may come twice: etlctl run … --restart",
            )
        return parcel

    def _settled(self, sender: Sender, seq: int, number: int, outcome: Outcome) -> dict[str, Any]:
        refused = [[one.record, one.rule, self._rows.text(one.message)] for one in outcome.refused]
        text = json.dumps({"status": outcome.status, "refused": refused, "moved": outcome.moved})
        return {"stream": sender.stream, "seq": seq, "number": number, "outcome": text}

    def _packed(self, content: str, pledge: Pledge | None) -> bytes:
        if pledge is None:
            return self._hidden({"content": content, "pledge": None})
        values = {**asdict(replace(pledge, sources=())), "sources": list(_stored(pledge.sources))}
        return self._hidden({"content": content, "pledge": values})

    def _unpacked(self, packed: bytes) -> tuple[str, Pledge | None]:
        found = self._shown(packed)
        content, values = found["content"], found["pledge"]
        if values is None:
            return content, None
        sources = [SourceRecord(one, decode_raw(text, form), place) for one, text, form, place in values["sources"]]
        return content, Pledge(**{**values, "sources": sources})

    def _hidden(self, values: Mapping[str, Any]) -> bytes:
        return self._hiding.hidden(json.dumps(values, default=str).encode("utf-8", "surrogatepass"))

    def _shown(self, content: bytes) -> Any:
        return json.loads(self._hiding.shown(bytes(content)).decode("utf-8", "surrogatepass"))


def _stored(sources: Iterable[SourceRecord]) -> Iterable[list[Any]]:
    for source in sources:
        text, form, _ = encode_raw(source.raw, _PLAIN)
        yield [source.ordinal, text, form, source.location]


def _outcome(text: str) -> Outcome:
    values = json.loads(text)
    return Outcome(values["status"], [Refused(*one) for one in values["refused"]], values["moved"])
