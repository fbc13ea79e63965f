"""Integer pictures such as ``#,##0``, ``I``, ``Ww`` or ``1;o``: read once, used to format and to parse."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import lru_cache, reduce
from math import gcd
from typing import Any, Final, Literal, TypeAlias

from etlctl.frozen import frozen
from etlctl.jsonata.functions import number_words as words
from etlctl.jsonata.functions.builtin import BUILTINS, unusual
from etlctl.jsonata.functions.numbers import floor
from etlctl.jsonata.functions.numeric import as_float, check_picture, out_of_range, shortest
from etlctl.jsonata.functions.signature import shown
from etlctl.jsonata.values import JsonataError

Primary: TypeAlias = Literal["decimal", "letters", "roman", "words", "sequence"]

_ZEROS: Final = (
    0x30, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6,
    0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40,
    0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10,
)  # fmt: skip
_NAMED: Final[dict[str, tuple[Primary, str]]] = {
    "A": ("letters", "upper"),
    "a": ("letters", "lower"),
    "I": ("roman", "upper"),
    "i": ("roman", "lower"),
    "W": ("words", "upper"),
    "Ww": ("words", "title"),
    "w": ("words", "lower"),
}
_MOST_DIGITS: Final = 100_000


@frozen
class IntegerPicture:
    """How a whole number is written.

    Attributes:
        primary: Digits, letters, Roman numerals, words, or a sequence nobody supports.
        case: ``upper``, ``lower`` or ``title``.
        ordinal: ``1st`` instead of ``1``.
        zero: Code point of the zero of its digits.
        mandatory: Least digits.
        optional: How many ``#`` it has.
        regular: Distance of equal separators at equal distances; 0 when they are not.
        separators: (place from the right, character) from right to left.
        token: The picture, for messages.
        width: Digits a parser takes when another number follows at once; None for any.
    """

    primary: Primary
    case: str = "lower"
    ordinal: bool = False
    zero: int = 0x30
    mandatory: int = 0
    optional: int = 0
    regular: int = 0
    separators: tuple[tuple[int, str], ...] = ()
    token: str = ""
    width: int | None = None


@lru_cache(maxsize=512)
def read_integer_picture(text: str) -> IntegerPicture:
    """Return what a picture means.

    Raises:
        JsonataError: D3131 when digits of several scripts are mixed.
    """
    check_picture(text)
    primary, mark, modifier = text.rpartition(";")
    if not mark:
        primary, modifier = text, ""
    ordinal = modifier.startswith("o")
    named = _NAMED.get(primary)
    if named is not None:
        return IntegerPicture(named[0], named[1], ordinal)
    return _decimal(primary, ordinal)


def _decimal(text: str, ordinal: bool) -> IntegerPicture:
    zero: int | None = None
    mandatory = optional = 0
    separators: list[tuple[int, str]] = []
    for character in reversed(text):
        start = _zero_of(ord(character))
        if start is not None:
            mandatory += 1
            if zero is not None and zero != start:
                msg = f"all digits of a picture must be of one script: {shown(text)}"
                raise JsonataError(msg, "D3131")
            zero = start
        elif character == "#":
            optional += 1
        else:
            separators.append((mandatory + optional, character))
    if zero is None:
        return IntegerPicture("sequence", ordinal=ordinal, token=text)
    regular = _regular(separators)
    kept = (regular, separators[0][1]) if regular else None
    return IntegerPicture(
        "decimal", "lower", ordinal, zero, mandatory, optional, regular, (kept,) if kept else tuple(separators), text
    )


def _zero_of(code: int) -> int | None:
    if code < 0x80:
        return 0x30 if 0x30 <= code <= 0x39 else None
    return next((zero for zero in _ZEROS if zero <= code <= zero + 9), None)


def _regular(separators: list[tuple[int, str]]) -> int:
    if not separators or len({character for _, character in separators}) > 1:
        return 0
    places = [place for place, _ in separators]
    factor = reduce(gcd, places)
    fits = factor > 0 and all(factor * index in places for index in range(1, len(places) + 1))
    return factor if fits else 0


def with_digits(picture: IntegerPicture, least: int) -> IntegerPicture:
    """Return a picture with so many mandatory digits."""
    return replace(picture, mandatory=least)


def sequence_refused(picture: IntegerPicture) -> JsonataError:
    """Return the error of a picture that is a numbering sequence."""
    msg = f"numbers as a sequence that starts with {shown(picture.token)} are not supported"
    return JsonataError(msg, "D3130")


def write_integer(value: float, picture: IntegerPicture) -> str:
    """Return a whole number as a picture says.

    Raises:
        JsonataError: D3130 for a numbering sequence; D1001 when the text would be absurdly long.
    """
    as_float(value)  # what is no double has too many digits for any picture
    amount = abs(value)
    primary = picture.primary
    if primary == "decimal":
        text = _digits(amount, picture)
    elif primary == "sequence":
        raise sequence_refused(picture)
    elif primary == "words":
        text = words.to_words(_as_written(amount), ordinal=picture.ordinal)
        text = text.upper() if picture.case == "upper" else text.lower() if picture.case == "lower" else text
    else:
        if primary == "roman" and amount > _MOST_DIGITS * 1000:
            raise out_of_range(f"{amount} as a Roman numeral")
        text = words.to_roman(int(amount)) if primary == "roman" else words.to_letters(int(amount))
        text = text.upper() if picture.case == "upper" else text
    return f"-{text}" if value < 0 else text


def _as_written(amount: float) -> int:
    """Return a whole number as its shortest text says it: 1e46 is a one with 46 zeros, not the nearest double."""
    return int(Decimal(repr(amount)))


def _digits(amount: float, picture: IntegerPicture) -> str:
    if picture.mandatory > _MOST_DIGITS:
        raise out_of_range(f"{picture.mandatory} digits")
    text = shortest(amount).rjust(picture.mandatory, "0")
    if picture.zero != 0x30:
        text = "".join([chr(ord(character) + picture.zero - 0x30) for character in text])
    if picture.regular:
        size, character = picture.separators[0]
        first = len(text) % size
        pieces = [text[:first]] if first else []
        text = character.join(pieces + [text[at : at + size] for at in range(first, len(text), size)])
    else:
        for place, character in reversed(picture.separators):
            at = len(text) - place
            # substr counts a place before the start from the end, and the rest of the text then starts there too
            cut = max(0, len(text) + at) if at < 0 else at
            text = (text[:0] if at < 0 else text[:at]) + character + text[cut:]
    return text + _suffix(text) if picture.ordinal else text


def _suffix(text: str) -> str:
    if text[-2:-1] == "1":
        return "th"
    return {"1": "st", "2": "nd", "3": "rd"}.get(text[-1:], "th")


def parse_integer_text(text: str, picture: IntegerPicture) -> Any:
    """Return the number a text says in a picture, which is not checked further; NaN where it says none."""
    primary = picture.primary
    if primary == "sequence":
        raise sequence_refused(picture)
    if primary == "letters":
        return words.from_letters(text, "A" if picture.case == "upper" else "a")
    if primary == "roman":
        return words.from_roman(text if picture.case == "upper" else text.upper())
    if primary == "words":
        return words.from_words(text.lower())
    digits = text[:-2] if picture.ordinal else text
    for character in [","] if picture.regular else [character for _, character in picture.separators]:
        digits = digits.replace(character, "")
    if picture.zero != 0x30:
        shift = 0x30 - picture.zero
        digits = "".join([chr(max(0, ord(character) + shift)) for character in digits])
    return words.leading_integer(digits)


@BUILTINS.define("formatInteger", "<n-s:s>")
def format_integer(value: Any, picture: Any) -> Any:
    """Return a whole number (rounded down) as a picture of XPath's fn:format-integer says."""
    if type(picture) is not str or not (type(value) is int or type(value) is float):
        return unusual("formatInteger", value, picture)
    return write_integer(floor(value), read_integer_picture(picture))


@BUILTINS.define("parseInteger", "<s-s:n>")
def parse_integer(text: Any, picture: Any) -> Any:
    """Return the number that a text says in a picture of XPath's fn:format-integer."""
    if type(picture) is not str or type(text) is not str:
        return unusual("parseInteger", text, picture)
    value = parse_integer_text(text, read_integer_picture(picture))
    if value != value:  # noqa: PLR0124 - NaN
        msg = f"{shown(text)} is not a number in the picture {shown(picture)}"
        raise JsonataError(msg, "D3030")
    return value
