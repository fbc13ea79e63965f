"""Walking through a JSON document of any size, one value at a time, with exact numbers, lines and columns.

The standard library's C scanner decodes one value at a given place of the text and tells where it ends. That makes
it an incremental parser that is faster than an event parser, keeps integers of any size, and knows the line and
column of every mistake.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, BinaryIO, NamedTuple

from etlctl.kit.codecs.reading import RAW_LIMIT, raw_text

LARGEST_VALUE = 1 << 28
"""Most characters of one value (a record, or a value that is passed over)."""

_SPACE = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LOOKAHEAD = 16  # the scanner looks no further than this past the place it complains about ("-Infinity", "\\uXXXX")
_EXPONENT = 3  # most characters after which a number may still turn out to go on ("e+5")
_SURE_DIGITS = 15  # every decimal of up to 15 digits survives a float


class MalformedJson(ValueError):  # noqa: N818
    """The text is no JSON from some place on.

    Attributes:
        line: 1-based line of the mistake.
        column: 1-based column, in characters.
        excerpt: The text of the value that holds it, as far as it is there.
        several: The document is fine, but another one follows.
    """

    def __init__(self, message: str, line: int, column: int, excerpt: str, *, several: bool) -> None:
        super().__init__(message)
        self.several = several
        self.message = message
        self.line = line
        self.column = column
        self.excerpt = excerpt


def exact_number(text: str) -> float | Decimal:
    """Return a JSON number with a fraction or exponent: a float when it keeps the value, else a Decimal.

    "Keeps" means that the float's shortest text is the same number, so 0.1 is a float and a 20-digit price is not.
    """
    number = float(text)
    if len(text) <= _SURE_DIGITS and "e" not in text and "E" not in text:
        return number
    exact = Decimal(text)
    return number if exact == Decimal(repr(number)) else exact


def has_surrogate(value: Any) -> bool:
    """Tell whether a JSON value holds half of a surrogate pair, which no text in UTF-8 can hold."""
    if isinstance(value, str):
        return _SURROGATE.search(value) is not None
    if isinstance(value, dict):
        return any(has_surrogate(key) or has_surrogate(item) for key, item in value.items())
    return isinstance(value, list) and any(has_surrogate(item) for item in value)


class Item(NamedTuple):
    """One value of an array.

    Attributes:
        value: The decoded value.
        line: 1-based line it begins at.
        doubtful: The text around it has bad bytes or escaped surrogates; look at the value before trusting it.
        constant: ``NaN``, ``Infinity`` or ``-Infinity``, which is no JSON, when one stands in it (as null).
        raw: Its text, when the scanner does not have it.
    """

    value: Any
    line: int
    doubtful: bool
    constant: str | None
    raw: str | None = None


class JsonScanner:
    """Reads a document from a binary stream, holding only a window of its text.

    Bad UTF-8 does not stop it: bad bytes become lone surrogates inside strings, and such items are ``doubtful``.

    Attributes:
        text: The window.
        start: Where in the window the text of the last value begins.
        at: Where in the window the scanner stands.
        doubtful: The window has bad bytes or escaped surrogates.
        constant: The ``NaN`` or infinity met in the last value, if any.
    """

    def __init__(self, stream: BinaryIO, block: int = 1 << 20) -> None:
        self._stream = stream
        self._block = block
        self._incoming = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        decoder = json.JSONDecoder(parse_float=exact_number, parse_constant=self._note_constant)
        self._decode = decoder.raw_decode
        self._scan = decoder.scan_once  # type: ignore[attr-defined]  # part of the json module since 2.6
        self.text = ""
        self.start = 0
        self.at = 0
        self.constant: str | None = None
        self._ended = False
        self.doubtful = False
        self._line = 1
        self._line_start = 0
        self._counted = 0
        self._before = 0

    def _note_constant(self, name: str) -> None:
        self.constant = name

    def _more(self) -> bool:
        """Drop the text that is done with and read on; False at the end of the document."""
        if self._ended:
            return False
        keep = self.at
        self._count_to(keep)
        size = max(self._block, len(self.text) - keep)
        data = self._stream.read(size)
        self._ended = not data
        added = self._incoming.decode(data, final=self._ended)
        self.text = self.text[keep:] + added
        self.doubtful = _SURROGATE.search(self.text) is not None or _ESCAPED_SURROGATE.search(self.text) is not None
        self.at = 0
        self._counted = 0
        self._line_start -= keep
        self._before += keep
        return not self._ended or bool(added)

    def _count_to(self, place: int) -> None:
        """Move the line counter forward to a place of the window."""
        newlines = self.text.count("\n", self._counted, place)
        if newlines:
            self._line += newlines
            self._line_start = self.text.rfind("\n", self._counted, place) + 1
        self._counted = place

    @property
    def passed(self) -> int:
        """Characters of the document that are done with."""
        return self._before + self.at

    def line(self) -> int:
        """Return the 1-based line of the place reached."""
        self._count_to(self.at)
        return self._line

    def raw(self) -> str:
        """Return the text of the last value, bad bytes escaped; valid until the scanner goes on."""
        return raw_text(self.text[self.start : self.at].encode("utf-8", "surrogateescape"))

    def malformed(self, message: str, place: int | None = None, *, several: bool = False) -> MalformedJson:
        """Make an error at a place of the window; the place reached when none is given."""
        place = self.at if place is None else place
        self._count_to(max(place, self._counted))
        around = self.text[self.at : self.at + RAW_LIMIT + 1]
        excerpt = raw_text(around.encode("utf-8", "surrogateescape"))
        return MalformedJson(
            message, self._line, max(place, self._counted) - self._line_start + 1, excerpt, several=several
        )

    def peek(self) -> str:
        """Pass over white space and return the next character, "" at the end of the document."""
        while True:
            end = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            self.at = end
            if end < len(self.text):
                return self.text[end]
            if not self._more():
                return ""

    def take(self, characters: str) -> str:
        """Pass over white space and one of the characters, and return it."""
        found = self.peek()
        if not found:
            raise self.malformed(f"the document ends too early: expected {_either(characters)}")
        if found not in characters:
            raise self.malformed(f"expected {_either(characters)}, found {found!r}")
        self.at += 1
        return found

    def value(self) -> Any:
        """Decode the value that begins here and go to its end."""
        if not self.peek():
            raise self.malformed("the document ends too early: expected a value")
        while True:
            self.constant = None
            try:
                value, end = self._decode(self.text, self.at)
            except json.JSONDecodeError as error:
                self._grow_or_fail(error)
                continue
            except (ArithmeticError, ValueError, RecursionError) as error:
                reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
                raise self.malformed(f"a value that cannot be read: {reason}") from None
            length = end - self.at
            # A number near the end of the window may go on in the next block: "1" of "1e+5", "1.5" or "12".
            if len(self.text) - end > _EXPONENT or not self._more():
                self.start = self.at
                self.at += length
                return value

    def _grow_or_fail(self, error: json.JSONDecodeError) -> None:
        offset = error.pos - self.at
        cut_off = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - _LOOKAHEAD
        if cut_off and len(self.text) - self.at > LARGEST_VALUE:
            raise self.malformed(f"one value of more than {LARGEST_VALUE >> 20} million characters") from None
        if cut_off and self._more():
            return
        place = self.at + offset
        if place >= len(self.text):
            raise self.malformed("the document ends too early", place) from None
        raise self.malformed(error.msg[0].lower() + error.msg[1:], place) from None

    def item(self) -> Item:
        """Decode the value that begins here, with where it was."""
        self.peek()
        line = self.line()
        return Item(self.value(), line, self.doubtful, self.constant)

    def items(self) -> Iterator[Item]:
        """Yield the values of the array that begins here, and go to its end."""
        self.take("[")
        if self.peek() == "]":
            self.at += 1
            return
        while True:
            yield self._quick_item() or self.item()
            text, at = self.text, self.at
            if text[at : at + 1] == ",":
                self.at = at + 1
            elif self.take(",]") == "]":
                return

    def _quick_item(self) -> Item | None:
        """Decode a value that lies well within the window; None when it takes more care than that."""
        text, at = self.text, self.at
        if text[at : at + 1] != "{":
            self.peek()
            text, at = self.text, self.at
        if len(text) - at < _LOOKAHEAD:
            return None
        self.constant = None
        try:
            value, end = self._scan(text, at)
        except (ArithmeticError, ValueError, RecursionError, StopIteration):
            return None
        if len(text) - end <= _EXPONENT:
            return None
        self._count_to(at)
        self.start, self.at = at, end
        return Item(value, self._line, self.doubtful, self.constant)

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that begins here; the caller takes the value of each before going on."""
        self.take("{")
        if self.peek() == "}":
            self.at += 1
            return
        while True:
            if self.peek() != '"':
                raise self.malformed("expected a key in double quotes")
            key: str = self.value()
            self.take(":")
            self.peek()
            yield key
            if self.take(",}") == "}":
                return

    def skip(self) -> None:
        """Pass over the value that begins here without holding an array or object as a whole."""
        opening = self.peek()
        if opening == "[":
            for _ in self.items():
                pass
        elif opening == "{":
            for _ in self.members():
                self.value()
        else:
            self.value()


def _either(characters: str) -> str:
    return " or ".join(repr(character) for character in characters)
