"""Rule E301: unknown-component."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.unknown_component,
    what="The type: of extract or load names no component of the build, of a plug-in or of the workspace.",
    why=(
        "The type chooses the code that runs. 'etlctl components' lists what there is; a file in the "
        "workspace's extractors/ or loaders/ adds one."
    ),
    bad="type: fille\npath: orders.csv\n",
    good="type: file\npath: orders.csv\n",
)
