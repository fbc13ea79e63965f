"""Operators on columns: arithmetic, comparison, equality, membership, text, truth and choice."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import polars as pl

from etlctl.kit.frame_jsonata.values import (
    BOOLEAN,
    FLOAT,
    INTEGER,
    NULL,
    TEXT,
    Unsupported,
    Value,
    computed_float,
    divided,
    fields_of,
    instance,
    literal,
    made,
)

_EXACT = 2**53
_TWO_UNITS = r"[\x{10000}-\x{10FFFF}]"
_ROOM = 2.0**62  # what 64 bits hold for certain, judged by doubles


def arithmetic(operator: str, left: Value, right: Value) -> Value:
    """Return ``+ - * / %`` of two numbers; what is no number is an error, which the rows form tells."""
    left, right = _number(left, operator), _number(right, operator)
    if operator == "%":
        return _remainder(left, right)
    if operator == "/":
        return _quotient(left, right)
    if left.dtype == right.dtype == INTEGER:
        made_int = made(_plain(operator, left.expr, right.expr), INTEGER, left, right)
        size = _plain(operator, left.expr.cast(FLOAT), right.expr.cast(FLOAT)).abs()
        return made_int.doubting(size >= _ROOM)
    return computed_float(_plain(operator, as_float(left), as_float(right)), left, right)


def negated(value: Value) -> Value:
    """Return a number with the other sign."""
    value = _number(value, "-")
    if value.dtype == INTEGER:
        return made(-value.expr, INTEGER, value).doubting(value.expr.cast(FLOAT) <= -_ROOM)
    return replace(made(-value.expr, FLOAT, value), computed=value.computed)


def _number(value: Value, what: str) -> Value:
    if not value.is_number or value.sequence:
        raise Unsupported(f"{what} of {kind_of(value)}")
    return value.filled()


def as_float(value: Value) -> pl.Expr:
    """Return a number as a double, rounded as Python rounds."""
    return value.expr.cast(FLOAT) if value.dtype == INTEGER else value.expr


def _plain(operator: str, left: pl.Expr, right: pl.Expr) -> pl.Expr:
    if operator == "+":
        return left + right
    return left - right if operator == "-" else left * right


def _quotient(left: Value, right: Value) -> Value:
    quotient = computed_float(divided(as_float(left), as_float(right)), left, right)
    large = [value.expr.cast(FLOAT).abs() >= _EXACT for value in (left, right) if value.dtype == INTEGER]
    return quotient.doubting(*large)


def _remainder(left: Value, right: Value) -> Value:
    if left.dtype != INTEGER or right.dtype != INTEGER:
        raise Unsupported("% of numbers with fractions")
    # The sign follows the dividend, unlike here: left to the rows form below zero.
    return made(left.expr % right.expr, INTEGER, left, right).doubting(left.expr < 0, right.expr <= 0)


def compared(operator: str, left: Value, right: Value) -> Value:
    """Return ``< <= > >=`` of two numbers or two texts; anything else is an error, which the rows form tells."""
    alike = (left.is_number and right.is_number) or left.dtype == right.dtype == TEXT
    if not alike or left.sequence or right.sequence:
        raise Unsupported(f"{kind_of(left)} {operator} {kind_of(right)}")
    left, right = left.filled(), right.filled()
    a, b, doubts = _comparable(left, right)
    if left.dtype == TEXT:  # ordered by UTF-16 units, which is another order for what takes two of them
        doubts = [side.expr.str.contains(_TWO_UNITS) for side in (left, right)]
    orders = {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}
    return made(orders[operator], BOOLEAN, left, right).doubting(*doubts)


def _comparable(left: Value, right: Value) -> tuple[pl.Expr, pl.Expr, list[pl.Expr]]:
    """Return two values of one type; an integer that no double holds is compared by the rows form."""
    if left.dtype == right.dtype:
        return left.expr, right.expr, []
    large = [value.expr.cast(FLOAT).abs() >= _EXACT for value in (left, right) if value.dtype == INTEGER]
    return as_float(left), as_float(right), large


def equal(left: Value, right: Value) -> Value:
    """Return ``=``: unlike kinds are unequal, null equals null, and nothing equals nothing at all."""
    for value in (left, right):
        if value.sequence or isinstance(value.dtype, pl.List | pl.Struct):
            raise Unsupported(f"= of {kind_of(value)}")
    return _with_absence(_equal_present(left, right), left, right)


def _equal_present(left: Value, right: Value) -> Value:
    if NULL in {left.dtype, right.dtype}:
        other = right if left.dtype == NULL else left
        held = pl.lit(value=True) if other.dtype == NULL else other.expr.is_null()
        return made(held, BOOLEAN, left, right)
    if left.dtype != right.dtype and not (left.is_number and right.is_number):
        return made(left.expr.is_null() & right.expr.is_null(), BOOLEAN, left, right)
    a, b, doubts = _comparable(left, right)
    test = a.eq_missing(b) if left.nullable and right.nullable else (a == b).fill_null(value=False)
    return made(test, BOOLEAN, left, right).doubting(*doubts)


def unequal(left: Value, right: Value) -> Value:
    """Return ``!=``, which is false as well where a side is nothing."""
    same = equal(replace(left, missing=None), replace(right, missing=None))
    return _with_absence(made(~same.expr, BOOLEAN, same), left, right)


def _with_absence(test: Value, *sides: Value) -> Value:
    """Return a test that is false where a side is nothing."""
    missing = [side.missing for side in sides if side.missing is not None]
    return replace(test, expr=reduce(lambda expr, mask: expr & ~mask, missing, test.expr))


def member(item: Value, of: Value) -> Value:
    """Return ``in``: whether any item of an array, or a single value, equals."""
    if of.items:
        tests = [equal(item, other) for other in of.items]
        return made(reduce(lambda a, b: a | b, [test.expr for test in tests]), BOOLEAN, *tests)
    if not isinstance(of.dtype, pl.List):
        return equal(item, of)
    inner = instance(of.dtype.inner)
    if inner != item.dtype or not (item.is_number or inner in {TEXT, BOOLEAN}):
        raise Unsupported(f"{kind_of(item)} in {kind_of(of)}")
    item = item.filled()
    found = of.expr.list.contains(item.expr).fill_null(value=False)
    return _with_absence(made(found, BOOLEAN, item, of), of).doubting(*([] if of.sequence else [of.expr.is_null()]))


def truth(value: Value) -> Value:
    """Return what ``$boolean`` makes of a value; false for nothing."""
    expr, dtype = value.expr, value.dtype
    if dtype == BOOLEAN:
        held = expr
    elif value.is_number:
        held = expr != 0
    elif dtype == TEXT:
        held = expr != ""
    elif dtype == NULL:
        held = pl.lit(value=False)
    elif isinstance(dtype, pl.Struct):
        held = expr.is_not_null() if fields_of(dtype) else pl.lit(value=False)
    else:
        raise Unsupported(f"the truth of {kind_of(value)}")
    test = made(held.fill_null(value=False) if value.nullable else held, BOOLEAN, value)
    return _with_absence(test, value)


def both(operator: str, left: Value, right: Value) -> Value:
    """Return ``and`` or ``or`` of the truth of two values; the right side only counts where the left one leaves it."""
    left, right = truth(left), truth(right)
    asked = left.expr if operator == "and" else ~left.expr
    right = replace(right, doubts=tuple(asked & doubt for doubt in right.doubts))
    return made(left.expr & right.expr if operator == "and" else left.expr | right.expr, BOOLEAN, left, right)


def text_of(value: Value) -> Value:
    """Return what ``$string`` makes of a value: null is ``null``, nothing stays nothing."""
    expr, dtype = value.expr, value.dtype
    if dtype == NULL:
        text = literal("null").expr
    elif dtype == TEXT:
        text = expr
    elif dtype in {INTEGER, BOOLEAN}:
        text = expr.cast(TEXT)
    else:
        raise Unsupported(f"{kind_of(value)} as text")
    if value.nullable and dtype != NULL:
        text = text.fill_null("null")
    return replace(made(text, TEXT, value), missing=value.missing)


def joined(left: Value, right: Value) -> Value:
    """Return ``&``; nothing is an empty text."""
    parts = [text_of(left), text_of(right)]
    exprs = [part.expr if part.missing is None else pl.when(~part.missing).then(part.expr) for part in parts]
    return made(pl.concat_str(exprs, ignore_nulls=True), TEXT, *parts)


def chosen(test: Value, then: Value, otherwise: Value | None) -> Value:
    """Return ``test ? then : otherwise``; without the latter the rest is nothing. Each side's doubts are its own."""
    test = truth(test)
    condition = test.expr
    if otherwise is None:
        missing = ~condition if then.missing is None else ~condition | then.missing
        doubts = tuple(condition & doubt for doubt in then.doubts)
        return replace(then, doubts=(*test.doubts, *doubts), missing=missing, constant=False, items=())
    dtype = _common(then, otherwise)
    chosen_expr = pl.when(condition).then(then.expr.cast(dtype)).otherwise(otherwise.expr.cast(dtype))
    doubts = (*(condition & doubt for doubt in then.doubts), *(~condition & doubt for doubt in otherwise.doubts))
    missing_of = [
        mask & side for mask, side in ((then.missing, condition), (otherwise.missing, ~condition)) if mask is not None
    ]
    return Value(
        chosen_expr,
        dtype,
        (*test.doubts, *doubts),
        missing=reduce(lambda a, b: a | b, missing_of) if missing_of else None,
        nullable=then.nullable or otherwise.nullable,
        constant=test.constant and then.constant and otherwise.constant,
        computed=_computed(then, otherwise),
    )


def _common(then: Value, otherwise: Value) -> pl.DataType:
    if then.sequence or otherwise.sequence:
        raise Unsupported("a choice between one value and several")
    if NULL in {then.dtype, otherwise.dtype}:
        return otherwise.dtype if then.dtype == NULL else then.dtype
    if then.dtype != otherwise.dtype:
        raise Unsupported(f"a choice between {kind_of(then)} and {kind_of(otherwise)}")
    return then.dtype


def _computed(then: Value, otherwise: Value) -> bool | None:
    known = {value.computed for value in (then, otherwise) if value.dtype != NULL}
    return known.pop() if len(known) == 1 else None if known else False


def kind_of(value: Value) -> str:
    """Name the kind of a value, for messages."""
    if value.sequence:
        return "one value or several"
    if isinstance(value.dtype, pl.List):
        return "an array"
    if isinstance(value.dtype, pl.Struct):
        return "an object"
    names = {INTEGER: "an integer", FLOAT: "a number with a fraction", TEXT: "a text", BOOLEAN: "a boolean"}
    return names.get(value.dtype, "null")
