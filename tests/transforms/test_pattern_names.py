"""Names that Polars takes for patterns (``*``, ``^…$``) or that the engine hides are ordinary names of fields."""

from __future__ import annotations

import polars as pl
import pytest
from etlctl.transforms.add import Add
from etlctl.transforms.convert import Convert
from etlctl.transforms.defaults import Defaults
from etlctl.transforms.drop import Drop
from etlctl.transforms.filter import Filter
from etlctl.transforms.flatten import Flatten
from etlctl.transforms.rename import Rename
from etlctl.transforms.select import Select
from etlctl.transforms.unnest import Unnest
from operations_driver import run_frame, run_rows

from etlctl.engine.apply import SLICE
from etlctl.sdk import Operation
from etlctl.sdk.frames import ORDINAL, SUSPECT, FramePlan, FrameUnsupported

NAMES = ["*", "^a.*$", "^nothing like it$", "^$", ORDINAL, SUSPECT]


def operations(name: str) -> list[Operation]:
    return [
        Rename(fields={name: "z"}),
        Rename(fields={"a1": name, name: "a1"}),
        Rename(fields={"a2": "a3"}),
        Convert.model_validate({"fields": {name: "integer"}}),
        Convert.model_validate({"fields": {"a1": "integer"}}),
        Defaults(fields={name: "9"}),
        Defaults(fields={"new": 1}),
        Add.model_validate({"fields": {"k": f"${{{name}}}", name: "x${a1}"}}),
        Select(fields=(name, "a1")),
        Drop(fields=(name,)),
        Drop(fields=("a1",)),
        Filter(field=name, operator="gt", value="1"),
        Filter(field="a1", operator="not_null"),
    ]


@pytest.mark.parametrize("number", range(13))
@pytest.mark.parametrize("name", NAMES)
def test_every_operation_keeps_its_meaning(name: str, number: int) -> None:
    records = [
        {"a1": "1", name: "2", "a2": "x"},
        {"a1": "y", name: None, "a2": None},
        {"a1": None, name: "0", "a2": ""},
    ]
    operation = operations(name)[number]
    frame = pl.DataFrame(records, schema=dict.fromkeys(records[0], pl.String))
    rows, framed = run_rows([operation], records), run_frame([operation], frame)
    assert (framed.records, framed.refused) == (rows.records, rows.refused)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_comes_in_on_the_way_is_harmless_too(name: str) -> None:
    records = [{"a1": "1", "a2": "2"}]
    steps = [Rename(fields={"a2": name}), Convert.model_validate({"fields": {name: "integer", "a1": "integer"}})]
    assert run_frame(steps, pl.DataFrame(records)).records == [{"a1": 1, name: 2}]


@pytest.mark.parametrize("name", ["*", "^x.*$"])
def test_nested_names_are_harmless_too(name: str) -> None:
    records = [{"o": {"x1": 1, name: 2}, "l": [{name: 3}]}]
    steps = [Flatten(fields=["o"]), Unnest(fields=("l",)), Flatten(fields=["l"])]
    assert run_frame(steps, pl.DataFrame(records)).records == [{"o_x1": 1, f"o_{name}": 2, f"l_{name}": 3}]


def test_plain_names_stay_on_the_fast_path() -> None:
    records = [{"^": "1", "$": "2", "a*": "3", "^a": "4", "a$": "5", "a.b": "6", "": "7"}] * (SLICE + 1)
    assert run_frame([Drop(fields=("a.b",))], pl.DataFrame(records)).forms == ["frame"]


def test_a_plan_refuses_such_names() -> None:
    with pytest.raises(FrameUnsupported, match=r"\^a\.\*\$"):
        FramePlan(pl.DataFrame({"^a.*$": [1]}))
