"""Operation ``flatten``: lift the keys of nested objects to fields of the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from etlctl.errors import RecordRejected
from etlctl.sdk import Example, FieldSet, Operation, Record, RowSlice, StepContext
from etlctl.types import shown

if TYPE_CHECKING:
    import polars as pl

    from etlctl.sdk.frames import FramePlan


class Flatten(Operation):
    """Lifts the keys of nested objects to fields of the record, named by the path with a separator between the keys.

    Lists and plain values stay as they are. An empty object leaves nothing behind. When a name is taken, the value
    that is not null wins; two values that are not null reject the record (``flatten.collision``).
    """

    fields: tuple[str, ...] | None = Field(default=None, strict=False)
    """Names of the object fields; all of them when left out."""
    separator: str = "_"
    """Text between the keys of a path."""
    max_depth: int | None = Field(default=None, ge=1)
    """Levels of objects to open; deeper ones stay objects."""

    has_frame: ClassVar[bool] = True
    map_order: ClassVar[int | None] = 9
    shorthand: ClassVar[str | None] = "fields"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "All levels of one field",
            "{fields: [info], separator: _}",
            given=[{"id": 1, "info": {"c": "LH", "s": {"code": "X"}}}, {"id": 2, "info": {}}, {"id": 3}],
            expect=[{"id": 1, "info_c": "LH", "info_s_code": "X"}, {"id": 2}, {"id": 3}],
        ),
        Example(
            "A name that is taken rejects the record",
            "[info]",
            given=[{"info": {"c": 1}, "info_c": 2}],
            expect=[],
            rejected=("flatten.collision",),
        ),
    )

    @field_validator("fields", mode="before", json_schema_input_type=str | tuple[str, ...] | None)
    @classmethod
    def _several(cls, fields: Any) -> Any:
        return (fields,) if isinstance(fields, str) else fields

    def _wanted(self, name: str) -> bool:
        return self.fields is None or name in self.fields

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Flatten every record."""
        fields, records = self.fields, rows.records
        for position, record in enumerate(records):
            if not any(isinstance(record.get(name), dict) for name in (record if fields is None else fields)):
                continue
            try:
                records[position] = self._flat(record)
            except RecordRejected as error:
                rows.reject_error(position, error)

    def _flat(self, record: Record) -> Record:
        made: Record = {}
        for name, value in self._leaves(record):
            held = made.get(name)
            if held is None:
                made[name] = value
            elif value is not None:
                text = f"two values want to be field {name!r}: {shown(held)} and {shown(value)}"
                raise RecordRejected("flatten.collision", text, field=name)
        return made

    def _leaves(self, record: Record) -> Iterator[tuple[str, Any]]:
        for name, value in record.items():
            if isinstance(value, dict) and self._wanted(name):
                yield from self._inside(name, value, 1)
            else:
                yield name, value

    def _inside(self, path: str, value: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
        for key, item in value.items():
            name = f"{path}{self.separator}{key}"
            if isinstance(item, dict) and (self.max_depth is None or depth < self.max_depth):
                yield from self._inside(name, item, depth + 1)
            else:
                yield name, item

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Flatten struct columns; rows where two columns want one name are doubtful."""
        import polars as pl  # noqa: PLC0415

        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        if not any(isinstance(dtype, pl.Struct) and self._wanted(name) for name, dtype in plan.schema.items()):
            return
        columns: dict[str, tuple[pl.Expr, pl.DataType]] = {}
        clashes: list[pl.Expr] = []
        for name, expr, dtype in self._columns(plan.schema):
            if name not in columns:
                columns[name] = (expr, dtype)
                continue
            held, kind = columns[name]
            if pl.Null not in {kind, dtype} and kind != dtype:
                raise FrameUnsupported(f"flatten finds two columns of unlike types for {name!r}")
            clashes.append(held.is_not_null() & expr.is_not_null())
            columns[name] = (pl.coalesce(held, expr), dtype if kind == pl.Null else kind)
        if not columns:
            raise FrameUnsupported("a frame without columns forgets its rows")
        plan.suspect(*clashes)
        plan.select(columns)

    def _columns(self, schema: Mapping[str, pl.DataType]) -> Iterator[tuple[str, pl.Expr, pl.DataType]]:
        import polars as pl  # noqa: PLC0415

        for name, dtype in schema.items():
            if isinstance(dtype, pl.Struct) and self._wanted(name):
                yield from self._struct(name, pl.col(name), dtype, 1)
            else:
                yield name, pl.col(name), dtype

    def _struct(
        self, path: str, expr: pl.Expr, dtype: pl.Struct, depth: int
    ) -> Iterator[tuple[str, pl.Expr, pl.DataType]]:
        import polars as pl  # noqa: PLC0415

        for field in dtype.fields:
            name, inner = f"{path}{self.separator}{field.name}", expr.struct.field(field.name)
            kind: pl.DataType = field.dtype() if isinstance(field.dtype, type) else field.dtype
            if isinstance(kind, pl.Struct) and (self.max_depth is None or depth < self.max_depth):
                yield from self._struct(name, inner, kind, depth + 1)
            else:
                yield name, inner, kind

    def effect(self, known: FieldSet) -> FieldSet:
        """The object fields are gone, and fields whose names are not known come in."""
        for number, name in enumerate(self.fields or ()):
            known = known.require(name, ("fields", number))
        objects = [name for name, kind in known.types.items() if kind in {"object", "any"} and self._wanted(name)]
        maybe = {name: "any" for name in objects if known.types[name] == "any"}
        return replace(known.without(objects, "flatten").with_types(maybe), closed=False)
