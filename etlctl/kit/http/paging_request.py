"""Makes requests: placeholders filled in so that no value leaves its place, the query joined, the body encoded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import orjson

from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.http.message import Request
from etlctl.kit.http.page import MISSING, lookup

_PLACEHOLDER = re.compile(r"\{([A-Za-z_@$][\w.@$-]*)\}")
_LEAVING = {"", ".", ".."}


def placeholders(text: str) -> list[str]:
    """Return the names in braces in a text, in order."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(text)))


def filled_url(url: str, values: Mapping[str, Any]) -> str:
    """Return an address with its placeholders filled in; each value stays in its segment or parameter.

    Raises:
        FatalError: A value is missing, or would lead out of its place.
    """

    def fill(found: re.Match[str]) -> str:
        name = found.group(1)
        value = lookup(values, name)
        if value is MISSING or value is None:
            raise FatalError(
                f"the address {url!r} needs a value for {{{name}}}",
                help=f"give it in params, or as a parameter of the contract (input_params: {{{name}: …}})",
            )
        if isinstance(value, dict | list):
            raise FatalError(f"the address {url!r} cannot take an object or a list for {{{name}}}")
        text = as_text(value)
        if text in _LEAVING and found.start() < len(url.partition("?")[0]):
            raise FatalError(f"the address {url!r} cannot take {text!r} for {{{name}}}: it would lead to another place")
        return quote(text, safe="")

    return _PLACEHOLDER.sub(fill, url)


def filled_value(value: Any, values: Mapping[str, Any]) -> Any:
    """Return a parameter or a part of a body with its placeholders filled in; one alone keeps its type.

    Raises:
        FatalError: A value is missing.
    """
    if isinstance(value, dict):
        return {name: filled_value(item, values) for name, item in value.items()}
    if isinstance(value, list):
        return [filled_value(item, values) for item in value]
    if not isinstance(value, str):
        return value
    alone = _PLACEHOLDER.fullmatch(value)
    if alone is not None:
        return _needed(alone.group(1), values)
    return _PLACEHOLDER.sub(lambda found: as_text(_needed(found.group(1), values)), value)


def _needed(name: str, values: Mapping[str, Any]) -> Any:
    found = lookup(values, name)
    if found is MISSING:
        raise FatalError(f"there is no field {name!r} to fill {{{name}}} with; there are {', '.join(values) or 'none'}")
    return found


def as_text(value: Any) -> str:
    """Return a value as it stands in an address."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def query_pairs(params: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the pairs of a query: nulls are left out, a list gives one pair per item."""
    for name, value in params.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                yield name, as_text(item)


def with_query(url: str, params: Mapping[str, Any]) -> str:
    """Return an address with parameters added to its query; those of the same name there are replaced."""
    if not params:
        return url
    parts = urlsplit(url)
    kept = parts.query
    if any(name in params for name, _ in parse_qsl(kept, keep_blank_values=True)):
        own = [(name, value) for name, value in parse_qsl(kept, keep_blank_values=True) if name not in params]
        kept = urlencode(own)
    added = urlencode(list(query_pairs(params)), quote_via=quote)
    return urlunsplit(parts._replace(query="&".join(part for part in (kept, added) if part)))


@frozen
class Asking:
    """What is asked for, page after page.

    Attributes:
        method: Upper case.
        url: The address, placeholders filled in.
        params: Parameters of its query.
        headers: Header fields besides those of the client.
        body: JSON body: anything JSON can say, or text that is sent as it is.
        form: Fields of a form, instead of ``body``.
    """

    method: str
    url: str
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    body: Any = None
    form: Mapping[str, Any] | None = None

    def request(self, added: Mapping[str, Any], *, in_body: bool = False) -> Request:
        """Return the request for a page.

        Args:
            added: Parameters that say which page.
            in_body: They are fields of the body, not of the query.
        """
        query = self.params if in_body else {**self.params, **added}
        body, headers = self._encoded(added if in_body else {})
        repeatable = True if body is not None and in_body else None
        return Request(
            self.method,
            with_query(self.url, query),
            headers={**headers, **self.headers},
            body=body,
            repeatable=repeatable,
        )

    def follow(self, url: str) -> Request:
        """Return the request for a page whose whole address is known."""
        body, headers = self._encoded({})
        return Request(self.method, url, headers={**headers, **self.headers}, body=body)

    def _encoded(self, added: Mapping[str, Any]) -> tuple[bytes | None, dict[str, str]]:
        if self.form is not None:
            pairs = list(query_pairs({**self.form, **added}))
            return urlencode(pairs).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        if isinstance(self.body, str):
            return self.body.encode(), {}
        if self.body is None and not added:
            return None, {}
        body = {**(self.body or {}), **added} if isinstance(self.body, dict | None) else self.body
        return orjson.dumps(body, default=as_text), {"Content-Type": "application/json"}
