"""Several destinations of one run, as one loader: which there are, and which records each of them gets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import PrivateAttr

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.sdk.context import WriteContext
from etlctl.sdk.loader import Delivery, Loader, Writer
from etlctl.sdk.operation import Operation

STEP = "load."
"""Beginning of the names of single destinations, where a run has several: ``load.eu``."""

MARK = "(destination)"
"""Field that tells, in what is read back of several destinations, which one a record is in."""

_WEAKEST = (Delivery.at_least_once, Delivery.idempotent_with_key, Delivery.exactly_once)


@frozen
class Destination:
    """One of several destinations.

    Attributes:
        name: Its name, unique in the contract.
        loader: What writes to it.
        where: Filters the records it gets; None: it gets all.
    """

    name: str
    loader: Loader
    where: Operation | None = None

    @property
    def step(self) -> str:
        """Name of the place in the contract."""
        return STEP + self.name

    def context(self, ctx: WriteContext) -> WriteContext:
        """Return the context of this destination: a stream of its own, so that several may share a database."""
        return replace(ctx, step=self.step, stream=_stream(ctx.stream, self.name))


class Destinations(Loader):
    """Several destinations. It is no component of its own: it stands for a ``load:`` list, and the engine opens it.

    A record goes to every destination whose ``where`` holds, and counts as filtered when there is none.
    """

    _items: tuple[Destination, ...] = PrivateAttr(default=())
    _known: frozenset[str] = PrivateAttr(default=frozenset())

    @classmethod
    def of(cls, items: Sequence[Destination], known: Collection[str] = ()) -> Self:
        """Return the loader that stands for some destinations, at least one.

        Args:
            items: The destinations.
            known: Names of all that the contract has, if these are only some of them.
        """
        made = cls()
        made._items = tuple(items)
        made._known = frozenset(known) or frozenset(item.name for item in items)
        return made

    @property
    def items(self) -> tuple[Destination, ...]:
        """The destinations, in the order of the contract."""
        return self._items

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the destinations, in the order of the contract."""
        return tuple(item.name for item in self._items)

    @property
    def keeps_requests(self) -> bool:  # type: ignore[override]
        """One of them does."""
        return any(item.loader.keeps_requests for item in self._items)

    def streams(self, stream: str) -> frozenset[str]:
        """Return the streams of all destinations of the contract, also of those that are left out.

        Args:
            stream: That of the contract.
        """
        return frozenset(_stream(stream, name) for name in self._known)

    def only(self, names: Collection[str]) -> Self:
        """Return the loader for some of the destinations.

        Raises:
            FatalError: One of them is not there (any more).
        """
        gone = sorted(set(names) - set(self.names))
        if gone:
            raise FatalError(
                f"there is no destination {gone[0]!r} in the contract; there are {', '.join(self.names)}",
                help="was it renamed or removed? give it its name back, or discard what was meant for it",
            )
        return self.of([item for item in self._items if item.name in names], self._known)

    def _with(self, loaders: Sequence[Loader]) -> Self:
        pairs = zip(self._items, loaders, strict=True)
        return self.of([replace(item, loader=loader) for item, loader in pairs], self._known)

    def delivery(self) -> Delivery:
        """Return the weakest promise of all."""
        return min((item.loader.delivery() for item in self._items), key=_WEAKEST.index)

    def places(self, base_dir: Path) -> tuple[Path, ...]:
        """Return what all of them write."""
        return tuple(place for item in self._items for place in item.loader.places(base_dir))

    async def open(self, ctx: WriteContext) -> Writer:
        """Refuse: each destination is opened for itself, with a stream of its own (``etlctl.engine.fanout``)."""
        raise FatalError(
            f"{', '.join(self.names)} are several destinations: the engine opens each of them for {ctx.stream}"
        )

    def additive(self) -> Loader:
        """Return the loader that adds to all of them."""
        return self._with([item.loader.additive() for item in self._items])

    def scratch(self, folder: Path, ctx: WriteContext) -> Self:
        """Return this loader with copies of all destinations in a folder; what shares a folder or a file goes on to."""
        parents: dict[str, Path] = {}
        made = []
        for item in self._items:
            own = item.loader.identity(ctx.base_dir)
            parent = str(Path(own[0]).parent) if own else f"of {item.name}"
            home = parents.setdefault(parent, folder / f"{len(parents)}")
            made.append(item.loader.scratch(home, ctx))
        return self._with(made)

    async def contents(self, ctx: WriteContext) -> Counter[str]:
        """Return how often each record is in which destination: its name stands in the field ``(destination)``."""
        found: Counter[str] = Counter()
        for item in self._items:
            for text, times in (await item.loader.contents(ctx)).items():
                found[_marked(item.name, text)] += times
        return found

    def packed(self) -> str:
        """Return the options of all destinations as JSON text, for ``unpacked``."""
        return json.dumps([item.loader.model_dump_json() for item in self._items])

    def unpacked(self, text: str) -> Self:
        """Return this loader with the options that ``packed`` of one of the same destinations returned."""
        pairs = zip(self._items, json.loads(text), strict=True)
        return self._with([type(item.loader).model_validate_json(options) for item, options in pairs])


def _stream(stream: str, name: str) -> str:
    return f"{stream}>{name}" if stream else ""


def _marked(name: str, text: str) -> str:
    record = json.loads(text)
    inside = record if isinstance(record, dict) else {"record": record}
    return json.dumps({MARK: name, **inside}, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
