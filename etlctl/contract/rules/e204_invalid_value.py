"""Rule E204: invalid-value."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.invalid_value,
    what="A value is of the right type, but not one of the choices, out of range, or not of the right form.",
    why="The run could only fail later, when data has already moved.",
    bad="type: file\npath: orders.csv\nprocessing_mode: stream\n",
    good="type: file\npath: orders.csv\nprocessing_mode: streaming\n",
)
