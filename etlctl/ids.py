"""Identifiers: run ids that sort by time, and the strict pattern for names that become paths."""

from __future__ import annotations

import os
import re
import time

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


def new_id(prefix: str) -> str:
    """Return ``prefix_`` and 26 characters: 48 bits of milliseconds, then 80 random bits (the ULID layout)."""
    number = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    digits = [_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(digits)}"


def is_safe_name(name: str) -> bool:
    """Tell whether a name may become a file name: letters, digits, ``_ . -``, at most 128, no leading dot."""
    return _SAFE_NAME.fullmatch(name) is not None
