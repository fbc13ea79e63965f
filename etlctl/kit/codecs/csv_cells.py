"""What stands in a CSV cell: frames and records as frames of plain columns that Polars' CSV writer prints exactly."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import polars as pl

from etlctl.batch import Record, frame_to_rows
from etlctl.errors import RecordRejected
from etlctl.kit.codecs.frame_text import (
    has_patterns,
    inner_types,
    is_nested,
    json_text,
    refuse_not_finite,
    text_columns,
)
from etlctl.kit.codecs.json_text import encode_value
from etlctl.kit.codecs.table_records import is_name, unnameable
from etlctl.kit.codecs.value_text import bytes_text, datetime_text, decimal_text, duration_text
from etlctl.kit.codecs.writing import Refusals

_INT64 = (-(2**63), 2**63 - 1)
_UNSAID = type(None)


def cells_of_frame(frame: pl.DataFrame) -> tuple[pl.DataFrame, Refusals]:
    """Return a frame that ``printable`` makes right for CSV, and the rows that cannot be said."""
    if any(_is_beyond(dtype) for dtype in frame.schema.values()):
        return cells_of_records(frame_to_rows(frame), frame.columns)
    return refuse_not_finite(frame, nested_only=True)


def printable(frame: pl.DataFrame) -> pl.LazyFrame:
    """Return a plan whose every column prints right in CSV."""
    lazy = frame.lazy().with_columns(text_columns(frame))
    nested = [place for place, dtype in enumerate(frame.dtypes) if is_nested(dtype)]
    return lazy.with_columns(json_text(place, frame.columns[place]) for place in nested)


def _is_beyond(dtype: pl.DataType) -> bool:
    """Tell whether Polars' JSON text of a nested column would not be exact, or there is none."""
    if isinstance(dtype, pl.Object) or has_patterns(dtype):
        return True
    return is_nested(dtype) and any(isinstance(one, pl.Decimal | pl.Object) for one in inner_types(dtype))


def cells_of_records(records: Sequence[Record], names: Sequence[str] | None = None) -> tuple[pl.DataFrame, Refusals]:
    """Return records as a frame of cells, and the records that cannot be said.

    Args:
        records: The records.
        names: The columns; all that occur, in order of appearance, when not given.
    """
    found = names if names is not None else list(dict.fromkeys(name for record in records for name in record))
    refused = unnameable(records, found)
    good = [name for name in found if is_name(name)]
    columns = {name: _column(name, [record.get(name) for record in records], refused) for name in good}
    frame = pl.DataFrame(columns)
    if not refused:
        return frame, []
    if columns:
        frame = frame.filter(pl.Series([place not in refused for place in range(len(records))], dtype=pl.Boolean))
    return frame, sorted(refused.items())


def _column(name: str, values: list[Any], refused: dict[int, RecordRejected]) -> pl.Series:
    kinds = set(map(type, values)) - {_UNSAID}
    plain: dict[type, pl.DataType] = {str: pl.String(), float: pl.Float64(), bool: pl.Boolean(), int: pl.Int64()}
    if not kinds:
        return pl.Series(name, values, dtype=pl.Null)
    if len(kinds) == 1:
        (kind,) = kinds
        if kind in plain and (kind is not int or _fits(values)):
            try:
                return pl.Series(name, values, dtype=plain[kind], strict=True)
            except (UnicodeEncodeError, TypeError, pl.exceptions.PolarsError):
                pass  # half a surrogate pair somewhere: look at each value
    cells = [_cell_or_refusal(name, place, value, refused) for place, value in enumerate(values)]
    return pl.Series(name, cells, dtype=pl.String)


def _fits(values: Sequence[int | None]) -> bool:
    numbers = [value for value in values if value is not None]
    return _INT64[0] <= min(numbers) and max(numbers) <= _INT64[1]


def _cell_or_refusal(name: str, place: int, value: Any, refused: dict[int, RecordRejected]) -> str | None:
    try:
        return cell_text(value, name)
    except RecordRejected as error:
        refused.setdefault(place, error)
        return None


def cell_text(value: Any, field: str) -> str | None:  # noqa: PLR0911 - one answer per kind of type
    """Return the text of one value; None for null.

    Raises:
        RecordRejected: There is none.
    """
    if value is None:
        return None
    if isinstance(value, Enum):
        return cell_text(value.value, field)
    if isinstance(value, str):
        encode_value(value, field)  # refuses what is no Unicode
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "NaN" if value != value else repr(float(value))  # noqa: PLR0124
    if isinstance(value, Decimal):
        return decimal_text(value) if value.is_finite() else str(value)
    return _quoted_off(value, field)


def _quoted_off(value: Any, field: str) -> str:
    """Return the JSON text of a value, a text without its quotes: integers, dates and so on look the same in both."""
    if isinstance(value, datetime | time):
        return datetime_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes_text(value)
    text = encode_value(value, field).decode("utf-8")
    return text[1:-1] if text.startswith('"') else text
