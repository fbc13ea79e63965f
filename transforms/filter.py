"""Operation ``filter``: keep the records that pass."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from etlctl import jsonata
from etlctl.batch import Record
from etlctl.errors import RecordRejected
from etlctl.kit.comparison import MEMBERS, NULLS, ORDERS, PASS_NULL, TEXTS, Unlike, compile_test, usual_types
from etlctl.kit.evaluation import field_getter
from etlctl.kit.frame_jsonata.subset import rows_only
from etlctl.sdk import Example, FieldProblem, FieldSet, RowSlice, StepContext
from etlctl.sdk.evaluating import Evaluated, Evaluating, readable
from etlctl.types import NUMBERS, kind_of, shown

if TYPE_CHECKING:
    import polars as pl

    from etlctl.sdk.frames import FramePlan

Operator: TypeAlias = Literal[
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "in",
    "not_in",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
    "is_null",
    "not_null",
]


def _check(operator: str, value: Any, *, given: bool) -> None:
    if operator in NULLS:
        if given:
            raise PydanticCustomError("bad_condition", "{operator} takes no value", {"operator": operator})
        return
    if not given or value is None:
        text = "{operator} needs a value; for null there are is_null and not_null"
        raise PydanticCustomError("bad_condition", text, {"operator": operator})
    if operator in MEMBERS and not isinstance(value, list):
        raise PydanticCustomError("bad_condition", "{operator} needs a list of values", {"operator": operator})
    if operator in TEXTS and isinstance(value, dict | list):
        raise PydanticCustomError("bad_condition", "{operator} needs one value", {"operator": operator})


class Condition(BaseModel):
    """One test of one field."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    field: str
    """Field to look at; ``a.b`` looks into an object."""
    operator: Operator = "eq"
    """How the field is compared with the value."""
    value: Any = None
    """What it is compared with: a list for ``in`` and ``not_in``, nothing for ``is_null`` and ``not_null``."""

    @model_validator(mode="after")
    def _complete(self) -> Condition:
        _check(self.operator, self.value, given="value" in self.model_fields_set)
        return self


class Filter(Evaluating):
    """Keeps the records that pass one condition, all of several, or a JSONata expression.

    A missing or null field passes ``ne``, ``not_in``, ``not_contains`` and ``is_null`` only. Values are compared like
    with like: numbers (true and false are 1 and 0), text, dates and times (written as ISO 8601 in the contract);
    comparing unlike values rejects the record (``filter.unlike_types``).
    """

    field: str | None = None
    """Field to look at; ``a.b`` looks into an object."""
    operator: Operator = "eq"
    """How the field is compared with the value."""
    value: Any = None
    """What it is compared with: a list for ``in`` and ``not_in``, nothing for ``is_null`` and ``not_null``."""
    all: tuple[Condition, ...] | None = Field(default=None, strict=False)
    """Conditions that must all hold."""
    expression: str | None = None
    """JSONata expression that must be truthy."""

    has_frame: ClassVar[bool] = True
    changes_count: ClassVar[bool] = True
    map_order: ClassVar[int | None] = 7
    shorthand: ClassVar[str | None] = "all"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Unlike values are rejected, null does not pass",
            "{field: n, operator: gte, value: 5}",
            given=[{"n": 4}, {"n": 5}, {"n": None}, {"n": "6"}],
            expect=[{"n": 5}],
            rejected=("filter.unlike_types",),
        ),
        Example(
            "Two conditions",
            "[{field: s, operator: in, value: [a, b]}, {field: n, operator: not_null}]",
            given=[{"s": "a", "n": 1}, {"s": "a"}, {"s": "c", "n": 1}],
            expect=[{"s": "a", "n": 1}],
        ),
        Example("JSONata", "{expression: 'n > 5'}", given=[{"n": 4}, {"n": 6}], expect=[{"n": 6}]),
    )

    @field_validator("expression")
    @classmethod
    def _readable(cls, expression: str | None) -> str | None:
        if expression is not None:
            readable(expression)
        return expression

    @model_validator(mode="after")
    def _one_kind(self) -> Filter:
        ways = {name for name in ("field", "all", "expression") if getattr(self, name) is not None}
        if len(ways) != 1:
            text = "filter needs exactly one of field (with operator and value), expression, or a list of conditions"
            raise PydanticCustomError("bad_condition", text)
        if self.field is not None:
            _check(self.operator, self.value, given="value" in self.model_fields_set)
        elif {"operator", "value"} & self.model_fields_set:
            raise PydanticCustomError("bad_condition", "operator and value go with field")
        return self

    def conditions(self) -> tuple[Condition, ...]:
        """Return the conditions that must all hold; none for an expression."""
        if self.field is None:
            return self.all or ()
        given = {"value": self.value} if self.operator not in NULLS else {}
        return (Condition(field=self.field, operator=self.operator, **given),)

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        """Drop the records that do not pass."""
        if self.expression is not None:
            passes = self._expression_test(ctx.now)
        elif _simple(self.conditions()):
            _drop_by_one(rows, self.conditions()[0])
            return
        else:
            passes = self._condition_test()
        for position, record in enumerate(rows.records):
            try:
                if not passes(record):
                    rows.drop(position)
            except RecordRejected as error:
                rows.reject_error(position, error)

    def _expression_test(self, now: datetime) -> Callable[[Record], bool]:
        text = self.expression or ""
        evaluate = jsonata.compile(text).prepared(now=now)

        def passes(record: Record) -> bool:
            try:
                return jsonata.truthy(evaluate(record))
            except jsonata.JsonataError as error:
                raise RecordRejected("filter.expression", f"the expression failed: {error.explained(text)}") from error

        return passes

    def _condition_test(self) -> Callable[[Record], bool]:
        plan = [
            (field_getter(each.field), compile_test(each.operator, each.value), each.operator in PASS_NULL, each)
            for each in self.conditions()
        ]

        def passes(record: Record) -> bool:
            for get, test, null_passes, each in plan:
                value = get(record)
                try:
                    passed = null_passes if value is None else test(value)
                except Unlike:
                    raise _unlike(each, value) from None
                if not passed:
                    return False
            return True

        return passes

    def evaluated(self) -> Evaluated | None:
        """The expression, for ``validate``."""
        return None if self.expression is None else Evaluated("expression", self.expression)

    def frame_reason(self) -> str | None:
        """Return what in the expression has no columnar form; the columns may still be ones it cannot be sure about."""
        return None if self.expression is None else rows_only(self.expression, {}, record=False)

    def _filter_by_expression(self, plan: FramePlan, ctx: StepContext) -> None:
        from etlctl.kit.frame_jsonata.records import condition_column  # noqa: PLC0415
        from etlctl.kit.frame_jsonata.values import Unsupported  # noqa: PLC0415
        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        try:
            test = condition_column(self.expression or "", plan.schema, {}, ctx.now)
        except Unsupported as error:
            raise FrameUnsupported(str(error)) from error
        plan.filter(test.expr, suspects=test.doubts)

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:
        """Filter the plan; columns of another kind than the value need the rows form."""
        import polars as pl  # noqa: PLC0415

        from etlctl.kit.frame_compare import condition  # noqa: PLC0415
        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        if self.expression is not None:
            self._filter_by_expression(plan, ctx)
            return
        nested = next((each.field for each in self.conditions() if "." in each.field), None)
        if nested is not None:
            raise FrameUnsupported(f"filter looks into an object: {nested!r}")
        passes: list[pl.Expr] = []
        doubts: list[pl.Expr] = []
        for each in self.conditions():
            known = each.field in plan.schema
            column = pl.col(each.field) if known else pl.lit(None)
            made = condition(column, plan.schema[each.field] if known else pl.Null(), each.operator, each.value)
            if made is None:
                dtype = plan.schema[each.field] if known else "null"
                raise FrameUnsupported(f"filter compares {each.field!r}, a column of type {dtype}, with such a value")
            passes.append(made[0])
            doubts.extend(made[1])
        plan.filter(pl.all_horizontal(passes), suspects=doubts)

    def effect(self, known: FieldSet) -> FieldSet:
        """The fields stay; the ones compared must exist and be of the value's kind."""
        for number, each in enumerate(self.conditions()):
            path: tuple[str | int, ...] = ("field",) if self.field is not None else ("all", number, "field")
            if not known.has(each.field):
                known = known.require(each.field.partition(".")[0], path)
            kind = known.types.get(each.field, "any")
            wanted = kind_of(each.value) if each.operator not in {*NULLS, *MEMBERS, *TEXTS} else "any"
            if (kind == "string" and wanted == "number") or (kind in {*NUMBERS, "boolean"} and wanted == "text"):
                text = f"field {each.field!r} is {kind}, but the value {shown(each.value)} is a {wanted}"
                known = known.problem(FieldProblem("unlike-types", text, path, (), each.field))
        return known


def _simple(conditions: tuple[Condition, ...]) -> bool:
    return len(conditions) == 1 and conditions[0].operator in ORDERS and "." not in conditions[0].field


def _drop_by_one(rows: RowSlice, condition: Condition) -> None:
    """Apply one comparison of one plain field, without a call per record for values of the usual types."""
    name, wanted = condition.field, condition.value
    compare, usual = ORDERS[condition.operator], usual_types(wanted)
    test, null_passes = compile_test(condition.operator, wanted), condition.operator in PASS_NULL
    for position, record in enumerate(rows.records):
        value = record.get(name)
        try:
            if type(value) not in usual:
                passed = null_passes if value is None else test(value)
            elif not compare(value, wanted):
                passed = False
            else:
                continue
        except Unlike:
            rows.reject_error(position, _unlike(condition, value))
            continue
        if not passed:
            rows.drop(position)


def _unlike(condition: Condition, value: Any) -> RecordRejected:
    wanted = condition.value
    kinds = (
        " or ".join(dict.fromkeys(kind_of(item) for item in wanted)) if isinstance(wanted, list) else kind_of(wanted)
    )
    text = (
        f"field {condition.field!r}: {shown(value)} is {kind_of(value)}, and {condition.operator} compares with {kinds}"
    )
    return RecordRejected("filter.unlike_types", text, field=condition.field)
