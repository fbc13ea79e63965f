"""Rule E407: cursor-without-first."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.cursor_without_first,
    what="${cursor} (or ${cursor_end}) has no value: no run has left a cursor yet, and there is no initial value.",
    why="The very first run has to begin somewhere; the request or query cannot be made without it.",
    bad="type: file\npath: orders-${cursor}.csv\nincremental: {cursor_field: updated_at}\n",
    good='type: file\npath: orders-${cursor}.csv\nincremental: {cursor_field: updated_at, initial: "2020-01-01"}\n',
)
