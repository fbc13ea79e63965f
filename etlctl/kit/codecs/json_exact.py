"""Parsing lines of JSON fast where that is exact, and exactly where it is not.

orjson makes floats of integers beyond 64 bits and of decimals with more digits than a float holds. Such numbers are
searched for in the text; only objects with one of them take the slow way.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from etlctl.batch import Record
from etlctl.kit.codecs.json_scanner import exact_number, has_surrogate

if TYPE_CHECKING:
    from collections.abc import Sequence

_INT64, _UINT64 = -(2**63), 2**64
_SUSPECT = r"[:,\[][ \t\r]*-?(?:[0-9][0-9.]{16}|[0-9][0-9.]*[eE])"
_SUSPECT_NUMBER = _SUSPECT + r"[0-9.eE+-]*"
_NUMBER = re.compile(rb"[:,\[][ \t\r]*+(-?(?:[0-9][0-9.]{16}|[0-9][0-9.]*+[eE])[0-9.eE+-]*+)")


class RefusedLine(ValueError):  # noqa: N818
    """A line that is no record.

    Attributes:
        rule: Stable dotted name, such as ``jsonl.malformed``.
        message: What is wrong with it.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message


def parse_lines(block: bytes, lines: Sequence[bytes]) -> list[Record] | None:
    """Parse lines that are all plain objects; None when any of them needs a closer look.

    Args:
        block: The text of all lines.
        lines: The same text, line by line.
    """
    records = parse_plain(lines)
    return records if records is not None and numbers_survive(block) else None


def parse_plain(lines: Sequence[bytes]) -> list[Record] | None:
    """Parse lines of a text whose numbers survive; None when one of them is no plain object."""
    try:
        records = list(map(orjson.loads, lines))
    except orjson.JSONDecodeError:
        return None
    return None if set(map(type, records)) - {dict} else records


def exact_object(line: bytes) -> Record:
    """Parse one line exactly.

    Raises:
        RefusedLine: It is no object, or no JSON, or holds what no record can hold.
    """
    try:
        value = orjson.loads(line)
        if _all_exact(line):
            return _object(value)
    except orjson.JSONDecodeError:
        pass  # the slow way knows why, or finds that it is only a number too large for orjson
    return _object(_slow(line))


def _object(value: Any) -> Record:
    if isinstance(value, dict):
        return value
    names = {type(None): "null", bool: "true or false", str: "text", list: "an array"}
    raise RefusedLine("jsonl.not_an_object", f"the line is {names.get(type(value), 'a number')}, not an object")


def _slow(line: bytes) -> Any:
    try:
        value = _DECODER.decode(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RefusedLine("text.utf8", f"byte {error.start + 1} of the line is not valid UTF-8") from error
    except json.JSONDecodeError as error:
        raise RefusedLine("jsonl.malformed", f"malformed JSON at column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise RefusedLine("jsonl.too_deep", "the object is nested too deeply") from error
    except (ArithmeticError, ValueError) as error:
        if isinstance(error, RefusedLine):
            raise
        raise RefusedLine("jsonl.malformed", f"the line holds a number that is too large: {error}") from error
    if has_surrogate(value):
        raise RefusedLine("jsonl.text", "the line holds half of a surrogate pair, which is no text")
    return value


def _refuse_constant(name: str) -> None:
    raise RefusedLine("jsonl.constant", f"{name} is no JSON value")


_DECODER = json.JSONDecoder(parse_float=exact_number, parse_constant=_refuse_constant)


def numbers_survive(block: bytes) -> bool:
    """Tell whether the text is UTF-8 and no number in it is changed by orjson. Others may run meanwhile."""
    import polars as pl  # noqa: PLC0415

    try:
        text = pl.Series([block], dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:
        return False  # not UTF-8
    if not text.str.contains(_SUSPECT).item():
        return True
    numbers = text.str.extract_all(_SUSPECT_NUMBER).explode().str.strip_chars_start(":,[ \t\r")
    shortest = numbers.cast(pl.Float64, strict=False).cast(pl.String) == numbers
    sure = shortest.fill_null(value=False) | numbers.cast(pl.Int64, strict=False).is_not_null()
    return all(_exact(number.encode()) for number in numbers.filter(~sure))


def _all_exact(text: bytes) -> bool:
    return all(map(_exact, _NUMBER.findall(text)))


def _exact(number: bytes) -> bool:
    try:
        if number.isdigit() or number[1:].isdigit():
            return _INT64 <= int(number) < _UINT64
        value = float(number)
        shown = repr(value).encode()
        return shown == number or Decimal(shown.decode()) == Decimal(number.decode())
    except (ValueError, ArithmeticError):
        return False  # not a number, but part of a text: the slow way finds out
