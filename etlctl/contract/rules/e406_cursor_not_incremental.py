"""Rule E406: cursor-not-incremental."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.cursor_not_incremental,
    what="The contract asks for ${cursor} or ${cursor_end}, and does not say that it is incremental.",
    why="Only an incremental contract has a cursor; nothing else says which field it follows.",
    bad="type: file\npath: orders-${cursor}.csv\n",
    good='type: file\npath: orders-${cursor}.csv\nincremental: {cursor_field: updated_at, initial: "2020-01-01"}\n',
)
