"""How many records a source says it has, against how many were read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from etlctl.frozen import frozen
from etlctl.kit.http.page import MISSING, Page, lookup

_NAMES = ("total", "total_count", "totalCount", "total_records", "totalRecords", "total_results", "totalResults",
          "total_items", "totalItems")  # fmt: skip
_PLACES = ("meta", "metadata", "pagination", "paging", "page_info", "pageInfo", "_meta")
_PAGES = ("total_pages", "totalPages", "page_count", "pageCount", "last_page", "lastPage")
_HEADERS = ("X-Total-Count", "X-Total", "Total-Count")


@frozen
class Total:
    """What was said over all pages; the source may change while it is read.

    Attributes:
        least: The smallest number that was said.
        most: The largest one.
    """

    least: int
    most: int

    def widened(self, other: int) -> Total:
        """Return the range with another number in it."""
        return Total(min(self.least, other), max(self.most, other))


def stated_total(page: Page, path: str | None) -> int | None:
    """Return how many records there are in all, as the page says; None when it does not say so beyond doubt.

    Args:
        page: The page.
        path: Where it is said; None: a header or field with a name that means nothing else.
    """
    if path is not None:
        return _number(lookup(page.document, path))
    headers = page.response.headers
    told = {number for name in _HEADERS if (number := _number(headers.get(name))) is not None}
    told |= {number for value in _named(page.document, _NAMES) if (number := _number(value)) is not None}
    return told.pop() if len(told) == 1 else None


def stated_pages(page: Page) -> int | None:
    """Return how many pages there are in all, as the page says: good for not asking too far ahead, no more."""
    told = {number for value in _named(page.document, _PAGES) if (number := _number(value)) is not None}
    return told.pop() if len(told) == 1 else None


def _named(document: Any, names: tuple[str, ...]) -> Iterator[Any]:
    if not isinstance(document, dict):
        return
    for place in (document, *(document.get(name) for name in _PLACES)):
        if isinstance(place, dict):
            yield from (place[name] for name in names if name in place)


def _number(value: Any) -> int | None:
    if value is MISSING or value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else None
