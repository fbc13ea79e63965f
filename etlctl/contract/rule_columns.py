"""Rules over several fields, judged on the columns of a frame where that surely means the same.

Rows that a rule does not let pass for certain are for the rows form to judge: those it says no to, those where a field
is null (to a rule it is missing), and those whose values JSONata may see otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from typing import Any

import polars as pl

from etlctl.contract.data_rules import CrossRule
from etlctl.jsonata import nodes as n
from etlctl.jsonata.syntax import parse
from etlctl.kit.frame_jsonata.records import condition_column
from etlctl.kit.frame_jsonata.values import Unsupported

_WHOLE_RECORD = (n.Wildcard, n.Descendants, n.Parent, n.Call, n.Partial, n.Lambda, n.Apply, n.Transform)
_ORDER = frozenset({"<", "<=", ">", ">="})


def doubtful_rows(rules: Sequence[CrossRule], frame: pl.DataFrame, now: datetime) -> pl.Series | None:
    """Return which rows may break a rule; None when a rule can only be judged record by record.

    Args:
        rules: The rules.
        frame: The records.
        now: When the run began.
    """
    names = [name for name in frame.columns if any(name in named_fields(rule.expression) for rule in rules)]
    if not names or any(name == "*" or name.startswith("^") for name in names):
        return None
    seen = _as_json([frame.get_column(name) for name in names], _as_texts(rules, frame))
    doubts = [pl.col(name).dt.nanosecond() != 0 for name in names if isinstance(frame.schema[name], pl.Datetime)]
    try:
        found = [_doubt(rule, seen, now) for rule in rules]
        column = seen.select(pl.any_horizontal(*found).alias("doubt")).get_column("doubt")
        if doubts:
            column |= frame.select(pl.any_horizontal(*doubts).fill_null(value=False).alias("doubt")).get_column("doubt")
    except (Unsupported, pl.exceptions.PolarsError):
        return None
    return column if len(column) == frame.height else column.new_from_index(0, frame.height)


def _as_texts(rules: Sequence[CrossRule], frame: pl.DataFrame) -> set[str]:
    """Return the dates and times that a rule holds against something else than a field of the same type."""
    kinds = {name: dtype for name, dtype in frame.schema.items() if isinstance(dtype, pl.Date | pl.Datetime)}
    texts: set[str] = set()
    for rule in rules:
        nodes = list(_nodes(parse(rule.expression)))
        alike: set[int] = set()
        for node in nodes:
            if isinstance(node, n.Binary) and node.operator in _ORDER | {"=", "!="}:
                left, right = _field(node.left), _field(node.right)
                if left and right and kinds.get(left.value, 0) == kinds.get(right.value, 1):
                    alike |= {left.offset, right.offset}
        texts |= {node.value for node in nodes if isinstance(node, n.Name) and node.offset not in alike}
    return texts & kinds.keys()


def _as_json(columns: list[pl.Series], texts: set[str]) -> pl.DataFrame:
    """Return columns as JSONata sees them: dates and times are ISO 8601 text (those with a fraction are doubted).

    Those that are only compared with their like are numbers instead, which compare the same and cost nothing.
    """
    made = []
    for column in columns:
        if isinstance(column.dtype, pl.Date | pl.Datetime) and column.name not in texts:
            made.append(column.to_physical())
        elif column.dtype == pl.Date:
            made.append(column.dt.strftime("%Y-%m-%d"))
        elif isinstance(column.dtype, pl.Datetime):
            zone = "Z" if column.dtype.time_zone is not None else ""
            utc = column.dt.convert_time_zone("UTC") if zone else column
            made.append(utc.dt.strftime(f"%Y-%m-%dT%H:%M:%S{zone}"))
        else:
            made.append(column)
    return pl.DataFrame(made)


def _doubt(rule: CrossRule, seen: pl.DataFrame, now: datetime) -> pl.Expr:
    value = condition_column(rule.expression, seen.schema, {}, now)
    missing = [pl.col(name).is_null() for name in seen.columns if name in named_fields(rule.expression)]
    unsure = [*value.doubts, ~value.expr, value.expr.is_null()]
    if value.missing is not None:
        unsure.append(value.missing)
    doubt = pl.any_horizontal(*(one.fill_null(value=False) for one in unsure))
    absent = pl.any_horizontal(*missing)
    # A comparison with a missing field selects nothing, so the record passes; anything else may make more of it.
    return ~absent & doubt if _compares(rule.expression, seen) else absent | doubt


def _compares(expression: str, seen: pl.DataFrame) -> bool:
    """Tell whether a rule is one comparison by order, of fields and constants that are texts or numbers."""
    tree = parse(expression)
    if not isinstance(tree, n.Binary) or tree.operator not in _ORDER or tree.predicates or tree.group:
        return False
    return all(_is_plain(side, seen) for side in (tree.left, tree.right))


def _is_plain(node: n.Node, seen: pl.DataFrame) -> bool:
    if isinstance(node, n.Literal):
        return isinstance(node.value, str | int | float) and not isinstance(node.value, bool)
    name = _field(node)
    if name is None or name.value not in seen.columns:
        return False
    dtype = seen.schema[name.value]
    return dtype == pl.String or dtype.is_integer() or dtype.is_float()


def _field(node: n.Node) -> n.Name | None:
    """Return the name of a field that stands for itself, or None."""
    if not isinstance(node, n.Path) or len(node.steps) != 1 or node.group or node.predicates or node.keep_singleton:
        return None
    (step,) = node.steps
    return step.node if isinstance(step.node, n.Name) and not step.stages and step.focus is None else None


def named_columns(rules: Sequence[CrossRule], frame: pl.DataFrame) -> list[str]:
    """Return the columns that the rules can tell apart from missing ones; all when a rule looks at whole records."""
    if any(_looks_at_all(rule.expression) for rule in rules):
        return frame.columns
    return [name for name in frame.columns if any(name in named_fields(rule.expression) for rule in rules)]


@lru_cache(maxsize=256)
def named_fields(expression: str) -> tuple[str, ...]:
    """Return the names of fields in an expression, in order."""
    names = sorted(
        (node for node in _nodes(parse(expression)) if isinstance(node, n.Name)), key=lambda node: node.offset
    )
    return tuple(dict.fromkeys(node.value for node in names))


@lru_cache(maxsize=256)
def _looks_at_all(expression: str) -> bool:
    return any(
        isinstance(node, _WHOLE_RECORD) or (isinstance(node, n.Variable) and node.name in {"", "$"})
        for node in _nodes(parse(expression))
    )


def _nodes(value: Any) -> Iterator[n.Node]:
    """Yield every node of a syntax tree, whatever it hangs on."""
    if isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)
    elif isinstance(value, n.Node | n.Step | n.Filter | n.Group | n.Term):
        if isinstance(value, n.Node):
            yield value
        for one in fields(value):
            yield from _nodes(getattr(value, one.name))
