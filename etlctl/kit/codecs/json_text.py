"""Records as JSON text, every number with its exact digits; what JSON cannot say is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import repeat
from operator import itemgetter
from types import NoneType
from typing import Any
from uuid import UUID

import orjson

from etlctl.batch import Record
from etlctl.errors import RecordRejected
from etlctl.kit.codecs.value_text import bytes_text, datetime_text, decimal_text, duration_text
from etlctl.kit.codecs.writing import Refusals

# orjson writes time(0, 0, 0, 10_000) as "00:00:00.10000", a tenth of a second: times are put into words by us.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
# Of datetimes without a zone and in UTC it writes what we write.
_PLAIN_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_PASSTHROUGH_DATACLASS
_PLAIN_KINDS = frozenset({str, int, float, bool, NoneType, datetime})
_MACHINE = (-(2**63), 2**64 - 1)
_SHOWN = 60


def encode_block(records: Sequence[Record]) -> tuple[int, bytes, Refusals]:
    """Return how many records became lines of compact JSON, those lines, and the records that have none."""
    plain = _plain_block(records)
    if plain is not None:
        return len(records), plain, []
    lines, refusals = encode_lines(records)
    return len(lines), b"\n".join(lines) + b"\n" if lines else b"", refusals


def _plain_block(records: Sequence[Record]) -> bytes | None:
    """Encode flat records of the same fields and usual types at once, which is twice as fast; None when it is not so.

    Between two records stands ``},{``. When it is in the text just as often as that, no value can hold it.
    """
    if len(records) < 2 or not _all_plain(records):
        return None
    try:
        text = orjson.dumps(records, None, _PLAIN_OPTIONS)
    except TypeError:  # an integer beyond 64 bits, half a surrogate pair, a key that is no text
        return None
    if text.count(b"},{") != len(records) - 1:
        return None
    return text[1:-1].replace(b"},{", b"}\n{") + b"\n"


def _all_plain(records: Sequence[Record]) -> bool:
    """Tell whether orjson writes all values of all records as we do."""
    names = list(records[0])
    nested = not set(map(type, records[0].values())) <= _PLAIN_KINDS
    if nested or len(names) < 2 or set(map(type, records)) != {dict} or set(map(len, records)) != {len(names)}:
        return False
    try:
        columns = zip(*map(itemgetter(*names), records), strict=True)
    except KeyError:
        return False
    for column in columns:
        kinds = set(map(type, column))
        if not kinds <= _PLAIN_KINDS:
            return False
        # orjson writes null for NaN and infinity, and knows zones that we do not.
        if float in kinds and not all(math.isfinite(value) for value in column if type(value) is float):
            return False
        if datetime in kinds and {value.tzinfo for value in column if type(value) is datetime} - {None, UTC}:
            return False
    return True


def encode_lines(records: Sequence[Record]) -> tuple[list[bytes], Refusals]:
    """Return each record as one line of compact JSON (without its end), and those that have none."""
    try:
        lines = list(map(orjson.dumps, records, repeat(_default), repeat(_OPTIONS)))
    except (TypeError, RecordRejected):
        return _one_by_one(records)
    # orjson writes null for NaN and infinity; only a line with a null can have one.
    nulls = b"null" in b"".join(lines)
    for record, line in zip(records, lines, strict=True) if nulls else ():
        if b"null" in line and any(map(_not_finite, record.values())):
            return _one_by_one(records)
    return lines, []


def _one_by_one(records: Sequence[Record]) -> tuple[list[bytes], Refusals]:
    lines: list[bytes] = []
    refusals: Refusals = []
    dumps, options = orjson.dumps, _OPTIONS
    for place, record in enumerate(records):
        try:
            line = dumps(record, _default, options)
            if b"null" in line and any(map(_not_finite, record.values())):
                line = _exact_line(record)
        except TypeError:
            try:
                line = _exact_line(record)
            except RecordRejected as refused:
                refusals.append((place, refused))
                continue
        except RecordRejected as refused:
            refusals.append((place, refused))
            continue
        lines.append(line)
    return lines, refusals


def encode_value(value: Any, field: str) -> bytes:
    """Return a value as compact JSON.

    Raises:
        RecordRejected: JSON cannot say it.
    """
    return _dump(_exact(value, field), field)


def _exact_line(record: Record) -> bytes:
    exact = {}
    for name, value in record.items():
        _check_text(name, str(name), "the name of the field") if type(name) is str else _refuse_key(name)
        exact[name] = _exact(value, name)
    return _dump(exact, None)


def _dump(value: Any, field: str | None) -> bytes:
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError as error:
        if "ecursion" in str(error):
            raise _too_deep(field) from error
        raise RecordRejected("load.not_json", f"JSON cannot hold the record: {error}", field=field) from error


def _default(value: Any) -> Any:
    """Encode what orjson leaves to us; Fragment puts the digits of a decimal into the text as they are."""
    if type(value) is datetime:  # by far the most frequent one: without the calls that the rare ones make
        return value.isoformat()[:-6] + "Z" if value.tzinfo is UTC else datetime_text(value)
    if isinstance(value, datetime | time):
        return datetime_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(decimal_text(value).encode("ascii"))
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes_text(value)
    raise TypeError(type(value).__name__)


def _not_finite(value: Any) -> bool:
    kind = type(value)
    if kind is float:
        return not math.isfinite(value)
    if kind is dict:
        return any(map(_not_finite, value.values()))
    if kind is list or kind is tuple:
        return any(map(_not_finite, value))
    return isinstance(value, float) and not math.isfinite(value)


def _exact(value: Any, field: str) -> Any:
    if value is None or value is True or value is False:
        return value
    try:
        for kind, convert in _CONVERTERS:
            if isinstance(value, kind):
                return convert(value, field)
    except RecursionError:
        raise _too_deep(field) from None
    raise RecordRejected(
        "load.not_json", f"field {field!r} holds a {type(value).__name__}, which JSON cannot hold", field=field
    )


def _integer(value: int, field: str) -> Any:
    if _MACHINE[0] <= value <= _MACHINE[1]:
        return value
    try:
        return orjson.Fragment(str(value).encode("ascii"))
    except ValueError as error:  # the interpreter's limit on the digits of an integer
        raise RecordRejected(
            "load.not_json", f"field {field!r} holds an integer of over 4,300 digits", field=field
        ) from error


def _float(value: float, field: str) -> float:
    if not math.isfinite(value):
        raise _refuse_number(value, field)
    return float(value)


def _decimal(value: Decimal, field: str) -> orjson.Fragment:
    if not value.is_finite():
        raise _refuse_number(value, field)
    return orjson.Fragment(decimal_text(value).encode("ascii"))


def _refuse_number(value: object, field: str) -> RecordRejected:
    return RecordRejected("load.not_finite", f"field {field!r} is {value}, and JSON has no such number", field=field)


def _text(value: str, field: str) -> str:
    _check_text(value, field, f"field {field!r}")
    return value


def _check_text(value: str, field: str, what: str) -> None:
    if not is_utf8(value):
        shown = ascii(value[:_SHOWN])
        raise RecordRejected(
            "load.not_utf8", f"{what} holds text that is not Unicode (half a surrogate pair): {shown}", field=field
        )


def is_utf8(value: str) -> bool:
    """Tell whether a text can be written as UTF-8; one with half a surrogate pair cannot."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _object(value: dict[Any, Any], field: str) -> dict[str, Any]:
    made = {}
    for key, item in value.items():
        if not isinstance(key, str):
            _refuse_key(key, field)
        _check_text(key, field, f"a key in field {field!r}")
        made[key] = _exact(item, field)
    return made


def _refuse_key(key: object, field: str | None = None) -> None:
    where = f"field {field!r}" if field else "the record"
    message = f"{where} has the key {key!r}, a {type(key).__name__}; keys in JSON are text"
    raise RecordRejected("load.not_json", message, field=field)


def _array(value: Iterable[Any], field: str) -> list[Any]:
    return [_exact(item, field) for item in value]


def _too_deep(field: str | None) -> RecordRejected:
    where = f"field {field!r}" if field else "the record"
    return RecordRejected("load.too_deep", f"{where} is nested more than 250 levels deep", field=field)


_CONVERTERS: tuple[tuple[Any, Callable[[Any, str], Any]], ...] = (
    (Enum, lambda value, field: _exact(value.value, field)),
    (str, _text),
    (int, _integer),
    (float, _float),
    (Decimal, _decimal),
    (dict, _object),
    ((list, tuple), _array),
    ((datetime, time), lambda value, _field: datetime_text(value)),
    (date, lambda value, _field: value.isoformat()),
    (timedelta, lambda value, _field: duration_text(value)),
    ((bytes, bytearray, memoryview), lambda value, _field: bytes_text(value)),
    (UUID, lambda value, _field: str(value)),
)
