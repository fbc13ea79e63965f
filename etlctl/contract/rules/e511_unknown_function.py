"""Rule E511: unknown-function."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.unknown_function,
    what="A value of add calls a function that does not exist.",
    why="Functions: now uuid env lower upper trim len concat coalesce date datetime int float str bool.",
    bad='transform:\n  add: {name: "uper(${name})"}\n',
    good='transform:\n  add: {name: "upper(${name})"}\n',
)
