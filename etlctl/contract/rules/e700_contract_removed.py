"""Rule E700: contract-removed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.contract_removed,
    what="A contract of the older version is not there any more.",
    why="What it loads is not kept up any more, and its schedules and callers fail.",
    bad="# contracts/orders was there in the older version, and is not any more\n",
    good="# keep contracts/orders until nobody reads what it loads\n",
)
