"""Rule E304: broken-component."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.broken_component,
    what=(
        "A component cannot be used: its file is not valid Python, holds no component or several, its "
        "name is taken twice, or it needs an extra that is not installed."
    ),
    why="A contract that names it could not run. The message names the file and the line.",
    bad="# extractors/constant.py\nclass Constant(Extractor)\n    value: int\n",
    good="# extractors/constant.py\nclass Constant(Extractor):\n    value: int\n",
)
