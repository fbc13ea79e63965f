"""Type conversion as Polars expressions: exact where it decides, doubtful where only the rows form can tell.

Every conversion returns the converted expression and the condition under which a row is doubtful. A null result for
a value that is not null is always doubtful; beyond that, each conversion names what Polars would read otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from etlctl.frozen import frozen
from etlctl.types import FALSE, PLAIN, SPACE, TRUE, TypeOptions, number_pattern

_EXACT_FLOAT = 2**53
_YEAR = "[1-9][0-9]{3}"
_NEAR_YEAR = "(?:[1-8][0-9]{3}|9[0-8][0-9]{2})"  # far enough from the end for any zone
_DAY = "[0-9]{2}-[0-9]{2}"
_CLOCK = "[0-9]{2}:[0-9]{2}:[0-5][0-9]"
_DAYS = {"Y": _YEAR, "y": "(?:[0-57-9][0-9]|6[0-8])", "m": "(?:0?[1-9]|1[0-2])", "d": "(?:0?[1-9]|[12][0-9]|3[01])"}
_CLOCKS = {"H": "(?:[01][0-9]|2[0-3])", "M": "[0-5][0-9]", "S": "[0-5][0-9]"}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_FIXED = {"m": "(?:0[1-9]|1[0-2])", "d": "(?:0[1-9]|[12][0-9]|3[01])"}
_PIECES = {**_DAYS, **_CLOCKS, "b": f"(?i:{'|'.join(_MONTHS)})"}


@frozen
class Column:
    """An expression, its exact type, and the conditions under which a row must be decided by the rows form."""

    expr: pl.Expr
    dtype: pl.DataType
    doubts: tuple[pl.Expr, ...] = ()


def convert_column(
    source: pl.Expr, dtype: pl.DataType, kind: str, options: TypeOptions = PLAIN, sample: Sequence[str] = ()
) -> Column | None:
    """Convert an expression to a canonical type.

    Args:
        source: What to convert.
        dtype: Its type.
        kind: The canonical type to convert to.
        options: How text is read.
        sample: Some of the texts, to recognise their layout; may be empty.

    Returns:
        The converted column, or None when only the rows form can do it.
    """
    if dtype == pl.Null:
        return Column(source, dtype)
    if dtype != pl.String:
        return _from_values(source, dtype, kind)
    made = _from_text(source, kind, options, sample)
    if made is None or not options.null_values:
        return made
    nulls = source.str.strip_chars().is_in([text.strip(SPACE) for text in options.null_values])
    kept = pl.when(nulls).then(None).otherwise(made.expr)
    return Column(kept, made.dtype, tuple(doubt & ~nulls for doubt in made.doubts))


def _from_text(source: pl.Expr, kind: str, options: TypeOptions, sample: Sequence[str]) -> Column | None:
    if kind == "string":
        return Column(source.str.strip_chars(), pl.String())
    text = source.str.strip_chars() if any(item != item.strip(SPACE) for item in sample) else source
    if kind == "boolean":
        words = {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}
        made = text.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
        return Column(made, pl.Boolean(), (_lost(made, source),))
    if kind in {"integer", "float"}:
        return _number(source, text, kind, options, sample)
    if kind in {"date", "datetime", "time"}:
        return _temporal(source, text, kind, options, [item.strip(SPACE) for item in sample])
    return None


def _lost(made: pl.Expr, source: pl.Expr) -> pl.Expr:
    return made.is_null() & source.is_not_null()


def _number(source: pl.Expr, text: pl.Expr, kind: str, options: TypeOptions, sample: Sequence[str]) -> Column:
    doubts: list[pl.Expr] = []
    if options.thousands or options.decimal_separator:
        doubts.append(~text.str.contains(f"^(?:{number_pattern(options)})$"))
        if options.thousands:
            text = text.str.replace_all(options.thousands, "", literal=True)
        if options.decimal_separator:
            text = text.str.replace_all(options.decimal_separator, ".", literal=True)
    if kind == "integer":
        if any(item.strip(SPACE).endswith(".0") for item in sample):
            text = text.str.strip_suffix(".0")
        made = text.cast(pl.Int64, strict=False)
        return Column(made, pl.Int64(), (_lost(made, source), *doubts))
    made = text.cast(pl.Float64, strict=False)
    return Column(made, pl.Float64(), (_lost(made, source), ~made.is_finite(), *doubts))


# --- dates and times -------------------------------------------------------------------------------------------------


def _temporal(source: pl.Expr, text: pl.Expr, kind: str, options: TypeOptions, sample: Sequence[str]) -> Column | None:
    layout = _given_layout(options.format, kind) if options.format is not None else _seen_layout(kind, sample)
    if layout is None:
        return None
    chrono, pattern, zoned = layout
    dtype: pl.DataType
    if kind == "datetime":
        zone = "UTC" if zoned else None
        # Looking up a text that was parsed before is quicker than parsing it again, where texts do come again.
        again = 2 * len(set(sample)) <= len(sample)
        made = text.str.to_datetime(chrono, time_unit="us", time_zone=zone, strict=False, cache=again)
        dtype = pl.Datetime("us", zone)
    elif kind == "date":
        made, dtype = text.str.to_date(chrono, strict=False), pl.Date()
    else:
        made, dtype = text.str.to_time(chrono, strict=False), pl.Time()
    return Column(made, dtype, (_lost(made, source), ~text.str.contains(pattern)))


def _seen_layout(kind: str, sample: Sequence[str]) -> tuple[str, str, bool]:
    """Return the ISO 8601 layout that the texts seem to have: for Polars, as a pattern, and whether it has a zone."""
    if kind == "date":
        return "%Y-%m-%d", f"^{_YEAR}-{_DAY}$", False
    if kind == "time":
        return "%H:%M:%S", f"^{_CLOCK}$", False
    first = next((text for text in sample if text), "2000-01-01T00:00:00Z")
    if len(first) == len("2000-01-01"):
        return "%Y-%m-%d", f"^{_YEAR}-{_DAY}$", False
    between = " " if first[10:11] == " " else "T"
    fraction = ("%.f", r"\.[0-9]{1,6}") if "." in first else ("", "")
    chrono = f"%Y-%m-%d{between}%H:%M:%S{fraction[0]}"
    rest = f"-{_DAY}{between}{_CLOCK}{fraction[1]}"
    if first.endswith("Z"):
        return f"{chrono}Z", f"^{_YEAR}{rest}Z$", True
    if re.search(r"[+-]\d\d:\d\d$", first[10:]):
        return f"{chrono}%:z", f"^{_NEAR_YEAR}{rest}[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]$", True
    return chrono, f"^{_YEAR}{rest}$", False


def _given_layout(layout: str, kind: str) -> tuple[str, str, bool] | None:
    """Return a ``strptime`` layout with the pattern of texts that Python and Polars read alike; None when unknown."""
    pieces = {**_PIECES, **_FIXED} if re.search(r"%.%", layout) else _PIECES
    pattern, seen = "", set()
    for directive, plain in re.findall(r"%(.)|([^%])", layout, re.DOTALL):
        if directive and (directive not in pieces or directive in seen):
            return None
        if plain and plain in SPACE and plain != " ":
            return None
        seen.add(directive)
        pattern += pieces[directive] if directive else plain if plain.isalnum() or plain == " " else re.escape(plain)
    if kind == "date" and seen & _CLOCKS.keys():
        return None
    return layout, f"^{pattern}$", False


# --- values that are not text ----------------------------------------------------------------------------------------


def _from_values(source: pl.Expr, dtype: pl.DataType, kind: str) -> Column | None:
    if dtype.is_integer() or dtype == pl.Boolean:
        return _from_integer(source, dtype, kind)
    if dtype == pl.Float64 or dtype == pl.Float32:  # noqa: PLR1714
        return _from_float(source, dtype, kind)
    if isinstance(dtype, pl.Datetime):
        return _from_datetime(source, dtype, kind)
    same = {"date": pl.Date, "time": pl.Time, "decimal": pl.Decimal}.get(kind)
    if same is not None and dtype == same:
        return Column(source, dtype)
    if kind == "datetime" and dtype == pl.Date:
        return Column(source.cast(pl.Datetime("us")), pl.Datetime("us"))
    return None


def _from_integer(source: pl.Expr, dtype: pl.DataType, kind: str) -> Column | None:
    if kind == "string":
        return Column(source.cast(pl.String), pl.String())
    if dtype == pl.Boolean:
        wanted: dict[str, pl.DataType] = {"integer": pl.Int64(), "float": pl.Float64(), "boolean": pl.Boolean()}
        return Column(source.cast(wanted[kind]), wanted[kind]) if kind in wanted else None
    if kind == "integer":
        return Column(source, dtype)
    if kind == "float":
        inexact = (source > _EXACT_FLOAT) | (source < -_EXACT_FLOAT)
        return Column(source.cast(pl.Float64), pl.Float64(), (inexact,))
    return Column(source == 1, pl.Boolean(), (~source.is_in([0, 1]),)) if kind == "boolean" else None


def _from_float(source: pl.Expr, dtype: pl.DataType, kind: str) -> Column | None:
    if kind == "float":
        return Column(source.cast(pl.Float64), pl.Float64())
    if kind == "integer":
        made = source.cast(pl.Float64).cast(pl.Int64, strict=False)
        large = source.abs() > _EXACT_FLOAT
        return Column(made, pl.Int64(), (_lost(made, source), ~source.is_finite(), large, source != source.floor()))
    if kind == "boolean" and dtype == pl.Float64:
        return Column(source == 1, pl.Boolean(), (~((source == 0) | (source == 1)),))
    return None


def _from_datetime(source: pl.Expr, dtype: pl.Datetime, kind: str) -> Column | None:
    if dtype.time_unit == "ns":
        return None
    moment = source if dtype.time_zone is None else source.dt.convert_time_zone("UTC")
    if kind == "datetime":
        wanted = pl.Datetime("us", None if dtype.time_zone is None else "UTC")
        return Column(moment.cast(wanted), wanted)
    if kind == "date":
        return Column(moment.dt.date(), pl.Date(), (moment.dt.time() != pl.time(0, 0, 0),))
    return None
