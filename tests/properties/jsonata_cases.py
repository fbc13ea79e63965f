"""Draws JSONata expressions and tables for them: every kind of column, null, missing, one-item and empty lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from hypothesis import strategies as st

INTEGERS = st.sampled_from([0, 1, -1, 2, 3, 7, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1])
_PLAIN_FLOATS = [0.0, -0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.5, -1.5, 0.1, 0.2, 1.005, 2.675, 123456.789, 0.1 + 0.2]
_EXTREME_FLOATS = [1e9, 2.0**53, -(2.0**53), 1e15, 1e16, 1e300, -1e300, 5e-324, float("nan"), float("inf")]
FLOATS = st.sampled_from([*_PLAIN_FLOATS, *_EXTREME_FLOATS]) | st.integers(-(10**7), 10**7).map(
    lambda cents: cents / 1000
)
_PLAIN_TEXTS = ["", "a", "b", "ab", "B", "Z", " a  b ", "\ta\n", "5", "-7", "007", "1.5", "999999999999999999", "null"]
_EXOTIC_TEXTS = [
    "straße",
    "ß",
    "İ",
    "Σας",
    "ŉ",
    "ǅ",
    "é",
    "e\u0301",
    "😀x",
    "\ufb01",
    "\uffee",
    "\u00a0x",
    "true",
    "$1",
]
TEXTS = st.sampled_from([*_PLAIN_TEXTS, *_EXOTIC_TEXTS, "a-b-a", "a.b"])
TAME_FLOATS = st.sampled_from([0.5, 1.5, 2.0, 2.25, 2.5, 3.0, -1.5, 0.0, 10.75])
TAME_TEXTS = st.sampled_from(["", "a", "ab", " a  b ", "a-b-a", "Straße", "é", "5", "-7", "b"])
_ITEM = pl.Struct({"p": pl.Float64(), "q": pl.Int64(), "s": pl.String()})
SCHEMA: dict[str, pl.DataType] = {
    "i": pl.Int64(),
    "j": pl.Int64(),
    "k": pl.Int16(),
    "f": pl.Float64(),
    "g": pl.Float64(),
    "s": pl.String(),
    "t": pl.String(),
    "b": pl.Boolean(),
    "n": pl.Null(),
    "o": pl.Struct({"i": pl.Int64(), "f": pl.Float64(), "s": pl.String(), "u": pl.Struct({"b": pl.Boolean()})}),
    "is": pl.List(pl.Int64()),
    "fs": pl.List(pl.Float64()),
    "ts": pl.List(pl.String()),
    "items": pl.List(_ITEM),
}


def _nullable(values: st.SearchStrategy[object], *, nulls: bool) -> st.SearchStrategy[object]:
    return values | st.none() if nulls else values


def _values(dtype: Any, *, nulls: bool, tame: bool) -> st.SearchStrategy[object]:
    if isinstance(dtype, pl.Struct):
        fields = {field.name: _values(field.dtype, nulls=nulls, tame=tame) for field in dtype.fields}
        return _nullable(st.fixed_dictionaries(fields), nulls=nulls)
    if isinstance(dtype, pl.List):
        return _nullable(st.lists(_values(dtype.inner, nulls=nulls, tame=tame), max_size=3), nulls=nulls)
    if dtype == pl.Int16:
        return _nullable(st.integers(-3, 3), nulls=nulls)
    simple = {pl.Int64: INTEGERS, pl.Float64: FLOATS, pl.String: TEXTS, pl.Boolean: st.booleans(), pl.Null: st.none()}
    if tame:
        simple |= {pl.Int64: st.integers(-5, 100), pl.Float64: TAME_FLOATS, pl.String: TAME_TEXTS}
    return _nullable(next(found for kind, found in simple.items() if dtype == kind), nulls=nulls)


@st.composite
def tables(draw: st.DrawFn, *, tame: bool = False) -> pl.DataFrame:
    """A frame of all columns; half of them without any null.

    Args:
        tame: Only values about which implementations do not differ: small numbers, and text of everyday scripts.
    """
    nulls = draw(st.booleans())
    rows = draw(st.integers(0, 4))
    columns = {
        name: draw(st.lists(_values(dtype, nulls=nulls, tame=tame), min_size=rows, max_size=rows))
        for name, dtype in SCHEMA.items()
    }
    frame = pl.DataFrame(columns, schema=SCHEMA)
    return frame.drop("f", "g", "o", "fs", "items") if draw(st.integers(0, 9)) == 0 else frame


class Writer:
    """Writes expressions of a wanted kind; ``inside`` tells which fields the context has.

    Args:
        choose: Returns one of some things.
    """

    def __init__(self, choose: Callable[[Sequence[Any]], Any]) -> None:
        self._choose = choose

    def one(self, *options: Callable[[], str]) -> str:
        """Write one of some things."""
        written: str = self._choose(options)()
        return written

    def pick(self, *texts: str) -> str:
        """Return one of some texts."""
        text: str = self._choose(texts)
        return text

    def number(self, depth: int, inside: str = "record") -> str:
        """Write a number, most likely."""
        fields = {
            "record": ("i", "j", "k", "f", "g", "o.i", "o.f", "is[0]", "fs[-1]", "items[1].q", "n"),
            "item": ("p", "q"),
            "variable": ("$v.p", "$v.q"),
        }[inside]
        leaf = (*fields, "0", "1", "2", "2.5", "-3", "9007199254740993", "0.1")
        if depth <= 0:
            return self.pick(*leaf)
        deeper = depth - 1
        options: list[Callable[[], str]] = [
            lambda: self.pick(*leaf),
            lambda: (
                f"({self.number(deeper, inside)} {self.pick('+', '-', '*', '/', '%')} {self.number(deeper, inside)})"
            ),
            lambda: f"${self.pick('floor', 'ceil', 'round', 'abs', 'number')}({self.number(deeper, inside)})",
            lambda: f"$round({self.number(deeper, inside)}, {self.pick('1', '2', '0', '3')})",
            lambda: f"-({self.number(deeper, inside)})",
            lambda: f"({self.test(deeper, inside)} ? {self.number(deeper, inside)} : {self.number(deeper, inside)})",
            lambda: f"$length({self.text(deeper, inside)})",
            lambda: f"$number({self.text(deeper, inside)})",
        ]
        if inside == "record":
            options += [lambda: f"${self.pick('sum', 'count', 'max', 'min', 'average')}({self.list(deeper)})"] * 3
        return self.one(*options)

    def text(self, depth: int, inside: str = "record") -> str:
        """Write a text, most likely."""
        fields = {"record": ("s", "t", "o.s", "ts[0]"), "item": ("s",), "variable": ("$v.s",)}[inside]
        leaf = (*fields, '"a"', '""', '"é"', '"b-"', "$now()")
        if depth <= 0:
            return self.pick(*leaf)
        deeper = depth - 1
        options: list[Callable[[], str]] = [
            lambda: self.pick(*leaf),
            lambda: f"({self.any(deeper, inside)} & {self.any(deeper, inside)})",
            lambda: f"${self.pick('uppercase', 'lowercase', 'trim', 'string')}({self.text(deeper, inside)})",
            lambda: f"$string({self.any(deeper, inside)})",
            lambda: f"$substring({self.text(deeper, inside)}, {self.pick('0', '1', '-1', '-2', '5')})",
            lambda: (
                f"$substring({self.text(deeper, inside)}, {self.pick('0', '1', '-3')}, {self.pick('0', '1', '2', '-1')})"
            ),
            lambda: f"$substring{self.pick('Before', 'After')}({self.text(deeper, inside)}, {self.pick(*_MARKS)})",
            lambda: f"$replace({self.text(deeper, inside)}, {self.pick(*_MARKS)}, {self.pick(*_FILLS)})",
            lambda: f"({self.text(deeper, inside)} ~> $uppercase)",
        ]
        if inside == "record":
            options.append(lambda: f"$join({self.pick('ts', 'items.s', 'o.s', '[s, t]')}{self.pick('', _DASH)})")
        return self.one(*options)

    def test(self, depth: int, inside: str = "record") -> str:
        """Write a condition, most likely."""
        fields = {"record": ("b", "o.u.b", "i > 1"), "item": ("q > 1", "p"), "variable": ("$v.q > 1", "$v.s")}[inside]
        if depth <= 0:
            return self.pick(*fields, "true", "false")
        deeper = depth - 1
        order = self.pick("<", "<=", ">", ">=")
        return self.one(
            lambda: self.pick(*fields),
            lambda: f"({self.number(deeper, inside)} {order} {self.number(deeper, inside)})",
            lambda: f"({self.text(deeper, inside)} {order} {self.text(deeper, inside)})",
            lambda: f"({self.any(deeper, inside)} {self.pick('=', '!=')} {self.any(deeper, inside)})",
            lambda: f"({self.any(deeper, inside)} {self.pick('and', 'or')} {self.any(deeper, inside)})",
            lambda: f"({self.any(deeper, inside)} in {self.pick(*_LISTS)})",
            lambda: f"${self.pick('not', 'boolean', 'exists')}({self.any(deeper, inside)})",
            lambda: f"$contains({self.text(deeper, inside)}, {self.text(0, inside)})",
        )

    def list(self, depth: int) -> str:
        """Write a list, most likely."""
        deeper = max(depth - 1, 0)
        return self.one(
            lambda: self.pick(
                "is", "fs", "items.q", "items.p", "items", "ts", "items.s", "[i, j]", "is[]", "items[0].q"
            ),
            lambda: f"items.({self.pick('s', 'p * q', 'q + 1', 's & q', 'q > 1')})",
            lambda: f"items.({self.any(deeper, 'item')})",
            lambda: f"items[{self.test(deeper, 'item')}].({self.number(deeper, 'item')})",
            lambda: f"items[{self.test(deeper, 'item')}].{self.pick('p', 'q', 's')}",
            lambda: f"$map(items, function($v){{{self.any(deeper, 'variable')}}})",
            lambda: f"$filter(items, function($v){{{self.test(deeper, 'variable')}}}).{self.pick('p', 'q')}",
            lambda: f"[{self.pick('items.q', 'items.p', 'items.s', 'is', 'i', 'f, g')}]",
        )

    def any(self, depth: int, inside: str = "record") -> str:
        """Write anything."""
        options: list[Callable[[], str]] = [
            lambda: self.number(depth, inside),
            lambda: self.text(depth, inside),
            lambda: self.test(depth, inside),
            lambda: self.pick("null", "true", "1", '"a"'),
        ]
        if inside == "record":
            options += [lambda: self.pick("o", "n", "o.u", "nowhere", "$rate"), lambda: self.list(depth - 1)]
        if depth > 0:
            options.append(lambda: f"{{{self.pairs(depth - 1, inside)}}}")
            options.append(lambda: f"({self.test(depth - 1, inside)} ? {self.any(depth - 1, inside)})")
        return self.one(*options)

    def pairs(self, depth: int, inside: str = "record") -> str:
        """Write the inside of an object."""
        keys = self._choose([("x",), ("x", "y"), ("i", "z z"), ("y", "i", "f"), ()])
        kinds = [self.number, self.text, self.test, self.any]
        return ", ".join(f'"{key}": {self._choose(kinds)(depth, inside)}' for key in keys)

    def record(self, depth: int) -> str:
        """Write what may make a record."""
        return self.one(
            lambda: f'{{"l": [{self.list(depth)}], {self.pairs(depth) or _PAIR}}}',
            lambda: f"{{{self.pairs(depth)}}}",
            *(lambda kind=kind: f'{{"x": {kind(min(depth, 2))}}}' for kind in (self.number, self.text, self.test)),
            lambda: f"{self.test(depth)} ? {{{self.pairs(depth)}}}",
            lambda: f'{self.test(depth)} ? {{"x": {self.any(depth)}}} : {{"x": {self.any(depth)}}}',
            lambda: f"{self.test(depth)} ? $",
            lambda: f"$merge([$, {{{self.pairs(depth)}}}])",
            lambda: f'$ ~> |$|{{{self.pairs(depth)}}}, ["i", "o"]|',
            lambda: f'($x := {self.any(depth)}; $y := $x; {{"x": $x, "y": $y = {self.any(depth)}}})',
        )


_PAIR = '"e": 1'
_DASH = ', "-"'
_FILLS = ('"$1"', '""', '"x"')
_LISTS = ("[1, 2]", '["a", "", null]', "[true, 1]", "is", "ts", "n", "[i]")
_MARKS = ('"-"', '"a"', '"b"', '" "')


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """An expression that may make a record of a record."""
    return Writer(lambda options: draw(st.sampled_from(options))).record(draw(st.integers(0, 3)))
