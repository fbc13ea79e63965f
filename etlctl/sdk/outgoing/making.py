"""Makes requests of a batch: their exact bytes, their idempotency keys, and which of them must keep their order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Literal

from etlctl.batch import Record
from etlctl.errors import FatalError, RecordRejected
from etlctl.frozen import frozen
from etlctl.kit.codecs.json_text import encode_lines, encode_value
from etlctl.sdk.outbox import Outcome, Parcel, Refused, Sender
from etlctl.sdk.outgoing.templates import RECORDS, Filled, UrlTemplate, compiled, lookup
from etlctl.types import to_text

_MARK = "\ue000etlctl records\ue000"


@frozen
class Shape:
    """How requests look.

    Attributes:
        method: HTTP method.
        url: The address.
        mode: One request for each record, or for several.
        per_request: Records per request at most.
        body: Template of a record's body or item; None: the record as it is.
        batch_body: Body of a batch; ``${records}`` in it stands for the list. None: the list.
        has_body: There is one.
        key_fields: Fields that name a record.
        keyed: Requests carry an idempotency key.
        headers: Those that each request has of its own.
    """

    method: str
    url: UrlTemplate
    mode: Literal["record", "batch"]
    per_request: int
    body: Any = None
    batch_body: Any = None
    has_body: bool = True
    key_fields: tuple[str, ...] = ()
    keyed: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


@frozen
class Made:
    """The requests of a batch.

    Attributes:
        parcels: In order, numbered from 0.
        settled: What is known of some without asking the destination: their records cannot be sent.
    """

    parcels: Sequence[Parcel]
    settled: Mapping[int, Outcome]


@frozen
class _Item:
    """A record that can be sent."""

    place: int
    key: Hashable
    url: str
    content: bytes


class Maker:
    """Makes the requests of batches.

    Args:
        shape: How they look.
        sender: Whose they are.
    """

    def __init__(self, shape: Shape, sender: Sender) -> None:
        self._shape = shape
        self._sender = sender
        self._fill: Filled | None = None if shape.body is None else compiled(shape.body)
        self._head, self._tail = _around(shape.batch_body)

    def made(self, seq: int, records: Sequence[Record]) -> Made:
        """Return the requests of a batch.

        Args:
            seq: Its number.
            records: Its records.

        Raises:
            FatalError: A record has no value in a field that is to name it.
        """
        items, refused = self._items(records)
        groups = self._groups(items)
        lanes = _lanes([[item.key for item in group] for group in groups])
        parcels = [
            self._parcel(seq, index, group, lane) for index, (group, lane) in enumerate(zip(groups, lanes, strict=True))
        ]
        if not refused:
            return Made(parcels, {})
        # They have a place in the outbox, too: after a crash nobody knows the batch any more.
        unsent = Parcel(len(parcels), "", "", "", {}, None, [one.record for one in refused])
        return Made([*parcels, unsent], {len(parcels): Outcome(0, refused)})

    def _items(self, records: Sequence[Record]) -> tuple[list[_Item], list[Refused]]:
        items: list[_Item] = []
        refused: list[Refused] = []
        encoded = self._encoded(records)
        for place, record in enumerate(records):
            try:
                content = encoded(place)
                url = self._shape.url.filled(record) if self._shape.url.fields else self._shape.url.text
                items.append(_Item(place, self._key(record, place, url), url, content))
            except RecordRejected as error:
                refused.append(Refused(place, error.rule, error.message))
        return items, refused

    def _encoded(self, records: Sequence[Record]) -> Callable[[int], bytes]:
        """Return a function that gives the body of a record by its place, or raises why there is none."""
        if not self._shape.has_body:
            return lambda _place: b""
        fill = self._fill
        if fill is not None:
            return lambda place: encode_value(fill(records[place]), "body")
        lines, refusals = encode_lines(records)
        problems = dict(refusals)
        good = iter(lines)
        found = {place: next(good) for place in range(len(records)) if place not in problems}

        def line(place: int) -> bytes:
            if place in problems:
                raise problems[place]
            return found[place]

        return line

    def _key(self, record: Record, place: int, url: str) -> Hashable:
        """Return what names a record: requests of the same name keep their order."""
        names = self._shape.key_fields
        if not names:
            return ("url", url) if self._shape.url.fields else ("place", place)
        values = [lookup(record, name) for name in names]
        for name, value in zip(names, values, strict=True):
            if value is None:
                message = f"field {name!r} is to name the record (idempotency.fields), and it is missing or null"
                raise RecordRejected("load.no_key", message, field=name)
        return ("key", *(f"{type(value).__name__}:{to_text(value)}" for value in values))

    def _groups(self, items: Sequence[_Item]) -> list[Sequence[_Item]]:
        size = self._shape.per_request if self._shape.mode == "batch" else 1
        return [items[start : start + size] for start in range(0, len(items), size)]

    def _parcel(self, seq: int, index: int, group: Sequence[_Item], lane: int) -> Parcel:
        shape, first = self._shape, group[0]
        body: bytes | None = first.content if shape.has_body else None
        items: list[tuple[int, int]] = []
        if shape.mode == "batch":
            body, items = joined(self._head, [item.content for item in group], self._tail)
        places = [item.place for item in group]
        parcel = Parcel(index, "", shape.method, first.url, shape.headers, body, places, items, lane)
        if not shape.keyed:
            return parcel
        if shape.key_fields:
            named: list[Any] = [self._sender.stream, [item.key for item in group]]
        else:
            named = [self._sender.stream, self._sender.run, seq, places]
        return replace(parcel, key=key_of(named, parcel))


def key_of(named: Sequence[Any], parcel: Parcel) -> str:
    """Return an idempotency key: the same for the same name and content, and for nothing else.

    Args:
        named: JSON values that name what is sent.
        parcel: What is sent.
    """
    head = json.dumps([named, parcel.method, parcel.url], default=str)
    made = hashlib.sha256(head.encode("utf-8", "backslashreplace"))
    made.update(parcel.body or b"")
    return f"etlctl-{made.hexdigest()[:40]}"


def joined(head: bytes, items: Sequence[bytes], tail: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the body of several records, and where each of them stands in it."""
    places, at = [], len(head)
    for item in items:
        places.append((at, at + len(item)))
        at += len(item) + 1
    return head + b",".join(items) + tail, places


def part_of(parcel: Parcel, numbers: Sequence[int]) -> Parcel:
    """Return a request for some of the records that one carries, made of its very bytes.

    Args:
        parcel: A request with several records.
        numbers: Which of its records, counted from 0.
    """
    body = parcel.body or b""
    head, tail = body[: parcel.items[0][0]], body[parcel.items[-1][1] :]
    made, items = joined(head, [body[slice(*parcel.items[number])] for number in numbers], tail)
    places = [parcel.records[number] for number in numbers]
    part = replace(parcel, body=made, items=items, records=places)
    return replace(part, key=key_of([parcel.key, list(numbers)], part)) if parcel.key else part


def _around(batch_body: Any) -> tuple[bytes, bytes]:
    """Return what stands before and behind the records in the body of a batch.

    Raises:
        FatalError: The records have not exactly one place in it.
    """
    if batch_body is None:
        return b"[", b"]"
    marked = encode_value(_marked(batch_body), "batch_body")
    parts = marked.split(encode_value(_MARK, "batch_body"))
    if len(parts) != 2:
        raise FatalError(
            f"batch_body needs {RECORDS} exactly once, as a whole value: it stands for the list of records"
        )
    return parts[0] + b"[", b"]" + parts[1]


def _marked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _marked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if isinstance(value, str):
        return _MARK if value == RECORDS else value.replace("$${", "${")
    return value


def _lanes(keys: Sequence[Sequence[Hashable]]) -> list[int]:
    """Return a lane for each request: requests that share a key share a lane.

    Args:
        keys: The keys of the records of each request.
    """
    parent = list(range(len(keys)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    first: dict[Hashable, int] = {}
    for number, names in enumerate(keys):
        for name in names:
            other = first.setdefault(name, number)
            if other != number:
                parent[root(number)] = root(other)
    return [root(number) for number in range(len(keys))]
