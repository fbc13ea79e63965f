"""Rule E201: unknown-key."""

from __future__ import annotations

from etlctl.contract.codes import Code
from etlctl.contract.rules.rule import Rule

RULE = Rule(
    code=Code.unknown_key,
    what="A key stands where no such key exists. Most often it is a misspelling, or an option of another component.",
    why="A key that is ignored is a setting that somebody believes in and that has no effect.",
    bad="type: file\npath: orders.csv\nbatchsize: 1000\n",
    good="type: file\npath: orders.csv\nbatch_size: 1000\n",
)
