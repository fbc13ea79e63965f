"""Rule E707: write-method-changed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.write_method_changed,
    what=("Records are written in another way than in the older version, such as added instead of replaced."),
    why="Rows come twice, or rows that others rely on go away.",
    bad=(
        "# load.yaml, where write_method was upsert\ntype: sqlite\npath: shop.db\ntable: orders\nwrite_method: insert\n"
    ),
    good="type: sqlite\npath: shop.db\ntable: orders\nwrite_method: upsert\nprimary_key: order_id\n",
)
