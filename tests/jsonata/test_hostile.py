"""Expressions that try to hang or kill the run end as errors, by their limits."""

import pytest

from etlctl import jsonata
from etlctl.jsonata.memory import held

LIMITS = jsonata.Limits(seconds=0.3, items=100_000, characters=1_000_000)
DOUBLE = '($f := function($s, $n){$n = 0 ? $s : $f({"a": $s, "b": $s}, $n - 1)}; '


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("[1..1e9]", {"D2014"}),
        ('$pad("a", 1e9)', {"D1001"}),
        ("($f := function(){$f()}; $f())", {"D1012"}),
        ("($f := function($n){1 + $f($n + 1)}; $f(0))", {"D1011"}),
        ("($f := function($s){$f($s & $s)}; $f('ab'))", {"D1001"}),
        ("($f := function($s){$f([$s, $s])}; $f([1]))", {"D2015"}),
        ("($f := function($s){$f([[$s], [$s]])}; $f([1]))", {"D1012"}),
        (DOUBLE + "$f(1, 60))", {"D1012", "D2015"}),
        (DOUBLE + "$string($f(1, 60)))", {"D1012", "D2015"}),
        (DOUBLE + "$f(1, 60) = $f(2, 60))", {"D1012", "D2015"}),
        (DOUBLE + "$count($f(1, 60).**))", {"D1012", "D2015"}),
        (DOUBLE + "$clone($f(1, 60)))", {"D1012", "D2015"}),
        ("$map([1..90000], function($x){$map([1..90000], function($y){$x * $y})})", {"D1012"}),
        ("[1..9000].([1..9000].([1..9000].(1)))", {"D1012", "D2015"}),
        ("$sum([1..9000].$sum([1..9000].$sum([1..9000])))", {"D1012"}),
        ("$reduce([1..1000], function($a, $b){$a * $b * 1000})", {"D1001"}),
        ("($f := function($n){$f($n * $n)}; $f(3))", {"D1001"}),
        ("$power(10, 1000000000)", {"D3061"}),
        ("$match($pad('', 40, 'a') & '!', /(a|aa)+$/)", {"D1012"}),
        ("($e := function($n){$eval('$e($n + 1)')}; $e(0))", {"D3121", "D1012", "D1011"}),
        ("$reduce([1..40], function($a, $b){$append($a, $a)}, [1, 2])", {"D2015"}),
        ("(function($x){$x($x)})(function($x){$x($x)})", {"D1012"}),
        ("([1..1000])@$a.([1..1000])@$b.([1..1000])@$c.($a + $b + $c)", {"D1012", "D2015"}),
        ("$zip([1..90000], [1..90000])", {"D2015"}),
        ("$reduce([1..40], function($a, $b){$replace($a, 'a', 'aa')}, 'a')", {"D1001"}),
        ("$split($pad('', 900000, 'a,'), ',')", {"D2015"}),
        ("$split($pad('', 900000, 'a'), '')", {"D2015"}),
        ("$split($pad('', 900000, 'a,'), /,/)", {"D2015", "D1012"}),
        ("$match($pad('', 900000, 'a'), /a/)", {"D2015", "D1012"}),
        ("$formatNumber(1234, $pad('', 900000, '#,') & '0')", {"D1001"}),
        ("$formatInteger(1234, $pad('', 900000, '#,') & '0')", {"D1001"}),
        ("$fromMillis(0, $pad('', 900000, '[Y]'))", {"D1001"}),
        ("$toMillis('1', $pad('', 900000, '[Y]'))", {"D1001"}),
        ("$encodeUrl($pad('', 900000, 'é'))", {"D1001"}),
        ("$eval($pad('1', 900000, '+1'))", {"D3121"}),
        ("([1..90000])@$a.([1..90000])@$b.{'k': $a}{'all': $a}", {"D1012", "D2015"}),
        ("[1..300].([1..300])[$ > 0 and $count([1..300][$ > 1]) > 0]", {"D1012", "D2015"}),
    ],
)
def test_ends_as_an_error(text: str, codes: set[str]) -> None:
    expression = jsonata.compile(text)
    with pytest.raises(jsonata.JsonataError) as caught:
        expression.evaluate({}, limits=LIMITS)
    assert caught.value.code in codes


@pytest.mark.parametrize(
    "text", ["(" * 5000, "[" * 3000 + "]" * 3000, "1" + "+1" * 20_000, "-" * 5000 + "1", "9" * 5000]
)
def test_what_cannot_be_read_is_a_syntax_error(text: str) -> None:
    with pytest.raises(jsonata.JsonataSyntaxError):
        jsonata.evaluate(text, {})


@pytest.mark.parametrize(
    "text",
    [
        "$map([1..1000], function($i){[1..2000000]})",
        "$count([1..1000].[[1..1000000]])",
        "$map([1..1000], function($i){$pad('', 20000000 + $i, 'a')})",
        "$string([1..5000000], true)",
        "[1..3000000].{'a': $}",
        "$map([1..3000000], function($x){{'a': $x}})",
    ],
)
def test_an_evaluation_may_not_take_all_memory(text: str) -> None:
    limits = jsonata.Limits(seconds=100, memory_mb=150)
    before = held()
    with pytest.raises(jsonata.JsonataError, match="150 MiB of memory") as caught:
        jsonata.compile(text).evaluate({}, limits=limits)
    assert caught.value.code == "D2015"
    assert held() - before < 1 << 30


@pytest.mark.parametrize(
    "text",
    ["n & ''", "$power(n, 2)", "$formatNumber(n, '0')", "$string(n)", "$formatBase(n, 2)", "$formatInteger(n, 'a')"],
)
def test_numbers_of_thousands_of_digits_are_out_of_range(text: str) -> None:
    with pytest.raises(jsonata.JsonataError) as caught:
        jsonata.evaluate(text, {"n": 10**100_000})
    assert caught.value.code == "D1001"


def test_an_expression_may_not_be_endless() -> None:
    with pytest.raises(jsonata.JsonataSyntaxError, match="more than the limit of 200000"):
        jsonata.compile("a" * 200_001)


def test_a_deep_input_does_not_break_anything() -> None:
    deep: dict[str, object] = {}
    inner = deep
    for _ in range(5000):
        inner["a"] = inner = {}
    for text in ("$", "**", "$string($)", "$clone($)", "$ = $", "a.a.a"):
        try:
            jsonata.evaluate(text, deep)
        except jsonata.JsonataError as error:
            assert error.code == "D1011"  # noqa: PT017 - some of them manage
