"""Rule E404: unknown-parameter."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.unknown_parameter,
    what="A parameter was given that the contract neither declares nor refers to.",
    why="It would have no effect; most often its name is misspelt and the run uses a default instead.",
    bad="etlctl run contracts/orders -p acount=acme\n",
    good="etlctl run contracts/orders -p account=acme\n",
)
