"""Values of records as text for people: text in quotes, so that "1" and 1 look different."""

from __future__ import annotations

import json
from typing import Any

from etlctl.types import Unparsable, to_text

_LONGEST = 120


def value_text(value: Any, longest: int = _LONGEST) -> str:
    """Return a value as one line, shortened in the middle of nowhere rather than folded.

    Args:
        value: Of a record.
        longest: Characters at most.
    """
    text = _text(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool | str | dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=_inner)
    return _inner(value)


def _inner(value: Any) -> str:
    try:
        return to_text(value)
    except Unparsable:
        return repr(value)
