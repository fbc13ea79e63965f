"""An operation of the workspace's own: it has no place in the map form."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from etlctl.sdk import Example, Operation, RowSlice, StepContext


class Blot(Operation):
    """Masks fields."""

    shorthand: ClassVar[str | None] = "fields"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("One field", "[a]", given=[{"a": "secret"}], expect=[{"a": "******"}]),
    )

    fields: tuple[str, ...] = Field(strict=False)
    """Names of the fields."""
    char: str = Field(default="*", min_length=1, max_length=1)
    """What stands for each character."""

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        """Mask the fields of every record."""
        for record in rows.records:
            record.update({name: self.char * len(str(record[name])) for name in self.fields if name in record})
