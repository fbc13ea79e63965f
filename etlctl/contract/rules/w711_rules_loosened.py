"""Rule W711: rules-loosened."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.rules_loosened,
    what="Records pass that the older version kept out: a rule is gone, wider, or only warns.",
    why="Whoever reads the records may have relied on it.",
    bad="# contract.yaml, where age was at least 18\nschema:\n  fields:\n    age: {minimum: 0}\n",
    good="schema:\n  fields:\n    age: {minimum: 18}\n",
)
