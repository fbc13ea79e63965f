"""Rule I723: destination-added."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.destination_added,
    what="The records go to one more destination than in the older version.",
    why="Readers of the others see no difference.",
    bad=(
        "# load.yaml, which had the first alone\n"
        "load:\n"
        "  - {type: sqlite, path: shop.db, table: orders}\n"
        "  - {type: file, path: orders.parquet}\n"
    ),
    good="load:\n  - {type: sqlite, path: shop.db, table: orders}\n",
)
