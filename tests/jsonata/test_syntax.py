"""Expressions become typed trees; what cannot be read is reported at the offending token."""

import pytest

from etlctl import jsonata
from etlctl.jsonata import nodes as n


@pytest.mark.parametrize(
    ("text", "code", "start", "end"),
    [
        ("$sum(lines.(price * )", "S0211", 20, 21),
        ("n >", "S0207", 3, 4),
        ("a[", "S0203", 2, 3),
        ("a !b", "S0204", 2, 3),
        ('a & "b', "S0101", 4, 5),
        ('"a\\qb"', "S0103", 2, 3),
        ('"\\u12"', "S0104", 1, 2),
        ("`a", "S0105", 0, 1),
        ("a /* b", "S0106", 2, 3),
        ("1e999", "S0102", 0, 1),
        ("a b", "S0201", 2, 3),
        ("[1, 2", "S0203", 5, 6),
        ("{'a' 1}", "S0202", 5, 6),
        ("function(a){1}", "S0208", 9, 10),
        ("$x{'k': c}[0]", "S0209", 10, 11),
        ("a := 1", "S0212", 0, 1),
        ("a.1", "S0213", 2, 3),
        ("a@b.c", "S0214", 2, 3),
        ("a[0]@$x", "S0215", 4, 5),
        ("a^(b)@$x", "S0216", 5, 6),
        ("%.a", "S0217", 0, 1),
        ("/a", "S0302", 0, 1),
        ("function($a)<n<n>>{$a}", "S0401", 14, 15),
        ("function($a)<(sa<n>)>{$a}", "S0402", 13, 14),
        ("f(a,)", "S0211", 4, 5),
        ("some longname", "S0201", 5, 13),
    ],
)
def test_a_syntax_error_is_at_its_token(text: str, code: str, start: int, end: int) -> None:
    with pytest.raises(jsonata.JsonataSyntaxError) as caught:
        jsonata.parse(text)
    problem = jsonata.syntax_problem(text)
    assert problem is not None
    assert (caught.value.code, problem[1], problem[2]) == (code, start, end)


def test_what_is_well_formed_has_no_problem() -> None:
    assert jsonata.syntax_problem("$sum(items.(price * qty))") is None


def test_both_branches_of_a_default_are_whole() -> None:
    tree = jsonata.parse("[1, 2, 3][-1] ?: x")
    assert isinstance(tree, n.Condition)
    for branch in (tree.test, tree.then):
        index = branch.predicates[0].expression
        assert isinstance(index, n.Literal)
        assert index.value == -1


def test_numbers_keep_every_digit() -> None:
    tree = jsonata.parse("-12345678901234567890123")
    assert isinstance(tree, n.Literal)
    assert tree.value == -12345678901234567890123


def test_every_node_knows_its_place() -> None:
    tree = jsonata.parse('a.b[c > 1].{"k": %.d}')
    assert isinstance(tree, n.Path)
    assert [step.node.offset for step in tree.steps] == [0, 2, 11]
    stage = tree.steps[1].stages[0]
    assert isinstance(stage, n.Filter)
    assert (stage.offset, stage.expression.offset) == (3, 6)
