"""What a column cannot say: that a field is missing, and that one number is an integer among floats.

Most operations do not care; for those that do (JSONata: whole numbers are integers, what selects nothing is missing), a
frame stands only where it says exactly what the rows form would.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etlctl.batch import Record, frame_to_rows
from etlctl.engine.applied import Applied, Tally

if TYPE_CHECKING:
    import polars as pl

_EXACT = 2**53


def keeps(records: Sequence[Record], schema: Mapping[str, pl.DataType], mixed: Collection[str]) -> bool:
    """Tell whether columns hold records just as they are.

    Args:
        records: What the rows form made.
        schema: The columns.
        mixed: Columns of floats that may hold integers: ``whole_numbers`` makes them integers again.
    """
    names = schema.keys()
    for record in records:
        if record.keys() != names:
            return False
        for name, value in record.items():
            if not _keeps(value, schema[name], integers=name in mixed):
                return False
    return True


def _keeps(value: Any, dtype: Any, *, integers: bool = False) -> bool:
    import polars as pl  # noqa: PLC0415

    if value is None:
        return True
    if dtype.is_float() and type(value) is int:
        return integers and abs(value) < _EXACT
    if isinstance(dtype, pl.Struct):
        inner = {field.name: field.dtype for field in dtype.fields}
        if not isinstance(value, dict) or value.keys() != inner.keys():
            return False
        return all(_keeps(item, inner[key]) for key, item in value.items())
    if isinstance(dtype, pl.List):
        return isinstance(value, list) and all(_keeps(item, dtype.inner) for item in value)
    return True


def set_apart(applied: Applied, mixed: Collection[str], tally: Tally) -> None:
    """Make integers of whole floats; the chunk goes on as rows where a column cannot hold both."""
    if applied.frame is None:
        return
    made = whole_numbers(applied.frame, mixed)
    if isinstance(made, list):
        applied.records, applied.frame = made, None
        names = ", ".join(repr(name) for name in sorted(mixed))
        tally.note(f"gives rows: {names} may be an integer in one record and a fraction in the next")
    else:
        applied.frame = made


def whole_numbers(frame: pl.DataFrame, mixed: Collection[str]) -> pl.DataFrame | list[Record]:
    """Make the whole floats of some columns integers: the column when all are, the records when only some are.

    Args:
        frame: Any frame.
        mixed: Columns of floats.
    """
    import polars as pl  # noqa: PLC0415

    apart: list[str] = []
    for name in mixed:
        values = frame.get_column(name)
        whole = ((values == values.floor()) & (values.abs() < _EXACT)).fill_null(value=False)
        count = whole.sum()
        if count and count == values.len() - values.null_count():
            frame = frame.with_columns(values.cast(pl.Int64))
        elif count:
            apart.append(name)
    if not apart:
        return frame
    records = frame_to_rows(frame)
    for name in apart:
        for record in records:
            value = record[name]
            if value is not None and value.is_integer() and abs(value) < _EXACT:
                record[name] = int(value)
    return records
