"""Measures of groups on columns: the same as ``etlctl.kit.measures``, or ``Unsupported``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from etlctl.kit.measures import divided, total

_INT64 = 2**63
_WIDE = 2**96  # so many of them that a sum of 128 bits could overflow fit into no memory
_ORDERED = (pl.String, pl.Date, pl.Time)
_AS_THEY_ARE = (pl.String, pl.Boolean, pl.Date, pl.Time, pl.Datetime, pl.Duration)


class Unsupported(Exception):  # noqa: N818
    """A column is of a type that only the rows form measures exactly."""


def aggregated(
    source: pl.DataFrame, by: Sequence[str], measures: Sequence[tuple[str, str, str | None]], ordinal: str
) -> tuple[pl.DataFrame, pl.Series]:
    """Return one row per group of a frame, and the ordinals of the rows where the groups first appear.

    Args:
        source: The frame.
        by: Columns that make a group.
        measures: Name, function and column of each measure; no column: rows are counted.
        ordinal: Hidden column with the ordinals of the rows; names that begin like it are free as well.

    Raises:
        Unsupported: A column is of a type that only the rows form measures exactly.
    """
    for name in by:
        dtype = source.schema.get(name, pl.Null())
        if not (dtype.is_integer() or dtype == pl.Null or dtype.base_type() in _AS_THEY_ARE):
            raise Unsupported(f"aggregate groups by {name!r}, a column of type {dtype}")
    absent = {name for name in (*by, *(field for _, _, field in measures)) if name and name not in source.schema}
    source = source.with_columns(pl.lit(None, dtype=pl.Null).alias(name) for name in absent)
    made = [_Measure(name, function, field, source) for name, function, field in measures]
    # Polars needs something to group by; hidden columns cannot be in anybody's way.
    keys = [pl.col(name) for name in by] or [pl.lit(0, dtype=pl.Int8).alias(f"{ordinal}_all")]
    parts = [part for each in made for part in each.parts()]
    # A name of the result may be that of a column it is made from, so the parts get numbers for names.
    named = [part.alias(f"{ordinal}_{number}") for number, part in enumerate(parts)]
    groups = source.group_by(keys, maintain_order=True).agg(pl.col(ordinal).first(), *named)
    groups = groups.filter(pl.col(ordinal).is_not_null())  # without rows Polars still makes a group of everything
    columns = {name: groups.get_column(name) for name in by}
    taken = 0
    for each in made:
        count = len(each.parts())
        columns[each.name] = each.result([groups.get_column(f"{ordinal}_{taken + i}") for i in range(count)])
        taken += count
    return pl.DataFrame([column.alias(name) for name, column in columns.items()]), groups.get_column(ordinal)


class _Measure:
    """One measure: what Polars finds per group, and what is made of it."""

    def __init__(self, name: str, function: str, field: str | None, source: pl.DataFrame) -> None:
        self.name = name
        self._function = function
        self._field = field
        self._dtype = source.schema[field] if field is not None else pl.Null()
        self._wide = False
        if field is not None:
            self._check(source.get_column(field))

    def _check(self, column: pl.Series) -> None:
        """Refuse what Polars and Python would not agree about."""
        function, dtype = self._function, self._dtype
        if dtype == pl.Null:
            return
        if function in {"sum", "mean"}:
            fits = dtype.is_integer() or dtype == pl.Float64
            if dtype in {pl.Int128, pl.UInt128}:
                self._wide = True
                largest = column.abs().max()
                fits = largest is None or (isinstance(largest, int) and largest < _WIDE)
        elif function in {"min", "max"}:
            fits = dtype.is_integer() or dtype in _ORDERED or isinstance(dtype, pl.Datetime)
            fits = fits or (dtype == pl.Float64 and not _is_odd(column))
        elif function in {"any", "all"}:
            fits = dtype == pl.Boolean
        elif function == "count_distinct":
            fits = dtype.is_integer() or dtype.base_type() in _AS_THEY_ARE
        else:
            fits = True
        if not fits:
            raise Unsupported(f"aggregate measures {function} of {self._field!r}, a column of type {dtype}")

    def parts(self) -> list[pl.Expr]:
        """Return what Polars is to find out about each group."""
        if self._field is None:
            return [pl.len()]
        column = pl.col(self._field)
        if self._dtype == pl.Null:
            return [pl.len()]
        values = column.drop_nulls()
        if self._function in {"sum", "mean"}:
            found = column.cast(pl.Int128).sum() if self._dtype.is_integer() else values.implode()
            return [found, column.count()]
        found = {
            "min": column.min(),
            "max": column.max(),
            "count": column.count(),
            "count_distinct": values.n_unique(),
            "first": values.first(),
            "last": values.last(),
            "list": values.implode(),
            "any": pl.when(column.count() > 0).then(values.any()),
            "all": pl.when(column.count() > 0).then(values.all()),
        }[self._function]
        return [found]

    def result(self, parts: list[pl.Series]) -> pl.Series:
        """Return the column of the measure, exactly as the rows form makes it."""
        found, function = parts[0], self._function
        if self._field is None or function in {"count", "count_distinct"}:
            zero = self._field is not None and self._dtype == pl.Null
            return (found * 0 if zero else found).cast(pl.Int64)
        if self._dtype == pl.Null:
            if function == "list":
                return pl.Series([[]] * found.len(), dtype=pl.List(pl.Null))
            return pl.Series([None] * found.len(), dtype=pl.Null)
        if function in {"sum", "mean"}:
            return self._numbers(found, parts[1])
        return found

    def _numbers(self, found: pl.Series, counts: pl.Series) -> pl.Series:
        if self._dtype.is_integer():
            if self._function == "mean":
                pairs = zip(found.to_list(), counts.to_list(), strict=True)
                return _floats(None if not count else divided(each, count) for each, count in pairs)
            known = pl.select(pl.when(counts > 0).then(found)).to_series()
            low, high = known.min(), known.max()
            fits = low is None or (low >= -_INT64 and high < _INT64)  # type: ignore[operator]
            return known.cast(pl.Int64) if fits else known
        sums: list[Any] = [total(values) if len(values) else None for values in found.to_list()]
        if self._function == "sum":
            return _floats(sums)
        pairs = zip(sums, counts.to_list(), strict=True)
        return _floats(None if each is None else divided(each, count) for each, count in pairs)


def _floats(values: Any) -> pl.Series:
    return pl.Series(list(values), dtype=pl.Float64)


def _is_odd(column: pl.Series) -> bool:
    """Tell whether floats hold what minimum and maximum may be of two minds about: NaN, and zeros of both signs."""
    return bool(column.is_nan().any()) or bool((column == 0).any())
