"""Rule E208: no-contract."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.no_contract,
    what="There is no contract at the path.",
    why="A check of nothing would pass, and a misspelt path in CI would be green for ever.",
    bad="etlctl validate contracts/ordres\n",
    good="etlctl validate contracts/orders\n",
)
