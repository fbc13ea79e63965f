"""Operation ``jsonata``: reshape records with a JSONata expression."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from etlctl import jsonata
from etlctl.jsonata.reads import fields_made
from etlctl.kit.frame_jsonata.subset import may_drop, rows_only
from etlctl.sdk import Example, FatalError, FieldSet, Record, RowSlice, Scope, StepContext
from etlctl.sdk.evaluating import Evaluated, Evaluating, readable
from etlctl.types import kind_of, shown

if TYPE_CHECKING:
    from etlctl.sdk.frames import FramePlan


_RECORD = jsonata.Limits(items=2_000_000)
_BATCH = jsonata.Limits(seconds=600, items=20_000_000, characters=500_000_000, memory_mb=8192)


class Jsonata(Evaluating):
    """Reshapes records with a JSONata expression.

    An object is a record, an array of objects several; nothing (or an empty array) drops the record; anything else
    rejects it (``jsonata.not_an_object``), and so does an expression that fails (``jsonata.error``). With
    ``mode: batch`` the expression sees the array of all records, and what would reject a record fails the run.
    Dates and times go in as ISO 8601 text, decimals as numbers.
    """

    expression: str
    """The expression."""
    mode: Literal["record", "batch"] = "record"
    """Give the expression one record, or the array of all: the data set in full mode, one batch in streaming."""
    bindings: dict[str, Any] = Field(default_factory=dict)
    """Values of variables: ``{rate: 2}`` is ``$rate`` in the expression."""
    timeout: float | None = Field(default=None, gt=0, le=86_400, strict=False)
    """Seconds one evaluation may take, 10 for a record and 600 in batch mode when it is not set; past it the record is rejected, in batch mode the run fails."""  # noqa: E501

    has_frame: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Reshape each record",
            '{expression: \'{"id": id, "total": $sum(items.price)}\'}',
            given=[{"id": 1, "items": [{"price": 2}, {"price": 3}]}],
            expect=[{"id": 1, "total": 5}],
        ),
        Example(
            "Nothing drops a record, a number rejects it",
            "{expression: 'n > 1 ? $ : (n = 1 ? n)'}",
            given=[{"n": 0}, {"n": 1}, {"n": 2}],
            expect=[{"n": 2}],
            rejected=("jsonata.not_an_object",),
        ),
        Example(
            "All records at once",
            "{expression: '$[price > 100]', mode: batch}",
            given=[{"price": 50}, {"price": 150}],
            expect=[{"price": 150}],
        ),
    )

    @field_validator("expression")
    @classmethod
    def _readable(cls, expression: str) -> str:
        return readable(expression)

    @property
    def scope(self) -> Scope:
        """The whole batch in batch mode."""
        return Scope.batch if self.mode == "batch" else Scope.record

    @property
    def changes_count(self) -> bool:  # type: ignore[override] # here it depends on the options
        """Whether the columnar form may drop records: only a condition does."""
        return may_drop(self.expression)

    def evaluated(self) -> Evaluated:
        """The expression, for ``validate``."""
        return Evaluated("expression", self.expression, self.bindings.keys(), whole=self.mode == "batch")

    def frame_reason(self) -> str | None:
        """Return what in the expression has no columnar form; the columns may still be ones it cannot be sure about."""
        if self.mode == "batch":
            return "mode: batch evaluates all records at once"
        return rows_only(self.expression, self.bindings)

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:
        """Compute the columns of the records the expression makes; doubtful records are left to the rows form."""
        from etlctl.kit.frame_jsonata.records import record_columns  # noqa: PLC0415
        from etlctl.kit.frame_jsonata.values import Unsupported  # noqa: PLC0415
        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        try:
            made = record_columns(self.expression, plan.schema, self.bindings, ctx.now)
        except Unsupported as error:
            raise FrameUnsupported(str(error)) from error
        plan.exact = True
        if made.keep is not None:
            plan.filter(made.keep.expr, suspects=made.keep.doubts)
        plan.suspect(*made.doubts)
        plan.select({name: (value.expr, value.dtype) for name, value in made.columns.items()})
        plan.mixed = made.mixed

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        """Evaluate the expression for each record, or once for all."""
        if self.mode == "batch":
            self._batch(rows, ctx)
            return
        evaluate = jsonata.compile(self.expression).prepared(self.bindings, now=ctx.now, limits=self._limits(_RECORD))
        records = rows.records
        for position, record in enumerate(records):
            try:
                result = evaluate(record)
            except jsonata.JsonataError as error:
                rows.reject(position, "jsonata.error", f"the expression failed: {error.explained(self.expression)}")
                continue
            if type(result) is dict:
                records[position] = result
                continue
            made = _records(result)
            if made is None:
                rows.reject(position, "jsonata.not_an_object", _complaint(result))
            else:
                rows.replace(position, made)

    def _limits(self, limits: jsonata.Limits) -> jsonata.Limits:
        return limits if self.timeout is None else replace(limits, seconds=self.timeout)

    def _batch(self, rows: RowSlice, ctx: StepContext) -> None:
        if not rows.records:
            return
        expression = jsonata.compile(self.expression)
        try:
            result = expression.evaluate(rows.records, self.bindings, now=ctx.now, limits=self._limits(_BATCH))
        except jsonata.JsonataError as error:
            raise FatalError(f"the JSONata expression failed: {error.explained(self.expression)}") from error
        made = _records(result)
        if made is None:
            raise FatalError(
                _complaint(result), help="let the expression return an object or an array of objects, such as {…}"
            )
        rows.exchange(made)

    def effect(self, known: FieldSet) -> FieldSet:
        """The keys of an object with literal ones are the fields then; else what comes out is not known."""
        made = fields_made(self.expression) if self.mode == "record" else None
        return known.opaque() if made is None else known.only(dict.fromkeys(made, "any"), "jsonata")


def _records(result: Any) -> list[Record] | None:
    """Return the records a result stands for; None when it is no object and no array of objects."""
    if result is jsonata.NOTHING:
        return []
    if isinstance(result, dict):
        return [result]
    if isinstance(result, list) and all(isinstance(item, dict) for item in result):
        return result
    return None


def _complaint(result: Any) -> str:
    wrong = next((item for item in result if not isinstance(item, dict)), None) if isinstance(result, list) else result
    what = "null" if wrong is None else f"the {kind_of(wrong)} {shown(wrong)}"
    inside = "an array with " if isinstance(result, list) else ""
    return f"the JSONata result is not an object or an array of objects, but {inside}{what}"
