"""Rule E512: jsonata-syntax."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.jsonata_syntax,
    what="A JSONata expression cannot be parsed; the position is that inside the YAML block.",
    why="The expression would fail on the first record.",
    bad='jsonata:\n  expression: "$sum(items.price"\n',
    good='jsonata:\n  expression: "$sum(items.price)"\n',
)
