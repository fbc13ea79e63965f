"""Expressions as the rest of etlctl uses them."""

import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from etlctl import jsonata
from etlctl.jsonata.program import program

ORDER = {"id": 7, "items": [{"sku": "a", "price": 2.5, "qty": 2}, {"sku": "b", "price": 1, "qty": 3}]}
RESHAPE = '{"id": id, "total": $sum(items.(price * qty)), "skus": [items.sku], "big": items[price > 2].sku}'


def test_nothing_and_null_are_two_things() -> None:
    assert jsonata.compile("missing").evaluate({}) is jsonata.NOTHING
    assert jsonata.compile("a").evaluate({"a": None}) is None
    assert jsonata.evaluate("missing", {}) is None


def test_bindings_and_clock() -> None:
    instant = datetime(2024, 1, 31, 6, 0, 0, 123_000, tzinfo=UTC)
    expression = jsonata.compile('{"p": price * $rate, "at": $now(), "ms": $millis()}')
    result = expression.evaluate({"price": 3}, {"rate": Decimal("1.5")}, now=instant)
    assert result == {"p": 4.5, "at": "2024-01-31T06:00:00.123Z", "ms": 1706680800123}


def test_a_binding_may_shadow_a_function() -> None:
    assert jsonata.evaluate("$count", {}, {"count": 5}) == 5
    assert jsonata.evaluate("$count([1, 2])", {}) == 2


def test_a_function_is_no_result() -> None:
    for text in ("$sum", "[$sum]", '{"f": function($x){$x}}'):
        with pytest.raises(jsonata.JsonataError, match="function"):
            jsonata.evaluate(text, {})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("9007199254740993 + 1", 9007199254740994),
        ("big", 12345678901234567891),
        ("big - 1", 12345678901234567890),
        ("big * 10 / 10", 12345678901234567891),
        ("0.1 + 0.9", 1),
        ("half * 2", 1),
        ("$string(big)", "12345678901234567891"),
    ],
)
def test_integers_are_exact_and_whole_numbers_integers(text: str, result: Any) -> None:
    found = jsonata.evaluate(text, {"big": 12345678901234567891, "half": 0.5})
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("d", 1.5),
        ("d + 1", 2.5),
        ("d = 1.5", True),
        ("d > 1", True),
        ("$sum(list)", 3),
        ("list", [1, 2]),
        ('"on " & day', "on 2024-01-05"),
        ("day", "2024-01-05"),
        ("nested", {"day": "2024-01-05", "list": [1.5]}),
        ("$string(nested)", '{"day":"2024-01-05","list":[1.5]}'),
        ("$max(list)", 2),
        ('day in ["2024-01-05"]', True),
        ("$uppercase(day)", "2024-01-05"),
        ("rows^(k).n", ["b", "a"]),
        ("rows[k = 1.5].n", "a"),
        ("$map(rows, function($r){$r.k * 2})", [3, 1]),
        ("rows{n: k}", {"a": 1.5, "b": 0.5}),
    ],
)
def test_decimals_and_dates_go_in_as_json(text: str, result: Any) -> None:
    day = date(2024, 1, 5)
    record = {
        "d": Decimal("1.5"),
        "list": [Decimal(1), Decimal(2)],
        "day": day,
        "nested": {"day": day, "list": [Decimal("1.5")]},
        "rows": [{"n": "a", "k": Decimal("1.5")}, {"n": "b", "k": Decimal("0.5")}],
    }
    evaluate = jsonata.compile(text).prepared()
    for _ in range(60):  # the general code, then that fitted to the record
        assert evaluate(record) == result
    assert record["day"] is day


def test_a_decimal_without_exact_number_fails_only_where_it_is_looked_at() -> None:
    record = {"d": Decimal("0.12345678901234567890"), "n": 1}
    assert jsonata.evaluate("n", record) == 1
    with pytest.raises(jsonata.JsonataError, match="no exact JSON number"):
        jsonata.evaluate("d", record)


@pytest.mark.parametrize(
    ("text", "code", "offset"),
    [
        ('n +\n  "a"', "T2002", 2),
        ("$sum(n, 1, 2)", "T0410", 0),
        ("{'a': n, 'b': -t}", "D1002", 14),
        ("$uppercase(n)", "T0410", 0),
        ("items.(\n  price * $nope('x')\n)", "T1006", 18),
        ("$map([1], function($x){ $x < 'a' })", "T2009", 27),
    ],
)
def test_errors_say_where(text: str, code: str, offset: int) -> None:
    evaluate = jsonata.compile(text).prepared()
    for _ in range(40):
        with pytest.raises(jsonata.JsonataError) as caught:
            evaluate({"n": 1, "t": "x", "items": [{"price": 1}]})
        assert (caught.value.code, caught.value.offset) == (code, offset)


def test_an_error_is_explained_with_line_and_column() -> None:
    text = "{\n  'total': n +\n    'a'\n}"
    with pytest.raises(jsonata.JsonataError) as caught:
        jsonata.evaluate(text, {"n": 1})
    assert caught.value.explained(text).endswith("(T2002, at line 2, column 14)")


def test_odd_names_are_only_names() -> None:
    for name in ("'", '"', "\\", "a'); raise SystemExit #", "{x}", "\n", "__class__", "root", "é\u2028"):
        record = {name: {"k": [1, 2]}}
        evaluate = jsonata.compile(f'{{"r": `{name}`.k[1]}}').prepared()
        for _ in range(40):
            assert evaluate(record) == {"r": 2}
        if '"' not in name and "\\" not in name and "\n" not in name:
            assert jsonata.evaluate(f'{{"{name}": 1}}', {}) == {name: 1}


def test_records_of_other_shapes_than_the_first_ones() -> None:
    evaluate = jsonata.compile(RESHAPE).prepared()
    for _ in range(50):
        assert evaluate(ORDER) == {"id": 7, "total": 8, "skus": ["a", "b"], "big": "a"}
    assert program(RESHAPE, frozenset()).fitted_source
    assert evaluate({"id": 8}) == {"id": 8, "skus": []}
    assert evaluate({"items": {"sku": ["x", "y"], "price": 3, "qty": 2}}) == {
        "total": 6,
        "skus": ["x", "y"],
        "big": ["x", "y"],
    }
    assert evaluate({"id": [1], "items": [[{"sku": "n", "price": 1, "qty": 1}]]}) == {
        "id": [1],
        "total": 1,
        "skus": ["n"],
    }
    with pytest.raises(jsonata.JsonataError, match="must be a number"):
        evaluate({"items": [{"price": True, "qty": 2}]})
    for _ in range(50):
        assert evaluate(ORDER)["total"] == 8


@pytest.mark.parametrize("pattern", ["$$", "$$.rows", "$x", "rows.($$)"])
def test_a_transform_never_changes_the_input(pattern: str) -> None:
    record = {"rows": [{"n": 1}], "o": {"p": 1}}
    text = f"($x := o; $ ~> |{pattern}|{{'z': 1}}|)"
    with pytest.raises((jsonata.JsonataError, jsonata.JsonataSyntaxError)):
        jsonata.evaluate(text, record)
    assert record == {"rows": [{"n": 1}], "o": {"p": 1}}
    changed = jsonata.evaluate("$ ~> |rows[n = $max($$.rows.n)]|{'z': 1}|", record)
    assert changed == {"rows": [{"n": 1, "z": 1}], "o": {"p": 1}}
    assert record == {"rows": [{"n": 1}], "o": {"p": 1}}


def test_fitted_code_does_not_take_arrays_for_values() -> None:
    evaluate = jsonata.compile('{"k": rows.k}').prepared()
    for _ in range(50):
        assert evaluate({"rows": [{"k": 1}, {"k": 2}]}) == {"k": [1, 2]}
    assert evaluate({"rows": [{"k": [1, 2]}, {"k": 3}]}) == {"k": [1, 2, 3]}
    assert evaluate({"rows": [{"k": [1]}]}) == {"k": [1]}


def test_many_threads_share_an_expression() -> None:
    expression = jsonata.compile("($f := function($n){$n < 2 ? 1 : $n * $f($n - 1)}; {'f': $f(n), 'n': n})")
    wrong: list[Any] = []

    def work(number: int) -> None:
        evaluate = expression.prepared()
        expected = evaluate({"n": number})
        wrong.extend(each for _ in range(200) if (each := evaluate({"n": number})) != expected)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_is_too_large_for_compiled_code_goes_to_the_engine() -> None:
    text = "a & " * 200 + "'.'"
    assert jsonata.compile(text).form == "compiled"
    deep = "($x := " * 90 + "a + 1" + ")" * 90
    nested = "a ? (" * 90 + "1" + ") : 2" * 90
    for each, result in ((deep, 2), (nested, 1)):
        assert jsonata.evaluate(each, {"a": 1}) == result
    assert jsonata.compile(nested).form == "engine"
    assert "deep" in jsonata.compile(nested).reason
    with pytest.raises(jsonata.JsonataSyntaxError, match="cannot be evaluated"):
        jsonata.compile("a ? (" * 90 + "$match(b, /(a+)+$/)" + ") : 2" * 90)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("[].a", []),
        ("[nope].a.b[0]", []),
        ("[nope].a[]", [[]]),
        ("[nope].a@$x.$x", []),
        ("[nope].a^(b)", []),
        ('[nope].a{"x": 1}', {"x": 1}),
        ("([nope]).a", None),
        ("[nope][0].a", None),
        ("[1].nope", None),
        ("$sum([nope].n)", 0),
    ],
)
def test_an_array_constructor_without_items_ends_its_path(text: str, result: Any) -> None:
    assert jsonata.evaluate(text, {"n": 1}) == result


@pytest.mark.parametrize("text", ["$clone(2.5)", "$clone(null)", '$clone("a")', "$map([1, [2]], $clone)"])
def test_only_objects_and_arrays_are_cloned(text: str) -> None:
    with pytest.raises(jsonata.JsonataError) as caught:
        jsonata.evaluate(text, {})
    assert caught.value.code == "T0410"


def test_a_grouping_behind_bindings_that_never_began() -> None:
    assert jsonata.evaluate('t[5].x#$i.x{"z": 1}', {"t": [1]}) == {"z": 1}
    assert jsonata.evaluate('t#$i.x{"z": 1}', {"t": [1]}) == {}
    rows = {"r": [{"n": 1, "k": "x"}, {"n": 2, "k": "y"}]}
    assert jsonata.evaluate("r@$a.r@$b{$a.k: [$b.n, $a.n]}", rows) == {"x": [1, 2, 1, 1], "y": [1, 2, 2, 2]}


def test_words_of_a_large_number() -> None:
    assert jsonata.evaluate('$formatInteger(1e46, "w")', {}) == "ten billion trillion trillion trillion"
