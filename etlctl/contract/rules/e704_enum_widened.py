"""Rule E704: enum-widened."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.enum_widened,
    what="A field may have values that the older version did not allow.",
    why="Whoever handles each value of the list by itself meets one it does not know.",
    bad=(
        "# contract.yaml, where status was open or closed\n"
        "schema:\n"
        "  fields:\n"
        "    status: {enum: [open, closed, paused]}\n"
    ),
    good="schema:\n  fields:\n    status: {enum: [open, closed]}\n",
)
