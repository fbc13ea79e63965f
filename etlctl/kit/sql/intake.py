"""From a batch to blocks that fit a table: keys, unknown fields, values of other types. Each database subclasses it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from etlctl.batch import Batch, frame_to_rows
from etlctl.errors import FatalError, RecordRejected
from etlctl.kit.codecs.json_text import is_utf8
from etlctl.kit.sql.blocks import Block, Refusals, blocks_of
from etlctl.kit.sql.drift import DriftWatch
from etlctl.kit.sql.job import Job
from etlctl.kit.sql.methods import Method
from etlctl.kit.sql.tables import Column, Table

if TYPE_CHECKING:
    import polars as pl

RESERVED = "_etlctl_"
"""Beginning of names that are not the user's to load."""

C = TypeVar("C", bound=Column)


class Intake(ABC, Generic[C]):
    """Cuts batches into blocks, and fits blocks to a table.

    Args:
        job: What is to be loaded.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._watch = DriftWatch(job.table, job.evolution, job.drift, job.warn)

    @abstractmethod
    def _frame_block(self, frame: pl.DataFrame) -> tuple[Block, Refusals] | None:
        """Return a frame as a block; None when it is better loaded as records."""

    @abstractmethod
    def _declared_columns(self) -> list[C]:
        """Return the columns for the fields that the contract declares."""

    @abstractmethod
    def _new_column(self, name: str, blocks: Sequence[Block]) -> C:
        """Return a column that keeps the values of a field exactly."""

    def _values(
        self, name: str, block: Block, values: list[Any], column: C
    ) -> tuple[list[Any], Mapping[int, RecordRejected]]:
        """Return a field of a block as the driver takes it for a column; and the records that it does not fit.

        For blocks that are lists of values; others override ``_converted`` and ``_null_keys``.
        """
        raise NotImplementedError

    def _null_keys(self, values: Any) -> Sequence[int]:
        """Return the numbers of the values that are null."""
        return [number for number, value in enumerate(values) if value is None] if None in values else ()

    @staticmethod
    def _one(name: str) -> str:
        """Return what names of one column have in common: databases that do not tell case apart make it small."""
        return name.lower()

    def read(self, batch: Batch, table: Table | None) -> tuple[list[Block], Refusals]:
        """Return the records of a batch as blocks, without those that have no key."""
        blocks, refusals = self._blocks(batch, table)
        for block in blocks:
            check_names(block.columns)
        if not self._job.method.keyed:
            return blocks, refusals
        if table is None or batch.frame is not None:
            self._refuse_unknown_key(blocks)
        kept = []
        for block in blocks:
            block, without_key = self._with_key(block)  # noqa: PLW2901
            refusals += without_key
            if len(block):
                kept.append(block)
        return kept, refusals

    def _refuse_unknown_key(self, blocks: Sequence[Block]) -> None:
        """A key that no record of a whole table has is a mistake in the contract, not one of each record."""
        names = {name: None for block in blocks for name in block.columns}
        unknown = [key for key in self._job.key if key not in names] if blocks else []
        if unknown:
            raise FatalError(
                f"no record has the field {unknown[0]!r}, which primary_key names; nothing was loaded",
                help=f"correct primary_key in load.yaml; fields here: {', '.join(names)}",
            )

    def _blocks(self, batch: Batch, table: Table | None) -> tuple[list[Block], Refusals]:
        if batch.frame is not None:
            made = self._frame_block(batch.frame)
            if made is not None:
                return [made[0]] if batch.frame.height else [], made[1]
        records = frame_to_rows(batch.frame) if batch.frame is not None else batch.records or []
        if self._job.method is Method.delete:
            records = [{name: record[name] for name in self._job.key if name in record} for record in records]
        key = self._job.key if self._job.method.keyed else ()
        return list(blocks_of(records, lambda name: self._absence_matters(name, table), key)), []

    def _absence_matters(self, name: str, table: Table | None) -> bool:
        """An absent field is no null where a row keeps its value, or gets a default."""
        if self._job.method.keyed:
            return True
        column = table.column(name) if table is not None else None
        return column is not None and table is not None and table.fills(column)

    def _with_key(self, block: Block) -> tuple[Block, Refusals]:
        refused: dict[int, RecordRejected] = {}
        for name in self._job.key:
            values = block.columns.get(name)
            if values is None:
                absent = RecordRejected("load.null_key", f"the record has no key field {name!r}", field=name)
                return block.without(range(len(block))), [(place, absent) for place in block.places]
            for number in self._null_keys(values):
                message = f"the key field {name!r} is null"
                refused.setdefault(number, RecordRejected("load.null_key", message, field=name))
        refusals = [(block.places[number], error) for number, error in refused.items()]
        if self._job.method is Method.delete:
            block = block.only(self._job.key)
        return block.without(refused.keys()), refusals

    def columns(self, blocks: Sequence[Block]) -> list[C]:
        """Return the columns of a new table: the declared fields, then those of the blocks."""
        made = {self._one(column.name): column for column in self._declared_columns()}
        for name in dict.fromkeys(name for block in blocks for name in block.columns):
            if self._one(name) not in made:
                made[self._one(name)] = self._new_column(name, blocks)
        return list(made.values())

    def fit(self, blocks: list[Block], table: Table) -> tuple[list[Block], list[C], Refusals]:
        """Fit blocks to a table.

        Returns:
            The blocks, under the table's own names and with values it keeps exactly; columns to add to the table
            before they are loaded; and refused records.

        Raises:
            FatalError: A field has no column, and ``schema_evolution`` is ``freeze``.
        """
        refusals: Refusals = []
        added: dict[str, C] = {}
        fitted = []
        for block in blocks:
            columns, refused = self._place(block, table, blocks, added)
            self._watch.saw(block.columns)
            made, unfit = self._converted(block, columns)
            unfit = {**unfit, **refused}
            refusals += [(block.places[number], error) for number, error in unfit.items()]
            made = made.without(unfit.keys())
            if len(made):
                fitted.append(made)
        return fitted, list(added.values()), refusals

    @staticmethod
    def _column(table: Table, name: str) -> C | None:
        return table.column(name)  # type: ignore[return-value] # a database's own tables have its own columns

    def _place(
        self, block: Block, table: Table, blocks: list[Block], added: dict[str, C]
    ) -> tuple[dict[str, C], dict[int, RecordRejected]]:
        """Find the column of each field; fields without one are left out, or get one that is new."""
        found: dict[str, C] = {}
        refused: dict[int, RecordRejected] = {}
        taken: dict[str, str] = {}
        for name, values in block.columns.items():
            column = self._column(table, name) or added.get(self._one(name))
            if column is None:
                column = self._unknown(name, values, table, blocks, refused)
                if column is None:
                    continue
                added[self._one(name)] = column
            if column.generated:
                raise FatalError(
                    f"column {column.name!r} of table {table.name!r} is generated, and cannot be loaded",
                    help=f"drop the field {name!r} in the transform",
                )
            other = taken.setdefault(column.name, name)
            if other != name:
                raise FatalError(
                    f"the fields {other!r} and {name!r} are one column to the database, which does not tell case apart",
                    help="rename or drop one of them in the transform",
                )
            found[name] = column
        return found, refused

    def _unknown(
        self, name: str, values: list[Any], table: Table, blocks: list[Block], refused: dict[int, RecordRejected]
    ) -> C | None:
        if not any(value is not None for value in values):
            return None  # a null is no more than a missing field
        action, unfit = self._watch.new_field(name, values, table)
        refused.update(unfit)
        return self._new_column(name, blocks) if action == "evolve" else None

    def _converted(self, block: Block, columns: Mapping[str, C]) -> tuple[Block, dict[int, RecordRejected]]:
        made: dict[str, list[Any]] = {}
        unfit: dict[int, RecordRejected] = {}
        for name, column in columns.items():
            values, odd = self._watch.fitting(name, block.columns[name], block.kinds[name], column)
            values, refused = self._values(name, block, values, column)
            made[column.name] = values
            unfit.update({**refused, **odd})
        kinds = {column.name: block.kinds[name] for name, column in columns.items()}
        return Block(made, block.places, kinds, ready=True), unfit

    def note_lost(self, table: Table | None) -> None:
        """Report columns of a table that was there before the run, and that no record had a field for.

        Where only some fields are meant to be given, or an attempt before has seen others, nothing is lost.
        """
        if self._job.method in {Method.insert, Method.upsert, Method.replace} and not self._job.resumed:
            self._watch.lost(table)


def check_names(names: Collection[str]) -> None:
    """Refuse names that no column can have.

    Raises:
        FatalError: There is one.
    """
    for name in names:
        if "\0" in name or not name or not is_utf8(name) or name.lower().startswith(RESERVED):
            raise FatalError(
                f"a column cannot be named {name!r}"
                + (f": names that begin with {RESERVED} are etlctl's own" if RESERVED in name.lower() else ""),
                help="rename or drop the field in the transform",
            )
