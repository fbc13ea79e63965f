"""Rule E703: guarantee-dropped."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.guarantee_dropped,
    what="A field that was required may be null or missing now, or one that was unique may repeat.",
    why="Joins multiply rows, and code that never met a null meets one.",
    bad=("# contract.yaml, where id was required and unique\nschema:\n  fields:\n    id: {type: integer}\n"),
    good="schema:\n  fields:\n    id: {type: integer, required: true, unique: true}\n",
)
