"""Rows of a DB-API cursor as columns of exact types, chunk by chunk; what no column can hold stays in rows form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import polars as pl

from etlctl.batch import Batch, Rejection, make_series
from etlctl.errors import ConversionError, FatalError
from etlctl.frozen import frozen
from etlctl.kit.codecs.json_exact import RefusedLine, exact_object
from etlctl.kit.sql.reading import FIRST_BYTES, Ask, Plan, twice
from etlctl.kit.sql.reading_context import ReadingContext
from etlctl.kit.sql.reading_place import Place

_FEWEST, _MOST = 64, 100_000
_EXACT_FLOAT = 2**53
_PLAIN: dict[type, pl.DataType] = {
    int: pl.Int64(),
    str: pl.String(),
    float: pl.Float64(),
    bytes: pl.Binary(),
    bool: pl.Boolean(),
    date: pl.Date(),
    timedelta: pl.Duration("us"),
}
_TEMPORAL = (pl.Date, pl.Datetime)


class Cursor(Protocol):
    """What is needed of a DB-API cursor that runs."""

    def fetchmany(self, size: int, /) -> Sequence[Sequence[Any]]:
        """Return the next rows."""


@frozen
class ResultColumn:
    """A column of a result.

    Attributes:
        name: Its name.
        dtype: The type its values are to have, when the database tells; else values decide.
        change: Makes of a value that is not null what the type wants, or None.
        json: It is JSON text.
    """

    name: str
    dtype: pl.DataType | None = None
    change: Callable[[Any], Any] | None = None
    json: bool = False


class RowChunks:
    """Makes batches of a cursor's rows.

    Args:
        ask: What is read.
        plan: The SELECT that runs.
        columns: Columns of its result.
        ctx: The run's context.
        null_keys: Positions may hold nulls: it is known where the system sorts them.
    """

    def __init__(
        self, ask: Ask, plan: Plan, columns: Sequence[ResultColumn], ctx: ReadingContext, *, null_keys: bool = True
    ) -> None:
        self._ask, self._plan, self._ctx, self._null_keys = ask, plan, ctx, null_keys
        self._columns = list(columns)
        names = [column.name for column in columns]
        self._key = [names.index(part.name) for part in plan.key]
        self._names = tuple(part.name for part in plan.key)
        self._shown = [index for index, name in enumerate(names) if name not in plan.hidden]
        self._seen: dict[str, pl.DataType] = {}

    def batches(self, cursor: Cursor, place: Place) -> Iterator[Batch]:
        """Yield the rows of a cursor from a place on; counted rows are skipped."""
        skip = 0 if self._names else place.rows
        while skip:
            passed = len(cursor.fetchmany(min(skip, _MOST // 10)))
            if not passed:
                raise FatalError(
                    f"{self._ask.name} gives {skip:,} rows less than had been read when the run stopped",
                    help="rows were removed meanwhile; begin anew with: etlctl run … --restart (and give key: […])",
                )
            skip -= passed
        read, last = place.rows, place.last
        count = max(1, min(_FEWEST, self._ctx.chunk_bytes >> 8))
        while rows := cursor.fetchmany(count):
            last = self._advance(rows, last)
            batch, size = self._batch(rows, Place(read + len(rows), self._names, last), read)
            read += len(rows)
            yield batch
            wanted = min(FIRST_BYTES, self._ctx.chunk_bytes) if read < _MOST else self._ctx.chunk_bytes
            count = max(1, min(_MOST, 4 * count, wanted * len(rows) // max(1, size)))
        if not read and place.last is None:
            yield self._batch([], Place(0, self._names, None), 0)[0]

    def _advance(self, rows: Sequence[Sequence[Any]], last: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        """Return the key of the last row, having seen that no two neighbours share one."""
        if not self._key:
            return None
        if self._plan.unique and self._null_keys:
            return tuple(rows[-1][index] for index in self._key)
        for row in rows:
            key = tuple(row[index] for index in self._key)
            if key == last and list(map(type, key)) == list(map(type, last or ())):
                raise twice(self._ask.name, self._names, key, conceals=self._ctx.conceals)
            if not self._null_keys and None in key:
                raise FatalError(
                    f"the key of {self._ask.name} holds a null, and where this system sorts nulls is not known",
                    help="name columns that are never null, or make them so: COALESCE(…)",
                )
            last = key
        return last

    def _batch(self, rows: Sequence[Sequence[Any]], place: Place, before: int) -> tuple[Batch, int]:
        """Return a batch, and about how many bytes its rows take."""
        values: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(self._columns)
        refused: dict[int, Rejection] = {}
        made: dict[str, pl.Series | None] = {}
        for index in self._shown:
            column = self._columns[index]
            values[index], bad = _changed(column, values[index])
            for row in bad:
                refused.setdefault(row, self._rejection(row, column, rows[row], before))
            made[column.name] = None if column.json else self._series(column, values[index])
        rejected = [refused[row] for row in sorted(refused)]
        series = [one for one in made.values() if one is not None]
        size = int(sum(one.estimated_size() for one in series)) + 100 * len(rows) * (len(made) - len(series))
        if len(series) == len(made):
            frame = pl.DataFrame(series)
            if refused:
                frame = frame.filter(pl.Series([row not in refused for row in range(len(rows))]))
            return Batch.of_frame(frame, place.to_json(), rejected=rejected), size
        # From the columns where there are some, so that a value is the same whichever form its chunk has.
        cells = [
            values[index] if one is None else one.to_list()
            for index, one in zip(self._shown, made.values(), strict=True)
        ]
        records = [
            dict(zip(made, row, strict=True))
            for number, row in enumerate(zip(*cells, strict=True))
            if number not in refused
        ]
        return Batch.of_rows(records, place.to_json(), rejected=rejected), size

    def _series(self, column: ResultColumn, values: Sequence[Any]) -> pl.Series | None:
        """Return a column, or None when its values are of unlike kinds."""
        name = column.name
        kinds = set(map(type, values)) - {type(None)}
        wanted = column.dtype
        try:
            if not kinds:
                return pl.Series(name, values, dtype=wanted or self._seen.get(name) or pl.Null())
            found = self._known(name, values, kinds, wanted)
        except (ConversionError, OverflowError, TypeError, pl.exceptions.PolarsError):
            return None
        if found is not None:
            self._seen[name] = found.dtype
        return found

    def _known(
        self, name: str, values: Sequence[Any], kinds: set[type], wanted: pl.DataType | None
    ) -> pl.Series | None:
        if isinstance(wanted, pl.Datetime) and kinds == {datetime}:
            plain = pl.Series(name, values, dtype=pl.Datetime("us"), strict=True)
            return plain.dt.replace_time_zone(wanted.time_zone) if wanted.time_zone else plain
        if isinstance(wanted, pl.Decimal) and kinds == {Decimal}:
            return make_series(name, values, wanted)
        if len(kinds) > 1:
            return None
        plain_type = _PLAIN.get(next(iter(kinds)))
        return (
            make_series(name, values) if plain_type is None else pl.Series(name, values, dtype=plain_type, strict=True)
        )

    def _rejection(self, row: int, column: ResultColumn, values: Sequence[Any], before: int) -> Rejection:
        raw = {one.name: _shown(value) for one, value in zip(self._columns, values, strict=True)}
        return Rejection(
            index=row,
            stage="extract",
            step=self._ctx.step,
            rule="database.value",
            message=f"field {column.name!r} is {str(raw[column.name])[:200]!r}, which no column can hold",
            raw=raw,
            field=column.name,
            location=f"{self._ask.name}, row {before + row + 1:,}",
        )


def _changed(column: ResultColumn, values: Sequence[Any]) -> tuple[Sequence[Any], list[int]]:
    """Return the values a column is to have, null where they cannot be had, and which rows those are."""
    change: Callable[[Any], Any] | None = column.change
    if change is None and isinstance(column.dtype, _TEMPORAL) and not {str, bytes}.isdisjoint(map(type, values)):
        change = _no_text
    if change is None:
        return values, []
    made, bad = list(values), []
    for row, value in enumerate(values):
        if value is not None:
            try:
                made[row] = change(value)
            except ValueError:
                made[row] = None
                bad.append(row)
    return made, bad


def _no_text(value: Any) -> Any:
    """Return a date or time; the driver gives the text of one that does not exist, such as 0000-00-00."""
    if isinstance(value, str | bytes):
        raise ValueError(value)  # noqa: TRY004 - it is the value that is wrong
    return value


def as_float(value: Any) -> Any:
    """Return a whole number as a float when that is exact; every other value as it is."""
    return float(value) if type(value) is int and abs(value) <= _EXACT_FLOAT else value


def parsed_json(text: str | bytes) -> Any:
    """Return the value of JSON text, its numbers exact.

    Raises:
        ValueError: It is no JSON.
    """
    data = text if isinstance(text, bytes) else text.encode()
    try:
        return exact_object(b'{"value":' + data + b"}")["value"]
    except RefusedLine as error:
        raise ValueError(error.message) from error


def plain_value(value: Any) -> Any:
    """Return what a record may hold for a value of a driver."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    return value


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, str | int | float) else str(value)
