"""Rule E401: variable-syntax."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.variable_syntax,
    what="A ${…} does not follow the grammar.",
    why="A reference that is read as plain text would end up in a URL or a path. Write $${ for a literal ${.",
    bad="type: file\npath: ${DATA_DIR/orders.csv\n",
    good="type: file\npath: ${DATA_DIR}/orders.csv\n",
)
