"""Rule E210: transform-shape."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.transform_shape,
    what=(
        "The transform section has a shape that does not say what runs when: an empty block, a list item "
        "with several operations, or an operation without a place in the fixed order of the map form."
    ),
    why="The map form runs in one fixed order; the list form runs as written, one operation per item.",
    bad="transform:\n  - rename: {a: b}\n    drop: [c]\n",
    good="transform:\n  - rename: {a: b}\n  - drop: [c]\n",
)
