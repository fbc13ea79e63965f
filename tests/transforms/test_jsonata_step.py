"""Operation ``jsonata`` and its limits: what takes too long rejects the record, and ``timeout`` says how long that is."""

from __future__ import annotations

from typing import Any

import pytest
from operations_driver import build, operation_classes, run_rows
from pydantic import ValidationError

from etlctl.errors import FatalError

ENDLESS = "n = 1 ? ($f := function(){$f()}; $f()) : {'n': n}"


def jsonata(**options: Any) -> Any:
    return build(operation_classes()["jsonata"], options)


def test_a_record_that_takes_too_long_is_rejected_and_the_others_go_on() -> None:
    done = run_rows([jsonata(expression=ENDLESS, timeout=0.05)], [{"n": 0}, {"n": 1}, {"n": 2}])
    assert done.records == [{"n": 0}, {"n": 2}]
    ((ordinal, _, rule, message),) = done.refused
    assert (ordinal, rule) == (1, "jsonata.error")
    assert "longer than its time limit" in message


def test_in_batch_mode_it_fails_the_run() -> None:
    with pytest.raises(FatalError, match="longer than its time limit"):
        run_rows([jsonata(expression=f"$.({ENDLESS})", mode="batch", timeout=0.05)], [{"n": 0}, {"n": 1}])


@pytest.mark.parametrize("value", [0, -1, "soon", 1e9])
def test_a_timeout_is_a_number_of_seconds(value: Any) -> None:
    with pytest.raises(ValidationError):
        jsonata(expression="$", timeout=value)
