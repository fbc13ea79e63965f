"""Options of pagination: how the pages of an answer follow each other, and when they are over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Strategy: TypeAlias = Literal["none", "page", "offset", "cursor", "next_url", "link_header", "link"]
StopKind: TypeAlias = Literal["empty_response", "fewer_records", "max_pages", "max_records", "custom"]

AT_ONCE = 4
"""Pages in flight when nothing else is asked for."""
_COUNTED = {"page", "offset"}
_OF_STRATEGY = {
    "page": {"page_param", "start_page", "page_size", "size_param", "param_in"},
    "offset": {"offset_param", "start_offset", "page_size", "size_param", "param_in"},
    "cursor": {"cursor_param", "cursor_path", "has_more_path", "page_size", "size_param", "param_in"},
    "next_url": {"next_path", "page_size", "size_param"},
    "link_header": {"page_size", "size_param"},
    "none": set(),
}
_BLOCKS = ("page", "offset", "cursor", "next_url")
_NEEDS_VALUE = {"max_pages", "max_records"}


class Options(BaseModel):
    """Base of the options in here."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class PageBlock(Options):
    """Pages by number, as a block."""

    param_name: str = Field(default="page", min_length=1)
    """Query parameter with the number of the page."""
    start: int = Field(default=0, ge=0)
    """Number of the first page."""
    increment: int = Field(default=1, ge=1)
    """By how much the number grows."""


class OffsetBlock(Options):
    """Pages by the number of records before them, as a block."""

    param_name: str = Field(default="offset", min_length=1)
    """Query parameter with the number of records to pass over."""
    start: int = Field(default=0, ge=0)
    """The first offset."""


class CursorBlock(Options):
    """Pages by a token, as a block."""

    param_name: str = Field(default="cursor", min_length=1)
    """Query parameter with the token."""
    response_path: str = Field(min_length=1)
    """Where the next token stands in a page."""


class NextUrlBlock(Options):
    """Pages by the address of the next one, as a block."""

    response_path: str = Field(min_length=1)
    """Where the address of the next page stands in a page."""


class StopCondition(Options):
    """When there are no more pages."""

    type: StopKind
    """``empty_response``, ``fewer_records`` than a page holds, ``max_pages``, ``max_records``, or ``custom``."""
    value: int | str | None = None
    """How many pages or records; for ``custom`` a JSONata expression on the response that is truthy on the last page."""  # noqa: E501

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.type in _NEEDS_VALUE and (not isinstance(self.value, int) or self.value < 1):
            raise ValueError(f"{self.type} needs a value: a number from 1 on")
        if self.type == "custom":
            if not isinstance(self.value, str) or not self.value.strip():
                raise ValueError("custom needs a value: a JSONata expression on the response")
            readable_jsonata(self.value)
        if self.type in {"empty_response", "fewer_records"} and self.value is not None:
            raise ValueError(f"{self.type} takes no value")
        return self


class Pagination(Options):
    """How to get from one page to the next, and when they are over."""

    strategy: Strategy
    """``page`` numbers, ``offset`` of records, a ``cursor`` from the page before, its ``next_url``, the ``link_header``, or ``none``."""  # noqa: E501
    enabled: bool = True
    """Without it only the first page is read."""
    page_param: str | None = Field(default=None, min_length=1)
    """page: query parameter with the number of the page; ``page`` when left out."""
    start_page: int | None = Field(default=None, ge=0)
    """page: number of the first page; when left out 0, and 1 is tried as well if page 0 is empty."""
    offset_param: str | None = Field(default=None, min_length=1)
    """offset: query parameter with the number of records to pass over; ``offset`` when left out."""
    start_offset: int | None = Field(default=None, ge=0)
    """offset: the first offset; 0 when left out."""
    cursor_param: str | None = Field(default=None, min_length=1)
    """cursor: query parameter with the token; ``cursor`` when left out."""
    cursor_path: str | None = Field(default=None, min_length=1)
    """cursor: where the next token stands in a page, such as ``meta.next`` or ``data.-1.id``; none there: the last page."""  # noqa: E501
    has_more_path: str | None = Field(default=None, min_length=1)
    """cursor: where a page says that more follow; false there ends it although there is a token."""
    next_path: str | None = Field(default=None, min_length=1)
    """next_url: where the address of the next page stands; ``next`` when left out."""
    size_param: str = Field(default="limit", min_length=1)
    """Query parameter with the number of records per page; tells what a full page is."""
    page_size: int | None = Field(default=None, ge=1)
    """Records per page, sent as ``size_param``; the value of that parameter in ``params`` when left out."""
    param_in: Literal["query", "body"] = "query"
    """Where the page, offset or cursor and the size are put; ``body``: as fields of the JSON or form body."""
    page: PageBlock | None = None
    """``page_param`` and ``start_page`` as a block."""
    offset: OffsetBlock | None = None
    """``offset_param`` and ``start_offset`` as a block."""
    cursor: CursorBlock | None = None
    """``cursor_param`` and ``cursor_path`` as a block."""
    next_url: NextUrlBlock | None = None
    """``next_path`` as a block."""
    stop_conditions: list[StopKind | StopCondition] = Field(default_factory=list)
    """When there are no more pages. When left out: at an empty page (page, offset), at one that is not full once a full one was seen, and where no page follows."""  # noqa: E501
    max_pages: int | None = Field(default=None, ge=1)
    """Stop after so many pages."""
    max_records: int | None = Field(default=None, ge=1)
    """Stop after so many records."""
    stop_when: str | None = Field(default=None, min_length=1)
    """JSONata expression on the response that is truthy on the last page, such as ``has_more = false``."""
    stop_on_status: list[int] = Field(default_factory=list)
    """Statuses that mean "there is no such page" after the first one, such as 404."""
    on_repeated_page: Literal["fail", "stop", "allow"] = "fail"
    """The same page twice in a row: the run fails (``fail``), or the pages are over (``stop``); the repeat is not loaded."""  # noqa: E501
    concurrency: int = Field(default=AT_ONCE, ge=1, le=64)
    """page, offset: pages in flight at once, begun with after a few full pages; results stay in order."""

    @field_validator("stop_when")
    @classmethod
    def _readable(cls, expression: str | None) -> str | None:
        return readable_jsonata(expression) if expression is not None else None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        kind = "link_header" if self.strategy == "link" else self.strategy
        for block in _BLOCKS:
            if getattr(self, block) is not None and block != kind:
                raise ValueError(f"{block} has no effect on strategy {self.strategy}; remove it")
        self._check_twice()
        of_others = set().union(*_OF_STRATEGY.values()) - _OF_STRATEGY[kind]
        for name in sorted(of_others & self.model_fields_set):
            raise ValueError(f"{name} has no effect on strategy {self.strategy}; remove it")
        if kind == "cursor" and self.token_path is None:
            raise ValueError("strategy cursor needs cursor_path: where the next token stands in a page")
        if "concurrency" in self.model_fields_set and self.concurrency > 1 and kind not in _COUNTED:
            raise ValueError(f"concurrency has no effect on strategy {self.strategy}: each page tells the next")
        conditions = [one if isinstance(one, str) else one.type for one in self.stop_conditions]
        for name in (*_NEEDS_VALUE, "custom"):
            if name in self.stop_conditions:
                raise ValueError(f"stop condition {name} needs a value: {{type: {name}, value: …}}")
            flat = "stop_when" if name == "custom" else name
            if name in conditions and getattr(self, flat) is not None:
                raise ValueError(f"{flat} and the stop condition {name} say the same twice; keep one")
        return self

    def _check_twice(self) -> None:
        pairs = {
            "page": ("page_param", "start_page"),
            "offset": ("offset_param", "start_offset"),
            "cursor": ("cursor_param", "cursor_path"),
            "next_url": ("next_path",),
        }
        for block, names in pairs.items():
            for name in names:
                if getattr(self, block) is not None and getattr(self, name) is not None:
                    raise ValueError(f"{name} and the block {block} say the same twice; keep one")

    @property
    def kind(self) -> str:
        """The strategy by its one name; ``none`` when it is not enabled."""
        if not self.enabled:
            return "none"
        return "link_header" if self.strategy == "link" else self.strategy

    @property
    def param(self) -> str:
        """Name of the parameter that says which page."""
        if self.kind == "page":
            return self.page_param or (self.page.param_name if self.page else "page")
        if self.kind == "offset":
            return self.offset_param or (self.offset.param_name if self.offset else "offset")
        return self.cursor_param or (self.cursor.param_name if self.cursor else "cursor")

    @property
    def start(self) -> int:
        """First page or offset."""
        block = self.page if self.kind == "page" else self.offset
        given = self.start_page if self.kind == "page" else self.start_offset
        return given if given is not None else block.start if block is not None else 0

    @property
    def start_is_given(self) -> bool:
        """Tell whether the contract says what the first page is."""
        return self.start_page is not None or (self.page is not None and "start" in self.page.model_fields_set)

    @property
    def increment(self) -> int:
        """By how much the number of the page grows."""
        return self.page.increment if self.page is not None else 1

    @property
    def token_path(self) -> str | None:
        """Where the next token stands."""
        return self.cursor_path or (self.cursor.response_path if self.cursor else None)

    @property
    def address_path(self) -> str:
        """Where the address of the next page stands."""
        return self.next_path or (self.next_url.response_path if self.next_url else "next")

    def limit(self, name: Literal["max_pages", "max_records"]) -> int | None:
        """Return how many pages or records are wanted at most."""
        value = getattr(self, name)
        for one in self.stop_conditions:
            if not isinstance(one, str) and one.type == name and isinstance(one.value, int):
                value = one.value
        return value if isinstance(value, int) else None

    @property
    def expressions(self) -> list[str]:
        """JSONata expressions that are truthy on the last page."""
        custom = [one.value for one in self.stop_conditions if not isinstance(one, str) and one.type == "custom"]
        return [text for text in (self.stop_when, *custom) if isinstance(text, str)]

    def stops_at(self, kind: StopKind) -> bool:
        """Tell whether a stop condition without a value is listed."""
        return any((one if isinstance(one, str) else one.type) == kind for one in self.stop_conditions)

    def full_page(self, params: Mapping[str, Any]) -> int | None:
        """Return how many records a full page holds: as asked for, or as the parameters of the request say."""
        if self.page_size is not None:
            return self.page_size
        told = params.get(self.size_param)
        try:
            size = int(str(told)) if told is not None and not isinstance(told, bool) else 0
        except ValueError:
            return None
        return size if size > 0 else None


NO_PAGINATION = Pagination(strategy="none")
"""One request, one page."""


def readable_jsonata(expression: str) -> str:
    """Return an expression that can be read; for validators.

    Raises:
        PydanticCustomError: It cannot be read.
    """
    from pydantic_core import PydanticCustomError  # noqa: PLC0415

    from etlctl import jsonata  # noqa: PLC0415 - only contracts with JSONata pay for it

    try:
        jsonata.compile(expression)
    except jsonata.JsonataSyntaxError as error:
        context = {"problem": error.message, "offset": error.offset}
        raise PydanticCustomError("bad_jsonata", "the JSONata cannot be read: {problem}", context) from error
    return expression
