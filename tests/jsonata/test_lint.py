"""Mistakes in expressions that can be read: functions that do not exist, too many arguments, parents of everything."""

import pytest

from etlctl.jsonata.lint import parents, wrong_calls


@pytest.mark.parametrize(
    ("text", "said", "help_"),
    [
        ("$sumx(a)", "there is no function $sumx", "did you mean $sum?"),
        ("$sumx(?)", "there is no function $sumx", "did you mean $sum?"),
        ("a ~> $zebra(1)", "there is no function $zebra", "bind it first ($name := …), or give it in bindings"),
        ("$uppercase(a, 1)", "$uppercase takes at most 1 argument, not 2", None),
        ("a ~> $uppercase(1)", "$uppercase takes at most 1 argument, not 2", None),
        ("$substring(a, 1, 2, 3)", "$substring takes at most 3 arguments, not 4", None),
        ("$now('', '', '')", "$now takes at most 2 arguments, not 3", None),
        ("a ~> |$|{'x': $sumx(1)}|", "there is no function $sumx", "did you mean $sum?"),
        ("a[$sumx($) > 1]^($)", "there is no function $sumx", "did you mean $sum?"),
    ],
)
def test_wrong_calls(text: str, said: str, help_: str | None) -> None:
    (doubt,) = wrong_calls(text)
    assert (doubt.message, doubt.help) == (said, help_)
    assert text[doubt.start : doubt.end] == "$" + said.split("$")[1].split(maxsplit=1)[0]


@pytest.mark.parametrize(
    "text",
    [
        "$sum(a)",
        "$rate(1)",
        "a ~> $round(1)",
        "$zip(a, b, c, d)",
        "($f := function($g){$g(1)}; $f($now))",
        "a@$x.b#$y[1]#$z.($x(1); $y(1); $z(1))",
        "$(1)",
        "$uppercase[0](1, 2, 3)",
        "($sum := function($a, $b){$a}; $sum(1, 2))",
        "$clone($)",
        "$eval('1')",
    ],
)
def test_calls_that_may_be_right(text: str) -> None:
    assert wrong_calls(text, {"rate"}) == []


def test_parents() -> None:
    text = "a.b.{'x': %.c, 'y': 1 % 2, 'z': %.%.d}"
    assert [each.start for each in parents(text)] == [text.index("%.c"), text.index("%.%"), text.index("%.d")]
