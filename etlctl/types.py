"""The types a contract can convert to, and the one authority on how a value becomes one of them.

Text is trimmed. What cannot be converted exactly is refused with ``Unparsable``, never rounded, cut or guessed:

* integer: an optional sign and ASCII digits, any size; ``5.0`` is 5, ``5.9`` and ``1e3`` are no integers
* float: a decimal number, exponent allowed; no ``inf``, no ``nan``, nothing past the range of a double;
  an integer that a double cannot hold exactly is refused
* decimal: exact; a float stands for the number it is written as (0.1 is 0.1)
* boolean: true/false/1/0/yes/no/on/off/y/n/t/f in any case, the numbers 1 and 0; true and false are 1 and 0 as numbers
* date, datetime, time: ISO 8601 (calendar dates, extended or basic); with a zone stored as UTC; to the microsecond
* object, array: JSON text
* string: numbers as Python writes them, booleans as true/false, dates and times as ISO 8601, nested values as JSON
"""

from __future__ import annotations

import json
import math
import re
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from etlctl.errors import RecordRejected
from etlctl.frozen import frozen
from etlctl.temporal import SPACE, Converter, Unparsable, by_layout, layout_problem, to_date, to_datetime, to_time

__all__ = [
    "FALSE",
    "NAMES",
    "NUMBERS",
    "PLAIN",
    "SPACE",
    "TEMPORAL",
    "TRUE",
    "Converter",
    "TypeOptions",
    "Unparsable",
    "canonical",
    "converter",
    "kind_of",
    "layout_problem",
    "number_pattern",
    "parse",
    "plain_number",
    "refusal",
    "shown",
    "to_text",
]

NAMES: dict[str, str] = {
    "string": "string",
    "str": "string",
    "text": "string",
    "integer": "integer",
    "int": "integer",
    "float": "float",
    "number": "float",
    "double": "float",
    "decimal": "decimal",
    "boolean": "boolean",
    "bool": "boolean",
    "date": "date",
    "datetime": "datetime",
    "timestamp": "datetime",
    "time": "time",
    "object": "object",
    "array": "array",
}
"""Every spelling of a type, with its canonical name."""

TRUE = frozenset({"true", "1", "yes", "on", "y", "t"})
FALSE = frozenset({"false", "0", "no", "off", "n", "f"})
NUMBERS = frozenset({"integer", "float", "decimal"})
TEMPORAL = frozenset({"date", "datetime", "time"})

_SHOWN = 60
_MOST_DIGITS = 4000  # CPython refuses to read much longer integers from text

_INTEGER = re.compile(r"[+-]?[0-9]+(?:\.0+)?").fullmatch
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch


@frozen
class TypeOptions:
    """How text is read.

    Attributes:
        format: Layout of date and time text, in the letters of ``strptime``, such as ``%d-%b-%y``.
        thousands: Character between groups of three digits.
        decimal_separator: Character before the fraction.
        null_values: Texts that mean null.
    """

    format: str | None = None
    thousands: str | None = None
    decimal_separator: str | None = None
    null_values: frozenset[str] = frozenset()


PLAIN = TypeOptions()


def canonical(name: str) -> str | None:
    """Return the canonical name of a type, whatever its case and surrounding space; None when there is no such type."""
    return NAMES.get(name.strip().lower())


def converter(kind: str, options: TypeOptions = PLAIN) -> Converter:
    """Return the function that converts to a canonical type; it raises ``Unparsable``."""
    convert = _CONVERTERS[kind]
    if kind in TEMPORAL and options.format is not None:
        convert = by_layout(kind, options.format, convert)
    elif kind in NUMBERS and (options.thousands or options.decimal_separator):
        convert = _separated(convert, number_pattern(options), options)
    if not options.null_values:
        return convert
    nulls = frozenset(text.strip(SPACE) for text in options.null_values)

    def with_nulls(value: Any) -> Any:
        if isinstance(value, str) and value.strip(SPACE) in nulls:
            return None
        return convert(value)

    return with_nulls


def parse(value: Any, kind: str, options: TypeOptions = PLAIN, *, field: str = "value") -> Any:
    """Convert one value; None stays None.

    Raises:
        RecordRejected: The value is not of the type; rule ``convert.<type>``.
    """
    if value is None:
        return None
    try:
        return converter(kind, options)(value)
    except Unparsable as error:
        raise refusal(value, kind, field, error) from None


def refusal(value: Any, kind: str, field: str, error: Unparsable) -> RecordRejected:
    """Return the error that refuses a record because a field's value cannot be converted."""
    return RecordRejected(f"convert.{kind}", f"field {field!r}: {shown(value)} {error}", field=field)


def shown(value: Any) -> str:
    """Return a value as a message shows it: its literal form, shortened to 60 characters."""
    text = repr(value) if isinstance(value, str) else to_text(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def kind_of(value: Any) -> str:
    """Return the word for what a value is: text, number, date, datetime, time, list, object or its Python type."""
    return next((word for kind, word in _KINDS if isinstance(value, kind)), type(value).__name__)


_KINDS: tuple[tuple[Any, str], ...] = (
    (str, "text"),
    (int | float | Decimal, "number"),
    (datetime, "datetime"),
    (date, "date"),
    (time, "time"),
    (list | tuple, "list"),
    (dict, "object"),
)


def number_pattern(options: TypeOptions) -> str:
    """Return the regular expression (Python and Rust) of numbers with the separators of the options."""
    point = re.escape(options.decimal_separator or ".")
    whole = "[0-9]+"
    if options.thousands:
        whole = rf"(?:[0-9]{{1,3}}(?:{re.escape(options.thousands)}[0-9]{{3}})+|[0-9]+)"
    return rf"[+-]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"


# --- text ------------------------------------------------------------------------------------------------------------


def to_text(value: Any) -> str:
    """Return the text form of a value; None gives the empty text.

    Raises:
        Unparsable: Bytes that are not UTF-8, or a value without a text form.
    """
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return _integer_to_text(value)
    if kind is float:
        return repr(value)
    if value is None:
        return ""
    return _other_to_text(value)


def _integer_to_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:
        return format(Decimal(value), "f")


def _other_to_text(value: Any) -> str:
    if isinstance(value, datetime):
        text = value.isoformat()
        return f"{text[:-6]}Z" if text.endswith("+00:00") else text
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=to_text)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Unparsable("is not UTF-8 text") from error
    return str(value)


def _string(value: Any) -> str:
    return value.strip(SPACE) if type(value) is str else to_text(value).strip(SPACE)


# --- numbers ---------------------------------------------------------------------------------------------------------


def _integer(value: Any) -> int:
    kind = type(value)
    if kind is str:
        if value.isdecimal() and value.isascii() and len(value) < _MOST_DIGITS:
            return int(value)
        return _integer_text(value.strip(SPACE))
    if kind is int:
        return value  # type: ignore[no-any-return]
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float | Decimal):
        if not math.isfinite(value) or _fraction(value):
            raise Unparsable("is not a whole number")
        return int(value)
    raise Unparsable("is not an integer")


def _fraction(value: float | Decimal) -> bool:
    return (_bounded(value) if isinstance(value, Decimal) else value) != int(value)


def _integer_text(text: str) -> int:
    if not _INTEGER(text):
        raise Unparsable("is not an integer")
    if len(text) > _MOST_DIGITS:
        raise Unparsable(f"has more than {_MOST_DIGITS} digits")
    return int(text.partition(".")[0])


def _float(value: Any) -> float:
    kind = type(value)
    if kind is str:
        return _float_text(value)
    if isinstance(value, int):
        try:
            number = float(value)
        except OverflowError as error:
            raise Unparsable("is beyond the range of a float; use decimal") from error
        if number != value:
            raise Unparsable("has no exact float; use decimal or integer")
        return number
    if isinstance(value, float):
        return value
    if isinstance(value, Decimal):
        number = float(value)
        if not math.isfinite(number):
            raise Unparsable("is not a finite number in the range of a float")
        return number
    raise Unparsable("is not a number")


def _float_text(value: str) -> float:
    text = value.strip(SPACE)
    if not _NUMBER(text):
        raise Unparsable("is not a number")
    number = float(text)
    if math.isinf(number):
        raise Unparsable("is beyond the range of a float; use decimal")
    return number


def _decimal(value: Any) -> Decimal:
    if isinstance(value, str):
        text = value.strip(SPACE)
        if not _NUMBER(text):
            raise Unparsable("is not a number")
        return _bounded(Decimal(text))
    if isinstance(value, Decimal | float):
        if not math.isfinite(value):
            raise Unparsable("is not a finite number")
        return Decimal(repr(value)) if isinstance(value, float) else value
    if isinstance(value, int):
        return Decimal(int(value))
    raise Unparsable("is not a number")


def _bounded(number: Decimal) -> Decimal:
    """Refuse numbers whose digits would not fit into memory once written out."""
    if number and abs(number.adjusted()) > _MOST_DIGITS:
        raise Unparsable(f"has more than {_MOST_DIGITS} digits")
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.strip(SPACE).lower()
        if text in TRUE:
            return True
        if text in FALSE:
            return False
    elif isinstance(value, int | float | Decimal) and (value == 0 or value == 1):  # noqa: PLR1714
        return value == 1
    raise Unparsable("is not a boolean (true/false, yes/no, on/off, y/n, t/f, 1/0)")


def _separated(convert: Converter, pattern: str, options: TypeOptions) -> Converter:
    matches = re.compile(pattern).fullmatch

    def with_separators(value: Any) -> Any:
        if not isinstance(value, str):
            return convert(value)
        text = value.strip(SPACE)
        if not matches(text):
            raise Unparsable("is not a number with the separators given")
        return convert(plain_number(text, options))

    return with_separators


def plain_number(text: str, options: TypeOptions) -> str:
    """Return a number with the separators of the options as a plain one."""
    if options.thousands:
        text = text.replace(options.thousands, "")
    return text.replace(options.decimal_separator, ".") if options.decimal_separator else text


# --- nested ----------------------------------------------------------------------------------------------------------


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _nested(kinds: type | tuple[type, ...], word: str) -> Converter:
    def from_json(value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = json.loads(value, parse_constant=_no_constant)
            except (ValueError, RecursionError) as error:
                raise Unparsable("is not JSON") from error
        if not isinstance(value, kinds):
            raise Unparsable(f"is not {word}")
        return value

    return from_json


_CONVERTERS: dict[str, Converter] = {
    "string": _string,
    "integer": _integer,
    "float": _float,
    "decimal": _decimal,
    "boolean": _boolean,
    "date": to_date,
    "datetime": to_datetime,
    "time": to_time,
    "object": _nested(dict, "a JSON object"),
    "array": _nested((list, tuple), "a JSON array"),
}
