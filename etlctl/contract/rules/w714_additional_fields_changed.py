"""Rule W714: additional-fields-changed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.additional_fields_changed,
    what=("Fields that the schema does not name are dropped, or their records rejected, and were not before."),
    why="Fields that somebody reads without their being declared go away.",
    bad=(
        "# contract.yaml, where additional_fields was allow\n"
        "schema:\n"
        "  fields:\n"
        "    id: {type: integer}\n"
        "  additional_fields: drop\n"
    ),
    good="schema:\n  fields:\n    id: {type: integer}\n  additional_fields: allow\n",
)
