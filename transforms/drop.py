"""Operation ``drop``: take fields away."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from etlctl.sdk import Example, FieldSet, Operation, RowSlice, StepContext

if TYPE_CHECKING:
    from etlctl.sdk.frames import FramePlan


class Drop(Operation):
    """Takes fields away; one that does not exist is no error."""

    fields: tuple[str, ...] = Field(strict=False)
    """Names of the fields to take away."""

    has_frame: ClassVar[bool] = True
    map_order: ClassVar[int | None] = 6
    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Take one field away", "[b, unknown]", given=[{"a": 1, "b": 2}], expect=[{"a": 1}]),
    )

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Take the fields out of every record."""
        fields = self.fields
        for record in rows.records:
            for name in fields:
                record.pop(name, None)

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Take the columns away."""
        import polars as pl  # noqa: PLC0415

        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        gone = set(self.fields)
        if gone >= plan.schema.keys():
            raise FrameUnsupported("a frame without columns forgets its rows")
        if gone & plan.schema.keys():
            plan.select({name: (pl.col(name), dtype) for name, dtype in plan.schema.items() if name not in gone})

    def effect(self, known: FieldSet) -> FieldSet:
        """The fields are gone."""
        return known.without(self.fields, "drop")
