"""Suggestions: the name somebody probably meant, and lists of the valid ones."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_SHOWN = 12


def closest(word: str, names: Iterable[str]) -> str | None:
    """Return the name nearest to a misspelt word, or None when nothing is near."""
    known = {name.lower(): name for name in names}
    found = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return known[found[0]] if found else None


def listed(names: Iterable[str]) -> str:
    """Return names as text, the first dozen in order."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(ordered[:_SHOWN]) + more


def did_you_mean(word: str, names: Iterable[str], *, kind: str) -> str | None:
    """Return a help line: the nearest name, else the valid ones; None when there are none.

    Args:
        word: What was written.
        names: What could have been written.
        kind: What the names are, in the plural, such as ``keys``.
    """
    names = list(names)
    if not names:
        return None
    near = closest(word, names)
    return f"did you mean {near!r}?" if near else f"valid {kind}: {listed(names)}"
