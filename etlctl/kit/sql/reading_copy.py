"""Blocks of COPY CSV as frames: null and empty text stay apart, and rows with a value no column holds are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from etlctl.batch import Record, frame_to_rows
from etlctl.errors import FatalError
from etlctl.frozen import frozen
from etlctl.kit.codecs.json_exact import RefusedLine, exact_object
from etlctl.kit.sql.reading import Plan
from etlctl.kit.sql.reading_copy_types import CopyColumn, copy_column

if TYPE_CHECKING:
    import psycopg

_BOM = b"\xef\xbb\xbf"
_SPARE = "etlctl_spare"
Refused = tuple[int, str, str, str, dict[str, Any]]
"""Index in the block, field, what kind of value, the value's text, the row as texts."""


@frozen
class CopyBlock:
    """What a block of rows became.

    Attributes:
        rows: Rows of the block, refused ones included.
        frame: The good ones, without hidden columns.
        records: The same as records with JSON parsed, when there is JSON to parse.
        refused: Rows that cannot be held.
        keys: Texts of the key, a column each; every row of the block.
        last: Texts of the last row's key.
    """

    rows: int
    frame: pl.DataFrame
    records: list[Record] | None
    refused: list[Refused]
    keys: pl.DataFrame
    last: tuple[str | None, ...]


class CopyForm:
    """Reads blocks of one COPY.

    Args:
        columns: Name, type, modifier and the type's name of each column.
        plan: The SELECT, with its key and hidden columns.
        connection: Where types are known.
        parse_json: JSON is parsed.
    """

    def __init__(
        self,
        columns: Sequence[tuple[str, int, int, str]],
        plan: Plan,
        connection: psycopg.Connection[Any],
        *,
        parse_json: bool,
    ) -> None:
        names = [name for name, _, _, _ in columns]
        self.key = [part.name for part in plan.key]
        self._hidden = list(plan.hidden)
        self._places = [f"{place}" for place in range(len(names))]  # names as they are could clash with the spare one
        self._key_places = [f"{names.index(name)}" for name in self.key]
        self._columns = [_column(name, oid, modifier, connection) for name, oid, modifier, _ in columns]
        self._kinds = {name: kind for name, _, _, kind in columns}
        self._json = [one.name for one in self._columns if one.json and parse_json and one.name not in plan.hidden]
        self._schema = dict(zip(self._places, (one.parsed for one in self._columns), strict=True))
        self._texts: dict[str, pl.DataType] = dict.fromkeys(self._places, pl.String())

    def read(self, data: bytes) -> CopyBlock:
        """Return the rows of a block."""
        alone = len(self._places) == 1
        if alone and data:
            data = _with_second(data)
        parsed = self._parse(data, self._schema)
        texts = parsed if parsed is not None else self._parse(data, self._texts)
        if texts is None:
            raise FatalError("a block of COPY CSV cannot be read", help="is the database's text valid UTF-8?")
        made, refused = {}, []
        for place, column in zip(self._places, self._columns, strict=True):
            values = texts.get_column(place)
            bad = None
            if column.finish is not None or parsed is None:
                values, bad = column.values(values)
            made[column.name] = values
            if bad is not None:
                refused += self._refused(column, bad.arg_true().to_list(), data)
        return self._block(made, sorted(refused, key=lambda one: one[0]), texts.select(self._key_places))

    def repeated(self, block: CopyBlock, last: Sequence[Any] | None) -> tuple[Any, ...]:
        """Return a key that neighbouring rows share; nothing when there is none."""
        keys = block.keys
        if not keys.height:
            return ()
        if last is not None and _texts(keys.row(0)) == tuple(last):
            return tuple(last)
        same = pl.repeat(value=True, n=max(0, keys.height - 1), eager=True)
        for column in keys.get_columns():
            same &= column.slice(1).eq_missing(column.slice(0, keys.height - 1))
        found = same.arg_true()
        return _texts(keys.row(found[0])) if len(found) else ()

    def _block(self, made: dict[str, pl.Series], refused: list[Refused], keys: pl.DataFrame) -> CopyBlock:
        frame = pl.DataFrame({name: values.rename(name) for name, values in made.items()})
        rows = frame.height
        last = _texts(keys.row(-1)) if keys.height and keys.width else ()
        refused = list({one[0]: one for one in reversed(refused)}.values())[::-1]  # one rejection a row, its first
        if refused:
            good = pl.Series([True] * rows).scatter([one[0] for one in refused], values=False)
            frame = frame.filter(good)
        if self._hidden:
            frame = frame.drop(self._hidden)
        records = self._parsed(frame) if self._json else None
        return CopyBlock(rows, frame, records, refused, keys, last)

    def _parsed(self, frame: pl.DataFrame) -> list[Record]:
        records = frame_to_rows(frame)
        for record in records:
            for name in self._json:
                if record[name] is not None:
                    record[name] = _json_value(record[name], name)
        return records

    def _parse(self, data: bytes, schema: dict[str, pl.DataType]) -> pl.DataFrame | None:
        alone = len(schema) == 1
        schema = {**schema, _SPARE: pl.String()} if alone else schema
        if not len(data):
            return pl.DataFrame(schema=schema)
        marked = data[:3] == _BOM  # Polars would take it for the mark of a file
        try:
            frame = pl.read_csv(
                b",".join([b""] * len(schema)) + b"\n" + data if marked else data,
                has_header=False,
                schema=schema,
            )
        except pl.exceptions.PolarsError:
            return None
        frame = frame.slice(1) if marked else frame
        return frame.drop(_SPARE) if alone else frame

    def _refused(self, column: CopyColumn, indexes: list[int], data: bytes) -> list[Refused]:
        texts = self._parse(data, self._texts)
        if texts is None:
            return []
        names = [one.name for one in self._columns]
        found = []
        for index in indexes:
            raw = dict(zip(names, texts.row(index), strict=True))
            found.append((index, column.name, self._kinds[column.name], str(raw[column.name])[:200], raw))
        return found


def _column(name: str, oid: int, modifier: int, connection: psycopg.Connection[Any]) -> CopyColumn:
    from psycopg import pq  # noqa: PLC0415
    from psycopg.adapt import Transformer  # noqa: PLC0415

    info = connection.adapters.types.get(oid)
    is_array = info is not None and info.array_oid == oid and info.oid != oid

    def loader(element: int) -> Callable[[bytes], Any]:
        of = connection.adapters.types.get(element)
        array = of.array_oid if of is not None else 1009
        return Transformer(connection).get_loader(array, pq.Format.TEXT).load

    return copy_column(name, oid, modifier, info.oid if is_array and info is not None else None, loader)


def _texts(values: Sequence[Any]) -> tuple[str | None, ...]:
    """Return values of a key as PostgreSQL reads them back."""
    return tuple(value if value is None or isinstance(value, str) else str(value) for value in values)


def _json_value(text: str, name: str) -> Any:
    try:
        return exact_object(b'{"value":' + text.encode() + b"}")["value"]
    except RefusedLine as error:
        raise FatalError(f"field {name!r}: {error.message}", help="read it as text with json_columns: text") from error


def _with_second(data: bytes) -> bytes:
    """Give each row of a single column a second cell, for an empty line is a null and no row to a CSV parser."""
    made, inside = [], False
    for line in data.split(b"\n")[:-1]:
        inside ^= line.count(b'"') % 2 == 1
        made.append(line if inside else line + b",")
    return b"\n".join(made) + b"\n"
