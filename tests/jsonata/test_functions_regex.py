"""Regular expressions of JavaScript: the same meaning here, or refused; and none that runs for ever."""

from __future__ import annotations

import time

import pytest

from etlctl.jsonata import evaluate
from etlctl.jsonata.functions import BUILTINS, Untranslatable, compile_regex
from etlctl.jsonata.limits import BUDGET, Budget
from etlctl.jsonata.values import NOTHING, JsonataError, JsonataSyntaxError


def matches(pattern: str, text: str, flags: str = "") -> list[str]:
    return [found["match"] for found in BUILTINS["match"].call(text, compile_regex(pattern, flags))]


@pytest.mark.parametrize(
    ("pattern", "flags", "text", "found"),
    [
        (r"a$", "", "a\n", []),
        (r"a$", "m", "a\nba\r\n", ["a", "a"]),
        (r"^b", "m", "a\u2028b", ["b"]),
        (r"^b", "", "a\nb", []),
        (r".+", "", "ab\r\u2029c", ["ab", "c"]),
        (r"[^]+", "", "a\nb", ["a\nb"]),
        (r"x[]", "", "x", []),
        (r"\d+", "", "1٣2", ["1", "2"]),
        (r"\w+", "", "aé_b", ["a", "_b"]),
        (r"\W+", "", "aé b", ["é "]),
        (r"\s+", "", "a\u00a0\ufeff\u001cb", ["\u00a0\ufeff"]),
        (r"\S+", "", "\u0085 \u00a0", ["\u0085"]),
        (r"[\S]+", "", "a b", ["a", "b"]),
        (r"\bé\b", "", "é", []),
        (r"a\b", "", "aé", ["a"]),
        (r"\u0061\x62\/\.", "", "ab/.", ["ab/."]),
        (r"\cA\0\t", "", "\x01\0\t", ["\x01\0\t"]),
        (r"[\b]", "", "\b", ["\b"]),
        (r"\p{L}", "", "p{L}", ["p{L}"]),
        (r"a{,2}", "", "a{,2}", ["a{,2}"]),
        (r"\u{2}", "", "uu", ["uu"]),
        (r"]", "", "]", ["]"]),
        (r"[a-\d]+", "", "a-5b", ["a-5"]),
        (r"(?<year>\d{4})-\k<year>", "", "2024-2024 2024-2023", ["2024-2024"]),
        (r"\k<x>", "", "k<x>", ["k<x>"]),
        (r"(a)?b\1", "", "b", ["b"]),
        (r"\1(a)", "", "a", ["a"]),
        (r"(?<=\$)\d+", "", "$12", ["12"]),
        (r"(?<=a+b)c", "", "aabc", ["c"]),
        (r"(?<!\$)\b\d+", "", "$12 34", ["34"]),
        (r"É", "i", "é", ["é"]),
        (r"s", "i", "ſ", []),
        (r"i", "i", "ıİ", []),
        (r"a{e}", "", "a{e}", ["a{e}"]),
        (r"\12", "", "\n", ["\n"]),
        (r"a#b c", "", "a#b c", ["a#b c"]),
    ],
)
def test_dialect(pattern: str, flags: str, text: str, found: list[str]) -> None:
    assert matches(pattern, text, flags) == found


@pytest.mark.parametrize(
    "pattern",
    [
        "a++",
        "*a",
        "a**",
        "(a",
        "a)",
        "[a",
        "(?#x)",
        "(?>a)",
        "(?i)a",
        "[b-a]",
        "a{2,1}",
        r"\k<x>(?<y>a)",
        "(?<a>x)(?<a>y)",
        "^*",
        "\\",
    ],
)
def test_what_javascript_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(JsonataSyntaxError):
        compile_regex(pattern)


@pytest.mark.parametrize("pattern", ["(?:(a)|b)*", "(a*)*", "(?:a(b)?)+", "(?<=(a))b", r"(a\1)", "(?=a)*b"])
def test_what_has_no_exact_form_is_said_so(pattern: str) -> None:
    with pytest.raises(Untranslatable):
        compile_regex(pattern)


@pytest.mark.parametrize(
    "pattern", ["(?:a{999}){999}", "(?:(?:a{0,500}){0,500}){0,500}", "a" * 10_001, "(" * 101 + ")" * 101]
)
def test_monsters_are_refused(pattern: str) -> None:
    with pytest.raises(JsonataSyntaxError):
        compile_regex(pattern)


def test_groups_that_took_no_part_are_nothing() -> None:
    assert BUILTINS["match"].call("b", compile_regex("(a)|(b)"))[0]["groups"] == [NOTHING, "b"]
    assert evaluate('$match("b", /(a)|(b)/).groups', None) == [None, "b"]
    assert evaluate('"<" & $match("b", /(a)|(b)/).groups[0] & ">"', None) == "<>"


def test_an_empty_match_before_the_end_is_an_error() -> None:
    for name, args in (("match", ()), ("split", ()), ("replace", ("-",))):
        with pytest.raises(JsonataError) as caught:
            BUILTINS[name].call("ab", compile_regex("x*"), *args)
        assert caught.value.code == "D1004"
    assert matches("x*", "") == [""]
    assert BUILTINS["replace"].call("xx", compile_regex("x*"), "-") == "-"
    for text, pattern in (("ab", "x*"), ("aab", "a*"), ("aab", "aa|(?=b)")):
        with pytest.raises(JsonataError):
            BUILTINS["match"].call(text, compile_regex(pattern), 1)  # the one after the last is looked for too


@pytest.mark.parametrize(
    "pattern", [r"^(?:a+)+$", r"^(?:a|a)+$", r"^(?:a|aa)+$", r"(?:a?){20}a{20}b", r"a*a*a*a*a*a*b", r"(a+)+\1c"]
)
@pytest.mark.parametrize("name", ["contains", "match", "split", "replace"])
def test_a_search_ends_with_its_time(pattern: str, name: str) -> None:
    """Some of these the engine sees through, the others must be stopped; none may run on, which would take years."""
    arguments = ["a" * 3000 + "!", compile_regex(pattern), *(["x"] if name == "replace" else [])]
    token = BUDGET.set(Budget(deadline=time.monotonic() + 0.05))
    code = ""
    try:
        BUILTINS[name].call(*arguments)
    except JsonataError as error:
        code = error.code
    finally:
        BUDGET.reset(token)
    assert code in ("", "D1012")


def test_the_deadline_is_what_ends_it() -> None:
    token = BUDGET.set(Budget(deadline=time.monotonic() + 0.05))
    try:
        with pytest.raises(JsonataError) as caught:
            BUILTINS["contains"].call("a" * 60 + "!", compile_regex("^(?:a|a)+$"))
    finally:
        BUDGET.reset(token)
    assert caught.value.code == "D1012"


def test_a_regular_expression_is_a_function() -> None:
    assert evaluate('/b(c)/("abcbc").next().start', None) == 3
    assert evaluate('/z/("abc")', None) is None
    assert evaluate("$type(/a/)", None) == "function"


def test_replacers_see_the_match() -> None:
    text = '$replace("a1b22", /([a-z])(\\d+)/, function($m) { $m.groups[1] & $m.groups[0] & $m.start & $m.end })'
    assert evaluate(text, None) == "1a0222b25"
