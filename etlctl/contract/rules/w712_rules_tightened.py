"""Rule W712: rules-tightened."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.rules_tightened,
    what="Records are kept out that the older version let pass: a rule is new or narrower.",
    why="Readers get fewer records, and the dead letters more; look at a preview first.",
    bad=("# contract.yaml, where age had no rule\nschema:\n  fields:\n    age: {minimum: 18, on_violation: reject}\n"),
    good="schema:\n  fields:\n    age: {minimum: 18, on_violation: warn}\n",
)
