"""Requests and responses as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

from etlctl.frozen import frozen

IDEMPOTENCY_KEY = "Idempotency-Key"
_SAFE_TO_REPEAT = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}  # RFC 9110, 9.2.2


class Headers(Mapping[str, str]):
    """Header fields by name, in any case; several fields of one name are joined by a comma (RFC 9110, 5.3).

    Args:
        fields: Names and values, in the order received.
    """

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: dict[str, tuple[str, str]] = {}
        for name, value in fields:
            known = self._fields.get(name.lower())
            self._fields[name.lower()] = (known[0], f"{known[1]}, {value}") if known else (name, value)

    @classmethod
    def of(cls, mapping: Mapping[str, str]) -> Headers:
        """Return header fields from a mapping; of two names that differ only in case the later one counts."""
        return cls({name.lower(): (name, value) for name, value in mapping.items()}.values())

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()][1]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._fields.values())

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        # Values may be credentials, and a repr ends up in logs.
        return f"Headers({', '.join(self)})"

    def merged(self, other: Mapping[str, str]) -> Headers:
        """Return these header fields with those of another mapping put over them."""
        found = Headers()
        found._fields = self._fields | {name.lower(): (name, value) for name, value in other.items()}
        return found


@frozen
class Request:
    """What is to be sent.

    Attributes:
        method: Upper case, such as ``GET``.
        url: Absolute, query included.
        headers: Header fields; those of the options are added by the client.
        body: Bytes of the body; say what they are in ``Content-Type``.
        repeatable: Sending it twice does no harm. None: by the method, or because it carries an ``Idempotency-Key``.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    repeatable: bool | None = None

    @property
    def may_repeat(self) -> bool:
        """Tell whether it may be sent again when nobody knows what became of it."""
        if self.repeatable is not None:
            return self.repeatable
        return self.method in _SAFE_TO_REPEAT or IDEMPOTENCY_KEY in Headers.of(self.headers)


@frozen
class Response:
    """What came back.

    Attributes:
        status: HTTP status.
        url: Where it came from in the end, redirects followed.
        headers: Header fields, by name in any case.
        body: The whole body, decompressed.
        replayed: It comes from a cassette; no server was asked.
        request: What it answers, for messages.
    """

    status: int
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    replayed: bool = False
    request: Request | None = None
