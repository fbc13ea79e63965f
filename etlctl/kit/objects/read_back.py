"""Reading back what a bucket holds: how many records, whether any, and which; and what runs have left there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import field
from typing import Any, cast

from etlctl.batch import frame_to_rows
from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.byte_sink import PlainCompression
from etlctl.kit.codecs import Readable, reader_for
from etlctl.kit.codecs.reading import Chunk
from etlctl.kit.drafts import Claim
from etlctl.kit.objects.bucket import Bucket, Entry
from etlctl.kit.objects.data_set import is_part, set_published
from etlctl.kit.objects.draft import read_state, root_of
from etlctl.kit.objects.manifest import manifest_key, read_manifest
from etlctl.kit.objects.places import object_published
from etlctl.kit.objects.reading import BLOCK, object_sources
from etlctl.kit.read_back import canonical


@frozen
class WrittenObjects:
    """An object, or a data set (its key ends in a slash).

    Attributes:
        open: Opens the bucket, and tells the key.
        name: What messages call it.
        format: Its format.
        compression: How it is compressed.
        options: Options of the format's reader.
    """

    open: Callable[[], tuple[Bucket, str]]
    name: str
    format: str
    compression: PlainCompression
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """What messages call it."""
        return self.name

    def exists(self) -> bool:
        """Tell whether there is anything."""
        return any(True for _ in self._objects())

    def count(self) -> int:
        """Return the number of records, without reading them where the manifest tells.

        Raises:
            FatalError: It cannot be read.
        """
        return sum(
            part["records"] if part.get("records") is not None and part["bytes"] == entry.size else self._count(entry)
            for entry, part in self._objects()
        )

    def any(self) -> bool:
        """Tell whether there is a record, by reading no more than needed."""
        return any(len(chunk) + len(chunk.unreadable) for entry, _ in self._objects() for chunk in self._chunks(entry))

    def contents(self) -> Counter[str]:
        """Return how often each record is there, as JSON text with sorted keys; a null is as good as no field."""
        return Counter(
            f"unreadable: {record['unreadable']}" if set(record) == {"unreadable"} else canonical(dict(record))
            for record in self.records()
        )

    def records(self) -> Iterator[Mapping[str, Any]]:
        """Yield every record, with the values of its folder; what cannot be read is one with ``unreadable``."""
        for entry, part in self._objects():
            values = part.get("values", {})
            for chunk in self._chunks(entry):
                rows = frame_to_rows(chunk.frame) if chunk.frame is not None else chunk.records or []
                yield from ({**row, **values} for row in rows)
                yield from ({"unreadable": one.raw} for one in chunk.unreadable)

    def _objects(self) -> Iterator[tuple[Entry, Mapping[str, Any]]]:
        """Yield the objects that count, each with what the manifest tells of it."""
        bucket, key = self.open()
        if not key.endswith("/"):
            entry = bucket.head(key)
            if entry is not None and entry.size:
                yield entry, {}
            return
        found = read_manifest(bucket, key)
        told = {part["name"]: part for part in found[0]["parts"]} if found is not None else {}
        for entry in sorted(bucket.below(key), key=lambda one: one.key):
            name = entry.key.removeprefix(key)
            if is_part(entry.key) and (found is None or name in told):
                yield entry, told.get(name, {})

    def _count(self, entry: Entry) -> int:
        return sum(len(chunk) + len(chunk.unreadable) for chunk in self._chunks(entry))

    def _chunks(self, entry: Entry) -> Iterator[Chunk]:
        bucket, _ = self.open()
        (source,) = object_sources(bucket, entry, self.compression, lambda members, _: list(members))
        return reader_for(cast("Readable", self.format), self.options).chunks(source, None)


def held_token(bucket: Bucket, key: str, stream: str) -> Mapping[str, Any] | None:
    """Return the commit token of a stream's unfinished run, if there is one; nothing is changed.

    It is visible when the run has published, and only nobody has been told yet.

    Args:
        bucket: Where the destination is.
        key: The object, or the folder of a data set with a slash at its end.
        stream: Contract and parameter set.
    """
    short = Claim("", stream).key
    try:
        found = read_state(bucket, f"{root_of(key)}/{short}.json")
    except FatalError:
        return None  # whoever opens the destination says so better
    return None if found is None else _token_of(bucket, key, short, found[0])


def _token_of(bucket: Bucket, key: str, short: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    journal = body["journal"]
    if journal is not None:
        is_set = key.endswith("/")
        if set_published(bucket, key, short, journal) if is_set else object_published(bucket, key, journal):
            return {**journal["token"], "visible": True}
    return {**body["token"], "visible": False} if body["token"]["seq"] else None


def unfinished_tokens(bucket: Bucket, key: str, stream: str) -> list[Mapping[str, Any]]:
    """Return the tokens of a contract's unfinished runs at a destination, of whichever of its streams they are.

    Args:
        bucket: Where the destination is.
        key: The object, or the folder of a data set with a slash at its end.
        stream: Of the contract; those of its destinations begin with it and ``>``.
    """
    tokens = []
    for entry in bucket.level(root_of(key))[1]:
        found = read_state(bucket, entry.key) if entry.key.endswith(".json") else None
        if found is None or not (found[0]["stream"] == stream or found[0]["stream"].startswith(f"{stream}>")):
            continue
        token = _token_of(bucket, key, Claim("", found[0]["stream"]).key, found[0])
        if token is not None:
            tokens.append(token)
    return tokens


def forget_unfinished(bucket: Bucket, key: str, streams: Collection[str]) -> None:
    """Remove what unfinished runs of streams have prepared at a destination and nobody can see.

    Args:
        bucket: Where the destination is.
        key: The object, or the folder of a data set with a slash at its end.
        streams: Of the runs.
    """
    root = root_of(key)
    for stream in streams:
        short = Claim("", stream).key
        found = read_state(bucket, f"{root}/{short}.json")
        journal = found[0]["journal"] if found is not None else None
        if journal is not None and key.endswith("/") and not set_published(bucket, key, short, journal):
            bucket.delete([key + name for name in journal["names"]])
        bucket.delete([entry.key for entry in bucket.below(f"{root}/{short}")])
        bucket.delete([f"{root}/{short}.json"])


def copy_objects(source: Bucket, key: str, target: Bucket) -> None:
    """Copy an object, or a data set with its manifest, to another bucket.

    Args:
        source: Where it is.
        key: The object, or the folder of a data set with a slash at its end.
        target: Where it gets the same key.
    """
    found = list(source.below(key)) if key.endswith("/") else [entry for entry in [source.head(key)] if entry]
    if key.endswith("/") and (manifest := source.head(manifest_key(key))) is not None:
        found.append(manifest)
    for entry in found:
        ranges = ((start, min(start + BLOCK, entry.size)) for start in range(0, entry.size, BLOCK))
        blocks = (source.fetch(entry.key, start, end, entry.etag) for start, end in ranges)
        target.upload(entry.key, blocks, entry.size)
