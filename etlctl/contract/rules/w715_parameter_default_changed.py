"""Rule W715: parameter-default-changed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.parameter_default_changed,
    what="A parameter that is left out has another value than in the older version.",
    why="Runs as they are started today load something else.",
    bad=(
        "# extract.yaml, where the default was north\n"
        "type: file\n"
        "path: orders.csv\n"
        "input_params:\n"
        "  region: {type: string, default: south}\n"
    ),
    good="type: file\npath: orders.csv\ninput_params:\n  region: {type: string, default: north}\n",
)
