"""Rule I722: parameter-added."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.parameter_added,
    what="There is a new parameter that runs can do without.",
    why="Callers may give it.",
    bad=(
        "# extract.yaml, which had no parameters\n"
        "type: file\n"
        "path: orders.csv\n"
        "input_params:\n"
        "  region: {type: string, default: north}\n"
    ),
    good="type: file\npath: orders.csv\n",
)
