"""Values as text, the same in every text format: ISO 8601, exact digits, Base64."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, time, timedelta
from decimal import Decimal

_PLAIN_EXPONENT = 400


def datetime_text(value: datetime | time) -> str:
    """Return ISO 8601; microseconds only when there are some, ``Z`` for UTC, nothing for no zone."""
    text = value.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def duration_text(value: timedelta) -> str:
    """Return an ISO 8601 duration in seconds: ``PT86400S``, ``-PT0.500000S``."""
    micros = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    seconds, rest = divmod(abs(micros), 1_000_000)
    fraction = f".{rest:06}" if rest else ""
    return f"{'-' if micros < 0 else ''}PT{seconds}{fraction}S"


def decimal_text(value: Decimal) -> str:
    """Return the exact digits of a finite decimal, trailing zeros kept; an exponent only for immense numbers."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -_PLAIN_EXPONENT <= exponent <= _PLAIN_EXPONENT:
        return f"{value:f}"
    return str(value)


def bytes_text(value: bytes | bytearray | memoryview) -> str:
    """Return Base64."""
    return b64encode(value).decode("ascii")
