"""A whole number as a bound is kept to the last digit, on rows and on columns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from etlctl.contract.compile import check, load_contract
from etlctl.contract.data_rules import FieldRule
from etlctl.contract.frame_check import breaks
from etlctl.contract.value_rules import value_tests
from etlctl.errors import RecordRejected

BIG = 9007199254740993
"""2**53 + 1: the first whole number that a double does not have."""


def passes(rule: FieldRule, value: Any) -> bool:
    """Tell whether a value keeps a rule."""
    try:
        for test in value_tests("n", rule):
            test(value)
    except RecordRejected:
        return False
    return True


@pytest.mark.parametrize("value", [BIG - 1, Decimal(BIG - 1), float(BIG - 1)])
def test_one_less_than_the_minimum_does_not_pass(value: Any) -> None:
    assert not passes(FieldRule(minimum=BIG), value)
    assert passes(FieldRule(maximum=BIG), value)
    assert not passes(FieldRule(minimum=10**400), value)


def test_the_message_has_every_digit() -> None:
    with pytest.raises(RecordRejected, match=f"less than the minimum {BIG}$"):
        value_tests("n", FieldRule(minimum=BIG))[0](BIG - 1)


@pytest.mark.parametrize("bound", [BIG, BIG - 1, 2**53 - 1, 10**30, -BIG, 3, 2.5])
@pytest.mark.parametrize("option", ["minimum", "exclusive_minimum", "maximum", "exclusive_maximum"])
@pytest.mark.parametrize("dtype", [pl.Int64(), pl.UInt64(), pl.Float64()])
def test_a_column_passes_over_no_value_that_breaks_the_rule(bound: float, option: str, dtype: Any) -> None:
    rule = FieldRule.model_validate({option: bound})
    frame = pl.DataFrame({"n": pl.Series([1, 2, 3, 4, 2**53 - 2, 2**53 - 1, 2**53, BIG, BIG + 1], dtype=dtype)})
    found = breaks("n", dtype, rule)
    assert found is not None
    doubtful = frame.select(pl.any_horizontal(*found))["n"].to_list()
    for value, doubt in zip(frame["n"].to_list(), doubtful, strict=True):
        assert doubt or passes(rule, value)


def test_a_bound_beyond_all_doubles_is_for_the_rows() -> None:
    assert breaks("n", pl.Int64(), FieldRule(minimum=10**400)) is None


def test_a_contract_keeps_it(make: Any) -> None:
    files = {"extract": "type: file\npath: x.jsonl\n", "load": "type: file\npath: y.jsonl\n"}
    path = make(**files, contract=f"schema:\n  fields:\n    n: {{minimum: {BIG}, maximum: {BIG}.5e1}}\n")
    schema = load_contract(path, environ={}).record_schema
    assert schema is not None
    assert schema.fields["n"].minimum == BIG


def test_a_bound_that_is_no_number_is_told_in_one_word(make: Any) -> None:
    (found,) = check(make(contract="schema:\n  fields:\n    n: {minimum: low}\n"))
    assert "must be a number, not 'low'" in found.message
