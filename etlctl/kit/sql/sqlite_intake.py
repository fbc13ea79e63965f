"""From a batch to blocks that fit a SQLite table: keys, unknown fields, exact values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import Any

from etlctl.batch import Batch, frame_to_rows
from etlctl.errors import FatalError, RecordRejected
from etlctl.frozen import frozen
from etlctl.kit.codecs.json_text import is_utf8
from etlctl.kit.sql.blocks import Block, Refusals, blocks_of
from etlctl.kit.sql.drift import DriftPolicy, DriftWatch
from etlctl.kit.sql.methods import Method
from etlctl.kit.sql.sqlite_table import Column, Declared, Table, schema_columns
from etlctl.kit.sql.sqlite_values import affinity_of, column_values, declared_type
from etlctl.quality import Drift

_RESERVED = "_etlctl_"


@frozen
class Job:
    """What is to be loaded where, and how.

    Attributes:
        table: Name of the table.
        method: What a record does to it.
        key: Fields that find a row.
        create: Make the table when it does not exist.
        evolution: What happens when records and table have drifted apart.
        drift: Told of every difference between records and table.
        resumed: An attempt before has seen records, too.
        fields: The declared fields of the records.
        warn: Reports something the user should know without stopping the run.
    """

    table: str
    method: Method
    key: tuple[str, ...] = ()
    create: bool = False
    evolution: DriftPolicy = field(default_factory=DriftPolicy)
    fields: Mapping[str, Declared] = field(default_factory=dict)
    warn: Callable[[str], None] = lambda _message: None
    drift: Callable[[Drift], None] = lambda _drift: None
    resumed: bool = False

    @property
    def may_make_table(self) -> bool:
        """The method makes sense on a table that is new."""
        return self.method in {Method.insert, Method.upsert, Method.replace}

    @property
    def makes_table(self) -> bool:
        """The table is made when it does not exist."""
        return self.create and self.may_make_table


class Intake:
    """Cuts batches into blocks, and fits blocks to a table.

    Args:
        job: What is to be loaded.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._watch = DriftWatch(job.table, job.evolution, job.drift, job.warn)

    def read(self, batch: Batch, table: Table | None) -> tuple[list[Block], Refusals]:
        """Return the records of a batch as blocks, without those that have no key."""
        blocks, refusals = self._blocks(batch, table)
        for block in blocks:
            _check_names(block.columns)
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
            from etlctl.kit.sql.sqlite_frames import frame_block  # noqa: PLC0415

            made = frame_block(batch.frame)
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
        return column is not None and (column.default is not None or column.name == getattr(table, "row_id", None))

    def _with_key(self, block: Block) -> tuple[Block, Refusals]:
        refused: dict[int, RecordRejected] = {}
        for name in self._job.key:
            values = block.columns.get(name)
            if values is None:
                absent = RecordRejected("load.null_key", f"the record has no key field {name!r}", field=name)
                return block.without(range(len(block))), [(place, absent) for place in block.places]
            if None in values:
                message = f"the key field {name!r} is null"
                for number, value in enumerate(values):
                    if value is None:
                        refused.setdefault(number, RecordRejected("load.null_key", message, field=name))
        refusals = [(block.places[number], error) for number, error in refused.items()]
        if self._job.method is Method.delete:
            block = block.only(self._job.key)
        return block.without(refused.keys()), refusals

    def columns(self, blocks: list[Block]) -> list[Column]:
        """Return the columns of a new table: the declared fields, then those of the blocks."""
        made = {column.name.lower(): column for column in schema_columns(self._job.fields)}
        for name in dict.fromkeys(name for block in blocks for name in block.columns):
            if name.lower() not in made:
                made[name.lower()] = self._new_column(name, blocks)
        return list(made.values())

    @staticmethod
    def _new_column(name: str, blocks: list[Block]) -> Column:
        having = [block for block in blocks if name in block.columns]
        kinds = {kind for block in having for kind in block.kinds[name]}
        values = (value for block in having for value in block.columns[name])
        kind = declared_type(kinds, values)
        return Column(name, kind, affinity_of(kind))

    def fit(self, blocks: list[Block], table: Table) -> tuple[list[Block], list[Column], Refusals]:
        """Fit blocks to a table.

        Returns:
            The blocks, under the table's own names and with values it keeps exactly; columns to add to the table
            before they are loaded; and refused records.

        Raises:
            FatalError: A field has no column, and ``schema_evolution`` is ``freeze``.
        """
        refusals: Refusals = []
        added: dict[str, Column] = {}
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

    def _place(
        self, block: Block, table: Table, blocks: list[Block], added: dict[str, Column]
    ) -> tuple[dict[str, Column], dict[int, RecordRejected]]:
        """Find the column of each field; fields without one are left out, or get one that is new."""
        found: dict[str, Column] = {}
        refused: dict[int, RecordRejected] = {}
        taken: dict[str, str] = {}
        for name, values in block.columns.items():
            column = table.column(name) or added.get(name.lower())
            if column is None:
                column = self._unknown(name, values, table, blocks, refused)
                if column is None:
                    continue
                added[name.lower()] = column
            if column.generated:
                raise FatalError(
                    f"column {column.name!r} of table {table.name!r} is generated, and cannot be loaded",
                    help=f"drop the field {name!r} in the transform",
                )
            other = taken.setdefault(column.name, name)
            if other != name:
                raise FatalError(
                    f"the fields {other!r} and {name!r} are one column to SQLite, which does not tell case apart",
                    help="rename or drop one of them in the transform",
                )
            found[name] = column
        return found, refused

    def _unknown(
        self, name: str, values: list[Any], table: Table, blocks: list[Block], refused: dict[int, RecordRejected]
    ) -> Column | None:
        if not any(value is not None for value in values):
            return None  # a null is no more than a missing field
        action, unfit = self._watch.new_field(name, values, table)
        refused.update(unfit)
        return self._new_column(name, blocks) if action == "evolve" else None

    def _converted(self, block: Block, columns: Mapping[str, Column]) -> tuple[Block, dict[int, RecordRejected]]:
        made: dict[str, list[Any]] = {}
        unfit: dict[int, RecordRejected] = {}
        for name, column in columns.items():
            values, odd = self._watch.fitting(name, block.columns[name], block.kinds[name], column)
            values, refused = column_values(name, values, block.kinds[name], column.affinity, ready=block.ready)
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


def _check_names(names: Collection[str]) -> None:
    for name in names:
        if "\0" in name or not name or not is_utf8(name) or name.lower().startswith(_RESERVED):
            raise FatalError(
                f"a column cannot be named {name!r}"
                + (f": names that begin with {_RESERVED} are etlctl's own" if _RESERVED in name.lower() else ""),
                help="rename or drop the field in the transform",
            )
