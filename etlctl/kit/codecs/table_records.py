"""Records on their way into a table: what no table can hold is refused, a column of unlike values is explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etlctl.batch import Batch, Record
from etlctl.errors import ConversionError, RecordRejected
from etlctl.kit.codecs.json_text import is_utf8
from etlctl.kit.codecs.writing import Refusals

if TYPE_CHECKING:
    import polars as pl

_SHOWN = 60


def empty_refusals(count: int) -> Refusals:
    """Return refusals of records without any field: a table has no line for them."""
    message = "the record has no field, and a table has no line for it"
    return [(place, RecordRejected("load.empty_record", message)) for place in range(count)]


def is_name(name: object) -> bool:
    """Tell whether something can be the name of a column."""
    return isinstance(name, str) and is_utf8(name)


def unnameable(records: Sequence[Record], names: Sequence[str]) -> dict[int, RecordRejected]:
    """Refuse records with a field name that is no text, or with no field at all."""
    bad = {name for name in names if not is_name(name)}
    refused: dict[int, RecordRejected] = {}
    if not bad and all(records):
        return refused
    for place, record in enumerate(records):
        if not record:
            refused[place] = empty_refusals(1)[0][1]
        elif found := bad & record.keys():
            shown = ascii(next(iter(found)))
            refused[place] = RecordRejected("load.field_name", f"the field name {shown} is no Unicode text")
    return refused


def table_of(batch: Batch, make: Callable[[list[Record]], pl.DataFrame]) -> tuple[pl.DataFrame, Refusals]:
    """Return records as a frame, and the records that no table can hold.

    Raises:
        ConversionError: A column mixes kinds of values; the message names the first record that is unlike.
    """
    records = batch.records or []
    names = list(dict.fromkeys(name for record in records for name in record))
    refused = unnameable(records, names)
    kept = [record for place, record in enumerate(records) if place not in refused] if refused else records
    try:
        return make(kept), sorted(refused.items())
    except ConversionError as error:
        for place, record in enumerate(records):
            if place not in refused and (name := _broken_text(record)) is not None:
                message = f"field {name!r} holds text that is not Unicode (half a surrogate pair)"
                refused[place] = RecordRejected("load.not_utf8", message, field=name)
        kept = [record for place, record in enumerate(records) if place not in refused]
        try:
            return make(kept), sorted(refused.items())
        except ConversionError:
            raise _explained(error, batch, records) from error


def _broken_text(record: Record) -> str | None:
    return next((name for name, value in record.items() if not _is_sound(value)), None)


def _is_sound(value: Any) -> bool:
    if isinstance(value, str):
        return is_utf8(value)
    if isinstance(value, Mapping):
        return all(_is_sound(key) and _is_sound(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_sound, value))
    return True


def _explained(error: ConversionError, batch: Batch, records: Sequence[Record]) -> ConversionError:
    """Add which record is the first that is unlike those before it, when one field of one kind has such."""
    first: dict[str, type] = {}
    for place, record in enumerate(records):
        for name, value in record.items():
            kind = type(value)
            if value is None or first.setdefault(name, kind) is kind or f"{name!r}" not in error.message:
                continue
            where = f", {batch.locate(place)}" if batch.locate is not None else ""
            found = f"the first {kind.__name__} is {repr(value)[:_SHOWN]}"
            return ConversionError(
                f"{error.message}; {found} in record {place + 1} of batch {batch.seq}{where}",
                help=error.help,
            )
    return error
