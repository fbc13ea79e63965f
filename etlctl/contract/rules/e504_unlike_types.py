"""Rule E504: unlike-types."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.unlike_types,
    what="A step compares or combines values of unlike types.",
    why="Comparing text with a number rejects every record; convert the field first.",
    bad="transform:\n  filter: {field: amount, operator: gt, value: 10}    # amount is text in a CSV file\n",
    good="transform:\n  convert: {amount: float}\n  filter: {field: amount, operator: gt, value: 10}\n",
)
