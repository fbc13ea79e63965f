"""Rule E502: dropped-field."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.dropped_field,
    what="A field is used after an earlier step dropped it, left it out, or renamed it away.",
    why=(
        "It would be null in every record. Mind the fixed order of the map form: rename, convert, "
        "defaults, add, select, drop, filter, unnest, flatten."
    ),
    bad="transform:\n  drop: [status]\n  filter: {field: status, operator: eq, value: paid}\n",
    good="transform:\n  - filter: {field: status, operator: eq, value: paid}\n  - drop: [status]\n",
)
