"""Rule E708: parameter-removed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.parameter_removed,
    what="A parameter that runs of the older version take is gone.",
    why="A run that is given an unknown parameter is refused: schedules and callers fail.",
    bad="# extract.yaml, where input_params had region\ntype: file\npath: orders.csv\n",
    good="type: file\npath: orders.csv\ninput_params:\n  region: {type: string}\n",
)
