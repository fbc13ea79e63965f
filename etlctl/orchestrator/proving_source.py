"""What a proof must know of a source before it reads it many times: whether it can, and whose load that is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etlctl.contract.model import Contract

_LOCAL = ("file://", "sqlite://")
_REMOTE_OPTIONS = frozenset({"host", "hosts", "server", "base_url", "endpoint", "bucket", "account"})


def once_only(contract: Contract) -> str | None:
    """Return why a source cannot be read twice, or None when it can as far as one can tell."""
    given = getattr(contract.extractor, "path", None)
    for text in given if isinstance(given, list | tuple) else [given]:
        if not isinstance(text, str):
            continue
        if text == "-":
            return "the source is standard input, which can be read only once, and a proof reads it many times"
        path = contract.base_dir / text
        if path.is_fifo() or path.is_char_device() or path.is_socket():
            return f"the source {path} is no regular file: it can be read only once, and a proof reads it many times"
    return None


def is_remote(contract: Contract) -> bool:
    """Tell whether reading seems to be work for another machine."""
    options = contract.extractor.model_dump(mode="json")
    if any(options.get(name) for name in _REMOTE_OPTIONS):
        return True
    return any("://" in text and not text.startswith(_LOCAL) for text in _texts(options))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
