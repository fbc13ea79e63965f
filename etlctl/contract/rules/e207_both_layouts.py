"""Rule E207: both-layouts."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.both_layouts,
    what="A folder holds pipeline.yaml and section files such as extract.yaml too.",
    why="Only one of the two layouts can count, and a reader could not tell which one runs.",
    bad="contracts/orders/\n  extract.yaml\n  load.yaml\n  pipeline.yaml\n",
    good="contracts/orders/\n  extract.yaml\n  load.yaml\n",
)
