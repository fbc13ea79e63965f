"""Expressions of the ``add`` operation as Polars expressions, where both mean the same for certain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import polars as pl

from etlctl.expression import Call, Constant, Expression, Reference, Template
from etlctl.kit.evaluation import CASTS, Surroundings, cast_options, variable
from etlctl.kit.frame_convert import Column, convert_column
from etlctl.types import to_text

_INT64 = 2**63
# Outside of Latin, Greek, Cyrillic and East Asian scripts, case follows the Unicode tables of the Python at hand.
_OTHER_LETTERS = r"[^\x{00}-\x{17F}\x{370}-\x{52F}\x{3000}-\x{9FFF}\x{AC00}-\x{D7A3}]"
_EXACT_TEXT = (pl.String, pl.Boolean)
_Dtypes = dict[type, pl.DataType]


class Unsupported(Exception):  # noqa: N818
    """Only the rows form can evaluate this expression."""


class FrameCompiler:
    """Turns expressions into columns.

    Args:
        schema: Columns the expressions can see.
        around: What they can see besides.
        sample: Returns some texts of an expression, to recognise the layout of dates.
    """

    def __init__(
        self, schema: Mapping[str, pl.DataType], around: Surroundings, sample: Callable[[pl.Expr], list[str]]
    ) -> None:
        self.schema = schema
        self.around = around
        self.sample = sample

    def compile(self, expression: Expression) -> Column:
        """Return the column of an expression.

        Raises:
            Unsupported: Only the rows form can evaluate it.
        """
        if isinstance(expression, Constant):
            return literal(expression.value)
        if isinstance(expression, Template):
            if len(expression.parts) == 1 and isinstance(expression.parts[0], Reference):
                return self._reference(expression.parts[0])
            return _join([self._part(part) for part in expression.parts])
        if isinstance(expression, Call):
            return self._call(expression)
        raise Unsupported(expression.name)

    def _part(self, part: str | Reference) -> Column:
        return literal(part) if isinstance(part, str) else self._reference(part)

    def _reference(self, reference: Reference) -> Column:
        if reference.scope is not None:
            return literal(self.around.constant(reference))
        found = self._field(reference.name)
        if reference.default is not None:
            return _coalesce([found, literal(reference.default)])
        if reference.message is None:
            return found
        empty = found.expr == "" if found.dtype == pl.String else pl.lit(value=False)
        return Column(found.expr, found.dtype, (found.expr.is_null() | empty,))

    def _field(self, name: str) -> Column:
        literal_column = [Column(pl.col(name), self.schema[name])] if name in self.schema else []
        head, *keys = name.split(".")
        if not keys or head not in self.schema:
            return literal_column[0] if literal_column else literal(None)
        expr, dtype = pl.col(head), self.schema[head]
        for key in keys:
            inner = {field.name: field.dtype for field in dtype.fields} if isinstance(dtype, pl.Struct) else {}
            if key not in inner:
                return literal_column[0] if literal_column else literal(None)
            expr, dtype = expr.struct.field(key), _instance(inner[key])
        return _coalesce([*literal_column, Column(expr, dtype)])

    def _call(self, call: Call) -> Column:
        if call.function in {"env", "uuid", "now"}:
            return self._source(call)
        arguments = [self.compile(argument) for argument in call.arguments]
        if call.function in CASTS:
            return self._cast(call, arguments[0])
        if call.function == "concat":
            return _join(arguments)
        if call.function == "coalesce":
            return _coalesce(arguments)
        return _text_function(call.function, arguments[0])

    def _source(self, call: Call) -> Column:
        if call.function == "now":
            return self._now(call)
        return literal(variable(call, self.around)) if call.function == "env" else Column(_uuids(), pl.String())

    def _now(self, call: Call) -> Column:
        now = self.around.now
        if not call.arguments:
            return Column(pl.lit(now, dtype=pl.Datetime("us", "UTC")), pl.Datetime("us", "UTC"))
        layout = call.arguments[0]
        if not isinstance(layout, Constant):
            raise Unsupported("now")
        return literal(now.strftime(to_text(layout.value)))

    def _cast(self, call: Call, argument: Column) -> Column:
        kind = CASTS[call.function]
        if kind == "string":
            return _as_text(argument)
        texts = self.sample(argument.expr) if argument.dtype == pl.String and kind != "boolean" else []
        made = convert_column(argument.expr, argument.dtype, kind, cast_options(call), texts)
        if made is None:
            raise Unsupported(call.function)
        return Column(made.expr, made.dtype, (*argument.doubts, *made.doubts))


def literal(value: Any) -> Column:
    """Return a constant as a column.

    Raises:
        Unsupported: It has no simple column type.
    """
    simple: _Dtypes = {bool: pl.Boolean(), int: pl.Int64(), float: pl.Float64(), str: pl.String()}
    if value is None:
        return Column(pl.lit(None), pl.Null())
    dtype = simple.get(type(value))
    if dtype is None or (type(value) is int and not -_INT64 <= value < _INT64):
        raise Unsupported("literal")
    return Column(pl.lit(value, dtype=dtype), dtype)


def _instance(dtype: Any) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[no-any-return]


def _doubts(columns: list[Column]) -> tuple[pl.Expr, ...]:
    return tuple(doubt for column in columns for doubt in column.doubts)


def _as_text(column: Column) -> Column:
    if column.dtype in _EXACT_TEXT or column.dtype.is_integer():
        expr = column.expr if column.dtype == pl.String else column.expr.cast(pl.String)
        return Column(expr, pl.String(), column.doubts)
    if column.dtype == pl.Null:
        return Column(column.expr.cast(pl.String), pl.String(), column.doubts)
    raise Unsupported("text")


def _join(columns: list[Column]) -> Column:
    texts = [_as_text(column) for column in columns]
    joined = pl.concat_str([text.expr for text in texts], ignore_nulls=True)
    return Column(joined, pl.String(), _doubts(texts))


def _coalesce(columns: list[Column]) -> Column:
    held = [column for column in columns if column.dtype != pl.Null]
    if not held:
        return columns[0]
    if any(column.dtype != held[0].dtype for column in held):
        raise Unsupported("coalesce")
    expr = pl.coalesce([column.expr for column in held])
    return Column(expr, held[0].dtype, _doubts(columns))


def _text_function(name: str, argument: Column) -> Column:
    if name == "len":
        return _length(argument)
    text = _as_text(argument)
    if name == "trim":
        return Column(text.expr.str.strip_chars(), pl.String(), text.doubts)
    changed = text.expr.str.to_lowercase() if name == "lower" else text.expr.str.to_uppercase()
    other = text.expr.str.contains(_OTHER_LETTERS)
    return Column(changed, pl.String(), (*text.doubts, other))


def _length(argument: Column) -> Column:
    if argument.dtype == pl.Null:
        return argument
    if argument.dtype == pl.String:
        return Column(argument.expr.str.len_chars().cast(pl.Int64), pl.Int64(), argument.doubts)
    if isinstance(argument.dtype, pl.List):
        return Column(argument.expr.list.len().cast(pl.Int64), pl.Int64(), argument.doubts)
    raise Unsupported("len")


def _uuids() -> pl.Expr:
    def make(column: pl.Series) -> pl.Series:
        return pl.Series([str(uuid4()) for _ in range(len(column))], dtype=pl.String)

    return pl.int_range(pl.len()).map_batches(make, return_dtype=pl.String)
