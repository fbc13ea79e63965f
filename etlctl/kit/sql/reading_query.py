"""Reading the text of a query: where its ``:name`` binds are, that it is one statement, and whether it orders its rows.

Literals, quoted names and comments are passed over, as each system writes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from etlctl.frozen import frozen
from etlctl.kit.sql.urls import MYSQL, POSTGRESQL

_QUOTED = r"'(?:[^']|'')*'"
_ESCAPED = r"'(?:[^'\\]|\\.|'')*'"
_COMMON = r'"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/'
_DOLLAR = r"\$(?P<tag>[A-Za-z_]\w*)?\$.*?\$(?(tag)(?P=tag))\$"
_BIND = r"(?<![:\w\\\]]):(?P<bind>[A-Za-z_]\w*)"
_REST = rf"{_BIND}|(?P<escape>\\:)|(?P<end>;)|(?P<word>[A-Za-z_]\w*)|."
_PATTERNS = {
    POSTGRESQL: rf"(?P<skip>(?<!\w)[eE]{_ESCAPED}|{_QUOTED}|{_COMMON}|(?<!\w){_DOLLAR})|{_REST}",
    MYSQL: rf"(?P<skip>{_ESCAPED}|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`|--\s[^\n]*|\#[^\n]*|/\*.*?\*/)|{_REST}",
}
_OTHER = rf"(?P<skip>{_QUOTED}|{_COMMON})|{_REST}"
_COMPILED: dict[str, re.Pattern[str]] = {}


@frozen
class Query:
    """A query in pieces.

    Attributes:
        pieces: Text and names of binds in turn: text, name, text, …, text.
        ordered: It has an ORDER BY of its own, at whatever depth.
        problem: Why it cannot be run, or None.
        end: Where in the text the statement ends: before its semicolon, if it has one.
    """

    pieces: tuple[str, ...]
    ordered: bool
    problem: str | None
    end: int

    @property
    def binds(self) -> frozenset[str]:
        """Names of the binds."""
        return frozenset(self.pieces[1::2])

    def text(self, bind: Callable[[str], str], escape: Callable[[str], str] = str) -> str:
        """Return the query as a driver takes it.

        Args:
            bind: Writes a bind.
            escape: Escapes what drivers would take for a bind in the text around.
        """
        return "".join(bind(one) if index % 2 else escape(one) for index, one in enumerate(self.pieces))


def read_query(text: str, kind: str) -> Query:
    """Take a query, or a condition, to pieces.

    Args:
        text: The query; one semicolon at its end is left out.
        kind: The system, whose rules for literals and comments hold.
    """
    pieces: list[str] = []
    before: list[str] = []
    end, more, words = len(text), False, []
    for match in _pattern(kind).finditer(text):
        bind, found = match["bind"], match[0]
        if match["end"]:
            end = min(end, match.start())
            continue
        if match.start() > end:
            more = more or not (found.isspace() or found.startswith(("--", "#", "/*")))
            continue
        if match["word"]:
            words.append(found.lower())
        if bind:
            pieces += ["".join(before), bind]
            before = []
        else:
            before.append(":" if match["escape"] else found)
    pieces.append("".join(before).rstrip())
    ordered = ("order", "by") in pairwise(words)
    return Query(tuple(pieces), ordered, _problem(more=more, words=words), end)


def _problem(*, more: bool, words: list[str]) -> str | None:
    if more:
        return "there are several statements in it; give one query (a semicolon inside text must stand in quotes)"
    return None if words else "it is empty"


def _pattern(kind: str) -> re.Pattern[str]:
    if kind not in _COMPILED:
        _COMPILED[kind] = re.compile(_PATTERNS.get(kind, _OTHER), re.DOTALL)
    return _COMPILED[kind]
