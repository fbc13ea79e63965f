"""Schema rules as Polars expressions: which rows may break a rule, for the rows form to decide."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from etlctl.contract.sections import FieldRule

_SAFE = re.compile(
    r"""(?x)
    (?: [A-Za-z0-9\ @_\-:,;=<>!%/"'] | \\[wdsWDS.\-+*?()\[\]{}|^$/@] | [.^$|] | \(\?: | \((?!\?) | \)
      | \[\^? (?: [A-Za-z0-9\ @_:,;=<>!%/.+*?()^$|] | \\[wds.\-\]\[] | (?<=[A-Za-z0-9])-(?=[A-Za-z0-9]) )+ -? \]
      | [*+?] \?? | \{[0-9]{1,3}(?:,[0-9]{0,3})?\} )*
    """
).fullmatch
_PLAIN_TEXT = "^[ -~]*$"


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
    kinds: dict[Any, type] = {pl.String: str, pl.Int64: int, pl.Boolean: bool}
    kind = kinds.get(dtype.base_type())
    if kind is None or any(type(each) is int and abs(each) >= 2**63 for each in rule.enum):
        return None
    allowed = pl.Series([each for each in rule.enum if type(each) is kind], dtype=dtype)
    return [~column.is_in(allowed.implode())]


def _range(column: pl.Expr, dtype: pl.DataType, rule: FieldRule) -> list[pl.Expr] | None:
    if rule.minimum is None and rule.maximum is None:
        return []
    if not (dtype.is_integer() or dtype.is_float()):
        return None
    number = column.cast(pl.Float64)
    doubts = [number.is_nan(), number.abs() > 2**53]
    if rule.minimum is not None:
        doubts.append(number < rule.minimum)
    if rule.maximum is not None:
        doubts.append(number > rule.maximum)
    return doubts


def _text(column: pl.Expr, dtype: pl.DataType, rule: FieldRule) -> list[pl.Expr] | None:
    if rule.min_length is None and rule.max_length is None and rule.pattern is None:
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
    return doubts
