"""Rule E709: parameter-required."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.parameter_required,
    what="A run must be given a parameter that the older version does without.",
    why="Runs as they are started today are refused.",
    bad=(
        "# extract.yaml, where region was optional\n"
        "type: file\n"
        "path: orders.csv\n"
        "input_params:\n"
        "  region: {type: string, required: true}\n"
    ),
    good="type: file\npath: orders.csv\ninput_params:\n  region: {type: string, default: north}\n",
)
