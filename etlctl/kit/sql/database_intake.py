"""From a batch to blocks that fit a table of a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etlctl.errors import RecordRejected
from etlctl.kit.sql.blocks import Block, Refusals
from etlctl.kit.sql.database_forms import named_type
from etlctl.kit.sql.database_server import Server
from etlctl.kit.sql.database_table import Column, new_column
from etlctl.kit.sql.database_values import fitted, natural
from etlctl.kit.sql.intake import Intake
from etlctl.kit.sql.job import Job

if TYPE_CHECKING:
    import polars as pl


class DatabaseIntake(Intake[Column]):
    """Cuts batches into blocks of values that the database keeps exactly.

    Args:
        server: The open connection.
        job: What is to be loaded.
    """

    def __init__(self, server: Server, job: Job) -> None:
        super().__init__(job)
        self._server = server

    def _frame_block(self, frame: pl.DataFrame) -> tuple[Block, Refusals] | None:
        from etlctl.kit.sql.sqlite_frames import frame_block  # noqa: PLC0415

        return frame_block(frame)

    def _declared_columns(self) -> list[Column]:
        keys = {name.lower() for name in self._job.key}
        return [
            new_column(self._server, name, one.type, key=name.lower() in keys, required=one.required)
            for name, one in self._job.fields.items()
        ]

    def _new_column(self, name: str, blocks: Sequence[Block]) -> Column:
        having = [block for block in blocks if name in block.columns]
        kinds = {kind for block in having for kind in block.kinds[name]}
        values = (value for block in having for value in block.columns[name])
        key = name.lower() in {one.lower() for one in self._job.key}
        return new_column(self._server, name, named_type(kinds, values), key=key)

    def _values(
        self, name: str, block: Block, values: list[Any], column: Column
    ) -> tuple[list[Any], Mapping[int, RecordRejected]]:
        made, refused = fitted(name, values, block.kinds[name], column.form, ready=block.ready)
        if self._server.mysql:
            return made, refused
        made, unfit = natural(name, made, column.form)
        return made, {**unfit, **refused}
