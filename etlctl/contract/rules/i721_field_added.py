"""Rule I721: field-added."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.field_added,
    what="A field is loaded, or declared, that the older version does not have.",
    why="Readers are not disturbed by it, and may be glad of it.",
    bad=(
        "# contract.yaml, where only id stood\nschema:\n  fields:\n    id: {type: integer}\n    note: {type: string}\n"
    ),
    good="schema:\n  fields:\n    id: {type: integer}\n",
)
