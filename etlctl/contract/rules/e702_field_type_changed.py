"""Rule E702: field-type-changed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.field_type_changed,
    what="A field has another type than in the older version, or a wider one.",
    why=(
        "Whoever reads it gets values of a kind that was never there: text where a number was, a fraction "
        "where a whole number was."
    ),
    bad="# contract.yaml, where id was an integer\nschema:\n  fields:\n    id: {type: string}\n",
    good="schema:\n  fields:\n    id: {type: integer}\n    id_text: {type: string}\n",
)
