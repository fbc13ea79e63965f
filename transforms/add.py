"""Operation ``add``: set fields from templates, functions and constants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from etlctl.errors import RecordRejected
from etlctl.expression import (
    Call,
    Constant,
    Expression,
    ExpressionError,
    Template,
    TemplateError,
    parse_expression,
    references,
)
from etlctl.kit.evaluation import CASTS, Surroundings, compile_expression
from etlctl.sdk import Example, FieldSet, Operation, RowSlice, StepContext
from etlctl.types import Unparsable

if TYPE_CHECKING:
    import polars as pl

    from etlctl.sdk.frames import FramePlan

_SAMPLE = 256
_NAMES = {bool: "boolean", int: "integer", float: "float", str: "string", dict: "object", list: "array"}


def _parse(value: Any) -> Expression:
    return parse_expression(value) if isinstance(value, str) else Constant(value)


class Add(Operation):
    """Sets fields: ``"${first} ${last}"``, ``now()``, ``coalesce(${a}, 'none')``, or a constant.

    A text that is just one ``${field}`` keeps the value's type; any other text is text, with null as the empty text.
    ``${field:-default}`` stands in for missing and null; ``${field:?message}`` rejects the record. Fields are set in
    the order written, and each sees those before it. ``${a.b}`` is the field ``a.b``, else the field ``b`` in ``a``.

    Functions: ``now(fmt?) uuid() env(NAME, default?) lower() upper() trim() len() concat() coalesce() date() datetime()
    int() float() str() bool()``. ``now()`` is the one instant of the run, UTC.
    """

    fields: dict[str, Any]
    """Expression or constant by field."""

    has_frame: ClassVar[bool] = True
    map_order: ClassVar[int | None] = 4
    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "A name out of two, and a number out of text",
            "{full_name: '${first} ${last}', age: 'int(${age})', greeting: 'concat(upper(${full_name}), ''!'')'}",
            given=[{"first": "Ada", "last": "Lovelace", "age": "36"}],
            expect=[
                {
                    "first": "Ada",
                    "last": "Lovelace",
                    "age": 36,
                    "full_name": "Ada Lovelace",
                    "greeting": "ADA LOVELACE!",
                }
            ],
        ),
        Example(
            "Something instead of null",
            "{city: '${city:-unknown}', phone: 'coalesce(${mobile}, ${home})'}",
            given=[{"city": None, "home": 5}],
            expect=[{"city": "unknown", "home": 5, "phone": 5}],
        ),
    )

    @field_validator("fields")
    @classmethod
    def _readable(cls, fields: dict[str, Any]) -> dict[str, Any]:
        for name, value in fields.items():
            try:
                expression = _parse(value)
            except TemplateError as error:
                raise _problem(name, error) from error
            if any(reference.scope == "secret" for reference in references(expression)):
                raise PydanticCustomError(
                    "bad_expression",
                    "{field}: a secret must not be put into records",
                    {"field": name, "offset": 0, "candidates": []},
                )
        return fields

    def _expressions(self) -> dict[str, Expression]:
        return {name: _parse(value) for name, value in self.fields.items()}

    def rows(self, rows: RowSlice, ctx: StepContext) -> None:
        """Set the fields of every record."""
        plan = [
            (name, compile_expression(expression, Surroundings(name, ctx.now, ctx.environ, ctx.params)))
            for name, expression in self._expressions().items()
        ]
        name = ""
        for position, record in enumerate(rows.records):
            try:
                for name, evaluate in plan:
                    record[name] = evaluate(record)
            except RecordRejected as error:
                rows.reject_error(position, error)
            except Unparsable as error:
                rows.reject(position, "add.text", f"field {name!r}: a value {error}", field=name)

    def frame(self, plan: FramePlan, ctx: StepContext) -> None:
        """Set columns, those that do not build on each other at once."""
        from etlctl.kit.frame_expression import FrameCompiler, Unsupported  # noqa: PLC0415
        from etlctl.sdk.frames import FrameUnsupported  # noqa: PLC0415

        def sample(expr: pl.Expr) -> list[str]:
            head = plan.lazy.head(_SAMPLE).select(expr.alias("text")).collect()
            return head["text"].drop_nulls().to_list()

        pending: dict[str, tuple[pl.Expr, pl.DataType]] = {}
        doubts: list[pl.Expr] = []
        for name, expression in self._expressions().items():
            used = {reference.name.partition(".")[0] for reference in references(expression)}
            used |= {reference.name for reference in references(expression)}
            if name in pending or used & pending.keys():
                plan.with_columns(pending, suspects=doubts)
                pending, doubts = {}, []
            around = Surroundings(name, ctx.now, ctx.environ, ctx.params)
            try:
                column = FrameCompiler(plan.schema, around, sample).compile(expression)
            except Unsupported as error:
                raise FrameUnsupported(f"add {name!r}: {error} has no columnar form") from error
            pending[name] = (column.expr, column.dtype)
            doubts.extend(column.doubts)
        plan.with_columns(pending, suspects=doubts)

    def effect(self, known: FieldSet) -> FieldSet:
        """The fields exist; fields they refer to must."""
        for name, expression in self._expressions().items():
            for reference in references(expression):
                if reference.scope is None and reference.default is None and not known.has(reference.name):
                    known = known.require(reference.name.partition(".")[0], ("fields", name))
            known = known.with_types({name: _type_of(expression, known)})
        return known


def _problem(name: str, error: TemplateError) -> PydanticCustomError:
    candidates = list(error.candidates) if isinstance(error, ExpressionError) else []
    unknown = error.name if isinstance(error, ExpressionError) else None
    return PydanticCustomError(
        "unknown_function" if unknown else "bad_expression",
        "{field}: {problem}",
        {"field": name, "problem": error.message, "offset": error.offset, "given": unknown, "candidates": candidates},
    )


def _type_of(expression: Expression, known: FieldSet) -> str:
    if isinstance(expression, Constant):
        return _NAMES.get(type(expression.value), "any")
    if isinstance(expression, Template):
        references = expression.references
        if len(expression.parts) > 1 or not references:
            return "string"
        return known.types.get(references[0].name, "any") if references[0].default is None else "any"
    if isinstance(expression, Call):
        return _call_type(expression)
    return "any"


def _call_type(call: Call) -> str:
    if call.function in CASTS:
        return CASTS[call.function]
    if call.function == "now":
        return "string" if call.arguments else "datetime"
    return {"len": "integer", "coalesce": "any", "env": "any"}.get(call.function, "string")
