"""Rule E102: duplicate-key."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.duplicate_key,
    what="The same key stands twice in one mapping. YAML readers usually keep the last one without a word.",
    why="One of the two values would be lost, and nobody could tell which one was meant.",
    bad="type: file\npath: january.csv\npath: february.csv\n",
    good="type: file\npath: february.csv\n",
)
