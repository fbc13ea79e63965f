"""A function that would make too much stops as an error before the memory is taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from etlctl.jsonata.closures import Closure
from etlctl.jsonata.functions import BUILTINS, compile_regex
from etlctl.jsonata.limits import BUDGET, Budget
from etlctl.jsonata.values import JsonataError


@pytest.fixture(autouse=True)
def small_budget() -> Iterator[None]:
    token = BUDGET.set(Budget(items=20_000, characters=1_000_000))
    yield
    BUDGET.reset(token)


@pytest.mark.parametrize(
    ("name", "args", "code"),
    [
        ("pad", ["x", 10**15], "D1001"),
        ("pad", ["x", -(10**15), "ab"], "D1001"),
        ("join", [["x" * 1000] * 2000, ","], "D1001"),
        ("join", [["x"] * 2000, "y" * 1000], "D1001"),
        ("join", [["x", "y", "z"], "y" * 900_000], "D1001"),
        ("replace", ["a" * 2000, "a", "b" * 2000], "D1001"),
        ("replace", ["a" * 2000, compile_regex("a"), "b" * 2000], "D1001"),
        ("replace", ["a" * 3000, compile_regex("(a*)"), "$1" * 1000], "D1001"),
        ("string", [["x" * 1000] * 2000], "D1001"),
        ("append", [[1] * 15_000, [2] * 15_000], "D2015"),
        ("formatInteger", [5, "0" * 100_001], "D1001"),
        ("formatNumber", [5.5, "0." + "0" * 500], "D1001"),
        ("power", [3, 10**18], "D3061"),
    ],
)
def test_sizes(name: str, args: list[Any], code: str) -> None:
    with pytest.raises(JsonataError) as caught:
        BUILTINS[name].call(*args)
    assert caught.value.code == code


def test_what_fits_goes_through() -> None:
    assert len(BUILTINS["pad"].call("x", 900_000)) == 900_000
    assert len(BUILTINS["join"].call(["x"] * 2000, "y" * 400)) == 2000 + 1999 * 400
    assert len(BUILTINS["append"].call([1] * 10_000, [2] * 10_000)) == 20_000


def test_loops_over_built_in_functions_end_with_the_time() -> None:
    BUDGET.set(Budget(deadline=time.monotonic() - 1))
    items = list(range(600))
    for name, function in (("reduce", "append"), ("map", "string"), ("filter", "exists")):
        with pytest.raises(JsonataError) as caught:
            BUILTINS[name].call(items, BUILTINS[function])
        assert caught.value.code == "D1012"


def test_matchers_that_never_end_do() -> None:
    found: dict[str, Any] = {"match": "a", "start": 0, "end": 1, "groups": []}
    found["next"] = Closure(lambda: found, 0)
    BUDGET.set(Budget(deadline=time.monotonic() + 0.05))
    with pytest.raises(JsonataError) as caught:
        BUILTINS["match"].call("abc", Closure(lambda text: found, 1))
    assert caught.value.code == "D1012"


@pytest.mark.parametrize(
    ("name", "args", "code"),
    [
        ("fromMillis", [0, "[Y,1-999999999]"], "D1001"),
        ("formatNumber", [5, "0" * 400 + "e0"], "D1001"),
        ("parseInteger", ["trillion " * 100_000, "w"], "D3030"),
        ("parseInteger", ["z" * 100_000, "a"], "D3030"),
        ("parseInteger", ["9" * 100_000, "0"], "D3030"),
    ],
)
def test_pictures_that_ask_for_too_much(name: str, args: list[Any], code: str) -> None:
    BUDGET.set(Budget(deadline=time.monotonic() + 0.1, characters=1_000_000))
    with pytest.raises(JsonataError) as caught:
        BUILTINS[name].call(*args)
    assert caught.value.code == code
