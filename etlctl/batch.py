"""A batch: a numbered group of records, travelling as rows (list of dict) or as a frame (Polars).

The two forms are interchangeable. Going from one to the other keeps every value exactly or raises
``ConversionError``; the only thing a frame cannot say is "this field is missing", so a missing field becomes null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from etlctl.deferred import Deferred
from etlctl.errors import ConversionError
from etlctl.frozen import frozen

if TYPE_CHECKING:
    import polars as pl

Record: TypeAlias = dict[str, Any]
Position: TypeAlias = Mapping[str, Any]
"""Opaque JSON token: what the extractor must read next after a batch."""

_EXACT_FLOAT = 2**53
_INT64 = (-(2**63), 2**63 - 1)
_INT128 = (-(2**127), 2**127 - 1)
_DECIMAL_DIGITS = 38


@frozen
class Rejection:
    """A record that was refused, with everything needed to find, understand and replay it.

    Attributes:
        index: 0-based ordinal among the source records of its batch, readable and unreadable ones together.
        stage: ``extract``, ``transform``, ``check`` or ``load``.
        step: Where in the contract, such as ``transform.convert``.
        rule: Stable dotted name, such as ``convert.integer``.
        message: Which value broke which rule.
        raw: The source record as it was read (dict), or its raw text when it could not be read as a record.
        field: The field concerned, if it is one field.
        location: Where in the source, such as ``people.csv:17``.
    """

    index: int
    stage: str
    step: str
    rule: str
    message: str
    raw: Any
    field: str | None = None
    location: str | None = None


@frozen
class Encoded:
    """Records that a writer's encoder already turned into what the destination takes.

    Attributes:
        records: Records in the payload.
        payload: What the writer that made it understands, such as bytes.
        rejected: Records the encoder refused; ``index`` is their place among the records it was given.
    """

    records: int
    payload: Any
    rejected: Sequence[Rejection] = ()


@dataclass(slots=True)
class Batch:
    """A group of records with the position to read next.

    One of ``records``, ``frame``, ``encoded`` and ``deferred`` is set. Build one with ``Batch.of_rows`` or
    ``Batch.of_frame``.

    Attributes:
        records: Rows form: one dict per record.
        frame: Frame form: rows × fields.
        position: What to read next after this batch.
        seq: Number of the batch in its stream, from 1; 0 until the engine numbers it.
        rejected: Records that could not even be read, in order of their ordinals.
        locate: Tells where the n-th readable record (0-based) came from, such as ``people.csv:17``.
        encoded: The records as the writer's own encoder made them; only a writer that has one gets such batches.
        deferred: The records as the source has them; only a reader that was told it may gives such batches.
    """

    records: list[Record] | None
    frame: pl.DataFrame | None
    position: Position
    seq: int = 0
    rejected: Sequence[Rejection] = field(default=())
    locate: Callable[[int], str] | None = None
    encoded: Sequence[Encoded] | None = None
    deferred: Deferred[Batch] | None = None

    @classmethod
    def of_rows(
        cls,
        records: list[Record],
        position: Position,
        *,
        rejected: Sequence[Rejection] = (),
        locate: Callable[[int], str] | None = None,
    ) -> Batch:
        """Make a batch in rows form."""
        return cls(records, None, position, rejected=rejected, locate=locate)

    @classmethod
    def of_frame(
        cls,
        frame: pl.DataFrame,
        position: Position,
        *,
        rejected: Sequence[Rejection] = (),
        locate: Callable[[int], str] | None = None,
    ) -> Batch:
        """Make a batch in frame form."""
        return cls(None, frame, position, rejected=rejected, locate=locate)

    @classmethod
    def of_position(cls, position: Position) -> Batch:
        """Return no records, just a place to come back to: extractors give one where a position has more to say."""
        return cls(None, None, position)

    @property
    def is_position(self) -> bool:
        """Tell whether this is only a place to come back to."""
        return self.records is None and self.frame is None and self.encoded is None and self.deferred is None

    def settled(self) -> Batch:
        """Return the batch with its records read."""
        return self if self.deferred is None else replace(self.deferred.whole(), position=self.position)

    def __len__(self) -> int:
        if self.encoded is not None:
            return sum(part.records + len(part.rejected) for part in self.encoded)
        if self.frame is not None:
            return self.frame.height
        return self.deferred.count if self.deferred is not None else len(self.records or ())

    def to_rows(self) -> list[Record]:
        """Return the records as a list of dict; a frame is converted, rows are returned as they are.

        Raises:
            ConversionError: A frame value has no exact Python form (nanoseconds).
        """
        if self.frame is not None:
            return frame_to_rows(self.frame)
        return self.records if self.records is not None else []

    def to_frame(self, schema: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
        """Return the records as a frame; rows are converted, a frame is returned as it is.

        Args:
            schema: Column types to use for rows; columns not named are inferred from all values.

        Raises:
            ConversionError: A column mixes kinds of values or a value does not fit exactly.
        """
        if self.frame is not None:
            return self.frame
        return rows_to_frame(self.records or [], schema)


def frame_to_rows(frame: pl.DataFrame) -> list[Record]:
    """Turn a frame into a list of dict, exactly.

    Raises:
        ConversionError: A timestamp or duration has nanoseconds, which Python cannot hold.
    """
    import polars as pl  # noqa: PLC0415

    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Datetime | pl.Duration) and dtype.time_unit == "ns":
            _refuse_nanoseconds(frame, name)
        if dtype == pl.Time and (frame.get_column(name).to_physical() % 1000 != 0).any():
            _no_nanoseconds(name)
    return frame.to_dicts()


def _refuse_nanoseconds(frame: pl.DataFrame, name: str) -> None:
    # Not by an expression: Polars takes a column named "*" or "^…$" for a pattern.
    if (frame.get_column(name).to_physical() % 1000 != 0).any():
        _no_nanoseconds(name)


def _no_nanoseconds(name: str) -> None:
    raise ConversionError(
        f"field {name!r} has nanoseconds, which a record cannot hold exactly",
        help="round the column to microseconds at the source, or keep to frame steps and a Parquet destination",
    )


def rows_to_frame(rows: Sequence[Record], schema: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
    """Turn records into a frame, exactly. Columns stand in order of first appearance; missing becomes null.

    Args:
        rows: The records.
        schema: Column types to use; other columns are inferred from all values of the batch.

    Raises:
        ConversionError: A column mixes kinds of values, or a value does not fit its type exactly.
    """
    import polars as pl  # noqa: PLC0415

    names: dict[str, None] = dict.fromkeys(schema) if schema else {}
    for row in rows:
        if row.keys() - names.keys():
            names.update(dict.fromkeys(row))
    columns = {}  # by name: from a list, Polars renames a field with the empty name
    for name in names:
        values = [row.get(name) for row in rows]
        dtype = schema.get(name) if schema else None
        columns[name] = make_series(name, values, dtype)
    return pl.DataFrame(columns) if columns else pl.DataFrame([{}] * len(rows)) if rows else pl.DataFrame()


def make_series(name: str, values: Sequence[Any], dtype: pl.DataType | None = None) -> pl.Series:
    """Make one column from Python values, exactly.

    Raises:
        ConversionError: The values are of unlike kinds or do not fit ``dtype``.
    """
    import polars as pl  # noqa: PLC0415

    wanted = dtype if dtype is not None else infer_dtype(name, values)
    if isinstance(wanted, pl.Datetime) and wanted.time_zone is not None and any(map(_without_zone, values)):
        raise ConversionError(f"field {name!r} holds a time without a zone, which the type {wanted} cannot keep")
    try:
        if isinstance(wanted, pl.Datetime) and wanted.time_zone is not None:
            values = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in values]
        if isinstance(wanted, pl.Decimal):  # Polars builds a decimal column from decimals only
            values = [Decimal(value) if type(value) is int else value for value in values]
        series = pl.Series(name, values, dtype=wanted, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise ConversionError(f"field {name!r} does not fit the type {wanted}: {_first_line(error)}") from error
    if dtype is not None and (series.dtype != wanted or not _same_values(series, values)):
        raise ConversionError(f"field {name!r} holds values that the type {wanted} cannot keep exactly")
    return series


def _without_zone(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is None


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]


def _same_values(series: pl.Series, values: Sequence[Any]) -> bool:
    """Tell whether a column built with a given type holds just what went in, kinds included (1 is not True)."""
    return all(
        (back == value and isinstance(back, bool) is isinstance(value, bool)) or (back != back and value != value)  # noqa: PLR0124
        for back, value in zip(series.to_list(), values, strict=True)
    )


def infer_dtype(name: str, values: Iterable[Any]) -> pl.DataType:
    """Find the Polars type that holds every value exactly.

    Raises:
        ConversionError: There is none; the message names the field and the kinds of values found.
    """
    import polars as pl  # noqa: PLC0415

    values = [value for value in values if value is not None]
    kinds = {_kind(type(value)) for value in values}
    if not kinds:
        return pl.Null()
    if kinds == {int, float}:
        return _mixed_number(name, values)
    if kinds == {int, Decimal}:
        kinds = {Decimal}
    if len(kinds) > 1:
        raise _mixed(name, kinds)
    (kind,) = kinds
    if kind in _NESTED:
        return _NESTED[kind](name, values)
    simple: dict[type, pl.DataType] = {
        bool: pl.Boolean(),
        float: pl.Float64(),
        str: pl.String(),
        bytes: pl.Binary(),
        date: pl.Date(),
        time: pl.Time(),
        timedelta: pl.Duration("us"),
    }
    if kind not in simple:
        raise ConversionError(f"field {name!r} holds values of type {kind.__name__}, which no column type can hold")
    return simple[kind]


_KINDS: tuple[type, ...] = (bool, int, float, str, bytes, Decimal, datetime, date, time, timedelta, list, dict)


def _kind(of: type) -> type:
    if of in _KINDS:
        return of
    if issubclass(of, tuple):
        return list
    return next((kind for kind in _KINDS if issubclass(of, kind)), of)


def _mixed(name: str, kinds: Iterable[type]) -> ConversionError:
    found = " and ".join(sorted(kind.__name__ for kind in kinds))
    return ConversionError(
        f"field {name!r} mixes {found} values, and a column has one type",
        help=f"give the field one type with convert: {{{name}: string}} (or another type) in transform.yaml",
    )


def _mixed_number(name: str, values: Iterable[Any]) -> pl.DataType:
    import polars as pl  # noqa: PLC0415

    if any(isinstance(value, int) and abs(value) > _EXACT_FLOAT for value in values):
        raise _mixed(name, (int, float))
    return pl.Float64()


def _integer(name: str, values: Sequence[int]) -> pl.DataType:
    import polars as pl  # noqa: PLC0415

    low, high = min(values), max(values)
    if _INT64[0] <= low and high <= _INT64[1]:
        return pl.Int64()
    if _INT128[0] <= low and high <= _INT128[1]:
        return pl.Int128()
    raise ConversionError(
        f"field {name!r} holds an integer of more than 128 bits, which no column type can hold",
        help=f"keep it as text with convert: {{{name}: string}}, or write JSON lines",
    )


def _decimal(name: str, values: Iterable[Any]) -> pl.DataType:
    import polars as pl  # noqa: PLC0415

    scale, whole = 0, 0
    for value in values:
        number = Decimal(value)
        _, digits, exponent = number.as_tuple()
        if not isinstance(exponent, int):
            raise ConversionError(f"field {name!r} holds the decimal {number}, which no column type can hold")
        scale = max(scale, -exponent)
        whole = max(whole, len(digits) + exponent)
    if scale + whole > _DECIMAL_DIGITS:
        raise ConversionError(f"field {name!r} needs {scale + whole} decimal digits; a column holds {_DECIMAL_DIGITS}")
    return pl.Decimal(_DECIMAL_DIGITS, scale)


def _datetime(name: str, values: Iterable[datetime]) -> pl.DataType:
    import polars as pl  # noqa: PLC0415

    zoned = {value.tzinfo is not None for value in values}
    if len(zoned) > 1:
        raise ConversionError(
            f"field {name!r} mixes times with and without a time zone, and a column has one type",
            help=f"convert it with convert: {{{name}: datetime}} from text that always (or never) has a zone",
        )
    return pl.Datetime("us", "UTC" if zoned.pop() else None)


def _list(name: str, values: Iterable[Sequence[Any]]) -> pl.DataType:
    import polars as pl  # noqa: PLC0415

    return pl.List(infer_dtype(f"{name}[]", [item for value in values for item in value]))


def _struct(name: str, values: Iterable[Mapping[str, Any]]) -> pl.DataType:
    import polars as pl  # noqa: PLC0415

    columns: dict[str, list[Any]] = {}
    for value in values:
        for key, item in value.items():
            columns.setdefault(key, []).append(item)
    if not columns:
        raise ConversionError(f"field {name!r} holds only empty objects, which no column type can hold")
    return pl.Struct({key: infer_dtype(f"{name}.{key}", items) for key, items in columns.items()})


_NESTED: dict[type, Callable[[str, Any], pl.DataType]] = {
    int: _integer,
    Decimal: _decimal,
    datetime: _datetime,
    list: _list,
    dict: _struct,
}
