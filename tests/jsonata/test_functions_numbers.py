"""Numbers beyond what the reference can show: exact integers, decimal rounding, the text of doubles."""

from __future__ import annotations

import random
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest

from etlctl.jsonata.functions import BUILTINS
from etlctl.jsonata.functions.numeric import normal, number_text, shortest
from etlctl.jsonata.values import NOTHING, JsonataError

BIG = 2**63 - 1


def call(name: str, *args: Any) -> Any:
    return BUILTINS[name].call(*args)


@pytest.mark.parametrize(
    ("name", "args", "result"),
    [
        ("sum", [[BIG, 1]], 2**63),
        ("max", [[BIG, BIG - 1]], BIG),
        ("average", [[BIG, BIG]], BIG),
        ("abs", [-BIG], BIG),
        ("power", [2, 63], 2**63),
        ("round", [BIG, 2], BIG),
        ("round", [BIG, -3], 9_223_372_036_854_776_000),
        ("number", [str(BIG)], BIG),
        ("number", [f"-{BIG}"], -BIG),
        ("string", [BIG], str(BIG)),
        ("string", [{"id": BIG}], f'{{"id":{BIG}}}'),
        ("formatInteger", [BIG, "0"], str(BIG)),
        ("formatNumber", [BIG, "#,##0"], f"{BIG:,}"),
        ("formatBase", [BIG, 16], f"{BIG:x}"),
        ("parseInteger", [str(BIG), "0"], BIG),
        ("number", ["0xFFFFFFFFFFFFFFFF"], 2**64 - 1),
        ("distinct", [[BIG, BIG - 1, BIG]], [BIG, BIG - 1]),
        ("sort", [[BIG, BIG - 1]], [BIG - 1, BIG]),
    ],
)
def test_integers_stay_exact(name: str, args: list[Any], result: Any) -> None:
    found = call(name, *args)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize("name", ["sum", "max", "min", "average"])
def test_whole_results_are_integers(name: str) -> None:
    assert repr(call(name, [2.0])) == "2"
    assert repr(call(name, 2.0)) == "2"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("sum", [1e308, 1e308]), "D1001"),
        (("sum", [10**400, 0.5]), "D1001"),
        (("average", [10**400, 0.5]), "D1001"),
        (("power", 10, 309), "D3061"),
        (("power", 7, 10**12), "D3061"),
        (("power", 0, -1), "D3061"),
        (("power", -8, 0.5), "D3061"),
        (("power", 2, NOTHING), "D3061"),
        (("sqrt", 10**400), "D1001"),
        (("sqrt", -1), "D3060"),
        (("string", float("inf")), "D3001"),
        (("string", [float("nan")]), "D1001"),
        (("number", "9" * 400), "D3030"),
        (("number", "0x" + "f" * 400), "D1001"),
        (("round", 1.5, 1000), "D1001"),
        (("round", 1.5, 0.5), "D1001"),
        (("formatNumber", 1.5, "0." + "0" * 101), "D1001"),
        (("formatInteger", 10**12, "I"), "D1001"),
        (("parseInteger", "abc", "0"), "D3030"),
    ],
)
def test_what_no_number_can_hold_is_an_error(args: tuple[Any, ...], code: str) -> None:
    with pytest.raises(JsonataError) as caught:
        call(*args)
    assert caught.value.code == code


def test_powers_of_one_take_any_exponent() -> None:
    assert call("power", 1, 10**15) == 1
    assert call("power", -1, 10**15 + 1) == -1
    assert call("power", 0, 10**15) == 0


def test_rounding_goes_by_decimal_digits() -> None:
    chance = random.Random(3)
    for _ in range(20_000):
        places = chance.randint(1, 6)
        value = chance.choice((1, -1)) * chance.randint(0, 10**9) / 10 ** chance.randint(places, places + 2)
        exact = Decimal(repr(value)).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
        assert call("round", value, places) == float(exact), (value, places)


@pytest.mark.parametrize(
    ("value", "places", "result"),
    [
        (1.005, 2, 1),
        (1.015, 2, 1.02),
        (2.5, 0, 2),
        (3.5, 0, 4),
        (-2.5, 0, -2),
        (0.15, 1, 0.2),
        (125, -1, 120),
        (135, -1, 140),
    ],
)
def test_ties_go_to_even(value: float, places: int, result: float) -> None:
    assert call("round", value, places) == result


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e21, "1e+21"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (-1.25e-9, "-1.25e-9"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (12.0, "12"),
    ],
)
def test_text_of_doubles(value: float, text: str) -> None:
    assert shortest(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (100000000000000.5, "100000000000001"),  # a tie at the fifteenth digit: away from zero
        (2.384185791015625e-07, "2.38418579101563e-7"),
        (-100000000000000.5, "-100000000000001"),
        (1 / 3, "0.333333333333333"),
        (9007199254740993.0, "9007199254740992"),
    ],
)
def test_strings_of_numbers_have_fifteen_digits(value: float, text: str) -> None:
    assert number_text(value) == text


def test_floats_past_the_exact_ones_stay_floats() -> None:
    assert type(normal(2.0**53)) is float
    assert type(normal(2.0**53 - 1)) is int
    assert call("floor", 1e300) == 1e300
    assert call("string", call("floor", 1e300)) == "1e+300"


def test_sums_add_from_left_to_right() -> None:
    """Compensated sums, which newer Pythons make, would give 1 here."""
    assert call("sum", [0.1] * 10) == 0.9999999999999999
    assert call("average", [0.1] * 10) == 0.09999999999999999
    assert call("sum", [1, 0.1, 2]) == 3.1
