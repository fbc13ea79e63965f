"""Links to the next page in the ``Link`` header (RFC 8288)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from etlctl.kit.http.page import Page

_LINK = re.compile(r'\s*<([^>]*)>((?:\s*;\s*[\w!#$&+.^`|~*-]+\s*(?:=\s*(?:"(?:[^"\\]|\\.)*"|[^\s",;]+))?)*)\s*(?:,|$)')
_PARAMETER = re.compile(r';\s*([\w!#$&+.^`|~*-]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",;]+)))?')


def links(header: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the targets of a ``Link`` header with their parameters, names in lower case."""
    for found in _LINK.finditer(header):
        parameters = {name.lower(): quoted or plain or "" for name, quoted, plain in _PARAMETER.findall(found.group(2))}
        yield found.group(1), parameters


def next_link(page: Page) -> str | None:
    """Return the target of ``rel="next"``; None when there is none."""
    header = page.response.headers.get("Link", "")
    for target, parameters in links(header):
        if "next" in parameters.get("rel", "").lower().split():
            return target
    return None
