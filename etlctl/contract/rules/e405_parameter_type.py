"""Rule E405: parameter-type."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.parameter_type,
    what="A parameter's value, or its default, is not of the declared type.",
    why="Parameters are checked before anything runs, not where they are used.",
    bad="input_params:\n  limit: {type: integer, default: many}\n",
    good="input_params:\n  limit: {type: integer, default: 100}\n",
)
