"""From a batch to blocks of columns that are ready to be copied into a PostgreSQL table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from etlctl.batch import Batch, make_series
from etlctl.errors import ConversionError, FatalError, RecordRejected
from etlctl.kit.sql.blocks import Block, Refusals
from etlctl.kit.sql.frame_kinds import kinds_of
from etlctl.kit.sql.intake import Intake
from etlctl.kit.sql.postgres_frames import column_series
from etlctl.kit.sql.postgres_table import LONGEST_NAME, Column, Table, declared_column, schema_columns
from etlctl.kit.sql.postgres_types import declared_type
from etlctl.kit.sql.tables import Table as AnyTable

# Texts that say what the column is for; all others are left to the server.
_FORMS = {
    "integer": r"^\s*[+-]?\d+\s*$",
    "float": r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$|^\s*[+-]?(?i:nan|inf|infinity)\s*$",
    "numeric": r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$|^\s*(?i:nan)\s*$",
    "boolean": r"^\s*(?i:t|true|f|false|yes|no|y|n|on|off|1|0)\s*$",
    "date": r"^\s*\d{4,}-\d\d?-\d\d?\s*$",
    "time": r"^\s*\d\d?:\d\d",
    "timestamp": r"^\s*\d{4,}-\d\d?-\d\d?",
    "timestamptz": r"^\s*\d{4,}-\d\d?-\d\d?",
    "uuid": r"^\s*\{?[0-9a-fA-F-]{32,36}\}?\s*$",
    "interval": r"\d",
}


class FrameBlock(Block):
    """A block whose columns are Polars series; those of values that have no common type hold Python objects."""

    def without(self, records: Collection[int]) -> FrameBlock:
        """Return the block without some of its records, named by their 0-based number in the block."""
        if not records:
            return self
        keep = [number not in records for number in range(len(self))]
        mask = pl.Series(keep, dtype=pl.Boolean)
        columns = {name: series.filter(mask) for name, series in self.columns.items()}
        places = [place for place, kept in zip(self.places, keep, strict=True) if kept]
        return FrameBlock(columns, places, self.kinds, self.ready)

    def only(self, names: Collection[str]) -> FrameBlock:
        """Return the block with just these fields."""
        return FrameBlock({name: self.columns[name] for name in names}, self.places, self.kinds, self.ready)

    @property
    def frame(self) -> pl.DataFrame:
        """The columns as a frame."""
        return pl.DataFrame(self.columns)


class PostgresIntake(Intake[Column]):
    """Cuts batches into blocks of columns that PostgreSQL keeps exactly."""

    @staticmethod
    def _one(name: str) -> str:
        return name  # upper and lower case are told apart

    def _frame_block(self, frame: pl.DataFrame) -> tuple[Block, Refusals]:
        kinds = {name: kinds_of(dtype) for name, dtype in frame.schema.items()}
        columns = {name: frame.get_column(name) for name in frame.columns}
        return FrameBlock(columns, range(frame.height), kinds), []

    def _blocks(self, batch: Batch, table: AnyTable | None) -> tuple[list[Block], Refusals]:
        blocks, refusals = super()._blocks(batch, table)
        return [one if isinstance(one, FrameBlock) else _framed(one) for one in blocks], refusals

    def _null_keys(self, values: Any) -> Sequence[int]:
        found: list[int] = values.is_null().arg_true().to_list()
        return found

    def _declared_columns(self) -> list[Column]:
        made = schema_columns(self._job.fields)
        for column in made:
            _check_length(column.name)
        return made

    def _new_column(self, name: str, blocks: Sequence[Block]) -> Column:
        _check_length(name)
        having = [block for block in blocks if name in block.columns]
        kinds = {kind for block in having for kind in block.kinds[name]}
        values = (value for block in having for value in block.columns[name])
        return declared_column(name, declared_type(kinds, values))

    def columns(self, blocks: Sequence[Block]) -> list[Column]:
        """Return the columns of a new table: the declared fields, in their order, then those of the blocks."""
        found = super().columns(blocks)
        order = {name: place for place, name in enumerate(self._job.fields)}
        made = [self._zoneless(column, blocks) for column in found]
        made += [
            declared_column(name, "text", required=declared.required)
            for name, declared in self._job.fields.items()
            if all(name != column.name for column in found)
        ]
        return sorted(made, key=lambda column: order.get(column.name, len(order)))

    def _zoneless(self, column: Column, blocks: Sequence[Block]) -> Column:
        """A declared time is one without a zone when its values have none."""
        if column.family != "timestamptz":
            return column
        kinds = {block.columns[column.name].dtype for block in blocks if column.name in block.columns}
        if any(isinstance(one, pl.Datetime) and one.time_zone is None for one in kinds):
            return declared_column(column.name, "timestamp without time zone", required=column.required)
        return column

    def _converted(self, block: Block, columns: Mapping[str, Column]) -> tuple[Block, dict[int, RecordRejected]]:
        made: dict[str, pl.Series] = {}
        unfit: dict[int, RecordRejected] = {}
        for name, column in columns.items():
            series, odd = self._watched(name, block.columns[name], block.kinds[name], column)
            ready, refused = column_series(name, series, column)
            made[column.name] = ready
            unfit.update({**refused, **odd})
        kinds = {column.name: block.kinds[name] for name, column in columns.items()}
        return FrameBlock(made, block.places, kinds, ready=True), unfit

    def _watched(
        self, name: str, series: pl.Series, kinds: frozenset[type], column: Column
    ) -> tuple[pl.Series, dict[int, RecordRejected]]:
        """Do what the policy says of values of another type."""
        if all(map(column.takes_all, kinds)) or self._watch.is_settled(name):
            return series, {}
        odd = _odd_places(series, kinds, column)
        if not odd:
            return series, {}
        action = self._watch.changed(name, series[odd[0]], column)
        if action == "drop_row":
            return series, {number: self._watch.refusal(name, series[number], column) for number in odd}
        if action == "drop_value":
            gone = set(odd)
            values = [None if number in gone else value for number, value in enumerate(series)]
            return pl.Series(series.name, values, dtype=series.dtype), {}
        return series, {}


def _framed(block: Block) -> FrameBlock:
    columns: dict[str, pl.Series] = {}
    for name, values in block.columns.items():
        try:
            columns[name] = make_series(name, values)
        except ConversionError:
            columns[name] = pl.Series(name, values, dtype=pl.Object)
    return FrameBlock(columns, block.places, block.kinds)


def _odd_places(series: pl.Series, kinds: Collection[type], column: Column) -> list[int]:
    """Return the numbers of the values that are not at home in a column."""
    if not any(map(column.takes_some, kinds)):
        return series.is_not_null().arg_true().to_list()
    if isinstance(series.dtype, pl.String) and column.family in _FORMS:
        return (~series.str.contains(_FORMS[column.family])).fill_null(value=False).arg_true().to_list()
    if series.dtype.is_float() and column.family == "integer":
        return (series != series.floor()).fill_null(value=False).arg_true().to_list()
    if isinstance(series.dtype, pl.Object):
        return [at for at, value in enumerate(series) if value is not None and not column.takes(value)]
    return []


def _check_length(name: str) -> None:
    if len(name.encode()) > LONGEST_NAME:
        raise FatalError(
            f"a column of PostgreSQL cannot be named {name!r}: it keeps only {LONGEST_NAME} bytes of a name",
            help="rename or drop the field in the transform",
        )


def known(table: Table, name: str, own: Collection[str]) -> Table:
    """Return a staging table as the user knows it: under the name of the target, without columns of its own."""
    columns = tuple(column for column in table.columns if column.name not in own)
    return Table(table.schema, name, columns, table.uniques, table.arbiters, table.checked)
