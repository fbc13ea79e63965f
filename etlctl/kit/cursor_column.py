"""The cursor field of a whole frame: keys as one column, and the few values that have to be looked at one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from etlctl.cursor import DAY, comparable, instant_text, own_text
from etlctl.temporal import Unparsable

if TYPE_CHECKING:
    import polars as pl

_INT64 = (-(2**63), 2**63 - 1)
_UNIT = {"ns": 1, "us": 1000, "ms": 10**6}
_SHAPE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:([T ])[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_MICROSECOND_WIDTH = len("2024-01-01T00:00:00.123456+00:00")


@dataclass(slots=True)
class CursorColumn:
    """The keys of a column (see ``etlctl.cursor``); a key is ``keys[i] * unit``, or ``apart[i]`` where that is null.

    Attributes:
        values: The column as the source gave it.
        keys: What could be read as a whole; null where it could not, or where there is nothing.
        unit: Nanoseconds (or days, …) of one in ``keys``; None: keys are no whole numbers.
        apart: Keys by place that do not fit in ``keys``.
        unusable: Why a value is none of the type, by place.
    """

    values: pl.Series
    keys: pl.Series
    unit: int | None = 1
    apart: dict[int, Any] = field(default_factory=dict)
    unusable: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: pl.Series, value_type: str) -> CursorColumn:
        """Read a column.

        Args:
            values: The column.
            value_type: Of the cursor.
        """
        keys, unit = _READ[value_type](values)
        made = cls(values, keys, unit)
        for place in (values.is_not_null() & keys.is_null()).arg_true():
            try:
                made.apart[place] = comparable(values[place], value_type)
            except Unparsable as why:
                made.unusable[place] = str(why)
        return made

    @property
    def missing(self) -> pl.Series:
        """Which rows have no value."""
        return self.values.is_null()

    def key(self, place: int) -> Any:
        """Return the key of a row, None when it has none."""
        if place in self.apart:
            return self.apart[place]
        found = self.keys[place]
        return found if found is None or self.unit is None else found * self.unit

    def text(self, place: int) -> str:
        """Return the value of a row in the source's own text; nanoseconds are kept."""
        import polars as pl  # noqa: PLC0415

        kind = self.values.dtype
        if isinstance(kind, pl.Datetime) and kind.time_unit == "ns" and self.keys[place] % 1000:
            return instant_text(self.keys[place]) + ("" if kind.time_zone is None else "Z")
        return own_text(self.values[place])

    def at_least(self, key: Any, start: int = 0, end: int | None = None) -> pl.Series:
        """Return which rows, from ``start`` up to ``end``, have a key of at least this."""
        bound = key if self.unit is None else -(-key // self.unit)
        keys, apart = self._part(start, end)
        held = (
            keys.is_not_null() & (self.unit is not None and bound < 0)
            if self._is_beyond(keys, bound)
            else keys >= bound
        )
        return _marked(held, [place for place, own in apart if own >= key])

    def at_most(self, key: Any, start: int = 0, end: int | None = None) -> pl.Series:
        """Return which rows, from ``start`` up to ``end``, have a key of at most this."""
        bound = key if self.unit is None else key // self.unit
        keys, apart = self._part(start, end)
        held = (
            keys.is_not_null() & (self.unit is not None and bound > 0)
            if self._is_beyond(keys, bound)
            else keys <= bound
        )
        return _marked(held, [place for place, own in apart if own <= key])

    def _is_beyond(self, keys: pl.Series, bound: Any) -> bool:
        """Tell whether a bound cannot be compared with the column of keys: it holds none, or none so large."""
        if self.unit is None:
            return keys.null_count() == keys.len()
        return not _INT64[0] <= bound <= _INT64[1]

    def _part(self, start: int, end: int | None) -> tuple[pl.Series, list[tuple[int, Any]]]:
        stop = self.keys.len() if end is None else end
        apart = [(place - start, own) for place, own in self.apart.items() if start <= place < stop]
        return self.keys.slice(start, stop - start), apart

    def largest(self, among: pl.Series, start: int, end: int) -> Any:
        """Return the largest key of some rows, None when there is none.

        Args:
            among: Which of them count.
            start: First row to look at.
            end: Row to stop before.
        """
        keys, apart = self._part(start, end)
        part: Any = keys.filter(among).max()
        keys_found = [] if part is None else [part if self.unit is None else part * self.unit]
        keys_found += [own for place, own in apart if among[place]]
        return max(keys_found, default=None)

    def in_order(self, *, descending: bool, last: Any) -> int | None:
        """Return the first row that is not in order, None when all are.

        Args:
            descending: Keys must not grow; otherwise they must not shrink.
            last: The key before the first row; None: there is none.
        """
        if not self.apart:
            keys = self.keys.drop_nulls()
            first = None if keys.is_empty() else (keys[0] if self.unit is None else keys[0] * self.unit)
            fits = last is None or first is None or (first <= last if descending else first >= last)
            if fits and keys.is_sorted(descending=descending):
                return None
        for place, key in self._each():
            if last is not None and (key > last if descending else key < last):
                return place
            last = key
        return None

    def last(self) -> Any:
        """Return the key of the last row that has one."""
        found = (self.keys.is_not_null()).arg_true()
        places = [*([found[-1]] if found.len() else []), *self.apart]
        return self.key(max(places)) if places else None

    def _each(self) -> Iterator[tuple[int, Any]]:
        for place in range(self.values.len()):
            key = self.key(place)
            if key is not None:
                yield place, key


def _marked(mask: pl.Series, places: list[int]) -> pl.Series:
    mask = mask.fill_null(value=False)
    return mask.scatter(places, values=True) if places else mask


def _no_keys(values: pl.Series) -> pl.Series:
    import polars as pl  # noqa: PLC0415

    return pl.repeat(None, values.len(), dtype=pl.Int64, eager=True)


def _instants(values: pl.Series) -> tuple[pl.Series, int]:
    import polars as pl  # noqa: PLC0415

    kind = values.dtype
    if isinstance(kind, pl.Datetime):
        return values.to_physical(), _UNIT[kind.time_unit]
    if kind == pl.Date:
        return values.to_physical().cast(pl.Int64), DAY
    if kind == pl.String:
        return _read_instants(values)
    return _no_keys(values), 1


def _read_instants(values: pl.Series) -> tuple[pl.Series, int]:
    """Read texts that are written like the first one; the others are left over."""
    import polars as pl  # noqa: PLC0415

    first = values.drop_nulls().head(1)
    found = _SHAPE.fullmatch(first[0]) if first.len() else None
    if found is None:
        return _no_keys(values), 1000
    separator, fraction, zone = found.groups()
    if separator is None:
        return values.str.to_date("%Y-%m-%d", strict=False).to_physical().cast(pl.Int64), DAY
    end = {None: "", "Z": "Z"}.get(zone, "%:z")
    layout = f"%Y-%m-%d{separator}%H:%M:%S{'%.f' if fraction else ''}{end}"
    read = values.str.to_datetime(layout, time_unit="us", time_zone="UTC" if end == "%:z" else None, strict=False)
    keys = read.to_physical()
    if fraction:  # digits that microseconds cannot hold must not get lost
        long = values.str.len_chars() > _MICROSECOND_WIDTH - len("+00:00") + len(zone or "")
        keys = pl.select(pl.when(~long).then(keys)).to_series()
    return keys, 1000


def _days(values: pl.Series) -> tuple[pl.Series, int]:
    import polars as pl  # noqa: PLC0415

    if values.dtype == pl.Date:
        return values.to_physical().cast(pl.Int64), 1
    if values.dtype == pl.String:
        return values.str.to_date("%Y-%m-%d", strict=False).to_physical().cast(pl.Int64), 1
    return _no_keys(values), 1


def _integers(values: pl.Series) -> tuple[pl.Series, int]:
    import polars as pl  # noqa: PLC0415

    if values.dtype.is_integer() or values.dtype == pl.String:
        return values.cast(pl.Int64, strict=False), 1
    return _no_keys(values), 1


def _floats(values: pl.Series) -> tuple[pl.Series, None]:
    import polars as pl  # noqa: PLC0415

    if not (values.dtype.is_numeric() or values.dtype == pl.String):
        return _no_keys(values).cast(pl.Float64), None
    keys = values.cast(pl.Float64, strict=False)
    return pl.select(pl.when(keys.is_finite()).then(keys)).to_series(), None


def _decimals(values: pl.Series) -> tuple[pl.Series, None]:
    """Exact at any size, so one by one: there is no column type that holds every decimal."""
    return _no_keys(values), None


def _texts(values: pl.Series) -> tuple[pl.Series, None]:
    import polars as pl  # noqa: PLC0415

    return (values if values.dtype == pl.String else _no_keys(values).cast(pl.String)), None


_READ: dict[str, Any] = {
    "datetime": _instants,
    "date": _days,
    "integer": _integers,
    "float": _floats,
    "decimal": _decimals,
    "string": _texts,
}
