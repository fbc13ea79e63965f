"""The template and expression grammars, their errors and their offsets."""

from __future__ import annotations

import pytest

from etlctl.expression import (
    FUNCTIONS,
    Call,
    Constant,
    ExpressionError,
    Reference,
    Template,
    TemplateError,
    UnsetVariable,
    parse_expression,
    parse_template,
    resolve,
)


def lookup(values: dict[str, str]):
    return lambda reference: values.get(reference.name)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("${DATA_DIR}/x", {"DATA_DIR": "/d"}, "/d/x"),
        ("${MISSING:-./out}/x", {}, "./out/x"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A}", {"A": ""}, ""),
        ("$${A} $${env:B:-x}", {}, "${A} ${env:B:-x}"),
        ("${env:A:-a:b} ${A:-}", {}, "a:b "),
        ("costs $5", {}, "costs $5"),
        ("", {}, ""),
    ],
)
def test_resolve(text: str, values: dict[str, str], expected: str) -> None:
    assert resolve(parse_template(text), lookup(values)) == expected


def test_references_know_their_place() -> None:
    template = parse_template("a ${env:B:-c} ${d:?must be given}")
    assert template.references == (
        Reference("env", "B", "c", None, 2, 13),
        Reference(None, "d", None, "must be given", 14, 33),
    )


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("x${A}", {}, "variable 'A' is not set and has no default"),
        ("x${env:A}", {}, "environment variable 'A' is not set"),
        ("x${A:?give A}", {"A": ""}, "give A"),
        ("x${param:A:?}", {}, "parameter 'A' is required"),
    ],
)
def test_unset(text: str, values: dict[str, str], message: str) -> None:
    with pytest.raises(UnsetVariable, match=message) as caught:
        resolve(parse_template(text), lookup(values))
    assert caught.value.offset == 1


@pytest.mark.parametrize(
    ("text", "offset"), [("ab${", 2), ("${x", 0), ("a${}", 1), ("${ : }", 0), ("${foo:bar}", 0), ("${a:-${b}}", 5)]
)
def test_bad_templates(text: str, offset: int) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text)
    assert caught.value.offset == offset


@pytest.mark.parametrize("text", ["Total (net)", "f(a) and g(b)", "", "hello", "5", "now", "(a)", "a.b(c)"])
def test_prose_stays_text(text: str) -> None:
    assert parse_expression(text) == Constant(text)


def test_nested_calls_with_commas_and_parentheses_in_quotes() -> None:
    call = parse_expression("""concat( lower(trim(${a})), ',)', "it's", -1.5, true, null)""")
    assert isinstance(call, Call)
    assert isinstance(call.arguments[0], Call)
    assert call.arguments[1:] == (Constant(",)"), Constant("it's"), Constant(-1.5), Constant(True), Constant(None))
    inner = call.arguments[0].arguments[0]
    assert isinstance(inner, Call)
    assert isinstance(inner.arguments[0], Template)


def test_an_unknown_function_offers_the_known_ones() -> None:
    with pytest.raises(ExpressionError, match="unknown function 'frobnicate'") as caught:
        parse_expression("frobnicate(${a})")
    assert (caught.value.name, caught.value.offset) == ("frobnicate", 0)
    assert set(caught.value.candidates) == set(FUNCTIONS)
    with pytest.raises(ExpressionError) as caught:
        parse_expression("concat(${a}, uper(${b}))")
    assert (caught.value.name, caught.value.offset) == ("uper", 13)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("now(", 3),
        ("lower()", 0),
        ("uuid(1)", 0),
        ("lower(abc)", 6),
        ("concat('a' 'b')", 11),
        ("concat('a',)", 11),
        ("concat('${x')", 8),
        ("lower(${a}.b)", 10),
        ("concat(" + "lower(" * 40 + "'a'" + ")" * 41, 7 + 31 * 6),
    ],
)
def test_bad_expressions(text: str, offset: int) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_expression(text)
    assert caught.value.offset == offset
