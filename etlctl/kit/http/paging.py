"""From one page to the next: what to ask for, when the pages are over, and what must not happen on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any
from urllib.parse import urljoin, urlsplit

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.http.message import Request
from etlctl.kit.http.page import MISSING, Page, lookup
from etlctl.kit.http.paging_links import next_link
from etlctl.kit.http.paging_options import Pagination
from etlctl.kit.http.paging_request import Asking
from etlctl.kit.http.paging_totals import Total, stated_pages, stated_total

_SURE_AFTER = 4
"""Full pages in a row before more than one is asked for: a source of few pages is asked as often as needed, no more."""
_VERSION = 1


@frozen
class Place:
    """Where one is among the pages: everything needed to go on from there.

    Attributes:
        at: Which page comes next, ``{"page": 3}``, ``{"offset": 20}``, ``{"cursor": "…"}``, ``{"url": "…"}``; or None.
        pages: Pages read.
        records: Records read.
        full: A page was seen that was as full as asked for.
        last: Records of the last page.
        mark: Fingerprint of the last page.
        key: Field that the records were found under.
        total: How many records there are, as the pages said.
        cut: The pages were ended on purpose before there were no more.
        left: Pages that still follow, as far as that is known; not kept.
    """

    at: Mapping[str, Any] | None
    pages: int = 0
    records: int = 0
    full: bool = False
    last: int | None = None
    mark: str = ""
    key: str | None = None
    total: Total | None = None
    cut: bool = False
    left: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the place as it stands in positions."""
        total = [self.total.least, self.total.most] if self.total is not None else None
        kept = {
            "pages": self.pages,
            "records": self.records,
            "full": self.full,
            "last": self.last,
            "mark": self.mark,
            "key": self.key,
            "total": total,
            "cut": self.cut,
        }
        at = dict(self.at) if self.at is not None else None
        return {"v": _VERSION, "at": at, **{name: value for name, value in kept.items() if value}}

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Place:
        """Return the place of a position.

        Raises:
            FatalError: It was written by another version.
        """
        if data.get("v") != _VERSION:
            raise FatalError(
                f"the position in the checkpoint has version {data.get('v')!r}, and this etlctl reads {_VERSION}",
                help="resume with the version of etlctl that began the run, or begin anew with --restart",
            )
        kept = {name: value for name, value in data.items() if name not in {"v", "total"}}
        return cls(**kept, total=Total(*data["total"]) if data.get("total") else None)


class Paging:
    """The way through the pages of one question.

    Args:
        options: How pages follow each other.
        asking: The question.
        total_path: Where the number of all records is said.
        may_follow: Returns an address that a page names, fit to be kept; raises when it must not be followed.
    """

    def __init__(
        self,
        options: Pagination,
        asking: Asking,
        *,
        total_path: str | None = None,
        may_follow: Callable[[str], str] = lambda url: url,
    ) -> None:
        self._options = options
        self._asking = asking
        self._total_path = total_path
        self._may_follow = may_follow
        self._kind = options.kind
        self._max_pages, self._max_records = options.limit("max_pages"), options.limit("max_records")
        fields = asking.form if asking.form is not None else asking.body
        given = fields if options.param_in == "body" and isinstance(fields, Mapping) else asking.params
        self._size = options.full_page(given)

    @property
    def concurrency(self) -> int:
        """Pages that may be in flight at once."""
        return self._options.concurrency if self._kind in {"page", "offset"} else 1

    @property
    def max_records(self) -> int | None:
        """Records that are wanted at most."""
        return self._max_records

    @property
    def stop_on_status(self) -> list[int]:
        """Statuses that mean that there is no such page."""
        return self._options.stop_on_status

    def first(self) -> Place:
        """Return the place before the first page."""
        if self._kind in {"page", "offset"}:
            return Place({self._kind: self._options.start})
        return Place({})

    def request(self, at: Mapping[str, Any]) -> Request:
        """Return the request for a page."""
        if "url" in at:
            return self._asking.follow(at["url"])
        added: dict[str, Any] = {}
        if self._options.page_size is not None:
            added[self._options.size_param] = self._options.page_size
        if at:
            added[self._options.param] = at[self._kind]
        return self._asking.request(added, in_body=self._options.param_in == "body")

    def ahead(self, place: Place) -> list[Mapping[str, Any]]:
        """Return the pages that are worth asking for now: the next one, and those that probably follow."""
        if place.at is None:
            return []
        found = [place.at]
        sure = place.left is not None or (place.full and place.pages >= _SURE_AFTER)
        step = self._options.increment if self._kind == "page" else self._size or place.last or 0
        if not sure or not step or self.concurrency == 1:
            return found
        count = min(self.concurrency, place.left if place.left is not None else self.concurrency)
        if self._max_pages is not None:
            count = min(count, self._max_pages - place.pages)
        start = int(place.at[self._kind])
        return found + [{self._kind: start + number * step} for number in range(1, count)]

    def after(self, place: Place, page: Page) -> Place:
        """Return the place after a page.

        Raises:
            FatalError: The page points nowhere one could or should go.
        """
        full = place.full or page.count >= (self._size or 1)
        total = stated_total(page, self._total_path)
        known = place.total.widened(total) if place.total and total is not None else place.total
        went = replace(
            place,
            at=None,
            pages=place.pages + 1,
            records=place.records + page.count,
            full=full,
            last=page.count,
            mark=page.mark if page.count else place.mark,
            key=page.key or place.key,
            total=known or (Total(total, total) if total is not None else None),
            left=None,
        )
        if self._kind == "none":
            return went
        if self._is_enough(went, page):
            return replace(went, cut=True)
        if self._is_last(place, page):
            return went
        return replace(went, at=self._next(place, page), left=self._left(went, page))

    def _is_enough(self, went: Place, page: Page) -> bool:
        if self._max_pages is not None and went.pages >= self._max_pages:
            return True
        if self._max_records is not None and went.records >= self._max_records:
            return True
        return any(self._truthy(index, page) for index in range(len(self._conditions)))

    @cached_property
    def _conditions(self) -> list[Callable[[Any], Any]]:
        from etlctl import jsonata  # noqa: PLC0415

        return [jsonata.compile(text).prepared() for text in self._options.expressions]

    def _truthy(self, index: int, page: Page) -> bool:
        from etlctl import jsonata  # noqa: PLC0415

        try:
            return bool(jsonata.truthy(self._conditions[index](page.document)))
        except jsonata.JsonataError as error:
            text = self._options.expressions[index]
            raise FatalError(f"the stop condition {text!r} fails on {page.name}: {error}") from error

    def _is_last(self, place: Place, page: Page) -> bool:
        """Tell whether a page is the last one, by what it holds."""
        counted = self._kind in {"page", "offset"}
        if page.count == 0 and (counted or self._options.stops_at("empty_response")):
            # Many count from 1 and have nothing to say of page 0.
            unsure = self._kind == "page" and not self._options.start_is_given and place.pages == 0
            return not (unsure and self._options.start == 0)
        short = self._size is not None and page.count < self._size
        if self._options.stops_at("fewer_records"):
            return short
        # A first page that is not full may be all the server gives at once: only after a full one is it the last.
        return short and counted and place.full and not self._options.stop_conditions

    def _next(self, place: Place, page: Page) -> Mapping[str, Any] | None:
        at = place.at or {}
        if self._kind == "page":
            return {"page": int(at["page"]) + self._options.increment}
        if self._kind == "offset":
            return {"offset": int(at["offset"]) + page.count}
        if self._kind == "cursor":
            found = self._token(page)
            return None if found is None else {"cursor": found}
        link = next_link(page) if self._kind == "link_header" else self._address(page)
        if not link:
            return None
        url = urljoin(page.response.url, link)
        return {"url": self._may_follow(url)}

    def _token(self, page: Page) -> str | int | None:
        path = self._options.token_path or ""
        more = self._options.has_more_path
        if more is not None and not _truth(lookup(page.document, more)):
            return None
        found = lookup(page.document, path)
        if found is MISSING or found is None or found is False or found == "":
            return None
        if isinstance(found, bool | float | dict | list):
            raise FatalError(f"{page.name}: the token at cursor_path {path!r} is no text and no number: {found!r}")
        return str(found) if not isinstance(found, int) else found

    def _address(self, page: Page) -> str | None:
        path = self._options.address_path
        found = lookup(page.document, path)
        if found is MISSING or found is None or found is False or found == "":
            return None
        if not isinstance(found, str):
            raise FatalError(f"{page.name}: the address at next_path {path!r} is no text: {found!r}")
        return found

    def _left(self, went: Place, page: Page) -> int | None:
        """Return how many pages follow, when the page tells."""
        if self._kind not in {"page", "offset"}:
            return None
        if went.total is not None and went.last:
            return max(1, -(-(went.total.most - went.records) // went.last))
        pages = stated_pages(page)
        return max(1, pages - went.pages) if pages is not None else None


def _truth(value: Any) -> bool:
    return value is not MISSING and value not in {None, False, "", "false"}


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of an address."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(scheme)
