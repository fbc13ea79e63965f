"""Rule E209: mixed-transform."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.mixed_transform,
    what="transform.yaml holds a transform: block and operations beside it at the top level.",
    why="Operations at the top level are an older spelling of the block. With both, the order is anybody's guess.",
    bad="transform:\n  rename: {a: b}\nconvert: {b: integer}\n",
    good="transform:\n  rename: {a: b}\n  convert: {b: integer}\n",
)
