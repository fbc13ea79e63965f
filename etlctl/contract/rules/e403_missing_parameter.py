"""Rule E403: missing-parameter."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.missing_parameter,
    what="The contract declares a required parameter, and the run was given no value for it.",
    why="Only the caller knows it.",
    bad="etlctl run contracts/orders\n",
    good="etlctl run contracts/orders -p account=acme\n",
)
