"""Rule E701: field-removed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.field_removed,
    what=("A field that the older version loads, or declares, is not loaded any more, or not declared."),
    why="Queries, reports and contracts that read the field break.",
    bad="# contract.yaml, where email stood beside id\nschema:\n  fields:\n    id: {type: integer}\n",
    good="schema:\n  fields:\n    id: {type: integer}\n    email: {type: string}\n",
)
