"""From the body of a response to records: which format it has, and who reads it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from etlctl.errors import FatalError
from etlctl.kit.codecs import format_of, reader_for
from etlctl.kit.codecs.reading import Chunk
from etlctl.kit.http.message import Response
from etlctl.kit.http.page import Page, Shape, mark_of_bytes, name_of
from etlctl.kit.http.records_json import read_json
from etlctl.kit.sources import OpenSource

Format: TypeAlias = Literal["json", "jsonl", "csv", "xml", "text"]

_NO_CONTENT = 204
_BOM = b"\xef\xbb\xbf"
_TYPES: tuple[tuple[str, Format], ...] = (
    ("ndjson", "jsonl"),
    ("jsonl", "jsonl"),
    ("json-seq", "jsonl"),
    ("json", "json"),
    ("csv", "csv"),
    ("xml", "xml"),
)


def read_page(response: Response, shape: Shape, key: str | None = None) -> Page:
    """Read the records of a response. Takes time; meant for a thread.

    Args:
        response: The response, one that says it is good.
        shape: How to read it.
        key: Field that the records of the page before were found under.

    Raises:
        FatalError: The body is not what was asked for; the message shows its beginning.
    """
    body = response.body
    page = Page(_without_body(response), size=len(body))
    if response.status == _NO_CONTENT or (not body.strip() and _told(response) not in {"json", "xml"}):
        return page
    format_ = _format(response, shape)
    if format_ == "json":
        read_json(page, _utf8(response), shape, key)
    elif format_ == "text":
        page.chunks = [Chunk([{"text": _utf8(response).decode("utf-8", "replace")}], None, {})]
    else:
        page.chunks = list(_chunks(response, format_, shape))
    if format_ != "json":
        page.mark, page.again = mark_of_bytes(body), lambda: body
    page.count = sum(len(chunk) + len(chunk.unreadable) for chunk in page.chunks)
    return page


def _without_body(response: Response) -> Response:
    return Response(response.status, response.url, response.headers, b"", response.replayed, response.request)


def _chunks(response: Response, format_: Literal["jsonl", "csv", "xml"], shape: Shape) -> Iterator[Chunk]:
    options = {"record": shape.path} if format_ == "xml" and shape.path else {}
    if format_ == "csv" and (charset := _charset(response)) is not None:
        options["encoding"] = charset
    reader = reader_for(format_, options, chunk_bytes=shape.chunk_bytes, chunk_rows=shape.chunk_rows)
    body = response.body
    source = OpenSource(name_of(response), None, compressed=False, size=len(body), opener=lambda: io.BytesIO(body))
    yield from reader.chunks(source, None)


# --- formats -----------------------------------------------------------------------------------------------------


def _format(response: Response, shape: Shape) -> Format:
    told = _told(response)
    if shape.format == "text":
        return "text"
    if told == "html" or _looks_like_html(response.body):
        wanted = "JSON" if shape.format == "auto" else shape.format.upper()
        raise FatalError(
            f"{name_of(response)} answered {response.status} with an HTML page where {wanted} was expected: "
            f"{shape.quoted(response.body)}",
            help="a sign-in or an error page, most likely: look at url, auth and headers; response_format: text "
            "takes it as it is",
        )
    if shape.format != "auto":
        return shape.format
    if told is not None:
        return told
    by_name = format_of(urlsplit(response.url).path)
    if by_name in {"json", "jsonl", "csv", "xml"}:
        return by_name
    first = response.body.lstrip(_BOM + b" \t\r\n")[:1]
    if first in {b"{", b"["}:
        return "json"
    if first == b"<":
        return "xml"
    raise FatalError(
        f"{name_of(response)}: nothing tells the format of the answer ({response.headers.get('Content-Type')!r}): "
        f"{shape.quoted(response.body)}",
        help="set response_format: json, jsonl, csv, xml or text",
    )


def _told(response: Response) -> Format | Literal["html"] | None:
    """Return the format that the server tells, ``html`` among them; None when it tells none."""
    media = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media in {"text/html", "application/xhtml+xml"}:
        return "html"
    return next((name for word, name in _TYPES if word in media), None)


def _looks_like_html(body: bytes) -> bool:
    start = body[:200].lstrip(_BOM + b" \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _charset(response: Response) -> str | None:
    """Return the encoding that the server tells, unless it is UTF-8."""
    for part in response.headers.get("Content-Type", "").split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            told = value.strip(" \"'").lower()
            return None if told in {"", "utf-8", "utf8", "us-ascii"} else told
    return None


def _utf8(response: Response) -> bytes:
    body, charset = response.body, _charset(response)
    if charset is not None:
        try:
            body = body.decode(charset).encode("utf-8", "surrogatepass")
        except (LookupError, UnicodeError) as error:
            raise FatalError(f"{name_of(response)}: the answer is not the {charset} text it says: {error}") from error
    return body.removeprefix(_BOM)
