"""Whole numbers as English words, Roman numerals and spreadsheet letters, and back."""

from __future__ import annotations

import re
from math import nan
from typing import Final

_FEW: Final = (
    "Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve",
    "Thirteen", "Fourteen", "Fifteen", "Sixteen", "Seventeen", "Eighteen", "Nineteen",
)  # fmt: skip
_ORDINALS: Final = (
    "Zeroth", "First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth", "Eleventh",
    "Twelfth", "Thirteenth", "Fourteenth", "Fifteenth", "Sixteenth", "Seventeenth", "Eighteenth", "Nineteenth",
)  # fmt: skip
_DECADES: Final = ("Twenty", "Thirty", "Forty", "Fifty", "Sixty", "Seventy", "Eighty", "Ninety", "Hundred")
_MAGNITUDES: Final = ("Thousand", "Million", "Billion", "Trillion")
_ROMAN: Final = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_ROMAN_VALUES: Final = {"M": 1000, "D": 500, "C": 100, "L": 50, "X": 10, "V": 5, "I": 1}
_MOST: Final = 10**300
_BETWEEN_WORDS: Final = re.compile(r",\s|\sand\s|[\s\\-]")
_INTEGER: Final = re.compile(r"\s*([+-]?[0-9]+)")


def _word_values() -> dict[str, int]:
    values: dict[str, int] = {}
    for names in (_FEW, _ORDINALS):
        values.update({name.lower(): number for number, name in enumerate(names)})
    for index, name in enumerate(_DECADES):
        values[name.lower()] = values[name[:-1].lower() + "ieth"] = (index + 2) * 10
    values["hundredth"] = 100
    for index, name in enumerate(_MAGNITUDES):
        values[name.lower()] = values[name.lower() + "th"] = 10 ** (3 * index + 3)
    return values


WORD_VALUES: Final = _word_values()
"""Every word of a number, in lower case, with its value."""


def to_words(number: int, *, ordinal: bool) -> str:
    """Return a number of at least zero in words, such as ``One Hundred and Twenty-Three``."""
    return _words(number, after=False, ordinal=ordinal)


def _words(number: int, *, after: bool, ordinal: bool) -> str:
    if number < 20:
        return (" and " if after else "") + (_ORDINALS if ordinal else _FEW)[number]
    if number < 100:
        tens, rest = divmod(number, 10)
        text = (" and " if after else "") + _DECADES[tens - 2]
        if rest:
            return f"{text}-{_words(rest, after=False, ordinal=ordinal)}"
        return text[:-1] + "ieth" if ordinal else text
    if number < 1000:
        count, rest = divmod(number, 100)
        text = f"{_FEW[count]} Hundred"
    else:
        magnitude = min((len(str(number)) - 1) // 3, len(_MAGNITUDES))
        count, rest = divmod(number, 10 ** (3 * magnitude))
        text = f"{_words(count, after=False, ordinal=False)} {_MAGNITUDES[magnitude - 1]}"
    text = (", " if after else "") + text
    if rest:
        return text + _words(rest, after=True, ordinal=ordinal)
    return text + "th" if ordinal else text


def from_words(text: str) -> float:
    """Return the number that words in lower case say; NaN when one of them is none."""
    parts: list[float] = [0]
    for word in _BETWEEN_WORDS.split(text):
        value = WORD_VALUES.get(word, nan)
        if value < 100:
            top = parts.pop()
            if top >= 1000:
                parts.append(top)
                top = 0
            parts.append(top + value)
        else:
            parts.append(parts.pop() * value)
        if parts[-1] > _MOST:
            return nan
    return sum(parts)


def to_roman(number: int) -> str:
    """Return a number in lower-case Roman numerals; empty for zero."""
    parts: list[str] = []
    for value, numeral in _ROMAN:
        count, number = divmod(number, value)
        parts.append(numeral * count)
    return "".join(parts)


def from_roman(text: str) -> float:
    """Return the number of upper-case Roman numerals; NaN when a letter is none."""
    total, most = 0, 1
    for letter in reversed(text):
        value = _ROMAN_VALUES.get(letter)
        if value is None:
            return nan
        if value < most:
            total -= value
        else:
            most = value
            total += value
    return total


def to_letters(number: int) -> str:
    """Return a number as a spreadsheet's column in lower case: 1 is ``a``, 27 is ``aa``; empty for zero."""
    letters: list[str] = []
    while number > 0:
        number, letter = divmod(number - 1, 26)
        letters.append(chr(97 + letter))
    return "".join(reversed(letters))


def from_letters(text: str, first: str) -> float:
    """Return the number of a spreadsheet's column, whose letters count from ``first``; NaN for hundreds of letters."""
    number = 0
    if len(text) > 200:
        return nan
    for letter in text:
        number = number * 26 + ord(letter) - ord(first) + 1
    return number


def leading_integer(text: str) -> float:
    """Return the whole number a text starts with, as ``parseInt`` does; NaN when there is none."""
    found = _INTEGER.match(text)
    return nan if found is None or len(found[1]) > 300 else int(found[1])
