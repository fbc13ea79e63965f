"""Rule E206: missing-file."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.missing_file,
    what="A contract folder has no extract.yaml or no load.yaml.",
    why=(
        "A contract says where records come from and where they go. Only transform.yaml and contract.yaml"
        " may be left out."
    ),
    bad="contracts/orders/\n  extract.yaml\n  transform.yaml\n",
    good="contracts/orders/\n  extract.yaml\n  transform.yaml\n  load.yaml\n",
)
