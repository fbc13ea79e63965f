"""Options of what is asked for: the request, where the records are in the answer, and how pages follow each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from etlctl.kit.http.paging_options import Pagination

Method = Literal["GET", "POST", "PUT", "PATCH"]
Format = Literal["auto", "json", "jsonl", "csv", "xml", "text"]
Trouble = Literal["fail", "warn"]
_TEXTS = {"jsonl", "csv", "xml", "text"}


class Question(BaseModel):
    """What one kind of request has."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    method: Method = "GET"
    """HTTP method. A POST whose body holds the page is repeated after a failure like a GET; another one only when it surely did not arrive, or with ``retry: {repeat_unsafe: true}``."""  # noqa: E501
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the query, added to those in ``url``; a list is sent as several, null is left out. One named in braces in ``url`` goes there instead."""  # noqa: E501
    body: dict[str, Any] | list[Any] | str | None = None
    """JSON body; a text is sent as it is."""
    form: dict[str, Any] | None = None
    """Fields of a form, sent as the body instead of ``body``."""
    response_format: Format = "auto"
    """Format of the answer; ``auto`` goes by what the server says."""
    response_path: Annotated[str, Field(min_length=1)] | None = None
    """Where the records are: fields joined by dots, such as ``data.items``; ``$`` is the answer itself. When left out: the array that the answer is, or the array of objects under ``results``, ``items``, ``records``, ``values`` or ``data``. For xml: name or path of the record elements."""  # noqa: E501
    pagination: Pagination | None = None
    """How to get from one page to the next; without it there is one request, and a warning when more pages seem to follow."""  # noqa: E501
    total_path: Annotated[str, Field(min_length=1)] | None = None
    """Where the answer says how many records there are in all; when left out ``X-Total-Count`` and fields with a name like ``total`` or ``total_count`` count."""  # noqa: E501
    on_total_mismatch: Trouble = "fail"
    """What happens when fewer records were read than there are said to be."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.body is not None and self.form is not None:
            raise ValueError("body and form are both the body of the request; keep one")
        if self.method == "GET" and (self.body is not None or self.form is not None):
            raise ValueError("a GET request has no body; set method: POST")
        pages = self.pagination
        has_fields = self.method != "GET" and not isinstance(self.body, list | str)
        if pages is not None and pages.param_in == "body" and not has_fields:
            raise ValueError("pagination.param_in: body needs a method with a body that is an object or a form")
        looks = pages is not None and (pages.kind in {"cursor", "next_url"} or pages.expressions)
        if pages is not None and looks and self.response_format in _TEXTS:
            what = "a stop expression" if pages.expressions else f"strategy {pages.strategy}"
            raise ValueError(f"{what} looks into JSON, and response_format is {self.response_format}")
        if self.total_path is not None and self.response_format in _TEXTS:
            raise ValueError(f"total_path looks into JSON, and response_format is {self.response_format}")
        if self.response_path is not None and self.response_format in {"jsonl", "csv", "text"}:
            raise ValueError(f"response_path has no effect on response_format {self.response_format}; remove it")
        return self


class ChildRequests(Question):
    """Requests for each record of the outer request; only what they answer becomes records."""

    url: str = Field(min_length=1)
    """Address with fields of the parent in braces: ``/customers/{id}/orders`` (below the outer address's host or ``base_url``), or ``{orders_url}`` for one that the parent has. They are filled in in ``params``, ``body`` and ``form`` too."""  # noqa: E501
    include: dict[str, str] | list[str] = Field(default_factory=list)
    """Fields of the parent that each child gets: ``{customer_id: id}``, or a list of those that keep their name."""
    concurrency: int = Field(default=4, ge=1, le=64)
    """Parents whose requests are in flight at once; results stay in order."""

    @property
    def names(self) -> Mapping[str, str]:
        """Field of the child → path in the parent."""
        return self.include if isinstance(self.include, dict) else {name: name for name in self.include}

    @model_validator(mode="after")
    def _address(self) -> Self:
        check_host(self.url, whole=True)
        return self


def check_host(address: str, *, whole: bool = False) -> None:
    """Make sure that no value can choose the host.

    Raises:
        ValueError: One could.
    """
    if "${" in address or (whole and address.startswith("{") and address.endswith("}") and address.count("{") == 1):
        return
    if whole and not address.startswith(("/", "http://", "https://")):
        raise ValueError(f"{address!r} must begin with / or http(s)://, or be one field of the parent in braces")
    if "{" in urlsplit(address).netloc:
        raise ValueError(f"{address!r}: braces in the host would let a value choose where requests go")
