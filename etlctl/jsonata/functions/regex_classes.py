"""Character classes of JavaScript, spelled out for the ``regex`` package."""

from __future__ import annotations

from typing import Final

WORD: Final = "A-Za-z0-9_"
"""Members of ``\\w``."""
LINE_ENDS: Final = "\\n\\r\\u2028\\u2029"
"""Members of what ``.`` leaves out."""
_SPACES: Final = (
    (0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
    (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
)  # fmt: skip
_DIGITS: Final = ((0x30, 0x39),)
_WORDS: Final = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))


def literal(character: str) -> str:
    """Return a character so that it stands for itself inside and outside of brackets."""
    code = ord(character)
    if character.isascii() and character.isalnum():
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _members(ranges: tuple[tuple[int, int], ...]) -> str:
    return "".join([literal(chr(first)) + (f"-{literal(chr(last))}" if last > first else "") for first, last in ranges])


def _others(ranges: tuple[tuple[int, int], ...]) -> str:
    """Return the members of the complement."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for first, last in ranges:
        if start < first:
            gaps.append((start, first - 1))
        start = last + 1
    return _members((*gaps, (start, 0x10FFFF)))


ESCAPED_SETS: Final = {
    "d": _members(_DIGITS),
    "D": _others(_DIGITS),
    "w": _members(_WORDS),
    "W": _others(_WORDS),
    "s": _members(_SPACES),
    "S": _others(_SPACES),
}
"""What stands in brackets for ``\\d``, ``\\D``, ``\\w``, ``\\W``, ``\\s`` and ``\\S``."""
