"""Rule E503: field-collision."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.field_collision,
    what="A step would put two fields under one name.",
    why="One of the two values would be lost. Rename or drop the other field first.",
    bad="transform:\n  rename: {customer_name: name}    # the source has a field 'name' already\n",
    good="transform:\n  rename: {name: product_name, customer_name: name}\n",
)
