"""Regular expressions as function values: compiled once, stopped by the budget's deadline."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import lru_cache
from math import inf
from typing import Any, Final

import regex

from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions.regex_dialect import Translator, Untranslatable
from etlctl.jsonata.functions.signature import SYMBOLS
from etlctl.jsonata.limits import BUDGET, timed_out
from etlctl.jsonata.values import NOTHING, JsonataError, JsonataSyntaxError

_STEPS: Final = 10_000_000
"""Steps a search may take without a look at the clock, which costs more than most searches."""
_OFTEN: Final = 0xFFF
"""Matches between two looks at the clock, less one."""
_LONGEST_WAIT: Final = 5.0
"""Seconds one search may take. It is CPU time that counts: on a busy machine it takes longer."""


class Regex(Closure):
    """A regular expression; called with a text it returns its first match as an object, or nothing.

    Args:
        pattern: Between the slashes, as in JavaScript.
        flags: Any of ``i`` and ``m``.

    Raises:
        JsonataSyntaxError: JavaScript refuses it too; the offset is one in the pattern.
        Untranslatable: It has no exact form here.
    """

    __slots__ = ("_compiled", "_harmless", "pattern")

    def __init__(self, pattern: str, flags: str = "") -> None:
        super().__init__(self._first, 2, None, "")
        self.pattern = pattern
        self._compiled, self._harmless = _compile(to_units(pattern), "i" in flags, "m" in flags)

    def first(self, text: str) -> regex.Match[str] | None:
        """Return the first match in a text of UTF-16 units (see ``to_units``)."""
        if len(text) <= self._harmless:
            return self._compiled.search(text)
        try:
            return self._compiled.search(text, timeout=min(BUDGET.get().seconds_left() or inf, _LONGEST_WAIT))
        except TimeoutError:
            raise timed_out() from None

    def matches(self, text: str) -> Iterator[regex.Match[str]]:
        """Yield the matches in a text of UTF-16 units, as the reference finds them.

        Raises:
            JsonataError: D1004 for an empty match where there is more to search; D1012 when the time is over.
        """
        end = len(text)
        first = True
        count = 0
        wait = None if end <= self._harmless else BUDGET.get().seconds_left() or _LONGEST_WAIT
        try:
            for match in self._compiled.finditer(text, timeout=wait):
                start, stop = match.span()
                if start == stop and not first:
                    raise self._empty()
                count += 1
                if not count & _OFTEN:
                    BUDGET.get().check_items(count)
                    BUDGET.get().check()
                yield match
                if stop >= end:
                    return
                if start == stop:
                    raise self._empty()
                first = False
        except TimeoutError:
            raise timed_out() from None

    def _empty(self) -> JsonataError:
        return JsonataError(f"the regular expression /{self.pattern}/ matches text of no length", "D1004")

    def _first(self, text: Any, *_: Any) -> Any:
        if type(text) is not str:
            text = "undefined" if text is NOTHING else "null" if text is None else str(text)
        found = self.matches(to_units(text))
        match = next(found, None)
        return NOTHING if match is None else match_object(match, found)


SYMBOLS[Regex] = "f"


def match_object(match: regex.Match[str], following: Iterator[regex.Match[str]]) -> dict[str, Any]:
    """Return a match as the reference gives it to functions: match, start, end (UTF-16 units), groups, next."""

    def after(*_: Any) -> Any:
        found = next(following, None)
        return NOTHING if found is None else match_object(found, following)

    return {
        "match": from_units(match[0]),
        "start": match.start(),
        "end": match.end(),
        "groups": groups_of(match),
        "next": Closure(after, 0),
    }


def groups_of(match: regex.Match[str]) -> list[Any]:
    """Return the texts of the groups; nothing for one that took no part, which leaves a hole in the array."""
    groups: tuple[Any, ...] = match.groups(NOTHING)
    return [group if group is NOTHING or group.isascii() else from_units(group) for group in groups]


@lru_cache(maxsize=1024)
def compile_regex(pattern: str, flags: str = "") -> Regex:
    """Return the regular expression of a literal; see ``Regex``."""
    return Regex(pattern, flags)


def _compile(pattern: str, ignore_case: bool, multiline: bool) -> tuple[regex.Pattern[str], int]:
    """Return a compiled expression, and the longest text that it surely searches in ``_STEPS`` steps."""
    # Without other letters than ASCII ones the ASCII flag is exact; with them case needs Unicode's tables.
    ascii_only = not ignore_case or (pattern.isascii() and "\\u" not in pattern and "\\x" not in pattern)
    whole = Translator(pattern, multiline=multiline, ascii_only=ascii_only).translate()
    flags = regex.VERSION0 | (regex.ASCII if ascii_only else regex.UNICODE) | (regex.IGNORECASE if ignore_case else 0)
    try:
        compiled = regex.compile(whole.text, flags, cache_pattern=False)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise Untranslatable(f"/{pattern[:60]}/: {error}") from error
    if whole.nested or whole.choices > 20:
        return compiled, 0
    return compiled, int((_STEPS / 2**whole.choices) ** (1 / (whole.loops + 1)))


def to_units(text: str) -> str:
    """Return a text with characters past U+FFFF as the two halves that JavaScript sees."""
    if text.isascii() or max(text) <= "\uffff":
        return text
    return "".join(map(chr, array("H", text.encode("utf-16-le" if _LITTLE else "utf-16-be", "surrogatepass"))))


def from_units(text: str) -> str:
    """Return a text with surrogate pairs as the characters they stand for; what has no other half stays."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


_LITTLE: Final = array("H", b"\x01\x00")[0] == 1

__all__ = [
    "JsonataSyntaxError",
    "Regex",
    "Untranslatable",
    "compile_regex",
    "from_units",
    "groups_of",
    "match_object",
    "to_units",
]
