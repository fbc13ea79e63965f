"""Sends records to an HTTP interface, each batch kept in an outbox before the first request leaves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from etlctl.kit.http.options import HttpOptions
from etlctl.sdk import CommitToken, Delivery, Example, FatalError, Loader, WriteContext, Writer
from etlctl.sdk.outgoing.options import Answers, Idempotency, shape_problem

_DEFAULT_BATCH = 100
_BODILESS = ("DELETE",)


class Http(HttpOptions, Loader):
    """Sends records to an HTTP interface: one request for each record, or for several.

    The requests of a batch are kept in the state store, byte for byte, before the first of them is sent, and what
    became of each is noted. After a crash those without an outcome are sent again with the same bytes and the same
    ``Idempotency-Key``, so that a server that honours it has every record once; those with one are not sent again.
    ``${field}`` in ``url``, ``body`` and ``batch_body`` is a field of the record; parameters and the environment are
    ``${param:NAME}`` and ``${env:NAME}`` there. Requests are sent as their batch comes, in every ``processing_mode``:
    what was sent cannot be taken back.
    """

    url: str = Field(min_length=1)
    """Address: ``https://api.example.com/people/${id}``. The value of a field is quoted, so that it cannot leave its place."""  # noqa: E501
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    """HTTP method."""
    mode: Literal["record", "batch"] = "record"
    """One request for each record, or for several of them."""
    records_per_request: int | None = Field(default=None, ge=1, le=100_000)
    """With ``mode: batch``: records in one request at most; 100 when left out."""
    body: Any = None
    """What is sent of a record: text, a mapping or a list with ``${field}`` in it. A text that is exactly one ``${field}`` keeps the type of the value. The whole record when left out (with ``DELETE``: nothing)."""  # noqa: E501
    records_key: str | None = Field(default=None, min_length=1)
    """With ``mode: batch``: the key of the list of records in the body; the body is the list itself when left out."""
    batch_body: dict[str, Any] | None = None
    """With ``mode: batch``: the body, with ``${records}`` where the list of records stands. Instead of ``records_key``."""  # noqa: E501
    idempotency: Idempotency | Literal[False] = Field(default_factory=Idempotency)
    """How a request that is sent again is recognised; ``false`` for a server that knows no such thing: then a request may arrive twice when a connection breaks or the process dies."""  # noqa: E501
    concurrency: int = Field(default=4, ge=1, le=64)
    """Requests that may be on their way at once. Those of the same record (``idempotency.fields``), else of the same address with fields in it, are sent one after another; without either the order within a batch is free."""  # noqa: E501
    response: Answers = Field(default_factory=Answers)
    """What an answer says of the records."""

    keeps_requests: ClassVar[bool] = True
    record_templates: ClassVar[tuple[str, ...]] = ("url", "body", "batch_body")

    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Change each person where it is",
            "url: https://api.example.com/people/${id}\nmethod: PUT\n"
            "body: {name: \"${name}\", tags: [imported], age: \"${age}\"}\n"
            "auth: {type: bearer, token: example-token}\nidempotency: {fields: id}\nrate_limit: {requests: 50, per: 1}",
        ),
        Example(
            "Several records in one request, and an answer that tells of each",
            "url: https://api.example.com/v1/events\nmode: batch\nrecords_per_request: 500\nrecords_key: events\n"
            "response: {results_path: results, status_path: status, message_path: error}",
        ),
        Example(
            "A body of its own, and only errors in the answer",
            "url: https://api.example.com/bulk\nmode: batch\nbatch_body: {source: shop, items: \"${records}\"}\n"
            "response: {results_path: errors, index_path: index, message_path: reason}",
        ),
        Example("Delete, where it is fine that it is gone already", "url: https://api.example.com/people/${id}\n"
                "method: DELETE\nresponse: {success: [200, 204, 404]}"),
    )  # fmt: skip

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problem = shape_problem(
            self.url, self.mode, self.response, body=self.body, records_key=self.records_key,
            batch_body=self.batch_body, per_request=self.records_per_request,
        )  # fmt: skip
        if problem is not None:
            raise ValueError(problem)
        return self

    def delivery(self) -> Delivery:
        """Return what the idempotency key makes of it, given a server that honours it."""
        return Delivery.at_least_once if self.idempotency is False else Delivery.idempotent_with_key

    def fields_read(self) -> dict[str, set[str]]:
        """Return the fields that templates and the key name."""
        from etlctl.sdk.outgoing.templates import fields_of  # noqa: PLC0415

        key = self.idempotency
        named = set(key.names) if isinstance(key, Idempotency) else set()
        return {"url": fields_of(self.url), "body": fields_of(self.body), "idempotency": named}

    def identity(self, base_dir: Path) -> tuple[str, ...] | None:  # noqa: ARG002
        """Two destinations may well send different things to the same address."""
        return None

    async def held(self, ctx: WriteContext) -> CommitToken | None:
        """Return the token of the stream, also that of a batch which was only half sent."""
        tokens = await self._tokens(ctx)
        return next((token for token in tokens if token.stream == ctx.stream), None)

    async def unfinished(self, ctx: WriteContext) -> Sequence[CommitToken]:
        """Return the tokens of the contract's unfinished runs in the outbox."""
        return [token for token in await self._tokens(ctx) if not token.finished]

    @staticmethod
    async def _tokens(ctx: WriteContext) -> Sequence[CommitToken]:
        return await ctx.run_cpu(ctx.outbox.tokens, ctx.stream) if ctx.outbox is not None else ()

    async def forget(self, ctx: WriteContext, streams: Collection[str]) -> None:
        """Forget the requests of unfinished runs of these streams."""
        if ctx.outbox is not None:
            await ctx.run_cpu(ctx.outbox.discard, streams, ctx.fence)

    def additive(self) -> Self:
        """Return the loader itself: it only ever adds."""
        return self

    def scratch(self, folder: Path, ctx: WriteContext) -> Self:  # noqa: ARG002
        """Refuse: only the real server knows what its requests do.

        Raises:
            FatalError: Always.
        """
        raise FatalError(
            f"what {self.method} {self.url} does is known to its server only, so it cannot be tried out on a copy",
            help="look at what would be sent with: etlctl preview …; or load into a file for a trial",
        )

    async def open(self, ctx: WriteContext) -> Writer:
        """Get ready to send.

        Raises:
            FatalError: The options cannot be used, such as a file of certificates that is not there.
        """
        from etlctl.sdk.dry_writer import DryWriter  # noqa: PLC0415

        if ctx.dry_run:
            return DryWriter()
        from etlctl.kit.http.client import Client  # noqa: PLC0415 - loads aiohttp, which only a run needs
        from etlctl.sdk.outgoing.judging import Judge  # noqa: PLC0415
        from etlctl.sdk.outgoing.making import Maker, Shape  # noqa: PLC0415
        from etlctl.sdk.outgoing.templates import RECORDS, UrlTemplate  # noqa: PLC0415
        from etlctl.sdk.outgoing.writer import Dispatch, RequestWriter, sender_of  # noqa: PLC0415

        url, key = UrlTemplate(self.url), self.idempotency
        has_body = self.method not in _BODILESS or self.body is not None or self.mode == "batch"
        shape = Shape(
            method=self.method,
            url=url,
            mode=self.mode,
            per_request=self.records_per_request or _DEFAULT_BATCH,
            body=self.body,
            batch_body={self.records_key: RECORDS} if self.records_key is not None else self.batch_body,
            has_body=has_body,
            key_fields=key.names if isinstance(key, Idempotency) else (),
            keyed=isinstance(key, Idempotency),
            headers={} if not has_body or _has_type(self.headers) else {"Content-Type": "application/json"},
        )
        header = key.header if isinstance(key, Idempotency) else ""
        client = Client(self, home=url.home, ctx=ctx)
        await client.__aenter__()
        judge = Judge(self.response, self.retry.retry_on_status)
        return RequestWriter(
            ctx, Maker(shape, sender_of(ctx)), judge, Dispatch(self.url, header, self.concurrency), client
        )


def _has_type(headers: Collection[str]) -> bool:
    return any(name.lower() == "content-type" for name in headers)
