"""Operation ``select``: keep just these fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from etlctl.sdk import Example, FieldSet, Operation, RowSlice, StepContext

if TYPE_CHECKING:
    from etlctl.sdk.frames import FramePlan


class Select(Operation):
    """Keeps just the fields named, in the order named; one that does not exist is null."""

    fields: tuple[str, ...] = Field(strict=False)
    """Names of the fields to keep."""

    has_frame: ClassVar[bool] = True
    map_order: ClassVar[int | None] = 5
    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Keep two fields", "[b, a]", given=[{"a": 1, "b": 2, "c": 3}], expect=[{"b": 2, "a": 1}]),
    )

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Keep the fields of every record."""
        fields = self.fields
        records = rows.records
        for position, record in enumerate(records):
            get = record.get
            records[position] = {name: get(name) for name in fields}

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Keep the columns."""
        import polars as pl  # noqa: PLC0415

        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        if not self.fields:
            raise FrameUnsupported("a frame without columns forgets its rows")
        missing = (pl.lit(None), pl.Null())
        plan.select(
            {name: (pl.col(name), plan.schema[name]) if name in plan.schema else missing for name in self.fields}
        )

    def effect(self, known: FieldSet) -> FieldSet:
        """Only the fields named are left."""
        for number, name in enumerate(self.fields):
            known = known.require(name, ("fields", number))
        return known.only({name: known.types.get(name, "any") for name in self.fields}, "select")
