"""How instants and JSON values stand in a column: the same whether a plain statement or SQLAlchemy writes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any


def utc(value: datetime) -> datetime:
    """Return an instant in UTC.

    Raises:
        ValueError: It has no time zone.
    """
    if value.tzinfo is None:
        raise ValueError(f"an instant needs a time zone: {value!r}")
    return value.astimezone(UTC)


def instant_text(value: datetime) -> str:
    """Return an instant as SQLite keeps it: ISO text in UTC, without a zone."""
    return utc(value).replace(tzinfo=None).isoformat(" ", "microseconds")


def aware(stored: datetime | str) -> datetime:
    """Return the aware instant of a column that is never empty, as a driver or SQLAlchemy hands it over."""
    found = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def instant(stored: datetime | str | None) -> datetime | None:
    """Return the aware instant of a column, None when it is empty."""
    return None if stored is None else aware(stored)


def json_text(value: Any) -> str:
    """Return a JSON column's text; types JSON does not have are written as text."""
    return json.dumps(value, default=str)
