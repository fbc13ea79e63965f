"""A table to look values up in, read from a small file: CSV with a header, or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from etlctl.errors import FatalError

MOST_BYTES = 64 << 20
"""Larger tables are for a join."""


def read_table(path: Path, key: str | None, value: str | None) -> list[tuple[Any, Any, str]]:
    """Return key, value and place of each entry, in order.

    JSON is an object, or a list of objects with a field for the key and one for the value; anything else is CSV with
    a header, where every value is text. A list or a CSV file of other columns than two must say which they are.

    Args:
        path: The file.
        key: Column of the keys; the first of two when None.
        value: Column of the values; the second of two when None.

    Raises:
        FatalError: The file cannot be read, or is no such table.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise FatalError(
                f"the table {path} has more than {MOST_BYTES >> 20} MiB", help="use join, which holds it more compactly"
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FatalError(
            f"the table {path} cannot be read: {error.strerror}", help="the path starts at the contract's folder"
        ) from error
    except UnicodeDecodeError as error:
        raise FatalError(f"the table {path} is not UTF-8 text: {error.reason} at byte {error.start:,}") from error
    return _from_json(path, text, key, value) if path.suffix.lower() == ".json" else _from_csv(path, text, key, value)


def _from_json(path: Path, text: str, key: str | None, value: str | None) -> list[tuple[Any, Any, str]]:
    try:
        # As pairs, so that a key that is there twice is seen.
        data = json.loads(text, object_pairs_hook=_Pairs, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise FatalError(f"the table {path} is not JSON: {error}") from error
    if isinstance(data, _Pairs):
        return [(name, _plain(item), f"{path.name}, key {name!r}") for name, item in data]
    if not isinstance(data, list) or not all(isinstance(item, _Pairs) for item in data):
        raise FatalError(
            f"the table {path} is neither a JSON object nor a list of objects",
            help='such as {"DE": "Germany"} or [{"code": "DE", "name": "Germany"}]',
        )
    found = []
    for number, item in enumerate(data):
        fields = dict(item)
        names = _columns(path, list(fields), key, value)
        found.append((_plain(fields.get(names[0])), _plain(fields.get(names[1])), f"{path.name}, item {number + 1}"))
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is beyond the range of a float")
    return number


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as the pairs written."""


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(item) for name, item in value}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _from_csv(path: Path, text: str, key: str | None, value: str | None) -> list[tuple[Any, Any, str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[tuple[Any, Any, str]] = []
    try:
        header = next(reader, None)
        if header is None:
            raise FatalError(f"the table {path} is empty", help="a CSV table begins with a header line")
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise FatalError(f"the table {path} has two columns {twice!r}", help="rename one of them in the header")
        names = _columns(path, header, key, value)
        places = [header.index(name) for name in names]
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise FatalError(
                    f"the table {path} has {len(row)} values in line {reader.line_num}, and {len(header)} columns"
                )
            found.append((row[places[0]], row[places[1]], f"{path.name}:{reader.line_num}"))
    except csv.Error as error:
        raise FatalError(f"the table {path} is no CSV in line {reader.line_num}: {error}") from error
    return found


def _columns(path: Path, there: list[str], key: str | None, value: str | None) -> tuple[str, str]:
    """Return the columns of key and value."""
    for wanted in (key, value):
        if wanted is not None and wanted not in there:
            raise FatalError(f"the table {path} has no column {wanted!r}; there are {', '.join(there) or 'none'}")
    if key is not None and value is not None:
        return key, value
    if len(there) != 2:
        raise FatalError(
            f"the table {path} has {len(there)} columns: {', '.join(there)}",
            help="say which ones hold key and value: key_column and value_column",
        )
    first = key if key is not None else next(name for name in there if name != value)
    return first, value if value is not None else next(name for name in there if name != first)
