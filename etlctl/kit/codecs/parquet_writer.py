"""One Parquet file: streamed while the columns stay the same, in pieces joined at the end when they change."""

from __future__ import annotations

import base64
import io
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from etlctl.batch import Batch, rows_to_frame
from etlctl.errors import ConversionError, FatalError
from etlctl.frozen import frozen
from etlctl.kit.atomic import sync_file
from etlctl.kit.codecs.parquet_sink import ParquetSink, ParquetStyle
from etlctl.kit.codecs.writing import HELD_BYTES, HELD_ROWS, FormatWriter, Refusals, State, Target

if TYPE_CHECKING:
    import polars as pl

    from etlctl.kit.codecs.column_types import Schema

_GROUP_ROWS = 131_072
_GROUP_BYTES = 128 << 20


@frozen
class _Piece:
    path: Path
    schema: Schema
    rows: int


class ParquetWriter(FormatWriter):
    """Writes Parquet.

    Columns may appear later and types may widen, as long as every value stays what it was: whole numbers to floats
    and decimals, null to anything. Anything else stops the run, because a Parquet column has one type.

    Args:
        target: Where to; the rows of ``existing`` are written again in front of the new ones.
        style: How.
    """

    def __init__(self, target: Target, style: ParquetStyle) -> None:
        self._target = target
        self._style = style
        self._schema: Schema = {}
        self._held: list[pl.DataFrame] = []
        self._held_rows = self._held_bytes = 0
        self._done: list[_Piece] = []
        self._sink: ParquetSink | None = None
        self._kept = 0
        if target.state is not None:
            self._go_on(target.state)
        elif target.existing is not None:
            self._take_over(target.existing)

    def write(self, batch: Batch) -> Refusals:
        """Take a batch."""
        from etlctl.kit.codecs.table_records import empty_refusals, table_of  # noqa: PLC0415

        if batch.frame is None:
            frame, refusals = table_of(batch, rows_to_frame)
        elif batch.frame.height and not batch.frame.width:
            return empty_refusals(batch.frame.height)
        else:
            frame, refusals = batch.frame, []
        if frame.width:
            self._take(frame, batch)
        return refusals

    def checkpoint(self) -> State:
        """End the piece that is being written; the pieces are joined at the end."""
        self._settle()
        for piece in self._done[self._kept :]:
            sync_file(piece.path)
        self._kept = len(self._done)
        return {"pieces": [piece.rows for piece in self._done], "schema": _schema_text(self._schema)}

    def _go_on(self, state: State) -> None:
        import polars as pl  # noqa: PLC0415

        self._schema, self._kept = _schema_of(state["schema"]), len(state["pieces"])
        try:
            for number, rows in enumerate(state["pieces"]):
                path = self._target.scratch(number)
                self._done.append(_Piece(path, dict(pl.read_parquet_schema(path)), rows))
        except (OSError, pl.exceptions.PolarsError) as error:
            home = self._target.file.parent
            raise FatalError(
                f"cannot go on with {path}, which the run had made safe: {str(error).splitlines()[0]}",
                help=f"remove {home}, then run again from the beginning (not resuming)",
            ) from error

    def finish(self) -> None:
        """Write what is left, join the pieces."""
        if self._done:
            self._settle()
        else:
            self._put_held()
        if self._sink is None and not self._done:
            self._sink = self._new_sink(_GROUP_ROWS)
        self._end_piece()
        self._schema = self._typed()
        if len(self._done) > 1 or list(self._done[0].schema.items()) != list(self._schema.items()):
            self._join()
        elif self._kept:
            self.made = self._done[0].path
        else:
            self._done[0].path.replace(self._target.file)

    def abort(self) -> None:
        """End the writing thread."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.abort()

    def _take(self, frame: pl.DataFrame, batch: Batch | None) -> None:
        from etlctl.kit.codecs.column_types import joined_schemas, storable  # noqa: PLC0415

        wanted = {name: storable(dtype) for name, dtype in frame.schema.items()}
        schema, clash = joined_schemas(self._schema, wanted)
        if clash is not None:
            raise _clash(clash, self._schema[clash], frame, batch, self._target.name)
        if schema != self._schema and self._sink is not None:
            self._settle()
        self._schema = schema
        if not frame.height:
            return
        self._held.append(frame)
        self._held_rows += frame.height
        self._held_bytes += int(frame.estimated_size())
        if self._held_rows >= HELD_ROWS or self._held_bytes >= HELD_BYTES:
            self._put_held()

    def _put_held(self) -> None:
        import polars as pl  # noqa: PLC0415

        from etlctl.kit.codecs.column_types import fitted  # noqa: PLC0415

        if not self._held:
            return
        typed = self._typed()
        frames = [fitted(frame, typed) for frame in self._held]
        if self._sink is None:
            wide = max(1, self._held_bytes // max(1, self._held_rows))
            self._sink = self._new_sink(min(_GROUP_ROWS, max(1_000, _GROUP_BYTES // wide)))
        self._held, self._held_rows, self._held_bytes = [], 0, 0
        self._sink.write(pl.concat(frames, how="vertical", rechunk=False) if len(frames) > 1 else frames[0])

    def _settle(self) -> None:
        """End the current piece: what comes next has other columns."""
        self._put_held()
        self._end_piece()

    def _end_piece(self) -> None:
        if self._sink is not None:
            self._sink.finish()
            self._done.append(_Piece(self._sink.path, self._sink.schema, self._sink.rows))
            self._sink = None

    def _new_sink(self, group_rows: int) -> ParquetSink:
        from etlctl.kit.codecs.column_types import unstorable  # noqa: PLC0415

        bad = unstorable(self._schema)
        if bad is not None:
            name, why = bad
            raise ConversionError(
                f"field {name!r} {why}, which Parquet cannot hold",
                help=f"drop it, or write it as text with convert: {{{name}: string}} in transform.yaml",
            )
        return ParquetSink(self._target.scratch(len(self._done)), self._typed(), self._style, group_rows)

    def _typed(self) -> Schema:
        """Return the columns as a piece has them: those without a value so far have the type that is declared.

        Until a value comes they are typed for the file only: what comes later may be of another type.
        """
        from etlctl.kit.codecs.column_types import declared_nulls  # noqa: PLC0415

        return declared_nulls(self._schema, self._target.declared)

    def _join(self) -> None:
        pieces = self._done
        self._sink = joined = ParquetSink(self._target.scratch(len(pieces)), self._schema, self._style, _GROUP_ROWS)
        for piece in pieces:
            self._copy(piece)
            if not self._kept:
                piece.path.unlink()
        self._sink.finish()
        self._sink = None
        if self._kept:
            self.made = joined.path
        else:
            joined.path.replace(self._target.file)

    def _copy(self, piece: _Piece) -> None:
        import polars as pl  # noqa: PLC0415

        from etlctl.kit.codecs.column_types import fitted  # noqa: PLC0415

        if self._sink is None:
            return
        scan = pl.scan_parquet(piece.path, glob=False)
        for start in range(0, piece.rows, _GROUP_ROWS):
            self._sink.write(fitted(scan.slice(start, _GROUP_ROWS).collect(), self._schema))

    def _take_over(self, existing: Path) -> None:
        import polars as pl  # noqa: PLC0415

        from etlctl.kit.codecs.column_types import without_guesses  # noqa: PLC0415

        try:
            scan = pl.scan_parquet(existing, glob=False)
            declared = self._target.declared
            self._take(without_guesses(scan.head(0).collect(), declared), None)
            for start in range(0, scan.select(pl.len()).collect().item(), _GROUP_ROWS):
                self._take(without_guesses(scan.slice(start, _GROUP_ROWS).collect(), declared), None)
        except pl.exceptions.PolarsError as error:
            with suppress(Exception):
                self.abort()
            raise FatalError(
                f"cannot append to {self._target.name}: it cannot be read as Parquet: {str(error).splitlines()[0]}",
                help="set write_method: replace to write it anew, or choose another path",
            ) from error


def _schema_text(schema: Schema) -> str:
    """Return names and types of columns as text: an Arrow file without rows, in base64."""
    import polars as pl  # noqa: PLC0415

    buffer = io.BytesIO()
    pl.DataFrame(schema=schema).write_ipc(buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def _schema_of(text: str) -> Schema:
    import polars as pl  # noqa: PLC0415

    return dict(pl.read_ipc(base64.b64decode(text)).schema)


def _clash(name: str, old: pl.DataType, frame: pl.DataFrame, batch: Batch | None, target: str) -> ConversionError:
    """Name the first record that does not fit the column as it is so far."""
    column = frame.get_column(name)
    place = next(iter(column.is_not_null().arg_true().to_list()), 0)
    where = _where(batch, place)
    value = repr(column[place])[:60]
    return ConversionError(
        f"field {name!r} is {column.dtype} ({value} {where}) but {old} in the records before; a column of {target} "
        "has one type",
        help=f"give the field one type with convert: {{{name}: string}} (or another type) in transform.yaml, "
        "or write JSON lines",
    )


def _where(batch: Batch | None, place: int) -> str:
    if batch is None:
        return "in the existing file"
    located = f", {batch.locate(place)}" if batch.locate is not None else ""
    return f"in record {place + 1} of batch {batch.seq}{located}"
