"""Infers, once and at authoring time, the fields of a data file and the types that every one of their values has."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etlctl.catalog import Catalog, Kind
from etlctl.contract.candidates import NULL_WORDS, Guess, TextColumn, trimmed
from etlctl.contract.sniffing import Sniffed, sniff
from etlctl.errors import EtlctlError
from etlctl.frozen import frozen
from etlctl.sdk.context import ReadContext
from etlctl.sdk.extractor import Extractor
from etlctl.types import TypeOptions

if TYPE_CHECKING:
    import polars as pl

    from etlctl.batch import Batch

_MANY = 100_000
_EXAMPLES = 3
_EXACT_FLOAT = 2**53
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "float"),
    (Decimal, "decimal"),
    (str, "string"),
    (datetime, "datetime"),
    (date, "date"),
    (time, "time"),
    (dict, "object"),
    (list, "array"),
)


@frozen
class Field:
    """What a field of a file was found to be.

    Attributes:
        name: Its name.
        type: Canonical type after ``convert``; ``any`` when its values are of several kinds.
        convert: How ``convert`` has to read it; None when it need not.
        values: Values that are not null, of those words for null excluded when it is converted.
        records: Records in all.
        nulls: Records without a value, words for null included when it is converted.
        null_words: Texts found that people write for "no value", with their number.
        examples: Some values.
        distinct: All different values, when they are few; else None.
        unique: No two values are equal; None when there are too many to tell.
        padded: Texts have white space around them.
        note: What the reader should know about the choice.
    """

    name: str
    type: str
    convert: TypeOptions | None
    values: int
    records: int
    nulls: int
    null_words: Mapping[str, int]
    examples: tuple[Any, ...]
    distinct: tuple[Any, ...] | None
    unique: bool | None
    padded: bool = False
    note: str = ""

    @property
    def empty(self) -> bool:
        """Tell whether no record has a value, or none but words for that, such as empty text."""
        words = sum(self.null_words.values()) if self.convert is None else 0
        return self.values <= words


@frozen
class Inferred:
    """A data file as it was found.

    Attributes:
        sniffed: How to read it.
        fields: Its fields, in order.
        records: Good records seen.
        broken: Records that could not be read.
        complete: The whole file was seen.
    """

    sniffed: Sniffed
    fields: tuple[Field, ...]
    records: int
    broken: int
    complete: bool


@dataclass(slots=True)
class _Column:
    """What is known of a field so far."""

    name: str
    text: TextColumn
    values: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    null_words: Counter[str] = field(default_factory=Counter)
    examples: dict[Any, None] = field(default_factory=dict)
    distinct: set[Any] | None = field(default_factory=set)
    largest: int = 0
    padded: bool = False


async def infer(path: Path, *, sample: int | None = None) -> Inferred:
    """Read a data file and return what it holds.

    Args:
        path: The file.
        sample: Look at so many records at most; the whole file when left out.

    Raises:
        EtlctlError: The file cannot be read, or holds no records.
    """
    sniffed = sniff(path)
    reader = _extractor(path, sniffed)
    columns: dict[str, _Column] = {}
    records = broken = 0
    complete = True
    async with aclosing(reader.read(_context(path))) as batches:  # type: ignore[type-var]
        async for batch in batches:
            wanted = None if sample is None else sample - records
            if wanted is not None and wanted <= 0:
                complete = False
                break
            seen = _see(batch, columns, wanted, numbers=sniffed.untyped)
            complete = complete and seen == len(batch)
            records += seen
            broken += len(batch.rejected)
    if not columns:
        raise EtlctlError(f"{path} holds no readable records: there is nothing to infer from")
    return Inferred(sniffed, tuple(_field(column, records) for column in columns.values()), records, broken, complete)


def _context(path: Path) -> ReadContext:
    return ReadContext(base_dir=path.absolute().parent)


def _extractor(path: Path, sniffed: Sniffed) -> Extractor:
    """Return the very extractor that the contract will name."""
    component = Catalog.for_workspace(None, plug_ins=False).find(Kind.extractor, "file").load()
    made = component.model_validate({"path": glob.escape(path.name), "format": sniffed.format, **sniffed.options})
    if not isinstance(made, Extractor):
        raise TypeError("the component 'file' is no extractor")
    return made


def _see(batch: Batch, columns: dict[str, _Column], limit: int | None, *, numbers: bool) -> int:
    if batch.frame is not None:
        frame = batch.frame if limit is None else batch.frame.head(limit)
        for series in frame.iter_columns():
            _see_series(_column(columns, series.name, numbers=numbers), series)
        return frame.height
    records = batch.to_rows()[:limit]
    values: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.items():
            values.setdefault(name, []).append(value)
    for name, items in values.items():
        _see_values(_column(columns, name, numbers=numbers), items)
    return len(records)


def _column(columns: dict[str, _Column], name: str, *, numbers: bool) -> _Column:
    if name not in columns:
        columns[name] = _Column(name, TextColumn(numbers=numbers))
    return columns[name]


def _see_series(column: _Column, series: pl.Series) -> None:
    import polars as pl  # noqa: PLC0415

    count = len(series) - series.null_count()
    column.values += count
    if count == 0:
        return
    if isinstance(series.dtype, pl.Categorical | pl.Enum):
        series = series.cast(pl.String)
    kind = _kind_of_dtype(series.dtype)
    column.kinds[kind] += count
    if kind == "string":
        _see_texts(column, series.drop_nulls())
    elif not series.dtype.is_nested():
        _remember(column, series.drop_nulls().unique(maintain_order=True))
    else:
        column.distinct = None


def _kind_of_dtype(dtype: pl.DataType) -> str:
    import polars as pl  # noqa: PLC0415

    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "float"
    simple: tuple[tuple[type[pl.DataType], str], ...] = (
        (pl.String, "string"),
        (pl.Boolean, "boolean"),
        (pl.Decimal, "decimal"),
        (pl.Datetime, "datetime"),
        (pl.Date, "date"),
        (pl.Time, "time"),
        (pl.Struct, "object"),
        (pl.List, "array"),
        (pl.Array, "array"),
    )
    return next((kind for found, kind in simple if isinstance(dtype, found)), "any")


def _see_values(column: _Column, values: Sequence[Any]) -> None:
    import polars as pl  # noqa: PLC0415

    present = [value for value in values if value is not None]
    column.values += len(present)
    kinds = Counter(map(_kind_of_value, present))
    column.kinds.update(kinds)
    texts = [value for value in present if type(value) is str]
    if texts:
        _see_texts(column, pl.Series(texts))
    if "integer" in kinds:
        column.largest = max(column.largest, *(abs(value) for value in present if type(value) is int))
    if {"object", "array"} & kinds.keys():
        column.distinct = None
    elif len(texts) < len(present):
        others = [value for value in present if type(value) is not str]
        _remember(column, list(dict.fromkeys(others)))


def _kind_of_value(value: Any) -> str:
    return next((kind for found, kind in _KINDS if isinstance(value, found)), "any")


def _see_texts(column: _Column, series: pl.Series) -> None:
    import polars as pl  # noqa: PLC0415

    counted = pl.DataFrame({"text": series}).group_by("text", maintain_order=True).len()
    texts, counts = counted["text"], counted["len"]
    bare = trimmed(texts)
    null = bare.is_in(NULL_WORDS)
    if null.any():
        for word, times in zip(bare.filter(null), counts.filter(null), strict=True):
            column.null_words[word] += times
    column.padded = column.padded or bool(((bare != texts) & ~null).any())
    kept = bare.filter(~null).unique(maintain_order=True)
    column.text.see(kept.cast(pl.String))
    _remember(column, texts)


def _remember(column: _Column, different: Sequence[Any] | pl.Series) -> None:
    """Keep examples and, while they are few, all different values."""
    for value in different[: 10 * _EXAMPLES]:
        if len(column.examples) >= _EXAMPLES:
            break
        if not isinstance(value, str) or value.strip() not in NULL_WORDS:
            column.examples.setdefault(value)
    if column.distinct is None:
        return
    column.distinct.update(different)
    if len(column.distinct) > _MANY:
        column.distinct = None


def _field(column: _Column, records: int) -> Field:
    kind, convert, note = _type_of(column)
    words = dict(column.null_words.most_common())
    blank = sum(words.values()) if convert is not None and convert.null_values else 0
    distinct = column.distinct
    return Field(
        name=column.name,
        type=kind,
        convert=convert,
        values=column.values - blank,
        records=records,
        nulls=records - column.values + blank,
        null_words=words,
        examples=tuple(column.examples),
        distinct=tuple(sorted(distinct, key=str)) if distinct is not None and len(distinct) <= 20 else None,
        unique=None if distinct is None else len(distinct) == column.values,
        padded=column.padded and kind == "string" and convert is None,
        note=note,
    )


def _type_of(column: _Column) -> tuple[str, TypeOptions | None, str]:
    """Return the type, what ``convert`` needs to know to get there (None: nothing to do), and a note."""
    kinds = set(column.kinds)
    if kinds == {"string"}:
        guess, note = column.text.verdict()
        return (guess.kind, _with_nulls(guess, column), note) if guess else ("string", None, note)
    if len(kinds) == 1:
        return kinds.pop(), None, ""
    if not kinds:
        return ("string" if column.text.numbers else "any"), None, "no values"
    if kinds == {"integer", "float"} and column.largest <= _EXACT_FLOAT:
        return "float", TypeOptions(), "whole numbers and fractions"
    if kinds <= {"integer", "float", "decimal"}:
        return "decimal", TypeOptions(), "numbers that a float does not hold exactly"
    return "any", None, f"values of several kinds: {' and '.join(sorted(kinds))}"


def _with_nulls(guess: Guess, column: _Column) -> TypeOptions:
    options = guess.options
    return TypeOptions(options.format, options.thousands, options.decimal_separator, frozenset(column.null_words))
