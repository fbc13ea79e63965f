"""How the text and the raw source record of a dead letter are stored: exactly, in any database, without secrets.

A record becomes JSON. Values that JSON does not have are written as an object with one tagged key, such as
``{"$etlctl.decimal": "1.10"}``, and come back as they were. Raw text is stored verbatim when a database can hold it.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from etlctl.redact import MASK, Redactor

_TAG = "$etlctl."

JSON_FORM = "json"
TEXT_FORM = "text"
ESCAPED_FORM = "escaped"
"""Raw text with characters no database takes (NUL, lone surrogates), written as a JSON string."""
SHARED_FORM = "shared"
"""The id of another dead letter of the same source record, which holds it."""


def storable(text: str) -> str:
    r"""Return the text with NUL and lone surrogates written as ``\x00`` and ``\udc80``: databases refuse them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\x00", "\\x00") if "\x00" in text else text


def mask(value: Any, redactor: Redactor) -> Any:
    """Return a copy of a value with every known secret masked, in numbers and bytes too."""
    return _masked(value, redactor) if redactor.active else value


def readable(value: Any) -> Any:
    """Return a value as strict JSON for people and other programs: no NaN, no types JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [readable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    ((_, shown),) = _tag(value).items()
    return shown


def _masked(value: Any, redactor: Redactor) -> Any:
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, Mapping):
        return {_masked(key, redactor): _masked(item, redactor) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item, redactor) for item in value]
    if isinstance(value, bytes):
        return redactor.text(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    shown = "" if value is None or isinstance(value, bool) else str(value)
    return value if redactor.text(shown) == shown else MASK


def encode_raw(raw: Any, redactor: Redactor) -> tuple[str, str, bool]:
    """Return the text to store for a raw record or raw text, its form, and whether a secret was masked in it."""
    masked = mask(raw, redactor)
    redacted = redactor.active and masked != raw
    if isinstance(masked, str):
        if masked == storable(masked):
            return masked, TEXT_FORM, redacted
        return json.dumps(masked), ESCAPED_FORM, redacted
    try:
        text = json.dumps(masked, default=_tag)
        if _TAG in text:
            text = json.dumps(_tagged(masked))
    except (TypeError, ValueError, RecursionError):
        # No reader makes such a record, a user's function may: a description is better than a failed run.
        return storable(redactor.text(repr(raw))), TEXT_FORM, redacted
    return text, JSON_FORM, redacted


def decode_raw(text: str, form: str) -> Any:
    """Return the raw record or raw text that ``encode_raw`` stored."""
    if form == TEXT_FORM:
        return text
    return json.loads(text, object_hook=_untag if _TAG in text else None)


_TAGS: tuple[tuple[type | tuple[type, ...], str, Callable[[Any], Any]], ...] = (
    (Decimal, "decimal", str),
    (datetime, "datetime", datetime.isoformat),  # before date: a datetime is one
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (timedelta, "duration", lambda value: [value.days, value.seconds, value.microseconds]),
    ((bytes, bytearray, memoryview), "bytes", lambda value: base64.b64encode(bytes(value)).decode()),
    (object, "text", str),
)


def _tag(value: Any) -> dict[str, Any]:
    name, write = next((name, write) for kind, name, write in _TAGS if isinstance(value, kind))
    return {_TAG + name: write(value)}


def _tagged(value: Any) -> Any:
    """Tag by walking; a record that happens to look like a tag is written as pairs, so that it stays a record."""
    if isinstance(value, Mapping):
        if len(value) == 1 and str(next(iter(value))).startswith(_TAG):
            return {f"{_TAG}object": [[key, _tagged(item)] for key, item in value.items()]}
        return {key: _tagged(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tagged(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return _tag(value)


_UNTAG: dict[str, Callable[[Any], Any]] = {
    f"{_TAG}decimal": Decimal,
    f"{_TAG}datetime": datetime.fromisoformat,
    f"{_TAG}date": date.fromisoformat,
    f"{_TAG}time": time.fromisoformat,
    f"{_TAG}duration": lambda parts: timedelta(*parts),
    f"{_TAG}bytes": base64.b64decode,
    f"{_TAG}text": str,
    f"{_TAG}object": dict,
}


def _untag(found: dict[str, Any]) -> Any:
    if len(found) != 1:
        return found
    ((key, value),) = found.items()
    return _UNTAG[key](value) if key in _UNTAG else found
