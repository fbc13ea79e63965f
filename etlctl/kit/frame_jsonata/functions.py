"""JSONata's functions on columns; what is not here, or not with such arguments, is for the rows form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl

from etlctl.jsonata import nodes as n
from etlctl.jsonata.functions import BUILTINS
from etlctl.jsonata.values import NOTHING
from etlctl.kit.frame_jsonata import lists
from etlctl.kit.frame_jsonata.operators import as_float, kind_of, text_of, truth
from etlctl.kit.frame_jsonata.values import (
    BOOLEAN,
    FLOAT,
    INTEGER,
    TEXT,
    Unsupported,
    Value,
    computed_float,
    divided,
    literal,
    made,
)

# Outside of Latin, Greek, Cyrillic and East Asian scripts, case follows the Unicode tables of the Python at hand.
_OTHER_LETTERS = r"[^\x{00}-\x{17F}\x{370}-\x{52F}\x{3000}-\x{9FFF}\x{AC00}-\x{D7A3}]"
_INTEGER_TEXT = r"^-?[0-9]{1,18}$"
_EXACT = 2.0**53
_ROUNDED = 1e9  # beyond, digits after the point are not certain


def text(value: Value, name: str) -> Value:
    """Return an argument that must be a text."""
    if value.dtype != TEXT or value.sequence:
        raise Unsupported(f"${name} of {kind_of(value)}")
    return value.filled()


def number(value: Value, name: str) -> Value:
    """Return an argument that must be a number."""
    if not value.is_number or value.sequence:
        raise Unsupported(f"${name} of {kind_of(value)}")
    return value.filled()


def _constant(node: n.Node, kind: type, name: str) -> Any:
    if not isinstance(node, n.Literal) or type(node.value) is not kind:
        raise Unsupported(f"${name} with an argument that is not a constant")
    return node.value


# --- texts -----------------------------------------------------------------------------------------------------------


def _case(value: Value, name: str) -> Value:
    value = text(value, name)
    changed = value.expr.str.to_uppercase() if name == "uppercase" else value.expr.str.to_lowercase()
    return made(changed, TEXT, value).doubting(value.expr.str.contains(_OTHER_LETTERS))


def _trim(value: Value, name: str) -> Value:
    value = text(value, name)
    return made(value.expr.str.replace_all(r"[ \t\n\r]+", " ").str.strip_chars(" "), TEXT, value)


def _length(value: Value, name: str) -> Value:
    value = text(value, name)
    return made(value.expr.str.len_chars().cast(INTEGER), INTEGER, value)


def substring(value: Value, start: int, length: int | None) -> Value:
    """Return ``$substring`` with constant places, in characters."""
    value = text(value, "substring")
    begin = pl.lit(start, dtype=INTEGER)
    if start < 0:
        begin = (value.expr.str.len_chars().cast(INTEGER) + start).clip(lower_bound=0)
    return made(value.expr.str.slice(begin, None if length is None else max(length, 0)), TEXT, value)


def contains(value: Value, part: Value) -> Value:
    """Return ``$contains`` of a text."""
    value, part = text(value, "contains"), text(part, "contains")
    return made(value.expr.str.contains(part.expr, literal=True), BOOLEAN, value, part)


def split_at(value: Value, mark: str, name: str) -> Value:
    """Return ``$substringBefore`` or ``$substringAfter`` a constant text."""
    value = text(value, name)
    if mark == "":
        raise Unsupported(f"${name} of an empty text")
    pieces = value.expr.str.splitn(mark, 2)
    if name == "substringBefore":
        return made(pieces.struct.field("field_0"), TEXT, value)
    return made(pl.coalesce([pieces.struct.field("field_1"), value.expr]), TEXT, value)


def replaced(value: Value, part: str, by: str) -> Value:
    """Return ``$replace`` of all occurrences of a constant text."""
    if part == "":
        raise Unsupported("$replace of an empty text")
    value = text(value, "replace")
    return made(value.expr.str.replace_all(part, by, literal=True), TEXT, value)


# --- numbers ---------------------------------------------------------------------------------------------------------


def _whole(value: Value, name: str) -> Value:
    value = number(value, name)
    if value.dtype == INTEGER:
        return value
    turned = {"floor": value.expr.floor(), "ceil": value.expr.ceil(), "round": value.expr.round(mode="half_to_even")}
    whole = turned[name].cast(INTEGER, strict=False)
    return made(whole, INTEGER, value).doubting(value.expr.abs() >= _EXACT)


def rounded(value: Value, places: int) -> Value:
    """Return ``$round`` to constant places: ties are told by decimal digits, so near them the rows form decides."""
    if places == 0:
        return _whole(value, "round")
    value = number(value, "round")
    if value.dtype == INTEGER and places > 0:
        return value
    if not 0 < places < 16:
        raise Unsupported("$round to so many places")
    scaled = value.expr * 10.0**places
    near = scaled.round(mode="half_to_even")
    tie = (scaled - near).abs().is_between(0.499999, 0.500001)
    return computed_float(divided(near, pl.lit(10.0**places)), value).doubting(tie, scaled.abs() >= _ROUNDED)


def _absolute(value: Value, name: str) -> Value:
    value = number(value, name)
    if value.dtype == FLOAT:
        return computed_float(value.expr.abs(), value)
    return made(value.expr.abs(), INTEGER, value).doubting(as_float(value) <= -(2.0**62))


def _to_number(value: Value, name: str) -> Value:
    if value.dtype == BOOLEAN and not value.sequence:
        return made(value.filled().expr.cast(INTEGER), INTEGER, value.filled())
    if value.is_number and not value.sequence:
        filled = value.filled()
        return filled if filled.dtype == INTEGER else replace(filled, computed=True)
    value = text(value, name)
    plain = value.expr.str.contains(_INTEGER_TEXT)
    return made(value.expr.cast(INTEGER, strict=False), INTEGER, value).doubting(~plain)


# --- truth -----------------------------------------------------------------------------------------------------------


def _exists(value: Value, _: str) -> Value:
    if value.missing is None:
        return made(pl.lit(value=True), BOOLEAN, replace(value, constant=True))
    return made(~value.missing, BOOLEAN, value)


def _boolean(value: Value, name: str) -> Value:
    test = truth(value)
    return replace(test, expr=test.expr if name == "boolean" else ~test.expr, missing=value.missing)


def _as_text(value: Value, _: str) -> Value:
    return text_of(value)


def instant(name: str, now: datetime) -> Value:
    """Return ``$now()`` or ``$millis()``: when the run began, the same for all records."""
    millis = int(now.timestamp() * 1000 // 1)
    return literal(millis if name == "millis" else BUILTINS["fromMillis"].call(millis, NOTHING, NOTHING))


_ONE: dict[str, Callable[[Value, str], Value]] = {
    **dict.fromkeys(("uppercase", "lowercase"), _case),
    **dict.fromkeys(("floor", "ceil"), _whole),
    **dict.fromkeys(("boolean", "not"), _boolean),
    **dict.fromkeys(("max", "min"), lists.extreme),
    "trim": _trim,
    "length": _length,
    "abs": _absolute,
    "number": _to_number,
    "exists": _exists,
    "string": _as_text,
    "sum": lambda value, _: lists.total(value),
    "count": lambda value, _: lists.count(value),
    "average": lambda value, _: lists.average(value),
    "round": _whole,
    "join": lambda value, _: lists.joined_texts(value, ""),
}

_MORE = "contains filter map millis now replace substring substringAfter substringBefore"
NAMES = frozenset({*_ONE, *_MORE.split()})
"""Functions with a form on columns."""


def call(name: str, arguments: tuple[n.Node, ...], compiled: Callable[[n.Node], Value]) -> Value:
    """Return a function of compiled arguments.

    Args:
        name: Without the ``$``.
        arguments: As they are written.
        compiled: Compiles one of them.

    Raises:
        Unsupported: Only the rows form can evaluate it.
    """
    if len(arguments) == 1 and name in _ONE:
        return _ONE[name](compiled(arguments[0]), name)
    many: dict[tuple[str, int], Callable[..., Value]] = {
        ("round", 2): lambda a, b: rounded(compiled(a), _constant(b, int, name)),
        ("join", 2): lambda a, b: lists.joined_texts(compiled(a), _constant(b, str, name)),
        ("contains", 2): lambda a, b: contains(compiled(a), compiled(b)),
        ("substring", 2): lambda a, b: substring(compiled(a), _constant(b, int, name), None),
        ("substring", 3): lambda a, b, c: substring(compiled(a), _constant(b, int, name), _constant(c, int, name)),
        ("substringBefore", 2): lambda a, b: split_at(compiled(a), _constant(b, str, name), name),
        ("substringAfter", 2): lambda a, b: split_at(compiled(a), _constant(b, str, name), name),
        ("replace", 3): lambda a, b, c: replaced(compiled(a), _constant(b, str, name), _constant(c, str, name)),
    }
    found = many.get((name, len(arguments)))
    if found is None:
        raise Unsupported(f"${name} with {len(arguments)} arguments")
    return found(*arguments)
