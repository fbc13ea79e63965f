"""Requests for each record of another request: parent by parent, in order, the first pages of the next ones ahead."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.http.message import Request
from etlctl.kit.http.page import MISSING, Page, lookup
from etlctl.kit.http.paging import Paging, Place
from etlctl.kit.http.paging_walk import Ask, Step, Walk, begun


@frozen
class ChildStep:
    """A page of the answer for one parent.

    Attributes:
        index: Which parent of its page.
        parent: The parent's record.
        step: The page and where it stands.
    """

    index: int
    parent: Mapping[str, Any]
    step: Step


class Children:
    """Walks through the pages of each parent.

    Args:
        paging: Makes the way through the pages of one parent.
        walk: Makes the walk of one parent, given its paging and how to ask.
        ask: Sends a request and reads the page.
        concurrency: Parents whose first page is in flight at once.
    """

    def __init__(
        self,
        paging: Callable[[Mapping[str, Any]], Paging],
        walk: Callable[[Paging, Ask], Walk],
        ask: Ask,
        concurrency: int,
    ) -> None:
        self._paging = paging
        self._walk = walk
        self._ask = ask
        self._concurrency = concurrency

    async def steps(
        self, parents: Sequence[Mapping[str, Any]], first: int = 0, place: Place | None = None
    ) -> AsyncGenerator[ChildStep, None]:
        """Yield the pages of each parent, from a parent and a place among its pages on."""
        ahead: deque[_Begun] = deque()
        try:
            for index in range(first, len(parents)):
                while len(ahead) < self._concurrency and index + len(ahead) < len(parents):
                    ahead.append(
                        self._begin(parents[index + len(ahead)], place if not ahead and index == first else None)
                    )
                own = ahead.popleft()
                walk = self._walk(own.paging, own.ask)
                start, place = (place, None) if index == first else (None, None)
                async with aclosing(walk.steps(start)) as steps:
                    async for step in steps:
                        yield ChildStep(index, parents[index], step)
        finally:
            await asyncio.gather(*(one.cancel() for one in ahead), return_exceptions=True)

    def _begin(self, parent: Mapping[str, Any], place: Place | None) -> _Begun:
        paging = self._paging(parent)
        return _Begun(paging, place or paging.first(), self._ask)


class _Begun:
    """A parent whose first page is being fetched."""

    def __init__(self, paging: Paging, place: Place, ask: Ask) -> None:
        self.paging = paging
        self._ask = ask
        self._request = paging.request(place.at) if place.at is not None else None
        self._task = begun(ask(self._request, place.key)) if self._request is not None else None

    async def ask(self, request: Request, key: str | None) -> Page:
        """Return the page that is on its way already, or ask for another one."""
        task, self._task = self._task, None
        if task is not None and request == self._request:
            return await task
        return await self._ask(request, key)

    async def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def parents_of(page: Page) -> list[dict[str, Any]]:
    """Return the records of a page whose children are to be read."""
    found: list[dict[str, Any]] = []
    for chunk in page.chunks:
        found += chunk.frame.to_dicts() if chunk.frame is not None else chunk.records or []
    return found


def mark_of(parent: Mapping[str, Any]) -> str:
    """Return a fingerprint of a parent, to recognise it by when a run goes on."""
    text = json.dumps(parent, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def find_parent(parents: Sequence[Mapping[str, Any]], index: int, mark: str) -> int:
    """Return where the parent to go on with stands.

    Raises:
        FatalError: It is gone.
    """
    if index < len(parents) and mark_of(parents[index]) == mark:
        return index
    found = [place for place, parent in enumerate(parents) if mark_of(parent) == mark]
    if len(found) != 1:
        raise FatalError(
            f"the parents were changed since the run stopped: the one to go on with (number {index + 1:,} of its page) "
            "is not there any more",
            help="begin anew with: etlctl run … --restart",
        )
    return found[0]


def included(parent: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a parent that its children get.

    Args:
        parent: The parent.
        names: Field of the child → path in the parent.
    """
    values = ((name, lookup(parent, path)) for name, path in names.items())
    return {name: None if value is MISSING else value for name, value in values}


def refuse_collisions(page: Page, names: Mapping[str, str]) -> None:
    """Make sure that no child has a field of its own by the name of one it gets of its parent.

    Raises:
        FatalError: One has.
    """
    for record in _samples(page):
        taken = record.keys() & names.keys()
        if taken:
            name = min(taken)
            raise FatalError(
                f"{page.name}: the records have a field {name!r} of their own, and include would overwrite it",
                help=f"give the parent's another name, such as include: {{parent_{name}: {names[name]}}}",
            )


def _samples(page: Page) -> Iterator[Mapping[str, Any]]:
    for chunk in page.chunks:
        if chunk.frame is not None:
            yield dict.fromkeys(chunk.frame.columns)
        yield from chunk.records or ()
