"""Reads HTTP APIs: JSON, JSON lines, CSV and XML, page by page, with guards against answers that are cut short."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from etlctl.kit.http.options import HttpOptions
from etlctl.kit.http.paging_question import ChildRequests, Question, check_host
from etlctl.sdk import Batch, Example, Extractor, ReadContext


class Http(HttpOptions, Question, Extractor):
    """Reads records from an HTTP API, page by page, several pages in flight where the source allows it.

    A run that stopped goes on at the page it was at. By default the run fails rather than load what is cut short or
    doubled: a page that comes twice in a row, an answer without the records it should have, HTML or an error where
    JSON belongs, fewer records than the source says it has, a next page at another host.
    """

    url: str | None = Field(default=None, min_length=1)
    """Address, ``http`` or ``https``; ``{name}`` in its path or query is filled with that value of ``params`` or parameter of the contract."""  # noqa: E501
    base_url: str | None = None
    """Instead of ``url``: what all addresses of the API begin with."""
    api_endpoint: str | None = None
    """With ``base_url``: the rest of the address."""
    param_mapping: dict[str, str] = Field(default_factory=dict)
    """Names that parameters have in the query, where they are others: ``{symbol: ticker}``."""
    children: ChildRequests | None = None
    """Requests to make for each record, such as the orders of each customer."""
    path_fields: bool = True
    """Values filled into the path become fields of the records that have none of that name."""
    on_bad_record: Literal["reject", "fail"] = "reject"
    """What is no proper record goes to the dead letters (``reject``) or stops the run (``fail``)."""

    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Pages by number, a token from the environment",
            "url: https://api.example.com/v1/orders\n"
            "params: {status: open}\n"
            "auth: {type: bearer, token: '${env:API_TOKEN:-none}'}\n"
            "response_path: data.items\n"
            "pagination: {strategy: page, start_page: 1, page_size: 100}",
        ),
        Example(
            "Pages by a cursor, at most ten requests a second",
            "url: https://api.example.com/v1/orders/{account}\n"
            "params: {account: a17}\n"
            "pagination: {strategy: cursor, cursor_param: after, cursor_path: meta.next, max_pages: 10000}\n"
            "rate_limit: {requests: 10, per: 1}",
        ),
        Example(
            "The orders of each customer",
            "base_url: https://api.example.com/v1\n"
            "api_endpoint: customers\n"
            "pagination: {strategy: link_header}\n"
            "children: {url: '/customers/{id}/orders', include: {customer_id: id}}",
        ),
        Example(
            "A search that is posted, with the page in its body",
            "url: https://api.example.com/search\n"
            "method: POST\n"
            "body: {query: {status: open}}\n"
            "pagination: {strategy: offset, page_size: 500, size_param: size, offset_param: from, param_in: body}\n"
            "total_path: hits.total",
        ),
    )
    tabular: ClassVar[bool | None] = None
    sends_params: ClassVar[str | None] = "params"

    @model_validator(mode="after")
    def _addressed(self) -> Self:
        if self.url is not None and (self.base_url is not None or self.api_endpoint is not None):
            raise ValueError("url is the whole address; remove it, or base_url and api_endpoint")
        if self.url is None and not self.base_url:
            more = " before api_endpoint" if self.api_endpoint else ""
            raise ValueError(f"url is missing: give it, or base_url{more}")
        address = self.address
        if "${" not in address:
            scheme = urlsplit(address).scheme.lower()
            if scheme not in {"http", "https"}:
                raise ValueError(f"{address!r} is no address that begins with http:// or https://")
            if not urlsplit(address).hostname:
                raise ValueError(f"{address!r} names no host")
            check_host(address)
        return self

    @property
    def address(self) -> str:
        """The whole address, placeholders still in it."""
        if self.url is not None:
            return self.url
        base, rest = self.base_url or "", self.api_endpoint or ""
        return f"{base.rstrip('/')}/{rest.lstrip('/')}" if rest and not rest.startswith("?") else base + rest

    async def read(self, ctx: ReadContext) -> AsyncIterator[Batch]:
        """Yield the records page by page; the next pages are on their way meanwhile."""
        from etlctl.kit.http.cassette import Cassette  # noqa: PLC0415
        from etlctl.kit.http.client import Client  # noqa: PLC0415
        from etlctl.kit.http.paging_reading import Reading, Source  # noqa: PLC0415

        source = Source(
            question=self,
            address=self.address,
            base_url=self.base_url,
            children=self.children,
            param_mapping=self.param_mapping,
            allow_hosts=self.allow_hosts,
            path_fields=self.path_fields,
            fail_on_bad=self.on_bad_record == "fail",
        )
        cassette = Cassette.of(ctx.cassette, ctx.cassette_mode, ctx.run_id)
        async with Client(self, home=self.address, ctx=ctx, cassette=cassette) as client:
            reading = Reading(source, client.send, ctx, clean=client.clean_url)
            async with aclosing(reading.batches(ctx.position)) as batches:
                async for batch in batches:
                    yield batch
