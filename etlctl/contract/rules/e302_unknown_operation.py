"""Rule E302: unknown-operation."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.unknown_operation,
    what="The transform section names an operation that does not exist.",
    why="'etlctl components' lists what there is; a file in the workspace's transforms/ adds one.",
    bad="transform:\n  renme: {a: b}\n",
    good="transform:\n  rename: {a: b}\n",
)
