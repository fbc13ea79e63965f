"""Operation ``rename``: give fields other names, all at once."""

from __future__ import annotations

from collections import Counter
from itertools import compress
from typing import TYPE_CHECKING, ClassVar

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from etlctl.sdk import Example, FieldProblem, FieldSet, Operation, RowSlice, StepContext
from etlctl.types import shown

if TYPE_CHECKING:
    from etlctl.sdk.frames import FramePlan


class Rename(Operation):
    """Gives fields other names, all at once: swaps and chains work.

    A field keeps its place. When the new name is already taken by a field that is not renamed away, the value that is
    not null wins; two values that are not null reject the record (``rename.collision``).
    """

    fields: dict[str, str]
    """New name by old name."""

    has_frame: ClassVar[bool] = True
    map_order: ClassVar[int | None] = 1
    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Swap two fields and rename a third",
            "{a: b, b: a, oldName: new_name}",
            given=[{"a": 1, "b": 2, "oldName": "x"}],
            expect=[{"b": 1, "a": 2, "new_name": "x"}],
        ),
        Example(
            "A name that is taken rejects the record",
            "{a: b}",
            given=[{"a": 1, "b": 2}, {"a": 1, "b": None}],
            expect=[{"b": 1}],
            rejected=("rename.collision",),
        ),
    )

    @field_validator("fields")
    @classmethod
    def _distinct(cls, fields: dict[str, str]) -> dict[str, str]:
        twice = [name for name, count in Counter(fields.values()).items() if count > 1]
        if twice:
            sources = " and ".join(repr(old) for old, new in fields.items() if new == twice[0])
            raise PydanticCustomError(
                "duplicate_target", "{sources} cannot all be renamed to {name}", {"sources": sources, "name": twice[0]}
            )
        return fields

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Rename the fields of every record."""
        records = rows.records
        moves = self._moves()
        targets = frozenset(moves.values())
        simple = targets.isdisjoint(self.fields)
        free = [simple and record.keys().isdisjoint(targets) for record in records]
        # Renamed fields come last: moving a few is four times as fast as building the record anew.
        movable = records if all(free) else list(compress(records, free))
        for old, new in moves.items():
            for record in movable:
                if old in record:
                    record[new] = record.pop(old)
        if movable is records:
            return
        for position, record in enumerate(records):
            if free[position]:
                continue
            if (taken := self._taken(record)) is not None:
                source, target = taken
                text = (
                    f"field {source!r} cannot be renamed to {target!r}: "
                    f"that field exists and holds {shown(record[target])}"
                )
                rows.reject(position, "rename.collision", text, field=target)
            else:
                records[position] = self._renamed(record)

    def _moves(self) -> dict[str, str]:
        return {old: new for old, new in self.fields.items() if old != new}

    def _taken(self, record: dict[str, object]) -> tuple[str, str] | None:
        for source, target in self._moves().items():
            if target not in self.fields and record.get(source) is not None and record.get(target) is not None:
                return source, target
        return None

    def _renamed(self, record: dict[str, object]) -> dict[str, object]:
        moves = self._moves()
        made: dict[str, object] = {}
        for name, value in record.items():
            target = moves.get(name, name)
            if made.get(target) is None:
                made[target] = value
        return made

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Rename columns; rows where both names hold a value are doubtful."""
        import polars as pl  # noqa: PLC0415

        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        schema = plan.schema
        moves = {old: new for old, new in self._moves().items() if old in schema}
        taken = {old: new for old, new in moves.items() if new in schema and new not in self.fields}
        if not moves:
            return
        if any(pl.Null not in {schema[old], schema[new]} and schema[old] != schema[new] for old, new in taken.items()):
            raise FrameUnsupported("rename brings two columns of unlike types together")
        plan.suspect(*[pl.col(old).is_not_null() & pl.col(new).is_not_null() for old, new in taken.items()])
        columns: dict[str, tuple[pl.Expr, pl.DataType]] = {}
        merged = {new: old for old, new in taken.items()}
        for name, dtype in schema.items():
            target = moves.get(name, name)
            if target in columns:
                continue
            if target in merged:
                old = merged[target]
                kind = schema[old] if schema[target] == pl.Null else schema[target]
                columns[target] = (pl.coalesce(pl.col(old), pl.col(target)), kind)
            else:
                columns[target] = (pl.col(name), dtype)
        plan.select(columns)

    def effect(self, known: FieldSet) -> FieldSet:
        """Move the types along, and report names that do not exist or are taken."""
        moves = self._moves()
        for old, new in moves.items():
            known = known.require(old, ("fields", old))
            if new in known.types and new not in self.fields:
                text = f"field {old!r} cannot be renamed to {new!r}: a field of that name exists"
                known = known.problem(FieldProblem("collision", text, ("fields", old), (), new))
        types = {moves.get(name, name): kind for name, kind in known.types.items()}
        made = known.without(moves, "rename").with_types(
            {new: known.types.get(old, "any") for old, new in moves.items()}
        )
        return made.with_types({name: types[name] for name in made.types if name in types})
