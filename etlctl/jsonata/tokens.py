"""The words of a JSONata expression, each with its exact place; feeds jsonata-python's parser."""

from __future__ import annotations

import math
import re
from typing import Any, Final, NamedTuple

from etlctl.jsonata.values import JsonataSyntaxError

_DOUBLE: Final = ("..", ":=", "!=", ">=", "<=", "**", "~>", "?:", "??")
_SINGLE: Final = frozenset(".[]{}(),@#;:?+-*/%|=<>^&!~")
_SPACE: Final = " \t\n\r\v"
_ESCAPES: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]*)(\.[0-9]+)?([Ee][-+]?[0-9]+)?")
_HEX: Final = re.compile("[0-9a-fA-F]{4}")
_WORDS: Final[dict[str, tuple[str, Any]]] = {
    "or": ("operator", "or"),
    "in": ("operator", "in"),
    "and": ("operator", "and"),
    "true": ("value", True),
    "false": ("value", False),
    "null": ("value", None),
}


class RegexSource(NamedTuple):
    """A regular expression as it is written."""

    pattern: str
    flags: str


class Token(NamedTuple):
    """One word; ``position`` is where it begins, which jsonata-python's parser hands on to its nodes."""

    type: str
    value: Any
    position: int


class Tokenizer:
    """Splits an expression into tokens, one at a time.

    Args:
        source: The expression.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.ends: dict[int, int] = {}
        self._at = 0

    def next(self, infix: bool | None) -> Token | None:
        """Return the next token, None at the end; in infix position a slash divides."""
        self._skip_space()
        source, start = self.source, self._at
        if start >= len(source):
            return None
        char = source[start]
        kind: str
        value: Any
        if char == "/" and not infix:
            kind, value = "regex", self._regex()
        elif source[start : start + 2] in _DOUBLE or char in _SINGLE:
            kind, value = "operator", self._operator()
        elif char in "\"'":
            kind, value = "string", self._text(char)
        elif number := _NUMBER.match(source, start):
            kind, value = "number", self._number(number)
        elif char == "`":
            kind, value = "name", self._quoted_name()
        else:
            kind, value = self._word()
        self.ends[start] = self._at
        return Token(kind, value, start)

    def _skip_space(self) -> None:
        source = self.source
        while self._at < len(source):
            if source[self._at] in _SPACE:
                self._at += 1
            elif source.startswith("/*", self._at):
                end = source.find("*/", self._at + 2)
                if end < 0:
                    raise JsonataSyntaxError("the comment is not closed: */ is missing", self._at, "S0106")
                self._at = end + 2
            else:
                return

    def _operator(self) -> str:
        start = self._at
        value = self.source[start : start + 2]
        if value not in _DOUBLE:
            value = value[0]
        self._at += len(value)
        if value in "!~":
            raise JsonataSyntaxError(f"Unknown operator: {value}", start, "S0204")
        return value

    def _regex(self) -> RegexSource:
        source, start, depth = self.source, self._at, 0
        at = start + 1
        while at < len(source):
            char, escaped = source[at], _escaped(source, at)
            if char == "/" and depth == 0 and not escaped:
                pattern = source[start + 1 : at]
                if not pattern:
                    raise JsonataSyntaxError("Empty regular expressions are not allowed", start, "S0301")
                self._at = at + 1
                while self.source[self._at : self._at + 1] in ("i", "m"):
                    self._at += 1
                return RegexSource(pattern, source[at + 1 : self._at])
            if source[at - 1] != "\\":
                depth += (char in "([{") - (char in ")]}")
            at += 1
        raise JsonataSyntaxError("No terminating / in regular expression", start, "S0302")

    def _text(self, quote: str) -> str:
        source, start = self.source, self._at
        parts: list[str] = []
        at = start + 1
        while at < len(source):
            char = source[at]
            if char == quote:
                self._at = at + 1
                text = "".join(parts)
                # Two escapes that make one character beyond the basic plane are one character.
                return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            if char == "\\":
                at += 1
                escape = source[at : at + 1]
                if escape == "u":
                    digits = _HEX.match(source, at + 1)
                    if digits is None:
                        text = "The escape sequence \\u must be followed by 4 hex digits"
                        raise JsonataSyntaxError(text, at - 1, "S0104")
                    parts.append(chr(int(digits[0], 16)))
                    at += 4
                elif escape in _ESCAPES:
                    parts.append(_ESCAPES[escape])
                else:
                    raise JsonataSyntaxError(f"Unsupported escape sequence: \\{escape}", at - 1, "S0103")
            else:
                parts.append(char)
            at += 1
        raise JsonataSyntaxError("String literal must be terminated by a matching quote", start, "S0101")

    def _number(self, found: re.Match[str]) -> int | float:
        text = found[0]
        if found[1] is None and found[2] is None:
            if len(text) > 308:
                raise JsonataSyntaxError(f"Number out of range: {text[:20]}…", self._at, "S0102")
            value: int | float = int(text)
        else:
            value = float(text)
            if math.isinf(value):
                raise JsonataSyntaxError(f"Number out of range: {text}", self._at, "S0102")
            if value.is_integer() and abs(value) < 2**53:
                value = int(value)
        self._at = found.end()
        return value

    def _quoted_name(self) -> str:
        end = self.source.find("`", self._at + 1)
        if end < 0:
            raise JsonataSyntaxError("Quoted property name must be terminated with a backquote (`)", self._at, "S0105")
        name = self.source[self._at + 1 : end]
        self._at = end + 1
        return name

    def _word(self) -> tuple[str, Any]:
        source, start = self.source, self._at
        end = start
        while end < len(source) and source[end] not in _SPACE and source[end] not in _SINGLE:
            end += 1
        self._at = end
        word = source[start:end]
        if word[0] == "$":
            return "variable", word[1:]
        return _WORDS.get(word, ("name", word))


def _escaped(source: str, at: int) -> bool:
    count = 0
    while source[at - count - 1] == "\\":
        count += 1
    return count % 2 == 1
