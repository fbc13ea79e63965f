"""Rule E105: unreadable-file."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.unreadable_file,
    what="The file cannot be opened, is not UTF-8, or holds control characters.",
    why="Guessing an encoding changes names and values without a word.",
    bad="type: file\npath: caf\\xe9.csv        # saved as Latin-1\n",
    good="type: file\npath: café.csv           # saved as UTF-8\n",
)
