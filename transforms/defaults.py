"""Operation ``defaults``: fill fields that are missing or null."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar

from etlctl.sdk import Example, FieldSet, Operation, RowSlice, StepContext

if TYPE_CHECKING:
    import polars as pl

    from etlctl.sdk.frames import FramePlan

_INT64 = 2**63


class Defaults(Operation):
    """Fills fields that are missing or null. Values stand for themselves: they are neither converted nor evaluated."""

    fields: dict[str, Any]
    """Value by field."""

    has_frame: ClassVar[bool] = True
    map_order: ClassVar[int | None] = 3
    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Missing and null are filled, empty text and zero stay",
            "{status: pending, n: 1}",
            given=[{}, {"status": None, "n": 0}, {"status": "", "n": 2}],
            expect=[{"status": "pending", "n": 1}, {"status": "pending", "n": 0}, {"status": "", "n": 2}],
        ),
    )

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Fill the fields of every record."""
        items = list(self.fields.items())
        for name, value in items:
            nested = isinstance(value, dict | list)
            for record in rows.records:
                if record.get(name) is None:
                    record[name] = copy.deepcopy(value) if nested else value

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Fill the columns; a default of another kind than its column needs the rows form."""
        import polars as pl  # noqa: PLC0415

        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        columns: dict[str, tuple[pl.Expr, pl.DataType]] = {}
        for name, value in self.fields.items():
            if value is None:
                continue
            column = plan.schema.get(name, pl.Null())
            dtype = _dtype(value)
            if dtype is None:
                raise FrameUnsupported(f"the default of {name!r} is a value that no column type holds")
            if column == pl.Null:
                columns[name] = (pl.lit(value, dtype=dtype), dtype)
            elif column == dtype:
                columns[name] = (pl.col(name).fill_null(pl.lit(value, dtype=dtype)), dtype)
            else:
                raise FrameUnsupported(f"{name!r}, a column of type {column}, with a default of another type")
        plan.with_columns(columns)

    def effect(self, known: FieldSet) -> FieldSet:
        """The fields exist; a field of another type than its default may hold either."""
        types = {}
        for name, value in self.fields.items():
            kind = _type_name(value)
            types[name] = kind if known.types.get(name, kind) == kind else "any"
        return known.with_types(types)


def _dtype(value: Any) -> pl.DataType | None:
    import polars as pl  # noqa: PLC0415

    simple: dict[type, pl.DataType] = {bool: pl.Boolean(), int: pl.Int64(), float: pl.Float64(), str: pl.String()}
    if type(value) is int and not -_INT64 <= value < _INT64:
        return None
    return simple.get(type(value))


def _type_name(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "float", str: "string", dict: "object", list: "array"}
    return names.get(type(value), "any")
