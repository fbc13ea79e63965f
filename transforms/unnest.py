"""Operation ``unnest``: one record per item of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, field_validator

from etlctl.sdk import Example, FieldSet, Operation, Record, RowSlice, StepContext
from etlctl.types import kind_of, shown

if TYPE_CHECKING:
    import polars as pl

    from etlctl.sdk.frames import FramePlan


class Unnest(Operation):
    """Makes one record per item of a list; the item takes the list's place under the same name.

    A record whose list is empty, null or missing is dropped, or kept with null by ``keep_empty``. Several fields are
    taken one after the other, which gives every combination of their items. A value that is no list rejects the
    record (``unnest.not_a_list``).
    """

    fields: tuple[str, ...] = Field(strict=False, min_length=1)
    """Names of the list fields."""
    keep_empty: bool = False
    """Keep a record whose list is empty, null or missing, with null in its place."""

    has_frame: ClassVar[bool] = True
    changes_count: ClassVar[bool] = True
    map_order: ClassVar[int | None] = 8
    shorthand: ClassVar[str | None] = "fields"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "One record per tag",
            "tags",
            given=[{"id": 1, "tags": ["a", "b"]}, {"id": 2, "tags": []}, {"id": 3, "tags": "a"}],
            expect=[{"id": 1, "tags": "a"}, {"id": 1, "tags": "b"}],
            rejected=("unnest.not_a_list",),
        ),
        Example(
            "Keep records without items",
            "{fields: [tags], keep_empty: true}",
            given=[{"id": 2, "tags": []}],
            expect=[{"id": 2, "tags": None}],
        ),
    )

    @field_validator(
        "fields", mode="before", json_schema_input_type=str | Annotated[tuple[str, ...], Field(min_length=1)]
    )
    @classmethod
    def _several(cls, fields: Any) -> Any:
        return (fields,) if isinstance(fields, str) else fields

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Multiply the records out."""
        for position, record in enumerate(rows.records):
            wrong = next((name for name in self.fields if not _is_list(record.get(name))), None)
            if wrong is not None:
                value = record[wrong]
                text = f"field {wrong!r}: {shown(value)} is {kind_of(value)}, not a list"
                rows.reject(position, "unnest.not_a_list", text, field=wrong)
                continue
            made = [record]
            for name in self.fields:
                items = record.get(name) or ([None] if self.keep_empty else [])
                made = [self._with(each, name, item) for each in made for item in items]
            rows.replace(position, made)

    @staticmethod
    def _with(record: Record, name: str, item: Any) -> Record:
        return {**record, name: item}

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Explode the columns; other types than lists need the rows form."""
        import polars as pl  # noqa: PLC0415

        from etlctl.sdk.frames import SUSPECT, FrameUnsupported  # noqa: PLC0415

        dtypes = {name: plan.schema.get(name) for name in self.fields}
        if len(dtypes) < len(self.fields) or not all(isinstance(dtype, pl.List) for dtype in dtypes.values()):
            raise FrameUnsupported("unnest of a column that is no list of one type")
        if not self.keep_empty:
            filled = [pl.col(name).list.len() > 0 for name in self.fields]
            plan.filter(pl.all_horizontal(filled))
        for name in self.fields:
            dtype = plan.schema[name]
            if not isinstance(dtype, pl.List):
                raise FrameUnsupported(f"unnest of {name!r}, a column of type {dtype}")
            inner: pl.DataType = dtype.inner() if isinstance(dtype.inner, type) else dtype.inner
            # Versions of Polars differ on empty lists, but agree that a null list stays as one row.
            single = pl.col(SUSPECT) | (pl.col(name).list.len() == 0)
            listed = pl.when(single).then(None).otherwise(pl.col(name)).alias(name)
            exploded = plan.lazy.with_columns(listed).explode(name)
            plan.explode(name, {**plan.schema, name: inner}, exploded)

    def effect(self, known: FieldSet) -> FieldSet:
        """The fields hold items of unknown type."""
        for number, name in enumerate(self.fields):
            known = known.require(name, ("fields", number))
        return known.with_types({name: "any" for name in self.fields if known.has(name)})


def _is_list(value: Any) -> bool:
    return value is None or isinstance(value, list | tuple)
