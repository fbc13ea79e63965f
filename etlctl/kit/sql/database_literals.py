"""Rows as the text of MySQL's INSERT: whole columns become literals at once, so that no value costs a call.

pymysql itself writes all values into the statement, too, one by one in Python. Only what has passed
``database_values.fitted`` comes here: numbers are numbers, and everything else is quoted or hexadecimal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from etlctl.kit.codecs.value_text import decimal_text
from etlctl.kit.sql.database_forms import Form

# NO_BACKSLASH_ESCAPES is not in the session's sql_mode, and its character set is utf8mb4: nothing else ends a text.
_ESCAPED = {"\\": "\\\\", "'": "\\'", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"}
_NULL = "NULL"
_INT64 = 2**63


def row_literals(columns: Sequence[tuple[list[Any], Form]], records: int) -> list[str]:
    """Return each record as MySQL writes it: ``(1,'Ann',NULL)``.

    Args:
        columns: Values as ``fitted`` returns them, and what their columns keep.
        records: How many there are.
    """
    if not columns or not records:
        return ["()"] * records
    frame = pl.DataFrame({str(place): _series(values, form) for place, (values, form) in enumerate(columns)})
    parts = [_literal(pl.nth(place), form.kind).fill_null(_NULL) for place, (_, form) in enumerate(columns)]
    return frame.select(pl.format("({})", pl.concat_str(parts, separator=","))).to_series().to_list()


def _series(values: list[Any], form: Form) -> pl.Series:
    if form.kind in {"integer", "boolean"}:
        wide = form.high >= _INT64 and any(value is not None and value >= _INT64 for value in values)
        return pl.Series(values, dtype=pl.UInt64 if wide else pl.Int64)
    if form.kind in {"float", "single"}:
        return pl.Series(values, dtype=pl.Float64)
    if form.kind == "decimal":
        values = [value if value is None else decimal_text(value) for value in values]
    return pl.Series(values, dtype=pl.Binary if form.kind == "bytes" else pl.String)


def _literal(value: pl.Expr, kind: str) -> pl.Expr:
    if kind in {"integer", "boolean"}:
        return value.cast(pl.String)
    if kind == "decimal":
        return value
    if kind == "bytes":
        return pl.format("x'{}'", value.bin.encode("hex"))
    if kind in {"float", "single"}:  # with an exponent it is a double to MySQL, not a decimal to be rounded once more
        text = value.cast(pl.String)
        return pl.when(text.str.contains("e", literal=True)).then(text).otherwise(text + "e0")
    return pl.format("'{}'", value.str.replace_many(list(_ESCAPED), list(_ESCAPED.values())))


def stretches(rows: Sequence[str], *, most_rows: int, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield stretches of rows, as first and one behind the last, that fit into one statement each.

    Args:
        rows: Literals.
        most_rows: Of a statement.
        most_bytes: Of a statement; a row that is longer has one of its own.
    """
    start, size = 0, 0
    for place, row in enumerate(rows):
        length = 1 + (len(row) if row.isascii() else len(row.encode()))
        if place > start and (place - start >= most_rows or size + length > most_bytes):
            yield start, place
            start, size = place, 0
        size += length
    if start < len(rows):
        yield start, len(rows)
