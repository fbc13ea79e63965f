"""Schema rules as Polars expressions: which rows may break a rule, for the rows form to decide."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import polars as pl

from etlctl.contract.data_rules import FieldRule
from etlctl.contract.formats import doubts as format_doubts

_SAFE = re.compile(
    r"""(?x)
    (?: [A-Za-z0-9\ @_\-:,;=<>!%/"'] | \\[wdsWDS.\-+*?()\[\]{}|^$/@] | [.^$|] | \(\?: | \((?!\?) | \)
      | \[\^? (?: [A-Za-z0-9\ @_:,;=<>!%/.+*?()^$|] | \\[wds.\-\]\[] | (?<=[A-Za-z0-9])-(?=[A-Za-z0-9]) )+ -? \]
      | [*+?] \?? | \{[0-9]{1,3}(?:,[0-9]{0,3})?\} )*
    """
).fullmatch
_PLAIN_TEXT = "^[ -~]*$"
_SURE_DIGITS = 15
_EXACT_POWER = 22
"""The largest power of ten that a double holds exactly."""


def breaks(name: str, dtype: pl.DataType | None, rule: FieldRule) -> list[pl.Expr] | None:
    """Return when a row may break the rules of a field; None when only the rows form can tell."""
    if dtype is None or dtype == pl.Null:
        return None if rule.required else []
    column = pl.col(name)
    if not _fits(dtype, rule.type):
        return None
    doubts = [column.is_null()] if rule.required else []
    for found in (_enum(column, dtype, rule), _range(column, dtype, rule), _text(column, dtype, rule)):
        if found is None:
            return None
        doubts.extend(found)
    return doubts


def _fits(dtype: pl.DataType, kind: str) -> bool:
    fits: dict[str, bool] = {
        "any": True,
        "string": dtype == pl.String,
        "integer": dtype.is_integer(),
        "float": dtype.is_float() or dtype.is_integer(),
        "decimal": dtype == pl.Decimal or dtype.is_integer(),
        "boolean": dtype == pl.Boolean,
        "date": dtype == pl.Date,
        "datetime": isinstance(dtype, pl.Datetime),
        "time": dtype == pl.Time,
        "object": isinstance(dtype, pl.Struct),
        "array": isinstance(dtype, pl.List),
    }
    return fits[kind]


def _enum(column: pl.Expr, dtype: pl.DataType, rule: FieldRule) -> list[pl.Expr] | None:
    if rule.enum is None:
        return []
    kinds: dict[Any, type] = {pl.String: str, pl.Boolean: bool}
    kind = int if dtype.is_signed_integer() else kinds.get(dtype.base_type())
    if kind is None or any(type(each) is int and abs(each) >= 2**63 for each in rule.enum):
        return None
    if kind is int:
        column, dtype = column.cast(pl.Int64, strict=False), pl.Int64()
    allowed = pl.Series([each for each in rule.enum if type(each) is kind], dtype=dtype)
    return [~column.is_in(allowed.implode())]


def _range(column: pl.Expr, dtype: pl.DataType, rule: FieldRule) -> list[pl.Expr] | None:
    bounds = (rule.minimum, rule.exclusive_minimum, rule.maximum, rule.exclusive_maximum)
    if all(bound is None for bound in bounds):
        return []
    number, largest = column.cast(pl.Float64), float(2**53)
    if isinstance(dtype, pl.Decimal) and dtype.scale <= _EXACT_POWER and all(map(_is_short, bounds)):
        # Numbers of 15 digits are told apart by a double, and it is rounded once: digits and power of ten are exact.
        largest = 10.0 ** (_SURE_DIGITS - dtype.scale)
    elif not (dtype.is_integer() or dtype.is_float()):
        return None
    doubts = [number.is_nan(), number.abs() >= largest]
    try:
        # Rounding a bound past 2**53 changes nothing: numbers as large as that are doubted anyway.
        low, over, high, under = (None if bound is None else float(bound) for bound in bounds)
    except OverflowError:
        return None
    if low is not None:
        doubts.append(number < low)
    if over is not None:
        doubts.append(number <= over)
    if high is not None:
        doubts.append(number > high)
    if under is not None:
        doubts.append(number >= under)
    return doubts


def _is_short(bound: float | None) -> bool:
    return bound is None or len(Decimal(repr(bound)).as_tuple().digits) <= _SURE_DIGITS


def _text(column: pl.Expr, dtype: pl.DataType, rule: FieldRule) -> list[pl.Expr] | None:
    if all(each is None for each in (rule.min_length, rule.max_length, rule.pattern, rule.format)):
        return []
    if dtype != pl.String or (rule.pattern is not None and not _SAFE(rule.pattern)):
        return None
    doubts = []
    if rule.min_length is not None:
        doubts.append(column.str.len_chars() < rule.min_length)
    if rule.max_length is not None:
        doubts.append(column.str.len_chars() > rule.max_length)
    if rule.pattern is not None:
        # Python and Rust agree on printable ASCII and the common part of their syntax; the rest is for Python.
        doubts += [~column.str.contains(rule.pattern), ~column.str.contains(_PLAIN_TEXT)]
    if rule.format is not None:
        doubts += format_doubts(rule.format, column)
    return doubts
