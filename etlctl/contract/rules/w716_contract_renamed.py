"""Rule W716: contract-renamed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.contract_renamed,
    what="The contract has another name than the older version.",
    why=(
        "Runs, cursors, checkpoints and run keys in the ledger go by the name: under a new one it begins from nothing."
    ),
    bad="# contract.yaml of what was orders\nname: orders-v2\n",
    good="name: orders\n",
)
