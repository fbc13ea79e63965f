"""Rule E710: parameter-type-changed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.parameter_type_changed,
    what="A parameter has another type than in the older version.",
    why="Values that callers give today may be refused, or mean something else.",
    bad=("# extract.yaml, where day was a string\ntype: file\npath: orders.csv\ninput_params:\n  day: {type: date}\n"),
    good="type: file\npath: orders.csv\ninput_params:\n  day: {type: string}\n",
)
