"""From a batch to blocks that fit a SQLite table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etlctl.errors import RecordRejected
from etlctl.kit.sql.blocks import Block, Refusals
from etlctl.kit.sql.intake import Intake
from etlctl.kit.sql.sqlite_table import Column, schema_columns
from etlctl.kit.sql.sqlite_values import affinity_of, column_values, declared_type

if TYPE_CHECKING:
    import polars as pl


class SqliteIntake(Intake[Column]):
    """Cuts batches into blocks of values that SQLite keeps exactly."""

    def _frame_block(self, frame: pl.DataFrame) -> tuple[Block, Refusals] | None:
        from etlctl.kit.sql.sqlite_frames import frame_block  # noqa: PLC0415

        return frame_block(frame)

    def _declared_columns(self) -> list[Column]:
        return schema_columns(self._job.fields)

    def _new_column(self, name: str, blocks: Sequence[Block]) -> Column:
        having = [block for block in blocks if name in block.columns]
        kinds = {kind for block in having for kind in block.kinds[name]}
        values = (value for block in having for value in block.columns[name])
        kind = declared_type(kinds, values)
        return Column(name, kind, affinity_of(kind))

    def _values(
        self, name: str, block: Block, values: list[Any], column: Column
    ) -> tuple[list[Any], Mapping[int, RecordRejected]]:
        return column_values(name, values, block.kinds[name], column.affinity, ready=block.ready)
