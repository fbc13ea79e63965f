"""Where columns and records would differ if nothing watched: each case breaks one guard of the columnar form."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from operations_driver import build, operation_classes, run_frame, run_rows

from etlctl.batch import frame_to_rows

BIG = 2**53 + 1
PAIR = pl.Struct({"p": pl.Float64(), "q": pl.Int64(), "s": pl.String()})
SCHEMA: dict[str, pl.DataType] = {
    "i": pl.Int64(),
    "j": pl.Int64(),
    "f": pl.Float64(),
    "g": pl.Float64(),
    "s": pl.String(),
    "t": pl.String(),
    "b": pl.Boolean(),
    "o": pl.Struct({"i": pl.Int64(), "f": pl.Float64()}),
    "is": pl.List(pl.Int64()),
    "fs": pl.List(pl.Float64()),
    "ts": pl.List(pl.String()),
    "items": pl.List(PAIR),
}
PLAIN: dict[str, Any] = {"i": 1, "j": 2, "f": 0.5, "g": 1.5, "s": "a", "t": "b", "b": True, "o": {"i": 1, "f": 0.5}}
PLAIN |= {"is": [1, 2], "fs": [0.5, 1.5], "ts": ["a", "b"], "items": [{"p": 1.5, "q": 2, "s": "x"}]}


def exact(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, exact(item)) for key, item in value.items()]
    if isinstance(value, list):
        return ["list", *map(exact, value)]
    return (type(value).__name__, repr(value))


@pytest.mark.parametrize(
    ("expression", "odd"),
    [
        # null and nothing
        ('{"x": i + 1}', {"i": None}),
        ('{"x": -i}', {"i": None}),
        ('{"x": i < 2}', {"i": None}),
        ('{"x": $uppercase(s)}', {"s": None}),
        ('{"x": $length(s)}', {"s": None}),
        ('{"x": $contains(s, t)}', {"t": None}),
        ('{"x": s & t}', {"s": None}),
        ('{"x": $string(i)}', {"i": None}),
        ('{"x": o.i}', {"o": None}),
        ('{"x": o.i}', {"o": {"i": None, "f": 1.0}}),
        ('{"x": o.i = i}', {"o": None, "i": None}),
        ('{"x": o.i != 1}', {"o": None}),
        ('{"x": o.i != 1}', {"o": {"i": None, "f": 1.0}}),
        ('{"x": $exists(o.i)}', {"o": None}),
        ('{"x": $not(o.i)}', {"o": None}),
        ('{"x": "-" & o.i}', {"o": None}),
        ('{"x": $string(o.i)}', {"o": None}),
        ('{"x": o.i in [1]}', {"o": None}),
        ('{"x": b ? i : null}', {"b": None}),
        ('{"x": b and i > 0}', {"i": None}),
        ('{"x": b or i > 0}', {"b": False, "i": None}),
        ('b ? {"x": i + 1}', {"b": None, "i": None}),
        ('{"x": b ? i + 1 : 0}', {"b": False, "i": None}),
        ('{"x": b ? i + 1 : 0}', {"b": True, "i": None}),
        ('i > 0 ? {"x": j}', {"i": None}),
        # lists
        ('{"x": $sum(is)}', {"is": []}),
        ('{"x": $sum(is)}', {"is": None}),
        ('{"x": $sum(is)}', {"is": [1, None]}),
        ('{"x": $sum(is)}', {"is": [2**62, 2**62]}),
        ('{"x": $sum(is)}', {"is": [2**62, 2**62, -(2**62)]}),
        ('{"x": $sum(fs)}', {"fs": [1e308, 1e308]}),
        ('{"x": $sum(fs)}', {"fs": [0.1] * 1000}),
        ('{"x": $sum(items.q)}', {"items": []}),
        ('{"x": $sum(items.q)}', {"items": [{"p": 1.0, "q": None, "s": ""}]}),
        ('{"x": $sum(items.q)}', {"items": [None, {"p": 1.0, "q": 2, "s": ""}]}),
        ('{"x": $sum(items.(q * q))}', {"items": [{"p": 1.0, "q": 2**40, "s": ""}]}),
        ('{"x": $sum(items.(q * q))}', {"items": [{"p": 1.0, "q": None, "s": ""}]}),
        ('{"x": $sum($map(items, function($v){$v.q}))}', {"items": None}),
        ('{"x": $average(is)}', {"is": []}),
        ('{"x": $average(is) > 1}', {"is": []}),
        ('{"x": $exists($average(is))}', {"is": []}),
        ('{"x": $average(is)}', {"is": [BIG, 1, 1]}),
        ('{"x": $max(is)}', {"is": []}),
        ('{"x": $max(fs)}', {"fs": [None, 1.5]}),
        ('{"x": $count(is)}', {"is": None}),
        ('{"x": $count(items.q)}', {"items": None}),
        ('{"x": $join(ts, "-")}', {"ts": ["a", None]}),
        ('{"x": $join(ts, "-")}', {"ts": None}),
        ('{"x": $join(items.s)}', {"items": []}),
        ('{"x": [items.q]}', {"items": None}),
        ('{"x": [is]}', {"is": None}),
        ('{"x": items.q[]}', {"items": []}),
        ('{"x": [items.{"a": 1, "q": q}]}', {"items": None}),
        ('{"x": [items.{"a": 1, "q": q}]}', {"items": []}),
        ('{"x": [items[q > 1].s]}', {"items": [{"p": 1.0, "q": None, "s": ""}]}),
        ('{"x": [items[q > 1].s]}', {"items": None}),
        ('{"x": is[0]}', {"is": []}),
        ('{"x": is[-1]}', {"is": None}),
        ('{"x": items[1].q}', {"items": [{"p": 1.0, "q": 1, "s": ""}]}),
        ('{"x": i in is}', {"i": None, "is": [None]}),
        ('{"x": i in is}', {"is": None}),
        # numbers
        ('{"x": i * j}', {"i": 2**62, "j": 3}),
        ('{"x": i + j}', {"i": 2**63 - 1, "j": 1}),
        ('{"x": -i}', {"i": -(2**63)}),
        ('{"x": $abs(i)}', {"i": -(2**63)}),
        ('{"x": i / j}', {"i": BIG, "j": 3}),
        ('{"x": i / j}', {"j": 0}),
        ('{"x": f / j}', {"f": 0.0, "j": 0}),
        ('{"x": i % j}', {"i": -5, "j": 3}),
        ('{"x": i % j}', {"i": 5, "j": -3}),
        ('{"x": i % j}', {"j": 0}),
        ('{"x": i = f}', {"i": BIG, "f": 2.0**53}),
        ('{"x": i > f}', {"i": BIG, "f": 2.0**53}),
        ('{"x": f * 2}', {"f": 1.7e308}),
        ('{"x": f * 2 > 1}', {"f": 1.7e308}),
        ('{"x": f * 2}', {"f": 2.0**52}),
        ('{"x": f * 2}', {"f": math.nan}),
        ('{"x": f > 1}', {"f": math.nan}),
        ('{"x": f = f}', {"f": math.nan}),
        ('{"x": f}', {"f": math.inf}),
        ('{"x": fs}', {"fs": [math.nan]}),
        ('{"x": o}', {"o": {"i": 1, "f": math.nan}}),
        ('{"x": items}', {"items": [{"p": math.inf, "q": 1, "s": ""}]}),
        ('{"x": $floor(f)}', {"f": 1e300}),
        ('{"x": $round(f)}', {"f": 2.5}),
        ('{"x": $round(f, 2)}', {"f": 1.005}),
        ('{"x": $round(f, 2)}', {"f": 1.015}),
        ('{"x": $round(f, 3)}', {"f": 9347450655176.223}),
        ('{"x": $round(f, 3)}', {"f": 123456789.0125}),
        ('{"x": $round(f, 1)}', {"f": 4503599627370495.5}),
        ('{"x": b ? f : f * 2}', {"f": 2.0}),
        ('{"x": b ? f : f * 2}', {"f": 2.0, "b": False}),
        ('{"x": f * 2, "y": g}', {"g": 2.0}),
        ('{"x": $max(fs)}', {"fs": [-0.0, 0.0]}),
        ('{"x": -f}', {"f": 0.0}),
        ('{"x": $number(s)}', {"s": "1.5"}),
        ('{"x": $number(s)}', {"s": " 5"}),
        ('{"x": $number(s)}', {"s": "12345678901234567890"}),
        # text
        ('{"x": $uppercase(s)}', {"s": "ɤ"}),
        ('{"x": $lowercase(s)}', {"s": "ΑΣ"}),
        ('{"x": $uppercase(s)}', {"s": "straße ŉ"}),
        ('{"x": s < t}', {"s": "\U0001f600", "t": "\uffee"}),
        ('{"x": $trim(s)}', {"s": "\u00a0 a \t b\n"}),
        ('{"x": $length(s)}', {"s": "e\u0301\U0001f600"}),
        ('{"x": $substring(s, -3)}', {"s": "\U0001f600b"}),
        ('{"x": $substring(s, -3, 2)}', {"s": "ab"}),
        ('{"x": $substring(s, 1, -1)}', {"s": "abc"}),
        ('{"x": $replace(s, ".", "$0")}', {"s": "a.b.c"}),
        ('{"x": $substringAfter(s, "-")}', {"s": "a-b-c"}),
        ('{"x": $substringAfter(s, "-")}', {"s": "abc"}),
        # what a column cannot say
        ('{"x": b ? i}', {"b": False}),
        ('{"x": items.q}', {}),
        ('{"x": $sum(items.p)}', {"items": [{"p": 3.0, "q": 1, "s": ""}]}),
        ('{"x": [items.(p * q)]}', {"items": [{"p": 1.5, "q": 2, "s": ""}]}),
        ('$ ~> |$|{"x": 1}|', {"f": 2.0}),
        ('$ ~> |$|{"x": 1}, "s"|', {"f": 0.1 + 0.2}),
        ('{"x": $sum(items.(1))}', {"items": [{"p": 1.0, "q": 1, "s": ""}] * 3}),
        ('{"x": [items[q].s]}', {"items": [{"p": 1.0, "q": 1, "s": "u"}, {"p": 1.0, "q": 0, "s": "v"}]}),
        ('{"x": is[i]}', {}),
        ("{}", {}),
    ],
)
def test_the_odd_record_among_plain_ones(expression: str, odd: dict[str, Any]) -> None:
    operation = build(operation_classes()["jsonata"], {"expression": expression})
    context: dict[str, Any] = {"now": datetime(2024, 1, 5, tzinfo=UTC), "environ": {}}
    for records in ([PLAIN, PLAIN | odd, PLAIN], [PLAIN | odd], [PLAIN | odd] * 3):
        frame = pl.DataFrame({name: [record[name] for record in records] for name in SCHEMA}, schema=SCHEMA)
        by_rows = run_rows([operation], frame_to_rows(frame), **context)
        by_frame = run_frame([operation], frame, **context)
        assert by_frame.refused == by_rows.refused
        assert by_frame.ordinals == by_rows.ordinals
        assert exact(by_frame.records) == exact(by_rows.records)
