"""Rule E202: missing-key."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.missing_key,
    what="A key that must be there is not.",
    why="There is no safe guess for it.",
    bad="type: file\n",
    good="type: file\npath: orders.csv\n",
)
