"""Walks through pages in order, several in flight, and stops where going on would lose or double records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.codecs.reading import Chunk
from etlctl.kit.http.message import Request
from etlctl.kit.http.page import Page
from etlctl.kit.http.paging import Paging, Place

OnTrouble: TypeAlias = Literal["fail", "warn"]
At: TypeAlias = Mapping[str, Any]
"""Which page: ``{"page": 3}``, ``{"cursor": "…"}`` and so on."""
_Key: TypeAlias = tuple[tuple[str, Any], ...]
Ask: TypeAlias = Callable[[Request, str | None], Awaitable[Page]]
"""Sends a request and reads the page; told under which field the records of the page before were found."""


@frozen
class Step:
    """A page that was read.

    Attributes:
        page: The page.
        before: The place it stands at.
        after: The place after it.
    """

    page: Page
    before: Place
    after: Place


class InFlight:
    """Pages that were asked for and not taken yet, by what was asked.

    Args:
        request: Makes the request for a page.
        ask: Sends a request and reads the page.
        budget: Bytes of bodies that may wait.
    """

    def __init__(self, request: Callable[[At], Request], ask: Ask, budget: int) -> None:
        self._request = request
        self._ask = ask
        self._budget = budget
        self._tasks: dict[_Key, asyncio.Future[Page]] = {}
        self._largest = 1

    def expect(self, wanted: Iterable[At], key: str | None) -> None:
        """Ask for pages that are not asked for yet, as far as there is room; forget those that are not wanted."""
        named = {_key(at): at for at in wanted}
        for name in [name for name in self._tasks if name not in named]:
            self._tasks.pop(name).cancel()
        room = max(1, self._budget // self._largest)
        for name, at in list(named.items())[:room]:
            if name not in self._tasks:
                self._tasks[name] = begun(self._ask(self._request(at), key))

    async def take(self, at: At) -> Page:
        """Wait for a page that was asked for."""
        name = _key(at)
        page = await self._tasks[name]
        del self._tasks[name]
        self._largest = max(self._largest, page.size)
        return page

    async def close(self) -> None:
        """Give up what is still in flight."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Walk:
    """The pages of one question, in order.

    Args:
        paging: The way from page to page.
        ask: Sends a request and reads the page.
        budget: Bytes of bodies that may wait.
        on_repeat: What a page that is the same as the one before means.
        on_total: What happens when fewer records were read than there are said to be.
        warn: Reports something the user should know.
    """

    def __init__(
        self,
        paging: Paging,
        ask: Ask,
        *,
        budget: int = 32 << 20,
        on_repeat: Literal["fail", "stop", "allow"] = "fail",
        on_total: OnTrouble = "fail",
        warn: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self._paging = paging
        self._flight = InFlight(paging.request, ask, budget)
        self._on_repeat = on_repeat
        self._on_total = on_total
        self._warn = warn
        self._seen: set[int] = set()

    async def steps(self, start: Place | None = None) -> AsyncGenerator[Step, None]:
        """Yield the pages from a place on; the next ones are fetched while one is worked on.

        Raises:
            RetryableError: The source may answer later.
            FatalError: It will not, or the pages do not come to an end, or some are missing at it.
        """
        place = start or self._paging.first()
        previous: Page | None = None
        self._expect(place)
        try:
            while place.at is not None:
                page = await self._take(place)
                if page is None or self._repeats(place, page, previous):
                    place = replace(place, at=None)
                    yield Step(Page(previous.response if previous else _no_response(), []), place, place)
                    break
                after = self._paging.after(place, page)
                self._check_progress(place, after, page)
                page = trimmed(page, place, self._paging.max_records)
                self._expect(after)
                yield Step(page, place, after)
                place, previous = after, page.without_records()
                del page
            self._check_total(place)
        finally:
            await self._flight.close()

    def _expect(self, place: Place) -> None:
        self._flight.expect(self._paging.ahead(place), place.key)

    async def _take(self, place: Place) -> Page | None:
        """Return the next page; None when the server says that there is none."""
        try:
            return await self._flight.take(place.at or {})
        except FatalError as error:
            if place.pages and getattr(error, "status", None) in self._paging.stop_on_status:
                return None
            raise

    def _repeats(self, place: Place, page: Page, previous: Page | None) -> bool:
        """Tell whether the pages are over because they repeat.

        Raises:
            FatalError: They do, and should not.
        """
        same = page.count and page.mark == place.mark and page.count == place.last
        if not same or (previous is not None and not page.same_records(previous)) or self._on_repeat == "allow":
            return False
        if self._on_repeat == "stop":
            return True
        hint = ""
        if place.at is not None and "page" in place.at and place.pages == 1:
            hint = "if the source counts pages from 1, set start_page: 1; "
        raise FatalError(
            f"{page.name} gave the same {page.count:,} records for {_shown(place.at)} as for the page before: it does "
            f"not seem to know that parameter, and would be read for ever. {place.records:,} records of "
            f"{place.pages:,} pages were read, the repeated page was not",
            help=f"{hint}look at the parameters' names in pagination; on_repeated_page: stop takes it for the end",
        )

    def _check_progress(self, place: Place, after: Place, page: Page) -> None:
        """Make sure that the next page is one that was not read yet.

        Raises:
            FatalError: It was.
        """
        if after.at is None or not ({"cursor", "url"} & after.at.keys()):
            return
        name = hash(_key(after.at))
        if after.at == place.at or name in self._seen:
            raise FatalError(
                f"{page.name} points back to a page that was read before ({_shown(after.at)}): the pages would never "
                f"end. {after.records:,} records of {after.pages:,} pages were read",
                help="look at cursor_path or next_path: it must lead to what the *next* page is asked for with",
            )
        self._seen.add(name)

    def _check_total(self, place: Place) -> None:
        """Compare what was read with what there is said to be.

        Raises:
            FatalError: Records are missing.
        """
        if place.total is None or place.cut:
            return
        said = place.total.least
        if place.records < said:
            text = (
                f"the source says that there are {said:,} records, and {place.records:,} were read "
                f"in {place.pages:,} pages"
            )
            if self._on_total == "warn":
                self._warn(text)
                return
            raise FatalError(
                text,
                help="look at pagination: the pages ended too early. When the number means something else, set "
                "total_path, or on_total_mismatch: warn",
            )
        if place.records > place.total.most:
            self._warn(f"the source says that there are {place.total.most:,} records, and {place.records:,} were read")


def begun(work: Awaitable[Page]) -> asyncio.Future[Page]:
    """Begin to fetch a page that may yet turn out not to be wanted: then nobody asks how it ended."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _no_response() -> Any:
    from etlctl.kit.http.message import Response  # noqa: PLC0415

    return Response(204, "", {}, b"")


def _key(at: At) -> _Key:
    return tuple(at.items())


def _shown(at: Mapping[str, Any] | None) -> str:
    text = ", ".join(f"{name} {value!r}" for name, value in (at or {}).items())
    return text if len(text) <= 200 else text[:200] + "…"


def trimmed(page: Page, place: Place, most: int | None) -> Page:
    """Return a page without the records past the number that is wanted."""
    if most is None or place.records + page.count <= most:
        return page
    left, chunks = most - place.records, []
    for chunk in page.chunks:
        size = len(chunk) + len(chunk.unreadable)
        chunks.append(chunk if size <= left else _first(chunk, left))
        left -= min(left, size)
    return replace(page, chunks=[chunk for chunk in chunks if len(chunk) or chunk.unreadable], plain=False)


def _first(chunk: Chunk, count: int) -> Chunk:
    bad = [one for one in chunk.unreadable if one.index < count]
    good = count - len(bad)
    records = chunk.records[:good] if chunk.records is not None else None
    frame = chunk.frame.head(good) if chunk.frame is not None else None
    return Chunk(records, frame, chunk.next, bad, chunk.line_of)
