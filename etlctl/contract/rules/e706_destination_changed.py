"""Rule E706: destination-changed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.destination_changed,
    what=(
        "The records go to another place, or in another format, than in the older version; or a destination is gone."
    ),
    why="Whoever reads the old place sees it stand still.",
    bad="# load.yaml, where the table was orders\ntype: sqlite\npath: shop.db\ntable: orders_v2\n",
    good="type: sqlite\npath: shop.db\ntable: orders\n",
)
