"""Blocks: records that all have the same fields, as columns, so that one statement serves them all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, groupby
from operator import itemgetter
from typing import Any

from etlctl.batch import Batch, Record, Rejection, frame_to_rows
from etlctl.errors import RecordRejected

_SLICE = 1_000
Refusals = list[tuple[int, RecordRejected]]
"""Records that cannot be taken: place in the batch (0-based) and why."""


@dataclass(slots=True)
class Block:
    """Records that all have the same fields.

    Attributes:
        columns: Field to values, one per record: a list, or what a database's own blocks have instead.
        places: Where each record stands in its batch.
        kinds: Field to the Python types of its values before anything was converted, None's left out.
        ready: The values are what the database takes already, as far as that does not depend on the column.
    """

    columns: dict[str, Any]
    places: Sequence[int]
    kinds: Mapping[str, frozenset[type]]
    ready: bool = False

    def __len__(self) -> int:
        return len(self.places)

    def only(self, names: Collection[str]) -> Block:
        """Return the block with just these fields."""
        return Block({name: self.columns[name] for name in names}, self.places, self.kinds, self.ready)

    def without(self, records: Collection[int]) -> Block:
        """Return the block without some of its records, named by their 0-based number in the block."""
        if not records:
            return self
        keep = [number not in records for number in range(len(self))]
        columns = {name: list(compress(values, keep)) for name, values in self.columns.items()}
        return Block(columns, list(compress(self.places, keep)), self.kinds, self.ready)

    def rows(self, order: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return the records as tuples of the columns named."""
        if not order:
            return [()] * len(self)
        return list(zip(*map(self.columns.__getitem__, order), strict=True))


def blocks_of(
    records: Sequence[Record], matters: Callable[[str], bool] = lambda _name: True, key: Sequence[str] = ()
) -> Iterator[Block]:
    """Cut records into blocks.

    Args:
        records: The records of a batch.
        matters: Tells whether a record without the field of a name differs from one in which it is null.
        key: The order of records with one key must be kept; without one, or with a key that never comes twice, as few
            blocks are made as there are sets of fields.
    """
    if not records:
        return
    names = tuple(records[0])
    if set(map(len, records)) == {len(names)}:
        try:
            yield _block(names, records, range(len(records)), plain=True)
        except KeyError:
            pass
        else:
            return
    names = tuple(dict.fromkeys(name for record in records for name in record))
    special = [name for name in names if matters(name)]
    others = [name for name in names if name not in set(special)]
    for shape, places in _shapes(records, special, key):
        yield _block((*shape, *others), [records[place] for place in places], places)


def _shapes(
    records: Sequence[Record], special: Sequence[str], key: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    shapes = [tuple(name for name in special if name in record) for record in records]
    if _comes_twice(records, key):
        for shape, group in groupby(range(len(records)), key=shapes.__getitem__):
            yield shape, list(group)
        return
    together: dict[tuple[str, ...], list[int]] = {}
    for place, shape in enumerate(shapes):
        together.setdefault(shape, []).append(place)
    yield from together.items()


def _comes_twice(records: Sequence[Record], key: Sequence[str]) -> bool:
    if not key:
        return False
    try:
        return len({tuple(map(record.get, key)) for record in records}) < len(records)
    except TypeError:  # a value that is no key at all, such as a list
        return True


def _block(names: Sequence[str], records: Sequence[Record], places: Sequence[int], *, plain: bool = False) -> Block:
    columns: dict[str, list[Any]] = {name: [] for name in names}
    kinds: dict[str, set[type]] = {name: set() for name in names}
    # By the slice: a record is looked at for all its fields while it is in the processor's cache.
    for start in range(0, len(records), _SLICE):
        part = records[start : start + _SLICE]
        for name in names:
            values = list(map(itemgetter(name), part)) if plain else [record.get(name) for record in part]
            columns[name] += values
            kinds[name].update(map(type, values))
    return Block(columns, places, {name: frozenset(found) - {type(None)} for name, found in kinds.items()})


def rejections(batch: Batch, refusals: Refusals, step: str) -> list[Rejection]:
    """Return the refused records of a batch as a receipt reports them, in the batch's order."""
    made = []
    for place, refused in sorted(refusals, key=itemgetter(0)):
        where = batch.locate(place) if batch.locate is not None else None
        raw = (batch.records or [])[place] if batch.frame is None else frame_to_rows(batch.frame.slice(place, 1))[0]
        made.append(Rejection(place, "load", step, refused.rule, refused.message, raw, refused.field, where))
    return made
