"""What an expression is worth as a column: a Polars expression, its type, and the rows it cannot be certain about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import polars as pl

from etlctl.frozen import frozen

_INT64 = 2**63
_PLAIN_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
INTEGER, FLOAT, TEXT, BOOLEAN, NULL = pl.Int64(), pl.Float64(), pl.String(), pl.Boolean(), pl.Null()


class Unsupported(Exception):  # noqa: N818
    """Only the rows form can evaluate this; the message says what it is."""


@frozen
class Value:
    """The value of an expression, for all records (or all items of a list) at once.

    A null of ``expr`` is a JSON null, except where ``missing`` is true: there the expression selects nothing.

    Attributes:
        expr: The values.
        dtype: Their type.
        doubts: Where any of these is true, only the rows form knows.
        missing: Where the expression selects nothing; None when it always gives something.
        nullable: There may be nulls.
        constant: It depends on no record.
        sequence: A list that stands for its item when it has one, and for nothing when it has none (see ``missing``).
        computed: A float that was computed: where it is whole, the rows form has an integer. None: only at times.
        items: The items of an array constructor, for ``in``.
    """

    expr: pl.Expr
    dtype: pl.DataType
    doubts: tuple[pl.Expr, ...] = ()
    missing: pl.Expr | None = None
    nullable: bool = True
    constant: bool = False
    sequence: bool = False
    computed: bool | None = False
    items: tuple[Value, ...] = ()

    @property
    def is_number(self) -> bool:
        """An integer or a float."""
        return self.dtype in {INTEGER, FLOAT}

    def doubting(self, *doubts: pl.Expr) -> Value:
        """Return the value with more doubts."""
        return replace(self, doubts=(*self.doubts, *doubts))

    def present(self) -> Value:
        """Return the value for those who need something: where it is nothing, the rows form decides."""
        return self if self.missing is None else replace(self.doubting(self.missing), missing=None)

    def filled(self) -> Value:
        """Return the value for those who refuse null and nothing alike."""
        value = self.present()
        return replace(value.doubting(value.expr.is_null()), nullable=False) if value.nullable else value


def made(expr: pl.Expr, dtype: pl.DataType, *parts: Value, nullable: bool = False) -> Value:
    """Return a value computed from others; their doubts are its own."""
    doubts = tuple(doubt for part in parts for doubt in part.doubts)
    return Value(expr, dtype, doubts, nullable=nullable, constant=all(part.constant for part in parts))


def computed_float(expr: pl.Expr, *parts: Value) -> Value:
    """Return a float computed from others; one that is not finite is an error, which the rows form tells."""
    return replace(made(expr, FLOAT, *parts), computed=True).doubting(~expr.is_finite())


def divided(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Return the quotient of two floats, correctly rounded.

    Polars multiplies by the reciprocal where the divisor is one number for all rows, which is another number in the
    last digit; so the divisor is made a column that has no such shape.
    """
    return left / (right + left.is_null().cast(FLOAT))


def literal(value: Any) -> Value:
    """Return a constant as a value.

    Raises:
        Unsupported: It has no simple column type.
    """
    if value is None:
        return Value(pl.lit(None), NULL, constant=True)
    simple: dict[type, pl.DataType] = {bool: BOOLEAN, int: INTEGER, float: FLOAT, str: TEXT}
    dtype = simple.get(type(value))
    if dtype is None or (type(value) is int and not -_INT64 < value < _INT64):
        raise Unsupported(f"the constant {value!r} has no column type")
    return Value(pl.lit(value, dtype=dtype), dtype, nullable=False, constant=True)


def column(expr: pl.Expr, dtype: pl.DataType) -> Value:
    """Return a stored column, or a field in it, in the types that expressions know; structs stay as they are.

    Raises:
        Unsupported: JSON has no such type, or not exactly.
    """
    if dtype in _PLAIN_INTEGERS:
        return Value(expr if dtype == INTEGER else expr.cast(INTEGER), INTEGER)
    if dtype in {pl.Float32(), FLOAT}:
        wide = expr if dtype == FLOAT else expr.cast(FLOAT)
        return Value(wide, FLOAT, (~expr.is_finite(),))
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return Value(expr.cast(TEXT), TEXT)
    if isinstance(dtype, pl.List):
        return _list_column(expr, instance(dtype.inner))
    if dtype not in {TEXT, BOOLEAN, NULL} and not isinstance(dtype, pl.Struct):
        raise Unsupported(f"a column of type {dtype}")
    return Value(expr, dtype)


def _list_column(expr: pl.Expr, inner: pl.DataType) -> Value:
    if isinstance(inner, pl.List | pl.Struct):
        return Value(expr, pl.List(inner))
    item = column(pl.element(), inner)
    plain = expr if item.dtype == inner else expr.cast(pl.List(item.dtype))
    return Value(plain, pl.List(item.dtype), inside_list(expr, item.doubts))


def inside_list(expr: pl.Expr, doubts: Iterable[pl.Expr]) -> tuple[pl.Expr, ...]:
    """Turn doubts about items into one about the list they are in."""
    doubt = any_of(doubts)
    return () if doubt is None else (expr.list.eval(doubt).list.any(),)


def require_json(dtype: pl.DataType) -> None:
    """Refuse a type whose values are not the same in JSON.

    Raises:
        Unsupported: It is no number, text, boolean, or list or struct of such.
    """
    if isinstance(dtype, pl.List):
        require_json(instance(dtype.inner))
    elif isinstance(dtype, pl.Struct) and dtype.fields:
        for field in dtype.fields:
            require_json(instance(field.dtype))
    elif isinstance(dtype, pl.Categorical | pl.Enum):
        return
    elif dtype not in {*_PLAIN_INTEGERS, pl.Float32, FLOAT, TEXT, BOOLEAN, NULL}:
        raise Unsupported(f"a column of type {dtype}")


def instance(dtype: Any) -> pl.DataType:
    """Return a type as an instance: fields of structs may hold classes."""
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[no-any-return]


def fields_of(dtype: pl.DataType) -> dict[str, pl.DataType]:
    """Return the fields of a struct."""
    return {field.name: instance(field.dtype) for field in dtype.fields} if isinstance(dtype, pl.Struct) else {}


def any_of(conditions: Iterable[pl.Expr]) -> pl.Expr | None:
    """Return whether any condition is true, null counting as false; None when there are none."""
    found = [condition.fill_null(value=False) for condition in conditions]
    if not found:
        return None
    return found[0] if len(found) == 1 else pl.any_horizontal(found)
