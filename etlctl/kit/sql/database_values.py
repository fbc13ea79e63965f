"""Values as a column of a database keeps them: exactly what they were, or refused. Servers change some in silence.

Even in its strict mode MySQL rounds 5.9 in an integer column, digits behind the scale of a decimal and fractions of
a second, cuts spaces off the end of a text, and takes a number for the place of a word in an ENUM. All that is refused
here; what is left (ranges of dates, lengths in bytes, character sets, checks) the server refuses itself.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from etlctl.errors import RecordRejected
from etlctl.kit.codecs.json_text import is_utf8
from etlctl.kit.sql.database_forms import Form
from etlctl.kit.sql.sqlite_values import column_values
from etlctl.temporal import Unparsable, to_date, to_datetime, to_time
from etlctl.types import shown

Refused = dict[int, RecordRejected]
_DECIMAL = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?\s*").fullmatch
_STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z?").fullmatch
_FRACTION = re.compile(r"\.([0-9]*[1-9])0*$").search
_MIDNIGHT = re.compile(r"00:00:00(?:\.0+)?").fullmatch
_BINARY = (bytes, bytearray, memoryview)


def fitted(
    name: str, values: list[Any], kinds: frozenset[type], form: Form, *, ready: bool = False
) -> tuple[list[Any], Refused]:
    """Return a field as a column takes it: int, float, Decimal, str (dates and times too) and bytes; None is null.

    Args:
        name: The field, for messages.
        values: One per record.
        kinds: Python types among them before anything was converted, None's left out.
        form: What the column keeps.
        ready: They are int, float, str and bytes already.
    """
    if form.kind in {"integer", "boolean"}:
        if kinds <= {int, bool} and _within(values, form):
            return ([value if value is None else int(value) for value in values] if bool in kinds else values), {}
        return _each(name, values, _integer, form)
    if form.kind == "float" and form.scale is None and kinds == {float}:
        total = math.fsum(value for value in values if value is not None) if _summable(values) else math.nan
        return (values, {}) if math.isfinite(total) else _each(name, values, _float, form)
    convert = _CONVERTERS.get(form.kind)
    if convert is not None:
        return _each(name, values, convert, form)
    return _texts(name, values, kinds, form, ready=ready)


def _summable(values: Sequence[Any]) -> bool:
    return not any(value is not None and math.isinf(value) for value in values)


def _within(values: Sequence[Any], form: Form) -> bool:
    numbers = [value for value in values if value is not None]
    return not numbers or (form.low <= min(numbers) and max(numbers) <= form.high)


def _each(name: str, values: list[Any], convert: Callable[[Any, Form], Any], form: Form) -> tuple[list[Any], Refused]:
    refused: Refused = {}
    made: list[Any] = []
    known: dict[str, Any] = {}  # texts come again and again
    for number, value in enumerate(values):
        if value is None:
            made.append(None)
            continue
        if type(value) is str and value in known:
            made.append(known[value])
            continue
        try:
            fit = convert(value, form)
        except _Unfit as error:
            rule, said = error.args
            refused[number] = RecordRejected(rule, f"field {name!r} is {shown(value)}, {said}", field=name)
            fit = None
        else:
            if type(value) is str:
                known[value] = fit
        made.append(fit)
    return made, refused


class _Unfit(Exception):  # noqa: N818
    """A value that the column would change: the rule, and the end of the message."""


def _number(value: Any) -> Decimal:
    """Return a number exactly; a float is the number it is written as."""
    if isinstance(value, bool | int):
        return Decimal(int(value))
    if isinstance(value, float):
        value = Decimal(repr(float(value)))
    elif isinstance(value, str) and _DECIMAL(value):
        try:
            value = Decimal(value.strip())
        except InvalidOperation:
            raise _Unfit("load.type", "which is no number") from None
    if not isinstance(value, Decimal):
        raise _Unfit("load.type", "which is no number")
    if not value.is_finite():
        raise _Unfit("load.not_finite", "which no database has a number for")
    return value


def _integer(value: Any, form: Form) -> int:
    if type(value) is not int:
        number = _number(value)
        if number.adjusted() > 40 or number != number.to_integral_value():
            raise _Unfit("load.out_of_range", "which its column of integers would round")
        value = int(number)
    if not form.low <= value <= form.high:
        raise _Unfit("load.out_of_range", f"and its column takes integers from {form.low:,} to {form.high:,}")
    return int(value)


def _float(value: Any, form: Form) -> float:
    number = _number(value)
    try:
        made = float(value) if isinstance(value, float) else float(number)
    except OverflowError:
        made = math.inf
    if math.isinf(made):
        raise _Unfit("load.out_of_range", "which is beyond the numbers of its column")
    if not isinstance(value, float) and Decimal(made) != number and Decimal(repr(made)) != number:
        raise _Unfit("load.out_of_range", "which its column of floats would round")
    if form.scale is not None and number != round(number, form.scale):
        raise _Unfit("load.out_of_range", f"which its column would round to {form.scale} digits behind the point")
    if form.kind == "single":
        _check_single(made)
    return made


def _check_single(value: float) -> None:
    """A column of 32 bits keeps the number as it is written when its digits come back."""
    try:
        (kept,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        raise _Unfit("load.out_of_range", "which is beyond the numbers of its column (FLOAT)") from None
    if value != kept and float(f"{kept:.7g}") != value and float(f"{kept:.6g}") != value:
        raise _Unfit("load.out_of_range", "which its column (FLOAT) would round; a DOUBLE keeps it")


def _decimal(value: Any, form: Form) -> Decimal:
    number = _number(value)
    if form.digits is None or not number:
        return number
    scale = form.scale or 0
    exponent = number.normalize().as_tuple().exponent
    behind = -exponent if isinstance(exponent, int) and exponent < 0 else 0
    if behind > scale:
        raise _Unfit("load.out_of_range", f"which its column would round to {scale} digits behind the point")
    if number.adjusted() + 1 > form.digits - scale:
        raise _Unfit("load.out_of_range", f"and its column takes {form.digits - scale} digits before the point")
    return number


def _datetime(value: Any, form: Form) -> str:
    if isinstance(value, str):
        text = value.removesuffix("Z").replace("T", " ") if _STAMP(value) else _stamp(_parsed(value, to_datetime))
    elif isinstance(value, datetime):
        text = _stamp(value)
    elif isinstance(value, date):
        text = f"{value.isoformat()} 00:00:00"
    else:
        raise _Unfit("load.type", "which is no date and time")
    return _in_scale(text, form)


def _stamp(value: datetime) -> str:
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return value.isoformat(" ")


def _in_scale(text: str, form: Form) -> str:
    found = _FRACTION(text)
    if found is not None and form.scale is not None and len(found[1]) > form.scale:
        raise _Unfit("load.out_of_range", f"and its column keeps {form.scale} digits of a second's fraction")
    return text


def _date(value: Any, _form: Form) -> str:
    if isinstance(value, str):
        if _STAMP(value):
            day, clock = value[:10], value[11:].removesuffix("Z")
            if not _MIDNIGHT(clock):
                raise _Unfit("load.type", "and its column keeps no time of day")
            return day
        value = _parsed(value, to_date)
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(UTC)
        if value.time().replace(tzinfo=None) != time():
            raise _Unfit("load.type", "and its column keeps no time of day")
        value = value.date()
    if not isinstance(value, date):
        raise _Unfit("load.type", "which is no date")
    return value.isoformat()


def _time(value: Any, form: Form) -> str:
    if isinstance(value, str):
        value = _parsed(value, to_time)
    if not isinstance(value, time) or value.tzinfo is not None:
        raise _Unfit("load.type", "which is no time of day")
    return _in_scale(value.isoformat(), form)


def _parsed(value: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(value)
    except Unparsable as error:
        raise _Unfit("load.type", f"which {error}") from None


def _bytes(value: Any, form: Form) -> bytes:
    if isinstance(value, str):
        if not is_utf8(value):
            raise _Unfit("load.not_utf8", "which is not Unicode (half a surrogate pair)")
        value = value.encode()
    if not isinstance(value, _BINARY):
        raise _Unfit("load.type", "which is no binary data")
    made = bytes(value)
    if form.length is not None and len(made) > form.length:
        raise _Unfit("load.too_big", f"of {len(made):,} bytes, and its column takes {form.length:,}")
    if form.padded and len(made) < (form.length or 1):
        raise _Unfit("load.too_small", f"of {len(made):,} bytes, which its column would fill up to {form.length:,}")
    return made


_CONVERTERS: Mapping[str, Callable[[Any, Form], Any]] = {
    "float": _float,
    "single": _float,
    "decimal": _decimal,
    "datetime": _datetime,
    "date": _date,
    "time": _time,
    "bytes": _bytes,
}


def _texts(
    name: str, values: list[Any], kinds: frozenset[type], form: Form, *, ready: bool
) -> tuple[list[Any], Refused]:
    """Return texts; what has no form of its own is written as in SQLite: ISO 8601, exact digits, JSON."""
    made, refused = column_values(name, values, kinds, "TEXT", ready=ready)
    if not kinds <= {str}:
        made = [_word(value) for value in made]
    odd = bytes in kinds or bytearray in kinds or memoryview in kinds
    long = form.length is not None and any(value is not None and len(value) > form.length for value in made)
    broken = not is_utf8("".join(value for value in made if type(value) is str))
    if not (odd or long or broken or form.padded or form.words):
        return made, refused
    fit, unfit = _each(name, made, _text, form)
    return fit, {**unfit, **refused}


def _word(value: Any) -> Any:
    return value if value is None or type(value) in {str, bytes} else str(value)


def _text(value: Any, form: Form) -> str:
    if type(value) is not str:
        raise _Unfit("load.type", "which is no text")
    if not is_utf8(value):
        raise _Unfit("load.not_utf8", "which is not Unicode (half a surrogate pair)")
    if form.length is not None and len(value) > form.length:
        raise _Unfit("load.too_big", f"of {len(value):,} characters, and its column takes {form.length:,}")
    if form.padded and value.endswith(" "):
        raise _Unfit("load.out_of_range", "and its column (CHAR) loses spaces at the end")
    if form.words and not (set(value.split(",")) if form.kind == "choices" and value else {value}) <= form.words:
        if form.kind == "choices" and not value:
            return value
        raise _Unfit("load.constraint", f"and its column takes only {', '.join(sorted(form.words))}")
    return value


def natural(name: str, values: list[Any], form: Form) -> tuple[list[Any], Refused]:
    """Return fitted values as the drivers of databases other than MySQL want them: dates and times as such."""
    convert = _NATURAL.get(form.kind)
    return (values, {}) if convert is None else _each(name, values, convert, form)


def _moment(value: str, form: Form) -> datetime:
    found = _read(datetime.fromisoformat, value)
    return found.replace(tzinfo=UTC) if form.zoned else found


T = TypeVar("T")


def _read(parse: Callable[[str], T], value: str) -> T:
    try:
        return parse(value)
    except ValueError as error:
        raise _Unfit("load.type", f"which cannot be read: {error}") from None


_NATURAL: Mapping[str, Callable[[Any, Form], Any]] = {
    "datetime": _moment,
    "date": lambda value, _form: _read(date.fromisoformat, value),
    "time": lambda value, _form: _read(time.fromisoformat, value),
    "boolean": lambda value, _form: bool(value),
    "json": lambda value, _form: _read(json.loads, value),
}
