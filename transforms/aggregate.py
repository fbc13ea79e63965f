"""Operation ``aggregate``: one record per group, with sums, counts and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from etlctl.errors import RecordRejected
from etlctl.kit.keys import combined
from etlctl.kit.measures import FUNCTIONS, LOGICAL, NUMERIC, ORDERED, check, measure
from etlctl.sdk import Example, FieldSet, Operation, Record, RowSlice, Scope, StepContext

if TYPE_CHECKING:
    from etlctl.sdk.frames import FramePlan

_RECORDS = "count"


def _several(by: Any) -> Any:
    return () if by is None else (by,) if isinstance(by, str) else by


class Aggregate(Operation):
    """Makes one record per group: the fields it was grouped by, then the measures.

    A measure is ``{function: field}``, or ``count`` for the number of records. Functions: ``sum``, ``mean``, ``min``,
    ``max``, ``count`` (values that are not null), ``count_distinct``, ``first``, ``last``, ``list``, ``any`` and
    ``all``. Null is no value: measures look past it; without any value ``count`` is 0, ``list`` empty, the rest null.

    Groups stand in the order in which they first appear; null and missing make a group like any value. Integers and
    decimals are summed exactly, floats are summed exactly and rounded once. Values are taken as they are: text is no
    number and rejects the record (``aggregate.not_a_number``, ``aggregate.not_a_boolean``), and so does a value that
    cannot be compared with the first of its group (``aggregate.unlike_types``). Without records there are no groups.

    The whole data set must be in view: use ``processing_mode: full``; else there are groups per batch.
    """

    by: Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | tuple[str, ...] | None)] = (
        Field(default=(), strict=False)
    )
    """Field or fields that make a group; all records are one group when left out."""
    measures: dict[str, str | dict[str, str]] = Field(default_factory=dict)
    """Measure by the name of its field: ``count``, or ``{function: field}``, such as ``{sum: amount}``. Without
    any, what comes out are the groups."""

    has_frame: ClassVar[bool] = True
    changes_count: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Totals per country",
            "{by: country, measures: {orders: count, total: {sum: amount}, mean: {mean: amount}, most: {max: amount}}}",
            given=[
                {"country": "DE", "amount": 5},
                {"country": "FR", "amount": 1},
                {"country": "DE", "amount": None},
                {"country": "DE", "amount": 2},
                {"country": "FR", "amount": "2"},
            ],
            expect=[
                {"country": "DE", "orders": 3, "total": 7, "mean": 3.5, "most": 5},
                {"country": "FR", "orders": 1, "total": 1, "mean": 1.0, "most": 1},
            ],
            rejected=("aggregate.not_a_number",),
        ),
        Example(
            "One record for everything",
            "{measures: {n: {count_distinct: id}, first: {first: id}, all_paid: {all: paid}, ids: {list: id}}}",
            given=[{"id": 1, "paid": True}, {"id": 2, "paid": False}, {"id": 1}],
            expect=[{"n": 2, "first": 1, "all_paid": False, "ids": [1, 2, 1]}],
        ),
    )

    @field_validator("measures")
    @classmethod
    def _known(cls, measures: dict[str, str | dict[str, str]]) -> dict[str, str | dict[str, str]]:
        for name, given in measures.items():
            if isinstance(given, str):
                if given != _RECORDS:
                    text = "{field}: a measure of a field is written {function: field}, such as {sum: amount}"
                    raise PydanticCustomError("bad_measure", text, {"field": name})
                continue
            if len(given) != 1:
                text = "{field}: a measure has one function, such as {sum: amount}"
                raise PydanticCustomError("bad_measure", text, {"field": name})
            (function,) = given
            if function not in FUNCTIONS:
                context = {"field": name, "given": function, "candidates": list(FUNCTIONS)}
                text = "{field}: there is no measure {given}; there are " + ", ".join(FUNCTIONS)
                raise PydanticCustomError("bad_measure", text, context)
        return measures

    @model_validator(mode="after")
    def _distinct(self) -> Aggregate:
        if not self.by and not self.measures:
            raise PydanticCustomError("bad_measure", "aggregate needs measures, or fields to group by")
        both = [name for name in self.measures if name in self.by]
        if both:
            text = "measure {field} has the name of a field of the group"
            raise PydanticCustomError("bad_measure", text, {"field": both[0]})
        return self

    @property
    def scope(self) -> Scope:
        """Everything at once."""
        return Scope.batch

    def plan(self) -> list[tuple[str, str, str | None]]:
        """Return name, function and field of each measure; no field: records are counted."""
        made: list[tuple[str, str, str | None]] = []
        for name, given in self.measures.items():
            if isinstance(given, str):
                made.append((name, given, None))
            else:
                made.extend((name, function, field) for function, field in given.items())
        return made

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:  # noqa: ARG002
        """Put one record per group in the place of all."""
        groups = self._grouped(rows)
        rows.settle()
        made: list[Record] = []
        for members in groups.values():
            # The first record of the group becomes the group: the result came from there.
            (first, *_) = members
            measured = {name: self._measured(function, field, members) for name, function, field in self.plan()}
            keys = {name: first.get(name) for name in self.by}
            first.clear()
            first.update(keys)
            first.update(measured)
            made.append(first)
        rows.exchange(made)

    def _grouped(self, rows: RowSlice) -> dict[Any, list[Record]]:
        """Return the records by group; those with a value that cannot be measured are refused."""
        key_of = combined(self.by)
        checked = [each for each in self.plan() if each[1] in NUMERIC | ORDERED | LOGICAL]
        firsts: dict[tuple[Any, str], Any] = {}
        groups: dict[Any, list[Record]] = {}
        for position, record in enumerate(rows.records):
            group = key_of(record)
            try:
                for _, function, field in checked:
                    value = record.get(field) if field is not None else None
                    if value is not None and field is not None:
                        check(function, field, value, firsts.get((group, field), value))
            except RecordRejected as error:
                rows.reject_error(position, error)
                continue
            for _, function, field in checked:
                if function in ORDERED and field is not None and record.get(field) is not None:
                    firsts.setdefault((group, field), record[field])
            groups.setdefault(group, []).append(record)
        return groups

    @staticmethod
    def _measured(function: str, field: str | None, members: list[Record]) -> Any:
        if field is None:
            return len(members)
        return measure(function, [record[field] for record in members if record.get(field) is not None])

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:  # noqa: ARG002
        """Group the columns; those that only Python can measure exactly need the rows form."""
        import polars as pl  # noqa: PLC0415

        from etlctl.kit.frame_measures import Unsupported, aggregated  # noqa: PLC0415
        from etlctl.sdk.frames import ORDINAL, SUSPECT, FrameUnsupported  # noqa: PLC0415

        if plan.guarded:
            raise FrameUnsupported("aggregate behind a step that is not sure of every row")
        try:
            made, ordinals = aggregated(plan.lazy.collect(), self.by, self.plan(), ORDINAL)
        except Unsupported as error:
            raise FrameUnsupported(str(error)) from error
        suspects = pl.repeat(value=False, n=made.height, eager=True).alias(SUSPECT)
        plan.explode("aggregate", dict(made.schema), made.hstack([ordinals, suspects]).lazy())

    def effect(self, known: FieldSet) -> FieldSet:
        """Only the fields of the group and the measures are left."""
        for number, name in enumerate(self.by):
            known = known.require(name, ("by", number))
        for name, function, field in self.plan():
            if field is not None:
                known = known.require(field, ("measures", name, function))
        types = {name: known.types.get(name, "any") for name in self.by}
        types |= {
            name: _type_name(function, known.types.get(field or "", "any")) for name, function, field in self.plan()
        }
        return known.only(types, "aggregate")


def _type_name(function: str, of: str) -> str:
    if function in {"count", "count_distinct"}:
        return "integer"
    if function == "list":
        return "array"
    if function in LOGICAL:
        return "boolean"
    if function == "mean":
        return "float" if of in {"integer", "float"} else "any"
    return of
