"""Rule E705: key-changed."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.key_changed,
    what="Rows are found by another primary key than in the older version.",
    why=("Records that used to change a row add one, or change another; the table's own key may refuse them."),
    bad=(
        "# load.yaml, where the key was order_id alone\n"
        "type: sqlite\n"
        "path: shop.db\n"
        "table: orders\n"
        "write_method: upsert\n"
        "primary_key: [order_id, line]\n"
    ),
    good="type: sqlite\npath: shop.db\ntable: orders\nwrite_method: upsert\nprimary_key: order_id\n",
)
