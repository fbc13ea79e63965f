"""Signatures: how arguments find their places, where the context comes in, and which code says that they do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from etlctl.jsonata import evaluate
from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions import BUILTINS, Signature
from etlctl.jsonata.values import NOTHING, JsonataError, JsonataSyntaxError, Kept, Sequence, Whole

F = Closure(lambda value: value, 1)


@pytest.mark.parametrize(
    ("signature", "args", "context", "bound"),
    [
        ("<s-nn?:s>", ["abc", 1], "ctx", ["abc", 1, NOTHING]),
        ("<s-nn?:s>", [1], "ctx", ["ctx", 1, NOTHING]),
        ("<s-nn?:s>", [1, 2], "ctx", ["ctx", 1, 2]),
        ("<s-nn?:s>", [NOTHING, 2], "ctx", [NOTHING, 2, NOTHING]),
        ("<s-:s>", [], NOTHING, [NOTHING]),
        ("<a<n>:n>", [5], None, [[5]]),
        ("<a<n>:n>", [[]], None, [[]]),
        ("<a<s>s?:s>", ["x"], None, [["x"], NOTHING]),
        ("<a:n>", [None], None, [[None]]),
        ("<a+>", [1, [2], NOTHING], None, [[1], [2], NOTHING]),
        ("<(nsb)-:n>", [True], None, [True]),
        ("<afj?:j>", [[1], F], None, [[1], F, NOTHING]),
        ("<ss?:s>", ["a", NOTHING], None, ["a", NOTHING]),
        ("<x-s:x>", ["k"], {"k": 1}, [{"k": 1}, "k"]),
        ("<n-:n>", [1.5], None, [1.5]),
    ],
)
def test_bind(signature: str, args: list[Any], context: Any, bound: list[Any]) -> None:
    compiled = Signature(signature)
    assert compiled.bind(args, context, "f") == bound
    assert compiled.bind(args, context, "f") == bound  # a shape seen before goes another way


@pytest.mark.parametrize(
    ("signature", "args", "context", "code", "place"),
    [
        ("<s-nn?:s>", [True], "ctx", "T0410", "argument 1 of $f"),
        ("<s-nn?:s>", ["a", "b"], "ctx", "T0410", "argument 2 of $f"),
        ("<s-nn?:s>", ["a", 1, 2, 3], "ctx", "T0410", "argument 4 of $f"),
        ("<s-:s>", [], 5, "T0411", "argument 1 of $f"),
        ("<s-:s>", [], None, "T0411", "null"),
        ("<a<n>:n>", ["x"], None, "T0412", "array of numbers"),
        ("<a<n>:n>", [[1, "x"]], None, "T0412", "array of numbers"),
        ("<a<n>:n>", [[True]], None, "T0412", "array of numbers"),
        ("<a<s>s?:s>", [[None]], None, "T0412", "array of strings"),
        ("<x:b>", [], None, "T0410", "nothing"),
        ("<af?:a>", [[1], NOTHING], None, "T0410", "argument 2"),
        ("<bs?:x>", [1], None, "T0410", "argument 1"),
    ],
)
def test_arguments_that_do_not_fit(signature: str, args: list[Any], context: Any, code: str, place: str) -> None:
    with pytest.raises(JsonataError) as caught:
        Signature(signature).bind(args, context, "f")
    assert caught.value.code == code
    assert place in str(caught.value)


@pytest.mark.parametrize(("signature", "code"), [("<(a<n>s):n>", "S0402"), ("<s<n>:n>", "S0401"), ("<<n>:n>", "S0401")])
def test_signatures_that_make_no_sense(signature: str, code: str) -> None:
    with pytest.raises(JsonataSyntaxError) as caught:
        Signature(signature)
    assert caught.value.code == code


def test_when_the_context_can_matter() -> None:
    assert Signature("<s-nn?:s>").may_use_context(2)
    assert not Signature("<s-nn?:s>").may_use_context(3)
    assert not Signature("<a<n>:n>").may_use_context(0)


@pytest.mark.parametrize("kind", [list, Sequence, Kept, Whole])
def test_every_kind_of_array_is_an_array(kind: type[list[Any]]) -> None:
    array = kind([1, 2])
    assert BUILTINS["sum"].call(array) == 3
    assert BUILTINS["sum"].invoke([array]) == 3
    assert BUILTINS["reverse"].call(array) == [2, 1]
    assert BUILTINS["map"].call(array, F) == [1, 2]
    assert BUILTINS["type"].call(array) == "array"
    assert BUILTINS["join"].call(kind(["a", "b"])) == "ab"


@pytest.mark.parametrize("name", sorted(set(BUILTINS) - {"error", "assert", "count", "exists", "zip", "keys"}))
def test_nothing_gives_nothing(name: str) -> None:
    """A missing first argument never fails, except where the signature says otherwise."""
    builtin = BUILTINS[name]
    rest: list[Any] = {
        "map": [F], "filter": [F], "single": [F], "reduce": [Closure(lambda a, b: a, 2)], "each": [F], "sift": [F], "match": [F],
        "formatInteger": ["0"], "parseInteger": ["0"], "formatNumber": ["0"], "lookup": ["k"], "contains": ["k"], "split": ["k"],
        "pad": [1], "substring": [1], "power": [1], "substringBefore": ["k"], "substringAfter": ["k"], "replace": ["a", "b"],
        "append": [NOTHING],
    }.get(name, [])  # fmt: skip
    if name in ("each", "sift"):
        assert evaluate(f"${name}(nothing, function($v) {{ $v }})", {}) is None
        return
    assert builtin.call(*builtin.bind([NOTHING, *rest])) is NOTHING


def test_what_is_no_json_value_is_refused() -> None:
    with pytest.raises(JsonataError, match="uppercase") as caught:
        BUILTINS["uppercase"].call(object())
    assert caught.value.code in ("T0410", "")


def test_lambdas_use_the_same_signatures() -> None:
    assert evaluate("function($x, $y)<n-n:n>{$x + $y}(2, 3)", 5) == 5
    assert evaluate("a.(function($x)<n-:n>{$x + 1}())", {"a": 5}) == 6
    with pytest.raises(JsonataError) as caught:
        evaluate('function($x)<n:n>{$x}("a")', None)
    assert caught.value.code == "T0410"


@pytest.mark.parametrize(
    ("value", "call", "result"),
    [
        ("a,b,c", '$split(",", 2)', ["a", "b"]),
        ("a,b,c", '$split(",")', ["a", "b", "c"]),
        ("a,b,c", '$split("x,y", ",")', ["x", "y"]),
        ("abc", '$replace("b", "x")', "axc"),
        ("aba", '$replace("a", "x", 1)', "xba"),
        ("abc", '$replace("zbz", "b", "x")', "zxz"),
        ("abc", '$contains("b")', True),
        ("abc", '$contains("b", "c")', False),
        ("abc", "$substring(1)", "bc"),
        ("abc", "$substring(0, 1)", "a"),
        ("abc", '$substring("xyz", 1)', "yz"),
        ("abc", '$pad(5, "-")', "abc--"),
        ("a1b", "$match(/[a-z]/).match", ["a", "b"]),
        ("a1b", '$match("xyz", /[a-z]/, 1).match', "x"),
        ("2", "$number()", 2),
    ],
)
def test_the_context_stands_in_where_the_reference_lets_it(value: str, call: str, result: Any) -> None:
    assert evaluate(f"v.{call}", {"v": value}) == result
