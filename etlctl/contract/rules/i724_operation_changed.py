"""Rule I724: operation-changed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.operation_changed,
    what=("Something changed in where records come from, when and how runs go, or what they are held to."),
    why=("Neither the shape of the records nor what callers give changes; whoever runs the contract may want to know."),
    bad=("# extract.yaml, where processing_mode was full\ntype: file\npath: orders.csv\nprocessing_mode: streaming\n"),
    good="type: file\npath: orders.csv\nprocessing_mode: full\n",
)
