"""The reading of an HTTP source: requests, pages, children of pages, batches, and the position after each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from etlctl.batch import Batch, Position
from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.http.message import Request, Response
from etlctl.kit.http.page import Page, Shape
from etlctl.kit.http.paging import Paging, Place, origin_of
from etlctl.kit.http.paging_batches import Gathering, with_fields, without_first
from etlctl.kit.http.paging_children import (
    Children,
    ChildStep,
    find_parent,
    included,
    mark_of,
    parents_of,
    refuse_collisions,
)
from etlctl.kit.http.paging_links import next_link
from etlctl.kit.http.paging_options import NO_PAGINATION
from etlctl.kit.http.paging_question import ChildRequests, Question
from etlctl.kit.http.paging_request import Asking, filled_url, filled_value, placeholders
from etlctl.kit.http.paging_walk import Ask, Step, Walk
from etlctl.kit.http.records import read_page

_WAITING_CHUNKS = 4
"""How many chunks' worth of bodies may wait for their turn."""


@frozen(kw_only=True)
class Source:
    """What is read.

    Attributes:
        question: The outer request.
        address: Its address, placeholders still in it.
        base_url: What all addresses of the API begin with, if that is known.
        children: Requests for each record.
        param_mapping: Names that parameters have in the query, where they are others.
        allow_hosts: Other hosts that may be asked.
        path_fields: Values filled into the path become fields of the records.
        fail_on_bad: What is no proper record ends the run.
    """

    question: Question
    address: str
    base_url: str | None = None
    children: ChildRequests | None = None
    param_mapping: Mapping[str, str] = field(default_factory=dict)
    allow_hosts: Sequence[str] = ()
    path_fields: bool = True
    fail_on_bad: bool = False


class Around(Protocol):
    """What the reading needs of the context."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Parameters of the run."""

    @property
    def step(self) -> str:
        """Name of the place in the contract."""

    @property
    def chunk_bytes(self) -> int:
        """Bytes worth reading at once."""

    @property
    def batch_size(self) -> int:
        """Records per batch."""

    @property
    def conceals(self) -> bool:
        """Messages must not quote records."""

    @property
    def defers(self) -> bool:
        """Batches may be deferred."""

    @property
    def base_dir(self) -> Path:
        """The contract's folder."""

    @property
    def warn(self) -> Callable[[str], None]:
        """Reports something the user should know."""


class Reading:
    """One reading of an HTTP source.

    Args:
        source: The options.
        send: Sends a request.
        ctx: The run.
        clean: Takes credentials out of an address that will be kept.
    """

    def __init__(
        self,
        source: Source,
        send: Callable[[Request], Awaitable[Response]],
        ctx: Around,
        *,
        clean: Callable[[str], str] = lambda url: url,
    ) -> None:
        self._source = source
        self._send = send
        self._ctx = ctx
        self._clean = clean
        self._question = source.question
        self._values = {**ctx.params, **source.question.params}
        self._home = filled_url(source.address, self._values)
        self._path_values = {name: self._values[name] for name in placeholders(source.address)}
        self._gathering = Gathering(
            ctx.step, ctx.batch_size, fail=source.fail_on_bad, conceals=ctx.conceals, defers=ctx.defers
        )

    async def batches(self, position: Position | None) -> AsyncGenerator[Batch, None]:
        """Yield batches from a position on."""
        start = Place.of_json(position["place"]) if position else None
        rest: Mapping[str, Any] | None = position
        walk = self._walk(self._question, self._paging(self._question, self._asking()), self._ask(self._question))
        child = self._source.children
        read = self._records if child is None else partial(self._of_children, child)
        async with aclosing(walk.steps(start)) as steps:
            async for step in steps:
                async with aclosing(read(step, rest)) as batches:
                    async for batch in batches:
                        yield batch
                rest = None
        for batch in self._gathering.rest():
            yield batch

    async def _records(self, step: Step, rest: Mapping[str, Any] | None) -> AsyncGenerator[Batch, None]:
        """Yield the records of a page, without those that a position says were read."""
        skipped = int(rest.get("skip", 0)) if rest else 0
        page = without_first(step.page, skipped) if skipped else step.page
        if self._source.path_fields:
            with_fields(page, self._path_values)
        self._note_more(step)
        before = step.before.to_json()
        for batch in self._gathering.add(
            page, {"place": step.after.to_json()}, lambda done: {"place": before, "skip": skipped + done}
        ):
            yield batch

    def _note_more(self, step: Step) -> None:
        """Say that there seem to be more pages when nobody said anything about pages."""
        if self._question.pagination is None and next_link(step.page) is not None:
            self._ctx.warn(
                f"{step.page.name} says that another page follows (Link header), and only this one is read: "
                "set pagination: {strategy: link_header}, or {strategy: none} to have only the first page"
            )

    async def _of_children(
        self, child: ChildRequests, step: Step, rest: Mapping[str, Any] | None
    ) -> AsyncGenerator[Batch, None]:
        """Yield the records of the children of a page of parents."""
        parents = await asyncio.to_thread(parents_of, step.page)
        for batch in self._unreadable_parents(step):
            yield batch
        first, place, skip = 0, None, 0
        if rest and "parent" in rest and parents:
            first = find_parent(parents, int(rest["parent"]), rest["mark"])
            place = Place.of_json(rest["child"]) if rest.get("child") else None
            skip = int(rest.get("skip", 0))
        walk = lambda paging, ask: self._walk(child, paging, ask)  # noqa: E731
        children = Children(
            lambda parent: self._paging(child, self._asking_of(child, parent)),
            walk,
            self._ask(child),
            child.concurrency,
        )
        async with aclosing(children.steps(parents, first, place)) as steps:
            async for found in steps:
                page = without_first(found.step.page, skip) if skip else found.step.page
                refuse_collisions(page, child.names)
                with_fields(page, included(found.parent, child.names))
                positions = _Positions(step, parents, found, skip)
                for batch in self._gathering.add(page, positions.after(), positions.between):
                    yield batch
                skip = 0
        if not parents:
            for batch in self._gathering.add(Page(step.page.response), {"place": step.after.to_json()}, _nowhere):
                yield batch

    def _unreadable_parents(self, step: Step) -> list[Batch]:
        bad = [one for chunk in step.page.chunks for one in chunk.unreadable]
        if not bad:
            return []
        first = bad[0]
        raise FatalError(
            f"{step.page.name}: {first.message} ({first.rule}), and its children cannot be asked for",
            help="set response_path to where the parents are",
        )

    # --- asking ------------------------------------------------------------------------------------------------------

    def _asking(self) -> Asking:
        question = self._question
        named = self._source.param_mapping
        own = {name: value for name, value in question.params.items() if name not in self._path_values}
        params = {named.get(name, name): value for name, value in own.items()}
        return Asking(question.method, self._home, params, {}, body=question.body, form=question.form)

    def _asking_of(self, child: ChildRequests, parent: Mapping[str, Any]) -> Asking:
        values = {**self._ctx.params, **parent}
        return Asking(
            child.method,
            self._child_url(child.url, parent, values),
            filled_value(child.params, values),
            {},
            body=filled_value(child.body, values),
            form=filled_value(child.form, values),
        )

    def _child_url(self, template: str, parent: Mapping[str, Any], values: Mapping[str, Any]) -> str:
        if template.startswith("{") and placeholders(template) == [template[1:-1]]:
            url = filled_value(template, parent)
            if not isinstance(url, str) or urlsplit(url).scheme.lower() not in {"http", "https"}:
                raise FatalError(f"the parent's field {template} holds no address: {url!r}")
            return self._may_follow(url)
        if template.startswith("/"):
            scheme, host = urlsplit(self._home)[:2]
            base = self._source.base_url or f"{scheme}://{host}"
            template = base.rstrip("/") + template
        return self._may_follow(filled_url(template, values))

    def _may_follow(self, url: str) -> str:
        """Return an address to go on with, without credentials; refuse one at another host than the contract names.

        Raises:
            FatalError: It is not to be followed.
        """
        there, home = origin_of(url), origin_of(self._home)
        allowed = {host.lower() for host in self._source.allow_hosts}
        if there == home or (there[1] in allowed and there[0] in {"http", "https"}):
            return self._clean(url)
        where = f"{there[0]}://{there[1]}" + (f":{there[2]}" if there[2] not in {None, 80, 443} else "")
        raise FatalError(
            f"{home[0]}://{home[1]} names a next address at {where}, which is not where the contract reads; "
            "it was not followed",
            help=f"if it belongs to the same API, name it: allow_hosts: [{there[1] or '…'}]"
            if there[0] in {"http", "https"}
            else "only http and https addresses are followed",
        )

    def _paging(self, question: Question, asking: Asking) -> Paging:
        return Paging(
            question.pagination or NO_PAGINATION,
            asking,
            total_path=question.total_path,
            may_follow=self._may_follow,
        )

    def _walk(self, question: Question, paging: Paging, ask: Ask) -> Walk:
        pages = question.pagination
        return Walk(
            paging,
            ask,
            budget=_WAITING_CHUNKS * self._ctx.chunk_bytes,
            on_repeat=pages.on_repeated_page if pages is not None else "fail",
            on_total="warn" if pages is not None and pages.kind == "none" else question.on_total_mismatch,
            warn=self._ctx.warn,
        )

    def _ask(self, question: Question) -> Ask:
        paged = question.pagination is not None and question.pagination.kind != "none"
        shape = Shape(
            question.response_format,
            question.response_path,
            paged,
            chunk_bytes=self._ctx.chunk_bytes,
            chunk_rows=self._ctx.batch_size,
            conceals=self._ctx.conceals,
        )

        async def ask(request: Request, key: str | None) -> Page:
            response = await self._send(request)
            return await asyncio.to_thread(read_page, response, shape, key)

        return ask


class _Positions:
    """Where to go on after a page of a parent, or inside it."""

    def __init__(self, step: Step, parents: list[dict[str, Any]], found: ChildStep, skip: int) -> None:
        self._step = step
        self._parents = parents
        self._found = found
        self._skip = skip

    def after(self) -> Mapping[str, Any]:
        """After the page: this parent's next one, the next parent, or the next page of parents."""
        index, place = self._found.index, self._found.step.after
        if place.at is not None:
            return self._at(index, place)
        if index + 1 < len(self._parents):
            return self._at(index + 1, None)
        return {"place": self._step.after.to_json()}

    def between(self, done: int) -> Mapping[str, Any]:
        """Inside the page, after so many of its source records."""
        return {**self._at(self._found.index, self._found.step.before), "skip": self._skip + done}

    def _at(self, index: int, place: Place | None) -> dict[str, Any]:
        found = {"place": self._step.before.to_json(), "parent": index, "mark": mark_of(self._parents[index])}
        return found if place is None else {**found, "child": place.to_json()}


def _nowhere(_done: int) -> Mapping[str, Any]:
    return {}
