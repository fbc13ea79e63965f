"""Rule E205: refused-options."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.refused_options,
    what="The component itself refuses its options: each may be fine alone, but not together.",
    why="The component knows best what it cannot do, and says so before anything runs.",
    bad="transform:\n  filter: {field: amount}        # which comparison?\n",
    good="transform:\n  filter: {field: amount, operator: gt, value: 0}\n",
)
