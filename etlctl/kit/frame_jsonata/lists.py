"""Lists of items inside records: what a path makes of them, and the functions that take them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl

from etlctl.kit.frame_jsonata.operators import kind_of, truth
from etlctl.kit.frame_jsonata.values import (
    FLOAT,
    INTEGER,
    TEXT,
    Unsupported,
    Value,
    column,
    computed_float,
    divided,
    inside_list,
    instance,
    made,
)

_EXACT, _ROOM = 2**53, 2.0**62
_LONGEST_SUM = 100  # longer sums of doubles may be added up in another order


def item_of(value: Value) -> Value:
    """Return an item of a list, as seen from inside.

    Raises:
        Unsupported: It is no list, or one of lists.
    """
    if not isinstance(value.dtype, pl.List):
        raise Unsupported(f"{kind_of(value)} where a list is needed")
    inner = instance(value.dtype.inner)
    if isinstance(inner, pl.List):
        raise Unsupported("a list of lists")
    found = column(pl.element(), inner)
    computed = None if value.computed is not False and isinstance(inner, pl.Struct) else value.computed
    return replace(found, doubts=(), computed=computed)  # the list's own doubts tell of its items


def mapped(of: Value, body: Callable[[Value], Value]) -> Value:
    """Return what a body gives for each item, as a sequence; the rows form decides where an item gives nothing."""
    result = body(item_of(of)).present()
    if result.constant:
        raise Unsupported("a constant for each item of a list")
    if result.sequence or isinstance(result.dtype, pl.List):
        raise Unsupported("a list for each item of a list")
    doubts = (*of.doubts, *inside_list(of.expr, result.doubts))
    expr = of.expr.list.eval(result.expr)
    return as_sequence(Value(expr, pl.List(result.dtype), doubts, computed=result.computed))


def filtered(of: Value, test: Callable[[Value], Value]) -> Value:
    """Return the items that pass a test, as a sequence."""
    passes = truth(test(item_of(of)))
    if passes.constant:
        raise Unsupported("the same condition for each item of a list")
    expr = of.expr.list.eval(pl.element().filter(passes.expr))
    doubts = (*of.doubts, *inside_list(of.expr, passes.doubts))
    return as_sequence(Value(expr, of.dtype, doubts, computed=of.computed))


def as_sequence(value: Value) -> Value:
    """Return a list that stands for its only item, and for nothing when there is none."""
    empty = (value.expr.list.len() == 0) | value.expr.is_null()
    return replace(value, missing=empty, sequence=True)


def not_null(value: Value) -> Value:
    """Return a list for those who would take a null for an item."""
    return value if value.sequence else value.doubting(value.expr.is_null())


def picked(of: Value, index: int) -> Value:
    """Return the item at a place of a list, from the end when negative; nothing past its ends."""
    item = item_of(of)
    outside = of.expr.list.len() <= (index if index >= 0 else -index - 1)
    found = Value(of.expr.list.get(index, null_on_oob=True), item.dtype, not_null(of).doubts, computed=item.computed)
    return replace(found, missing=outside if of.missing is None else outside | of.missing)


def array(items: list[Value]) -> Value:
    """Return an array constructor: a list put into it becomes its items."""
    if len(items) == 1 and isinstance(items[0].dtype, pl.List):
        (only,) = items
        return replace(only.doubting(only.expr.is_null()), sequence=False, missing=None, nullable=False)
    whole = [item.present() for item in items]
    if not whole or any(item.sequence or isinstance(item.dtype, pl.List) for item in whole):
        raise Unsupported("an array of this kind")
    if len({item.dtype for item in whole}) > 1 or len({item.computed for item in whole}) > 1:
        return replace(made(pl.lit(None), pl.Null(), *whole), items=tuple(items))
    joined = made(pl.concat_list([item.expr for item in whole]), pl.List(whole[0].dtype), *whole)
    return replace(joined, items=tuple(items), computed=whole[0].computed)


def _numbers(value: Value, name: str) -> Value:
    """Return a list of numbers for a function that refuses anything else."""
    item = item_of(value)
    if not item.is_number:
        raise Unsupported(f"${name} of {kind_of(item)} in a list")
    nulls = value.expr.list.eval(pl.element().is_null()).list.any()
    return not_null(value).doubting(nulls)


def total(value: Value) -> Value:
    """Return ``$sum``: exact for integers, one after the other for doubles."""
    value = _numbers(value, "sum")
    summed = value.expr.list.sum()
    if item_of(value).dtype == INTEGER:
        size = value.expr.list.eval(pl.element().cast(FLOAT).abs()).list.sum()
        result = made(summed, INTEGER, value).doubting(size >= _ROOM)
    else:
        result = computed_float(summed, value).doubting(value.expr.list.len() > _LONGEST_SUM)
    return replace(result, missing=value.missing)


def average(value: Value) -> Value:
    """Return ``$average``; nothing for an empty array."""
    added = total(value)
    result = computed_float(
        divided(added.expr.cast(FLOAT), value.expr.list.len().cast(FLOAT)), replace(added, missing=None)
    )
    # 0 / 0 where the list is empty is nothing, not an error.
    doubts = (*added.doubts, ~result.expr.is_finite() & (value.expr.list.len() > 0))
    if added.dtype == INTEGER:
        doubts = (*doubts, added.expr.abs() >= _EXACT)
    return replace(result, doubts=doubts, missing=value.expr.list.len() == 0)


def extreme(value: Value, name: str) -> Value:
    """Return ``$max`` or ``$min``; nothing for an empty array."""
    value = _numbers(value, name)
    dtype = item_of(value).dtype
    expr = value.expr.list.max() if name == "max" else value.expr.list.min()
    result = made(expr, dtype, value)
    return replace(result, computed=dtype == FLOAT, missing=(value.expr.list.len() == 0) | value.expr.is_null())


def count(value: Value) -> Value:
    """Return ``$count``: null is one thing, nothing is none."""
    item_of(value)
    length = value.expr.list.len().cast(INTEGER)
    return made(length.fill_null(0 if value.sequence else 1), INTEGER, value)


def joined_texts(value: Value, separator: str) -> Value:
    """Return ``$join`` of a list of texts."""
    if item_of(value).dtype != TEXT:
        raise Unsupported(f"$join of {kind_of(item_of(value))} in a list")
    nulls = value.expr.list.eval(pl.element().is_null()).list.any()
    value = not_null(value).doubting(nulls)
    return replace(made(value.expr.list.join(separator, ignore_nulls=False), TEXT, value), missing=value.missing)
