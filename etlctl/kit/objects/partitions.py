"""Splitting a batch by the values of fields, into folders named ``field=value`` as Hive, Spark, DuckDB and Arrow read.

The fields themselves are not in the objects: a reader takes them from the folders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from etlctl.batch import Batch, Record, frame_to_rows
from etlctl.errors import FatalError, RecordRejected
from etlctl.frozen import frozen
from etlctl.kit.codecs.writing import Refusals
from etlctl.types import Unparsable, to_text

if TYPE_CHECKING:
    import polars as pl

NULL = "__HIVE_DEFAULT_PARTITION__"
"""The folder of records without a value."""

_PLAIN = re.compile(r"[A-Za-z0-9_.\-]|[^\x00-\x7f]")
_LONGEST = 250


@frozen
class Piece:
    """The records of a batch that go to one folder.

    Attributes:
        folder: ``country=AT/day=2026-01-01``; empty without partitions.
        values: Of the fields, as JSON values.
        batch: The records without those fields.
        places: Where each record stands in the whole batch, 0-based.
    """

    folder: str
    values: dict[str, Any]
    batch: Batch
    places: Sequence[int]


def quoted(text: str) -> str:
    """Return a text that can stand in a key: all but letters, digits, ``_``, ``.`` and ``-`` as %XX of its UTF-8."""
    made = []
    for char in text:
        plain = _PLAIN.match(char) and char.isprintable()
        made.append(char if plain else "".join(f"%{byte:02X}" for byte in char.encode()))
    return "".join(made)


def split(batch: Batch, fields: Sequence[str], most: int) -> tuple[list[Piece], Refusals]:
    """Return the pieces of a batch, in order of appearance, and the records that belong nowhere.

    Args:
        batch: In rows or frame form.
        fields: Whose values decide.
        most: Folders that one batch may go to.

    Raises:
        FatalError: There are more.
    """
    if not fields:
        return [Piece("", {}, batch, range(len(batch)))], []
    frame = batch.frame
    if frame is None or len(frame.columns) <= len(fields) or any(name not in frame.columns for name in fields):
        records = frame_to_rows(frame) if frame is not None else batch.records or []
        pieces, refusals = _split_rows(records, fields)
    else:
        pieces, refusals = _split_frame(frame, fields)
    if len(pieces) > most:
        raise FatalError(
            f"one batch would go to {len(pieces):,} folders, by {', '.join(fields)}; {most:,} are allowed: every batch "
            "makes an object in each",
            help="partition_by a field with fewer values (a day instead of a moment), or raise max_partitions",
        )
    for piece in pieces:
        piece.batch.seq = batch.seq
    return pieces, refusals


def _split_rows(records: Sequence[Record], fields: Sequence[str]) -> tuple[list[Piece], Refusals]:
    groups: dict[str, tuple[dict[str, Any], list[Record], list[int]]] = {}
    known: dict[tuple[Any, ...], tuple[str, dict[str, Any]]] = {}
    refusals: Refusals = []
    for place, record in enumerate(records):
        try:
            key = tuple((type(record.get(name)), record.get(name)) for name in fields)
            if (found := known.get(key)) is None:
                found = known[key] = _folder({name: record.get(name) for name in fields})
        except TypeError:
            refusals.append((place, _unfit(fields, "a list or an object")))
            continue
        except RecordRejected as refused:
            refusals.append((place, refused))
            continue
        _, rows, places = groups.setdefault(found[0], (found[1], [], []))
        rows.append({name: value for name, value in record.items() if name not in fields})
        places.append(place)
    pieces = [
        Piece(folder, values, Batch.of_rows(rows, {}), places) for folder, (values, rows, places) in groups.items()
    ]
    return pieces, refusals


def _split_frame(frame: pl.DataFrame, fields: Sequence[str]) -> tuple[list[Piece], Refusals]:
    import polars as pl  # noqa: PLC0415

    if any(isinstance(frame.schema[name], pl.List | pl.Struct | pl.Array | pl.Object) for name in fields):
        return _split_rows(frame_to_rows(frame), fields)
    pieces: dict[str, tuple[dict[str, Any], list[pl.DataFrame], list[int]]] = {}
    refusals: Refusals = []
    for numbered in frame.with_row_index("\0place").partition_by(list(fields), maintain_order=True):
        places = numbered.get_column("\0place").to_list()
        part = numbered.drop("\0place", *fields)
        try:
            folder, values = _folder(numbered.select(fields).row(0, named=True))
        except RecordRejected as refused:
            refusals += [(place, refused) for place in places]
            continue
        _, frames, all_places = pieces.setdefault(folder, (values, [], []))
        frames.append(part)
        all_places += places
    made = [
        Piece(folder, values, Batch.of_frame(frames[0] if len(frames) == 1 else pl.concat(frames), {}), places)
        for folder, (values, frames, places) in pieces.items()
    ]
    return made, sorted(refusals, key=lambda one: one[0])


def _folder(values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the folder of some values, and the values as JSON.

    Raises:
        RecordRejected: A value cannot name a folder.
    """
    parts: list[str] = []
    told: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            text, told[name] = NULL, None
        else:
            text = _text(name, value)
            told[name] = value if isinstance(value, str | int | bool) else text
            text = quoted(text)
        if len(text) > _LONGEST or (value is not None and text == NULL):
            raise _unfit([name], f"a text of {len(text):,} characters" if text != NULL else repr(NULL))
        parts.append(f"{quoted(name)}={text}")
    return "/".join(parts), told


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str | int | float | bool | Decimal | date | datetime):
        raise _unfit([name], f"of type {type(value).__name__}")
    try:
        text = to_text(value)
        text.encode()
    except (Unparsable, UnicodeEncodeError) as error:
        raise _unfit([name], "a text that is no valid Unicode") from error
    return text


def _unfit(fields: Sequence[str], what: str) -> RecordRejected:
    return RecordRejected(
        "load.partition",
        f"{', '.join(fields)} is {what}, and cannot name a folder (partition_by)",
        field=fields[0],
    )
