"""Functions on text: pieces of it, case, length, blanks, padding, joining."""

from __future__ import annotations

import re
from math import trunc
from typing import Any, Final

from etlctl.jsonata.functions.builtin import BUILTINS, unusual
from etlctl.jsonata.limits import BUDGET
from etlctl.jsonata.values import NOTHING

_BLANKS: Final = re.compile(r"[ \t\n\r]+")
_NUMBERS: Final = frozenset((int, float))
_BIG: Final = 100_000


@BUILTINS.define("substring", "<s-nn?:s>")
def substring(text: Any, start: Any, length: Any = NOTHING) -> Any:
    """Return the characters from a place on, at most so many; a negative place counts from the end."""
    if type(text) is not str or not (_whole(start) and _whole(length)):
        return unusual("substring", text, start, length)
    begin = 0 if start is NOTHING else start
    if len(text) + begin < 0:
        begin = 0
    if length is NOTHING:
        return text[trunc(begin) :]
    if length <= 0 or start is NOTHING:
        return ""
    end = begin + length if begin >= 0 else len(text) + begin + length
    return text[trunc(begin) : trunc(end)]


def _whole(value: Any) -> bool:
    return type(value) is int or value is NOTHING or type(value) is float


@BUILTINS.define("substringBefore", "<s-s:s>")
def substring_before(text: Any, mark: Any) -> Any:
    """Return what stands before the first occurrence of a text; all of it when there is none."""
    if type(text) is str and type(mark) is str:
        at = text.find(mark)
        return text if at < 0 else text[:at]
    if type(text) is str and mark is NOTHING:
        return text
    return unusual("substringBefore", text, mark)


@BUILTINS.define("substringAfter", "<s-s:s>")
def substring_after(text: Any, mark: Any) -> Any:
    """Return what stands after the first occurrence of a text; all of it when there is none."""
    if type(text) is str and type(mark) is str:
        at = text.find(mark)
        return text if at < 0 else text[at + len(mark) :]
    if type(text) is str and mark is NOTHING:
        return text
    return unusual("substringAfter", text, mark)


@BUILTINS.define("lowercase", "<s-:s>")
def lowercase(text: Any) -> Any:
    """Return a text in lower case."""
    return text.lower() if type(text) is str else unusual("lowercase", text)


@BUILTINS.define("uppercase", "<s-:s>")
def uppercase(text: Any) -> Any:
    """Return a text in upper case."""
    return text.upper() if type(text) is str else unusual("uppercase", text)


@BUILTINS.define("length", "<s-:n>")
def length_of(text: Any) -> Any:
    """Return how many characters (code points) a text has."""
    return len(text) if type(text) is str else unusual("length", text)


@BUILTINS.define("trim", "<s-:s>")
def trim(text: Any) -> Any:
    """Return a text without blanks at its ends, and with one space for each run of blanks inside."""
    if type(text) is not str:
        return unusual("trim", text)
    if "  " in text or "\t" in text or "\n" in text or "\r" in text:
        text = _BLANKS.sub(" ", text)
    return text.strip(" ")


@BUILTINS.define("pad", "<s-ns?:s>")
def pad(text: Any, width: Any, filler: Any = NOTHING) -> Any:
    """Return a text filled up to a width: on the right, on the left for a negative width."""
    if type(text) is str and type(width) in _NUMBERS and (type(filler) is str or filler is NOTHING):
        whole = trunc(width)
        missing = abs(whole) - len(text)
        if missing <= 0:
            return text
        if missing > _BIG:
            BUDGET.get().check_characters(missing)
        unit: Any = filler or " "
        filling = unit * missing if len(unit) == 1 else (unit * (missing // len(unit) + 1))[:missing]
        return text + filling if whole > 0 else filling + text
    if type(text) is str and width is NOTHING:
        return text
    return unusual("pad", text, width, filler)


@BUILTINS.define("join", "<a<s>s?:s>")
def join(texts: Any, separator: Any = NOTHING) -> Any:
    """Return the texts of an array as one, with a separator between them."""
    if isinstance(texts, list) and (type(separator) is str or separator is NOTHING):
        between: Any = separator or ""
        if len(texts) > 1000 or len(between) > _BIG:
            _check_size(texts, between)
        try:
            return between.join(texts)
        except TypeError:
            pass
    return unusual("join", texts, separator)


def _check_size(texts: list[Any], between: str) -> None:
    size = sum([len(text) for text in texts if type(text) is str]) + len(between) * len(texts)
    BUDGET.get().check_characters(size)
