"""Rule E211: unusable-name."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.unusable_name,
    what="The contract's name, taken from its folder when contract.yaml gives none, cannot be used.",
    why=(
        "The name becomes part of file names and of the keys in the ledger: letters, digits, '_', '-' and"
        " '.', at most 128."
    ),
    bad="contracts/my orders!/          # and no name: in contract.yaml\n",
    good="# contracts/my orders!/contract.yaml\nname: my-orders\n",
)
