"""Rule E212: clashing-destinations."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.clashing_destinations,
    what="Two destinations of a load: list have the same name, or write to the same file, folder or table.",
    why="One would overwrite or double what the other has written, and nobody could tell their records apart.",
    bad="load:\n  - {type: file, path: out/all.csv}\n  - {type: file, path: out/all.csv, where: 'amount > 100'}\n",
    good="load:\n  - {type: file, path: out/all.csv}\n  - {type: file, path: out/large.csv, where: 'amount > 100'}\n",
)
